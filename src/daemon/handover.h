/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* clang-format off */
/*
 * The hand-over: who owns the partition, decided by facts, journalled before it is acted on.
 *
 * Theory. When libvirt's Finish has succeeded on the target, two complete copies exist: the source,
 * stopped, and the target, paused. libvirt would now trust a reply to tell which goes on, and a
 * lost reply makes both run. Here the reply is held in the mover, and ownership passes so:
 *
 *   source                                            target
 *   S1 asks "prepared?"                      ->   T1 loaded, paused, stream hash equal?
 *                                                 T2 journal: prepared
 *   S2 freezes its QEMU (SIGSTOP, proved)    <-      yes
 *   S3 looks again: reply still held, QEMU never resumed, nobody asked to stop
 *   S4 journal: ending        -- the decision; before it the source alone can undo everything
 *   S5 kills its QEMU, proves the end by its process
 *   S6 journal: committed
 *   S7 says "commit"                         ->   T3 journal: committed
 *                                                 T4 resumes; journal: running
 *   S8 journal: running; releases the reply  <-      runs since ...
 *
 * Rule 1 (the target does not start while the source's QEMU can run): T4 follows S7, S7 follows
 * the proof S5. The target starts on that word only, never by itself, never by time.
 * Rule 2 (the source is not ended before the target is ready): S5 follows T2.
 * Rule 3 (nobody decides by time-out): S1 and S7 are repeated until they are answered. Before S4 an
 * operator, or a failure on the source, can decide against it; after S4 the only way is forward.
 *
 * Why freeze first: between a look and a kill the reply could get lost (the mover dies, libvirtd
 * restarts) and libvirt resume the source for a moment; killed then, the partition would have lost
 * what it did in that moment. Frozen, it cannot run whatever anybody asks of it, so the look in S3
 * stays true until S5, and a look that fails is undone by SIGCONT.
 */
/* clang-format on */
#ifndef LPM_DAEMON_HANDOVER_H
#define LPM_DAEMON_HANDOVER_H

#include "daemon/migration.h"

enum lpm_outcome {
    LPM_OUTCOME_HANDED_OVER, /* the target owns the partition and runs it */
    LPM_OUTCOME_KEPT,    /* nothing was decided: the source owns it, and must be rolled back to */
    LPM_OUTCOME_ENDED,   /* the target's QEMU, or its host, ended with the copy: nothing runs */
    LPM_OUTCOME_CLOSING, /* lpmd stops: the next start goes on from the journal */
};

/* Source, S1 to S8, with libvirt's reply held. Blocks for as long as the peer is out of reach; the
 * state is then in-doubt. With KEPT, *error tells why. The migration's own thread. */
enum lpm_outcome lpm_handover_source(LpmMigration *migration, GError **error);

/* Source, from S5 on, for one whose journal says `ending`: HANDED_OVER, ENDED or CLOSING. */
enum lpm_outcome lpm_handover_source_forward(LpmMigration *migration);

/* Target, T1 and T2. Idempotent. NOT_PREPARED when the partition is not loaded and paused here. */
gboolean lpm_handover_target_prepared(LpmMigration *migration, GError **error);

/* Target, T3 and T4, on the source's word (or an operator's fencing) only. Idempotent.
 * `resumed_us` is QEMU's stamp of RESUME, 0 if it was not seen. NOT_PREPARED before T2;
 * PARTITION_ENDED when the copy's QEMU is gone. */
gboolean lpm_handover_target_commit(LpmMigration *migration, gint64 *resumed_us, GError **error);

#endif
