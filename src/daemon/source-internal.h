/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What the files of the source's side share; each function runs in the migration's own thread. */
#ifndef LPM_DAEMON_SOURCE_INTERNAL_H
#define LPM_DAEMON_SOURCE_INTERNAL_H

#include "daemon/handover.h"

#define LPM_SOURCE_CALL_TIMEOUT_S 20    /* one call to the peer */
#define LPM_SOURCE_QUIT_TIMEOUT_MS 2000 /* a mover that was told to */

/* ---- source-prepare.c ---- */

/* Is `name` a partition that runs here, or is powered off and defined? Its document in *out, a new
 * reference. */
gboolean lpm_source_check_partition(struct lpm_daemon *daemon, const char *name, json_t **out,
                                    GError **error);
/* The parameters that a restarted lpmd needs, for the journal: never the key. A new reference. */
json_t *lpm_source_parameters(const LpmMigration *migration);
/* The peer's clock against this one. */
gboolean lpm_source_measure_clock(LpmMigration *migration, GError **error);
/* Questions to both sides, and a handle of the QEMU that runs; nothing is changed. */
gboolean lpm_source_validate(LpmMigration *migration, GError **error);
/* All checks (validate.h), still fresh; errors stop it here, warnings are logged and kept. */
gboolean lpm_source_prove(LpmMigration *migration, GError **error);
/* source-forecast.c: begins to make the forecast, which is stored as soon as it is there. */
void lpm_source_forecast_begin(LpmMigration *migration);
/* The checks are over: what the link to the target carries, 0 if they have not sampled it. */
void lpm_source_forecast_link(LpmMigration *migration, double link_rate, guint64 retained_bytes);
/* With a limit of the suspension that was asked for: waits for the forecast, and fails when that
 * cannot hold it (SUSPENSION_TOO_LONG). Without one: TRUE at once. */
gboolean lpm_source_forecast_holds(LpmMigration *migration, GError **error);
/* The target's shell, sockets and both movers, connected. */
gboolean lpm_source_prepare(LpmMigration *migration, GError **error);
/* The session's half on this side: sockets, a mover, and its link to the target's. */
gboolean lpm_source_connect(LpmMigration *migration, GError **error);
/* Serves the mover's wish for a link until the migration ends; for lpm_migrations_run. */
void lpm_source_keep_linked(LpmMigration *migration);

/* ---- source.c ---- */

/* Begins one that has waited in the queue: looks its partition up again. */
void lpm_source_begin_queued(LpmMigration *migration);

/* ---- source-copy.c ---- */

/* Begins libvirt's call in a thread of its own. */
void lpm_source_call_libvirt(LpmMigration *migration);

enum lpm_copy_end {
    LPM_COPY_COMPLETE,  /* a complete copy, with the reply to Finish held */
    LPM_COPY_SWITCHING, /* post-copy is decided: lpm_source_post_copy */
    LPM_COPY_FAILED,    /* *error tells why */
    LPM_COPY_CLOSING,   /* lpmd stops */
};
enum lpm_copy_end lpm_source_copy(LpmMigration *migration, GError **error);

/* The next thing to act on while libvirt's call runs; a tick if there is none. */
enum lpm_wake {
    LPM_WAKE_HELD,
    LPM_WAKE_RETURNED,
    LPM_WAKE_FAILED,
    LPM_WAKE_STOP,
    LPM_WAKE_SUSPENDED,
    LPM_WAKE_SWITCHED, /* the word to run has passed although nobody here asked for post-copy */
    LPM_WAKE_TICK,
};
enum lpm_wake lpm_source_wait_copying(LpmMigration *migration);
/* Makes libvirt's view of the progress the migration's while it copies. For a thread of its own: at
 * the end of the copy QEMU writes with its monitor held, and a link that is gone then holds up
 * whoever asks libvirt, for as long as it is gone. */
void lpm_source_watch_progress(LpmMigration *migration);
/* Sets *error to why the copy ended without being complete. */
void lpm_source_copy_failed(LpmMigration *migration, GError **error);

/* ---- source-post-copy.c ---- */

/* Is it time (R3.4)? Of what lpm_source_watch_progress saw last. */
gboolean lpm_source_wants_post_copy(LpmMigration *migration);
/* P1 of handover.h. FALSE, with nothing decided, when an operator has stopped it. */
gboolean lpm_source_decide_switching(LpmMigration *migration, GError **error);
/* From P2 on, until it is known what became of it; with KEPT, *error tells why. */
enum lpm_outcome lpm_source_post_copy(LpmMigration *migration, GError **error);

/* ---- source-end.c ---- */

/* Waits at most `limit_us` for libvirt's call to return; TRUE when none runs any more. */
gboolean lpm_source_end_call_thread(LpmMigration *migration, gint64 limit_us);

/* The partition runs on the target: what is left of it here goes. Ends the migration. */
void lpm_source_clean(LpmMigration *migration);
/* The partition shall run here and nowhere else; ends the migration with `failure` (borrowed). */
void lpm_source_roll_back(LpmMigration *migration, const GError *failure);
/* Past the decision, and the target's copy is no more (decision `ended`): nothing runs, and the
 * definition stays here. */
void lpm_source_end_without_copy(LpmMigration *migration);

#endif
