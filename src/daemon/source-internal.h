/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What the files of the source's side share; each function runs in the migration's own thread. */
#ifndef LPM_DAEMON_SOURCE_INTERNAL_H
#define LPM_DAEMON_SOURCE_INTERNAL_H

#include "daemon/migration.h"

#define LPM_SOURCE_CALL_TIMEOUT_S 20 /* one call to the peer */

/* ---- source-prepare.c ---- */

/* Is `name` a partition that runs here? Its document in *out, a new reference. */
gboolean lpm_source_check_partition(struct lpm_daemon *daemon, const char *name, json_t **out,
                                    GError **error);
/* The parameters that a restarted lpmd needs, for the journal: never the key. A new reference. */
json_t *lpm_source_parameters(const LpmMigration *migration);
/* The peer's clock against this one. */
gboolean lpm_source_measure_clock(LpmMigration *migration, GError **error);
/* Questions to both sides, and a handle of the QEMU that runs; nothing is changed. */
gboolean lpm_source_validate(LpmMigration *migration, GError **error);
/* The target's shell, sockets and both movers, connected. */
gboolean lpm_source_prepare(LpmMigration *migration, GError **error);
/* Serves the mover's wish for a link until the migration ends; for lpm_migrations_run. */
void lpm_source_keep_linked(LpmMigration *migration);

/* ---- source-copy.c ---- */

/* Begins libvirt's call in a thread of its own. */
void lpm_source_call_libvirt(LpmMigration *migration);
/* Waits for a complete copy with the reply to Finish held: TRUE. FALSE with *error when it failed,
 * without when lpmd stops. */
gboolean lpm_source_copy(LpmMigration *migration, GError **error);

/* ---- source-end.c ---- */

/* The partition runs on the target: what is left of it here goes. Ends the migration. */
void lpm_source_clean(LpmMigration *migration);
/* The partition shall run here and nowhere else; ends the migration with `failure` (borrowed). */
void lpm_source_roll_back(LpmMigration *migration, const GError *failure);
/* Past the decision, and the target's copy is no more (decision `ended`): nothing runs, and the
 * definition stays here. */
void lpm_source_end_without_copy(LpmMigration *migration);

#endif
