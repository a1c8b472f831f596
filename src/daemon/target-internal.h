/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What the files of the target's side share. */
#ifndef LPM_DAEMON_TARGET_INTERNAL_H
#define LPM_DAEMON_TARGET_INTERNAL_H

#include "daemon/migration.h"

#define LPM_TARGET_QUIT_TIMEOUT_MS 2000

/* ---- target-means.c ---- */

/* Starts the mover of the migration's session. `backlog` in bytes, as the source bounds it.
 * `whole`: the stream begins with this mover, and does not go on with a post-copy. */
gboolean lpm_target_start_mover(LpmMigration *migration, guint64 backlog, gboolean whole,
                                GError **error);
/* How many links at a time the source's request asks for, within what this host takes. */
guint lpm_target_links(const struct lpm_daemon *daemon, const json_t *body);
/* Connections of the source's mover are let in. */
void lpm_target_open_door(LpmMigration *migration);
/* Everything of this migration but the partition itself goes. */
void lpm_target_drop_means(LpmMigration *migration);
/* What a restarted lpmd needs, for the journal: never the key. A new reference. */
json_t *lpm_target_parameters(LpmMigration *migration);

/* ---- target.c ---- */

/* The copy's QEMU ended: this host tells so from now on, whoever asks, and keeps nothing of it.
 * With `act` held. A journal that refuses leaves it for the next word. */
void lpm_target_end_without_copy(LpmMigration *migration, const GError *failure);
/* Gives the copy up and tells so from now on: {aborted}, or why not. With `act` held. */
json_t *lpm_target_discard(LpmMigration *migration, const char *cause, GError **error);

/* ---- target-start.c ---- */

/* A copy that nobody has let go is ended and gone when this returns TRUE, with whatever it had
 * asked of its disks. One that may have run is left as it is. */
gboolean lpm_target_end_unstarted(LpmMigration *migration, GError **error);
/* Gives a copy up that nobody has let go. With `act` held. */
void lpm_target_give_back(LpmMigration *migration, const char *cause);
/* After a restart of lpmd: one that was let go goes. */
void lpm_target_let_started_go(LpmMigration *migration);

/* ---- target-post-copy.c ---- */

/* Looks whether a copy that was started in post-copy still runs. */
void lpm_target_look_after_switch(LpmMigration *migration);

#endif
