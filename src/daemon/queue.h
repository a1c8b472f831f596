/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The queue of this host: migrations that were asked for while as many were under way as lpmd.conf
 * allows, here or on the target.
 *
 * One that waits is in the registry and in the journal, in the state `queued`, with its priority
 * and place; it has taken nothing on either host. The greatest priority goes first, among equals
 * the least place, and one that cannot begin (its target is full) does not hold up the others. It
 * begins by itself when a slot gets free, as one that was asked for at that moment: the partition
 * is looked up again and everything is validated. A target that is full is asked again every few
 * seconds. A restart of lpmd keeps the queue.
 */
#ifndef LPM_DAEMON_QUEUE_H
#define LPM_DAEMON_QUEUE_H

#include "daemon/migration.h"

/* Priorities that an operator may give; 0 when he says nothing. */
#define LPM_PRIORITY_MIN (-100)
#define LPM_PRIORITY_MAX 100

/* Starts the thread that starts what waits; lpm_migrations_free ends it. */
void lpm_queue_start(struct lpm_migrations *migrations);
/* A priority as a request names it: BAD_REQUEST when it is out of range. */
gboolean lpm_priority_from_json(const json_t *value, gint *priority, GError **error);
/* Lets it look now. Any thread. */
void lpm_queue_kick(struct lpm_migrations *migrations);

/* The row of one that must wait is in the journal: from here on it may be started. */
void lpm_queue_ready(LpmMigration *migration);

/* A migration that has begun and made nothing on the target yet has failed with `failure`: if that
 * says that the target is full it goes back into the queue, everything that it has made here is
 * undone, and TRUE is returned. The migration's own thread. */
gboolean lpm_queue_again(LpmMigration *migration, const GError *failure);

/* Array of migrations (references, freed with it), the next first. */
GPtrArray *lpm_queue_list(struct lpm_migrations *migrations);
/* {position: from 1, priority, waits_for}, or null when it does not wait. A new reference. Without
 * the migration's lock held. */
json_t *lpm_queue_describe(LpmMigration *migration);

/* Moves one within the queue: `priority` unless NULL; then before or behind all others, for which
 * its priority becomes that of who was there. In the journal on return. NOT_QUEUED when it has
 * begun or ended. */
enum lpm_queue_place { LPM_PLACE_SAME, LPM_PLACE_FIRST, LPM_PLACE_LAST };
gboolean lpm_queue_move(LpmMigration *migration, const gint *priority, enum lpm_queue_place place,
                        GError **error);

#endif
