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
 *
 * Post-copy. The target needs the source's QEMU while it runs already, so ownership passes earlier
 * and by another decision, of the target alone:
 *
 *   source                                            target
 *   P1 journal: switching     -- no `stop` from here; only the target can tell what became of it
 *      says "switching"                      ->   P1 journal: switching; gives up on its own no more
 *   P2 asks its QEMU to switch; it stops         ->  P3 the copy has loaded its devices; its
 *                                                        processors are held (processor-gate.h) while
 *                                                        libvirt's Finish, which starts it, passes;
 *                                                        unless told to abort before, or it fails,
 *                                                     P4 journal: switched   -- the decision
 *                                                     P5 lets the processors go: it runs, and fetches
 *   P6 asks "prepared?" when it seems complete   ->   P7 everything here? journal: prepared
 *   S4 to S8 as above                            <-      yes, switched
 *
 * Rule 1 holds since QEMU sends its state after it has stopped, and since nobody but lpmd lets the
 * copy's processors go. Whoever dies between P3 and P4, the copy has not run an instruction: it is
 * killed, is gone, and `aborted` follows. lpmd itself may die too. Before P4 the kernel kills the copy
 * with it, or leaves it stopped as a whole, which it is from just before P4 until P5: the next lpmd
 * ends what it finds without `switched`, and lets go what it finds with it. What QEMU's devices do as
 * they are started, the requests that were in the guest's queues above all, the source does once more,
 * with the same bytes; and not before the copy is gone with those of it that were under way.
 *
 * Where the processors cannot be held (lpmd says why), P4 comes before Finish may pass, and the death
 * of the target's mover or libvirtd between the two ends the partition.
 *
 * Until the target has said "aborted"
 * to it, a source that has journalled `switching` is not resumed; then its QEMU is taken back
 * (host/take-back.c). It can be as long as its connection has not broken, so this side keeps the
 * sockets of QEMU and of libvirt from P1 on until it knows of P4, whatever becomes of the movers
 * (lpm_migration_let_go), and its QEMU is not told that the target has every page, which would end
 * its migration. The target takes P4 itself back if the way to the copy breaks before P5, or, where
 * they cannot be held, nobody hears the word to start: `aborted` behind `switched`, before anybody
 * has been told. From P5 to P7 either QEMU's end loses the
 * partition: it is said, never papered over.
 *
 * The model. docs/model/handover.pml goes through all orders of these steps, with any number of
 * faults; its labels: S1_ASK S2_FREEZE S3_LOOK S4_DECIDE S5_END S6_COMMITTED S7_TELL S8_RUNNING
 * (S8_ENDED), T2_PREPARED T3_COMMITTED T4_RESUME T4_RUNNING, P1_SWITCHING P2_WAIT P3_START
 * P4_SWITCHED P5_OPEN P6_ENDING, and P2_LOST where neither copy can go on. docs/model/README.md has the rest.
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

/* Source, for post-copy: the target runs and has everything (P7). S4 to S8. */
enum lpm_outcome lpm_handover_source_switched(LpmMigration *migration);
/* Source: neither copy can go on. Ends what is left here and journals it: ENDED or CLOSING. */
enum lpm_outcome lpm_handover_source_lost(LpmMigration *migration);

/* Source: is its QEMU known and at hand (migration->qemu)? After a restart of lpmd the process is
 * found again by what the journal holds. FALSE with *gone TRUE when no process has that pid and
 * start time, which alone counts as its end; FALSE with an error when that cannot be told. */
gboolean lpm_handover_find_qemu(LpmMigration *migration, gboolean *gone, GError **error);

/* One of the words to the target, with what goes with it (borrowed; NULL for most): its answer (a
 * new reference) or its refusal. Waits at most LPM_SAY_LIMIT_S; silence decides nothing, the word
 * is said again. */
#define LPM_SAY_LIMIT_S 10
json_t *lpm_handover_say(LpmMigration *migration, const char *word, json_t *body, GError **error);
/* What a refusal means when the target's QEMU may have ended, or the target has ended the whole
 * migration before and does not know it among the active ones any more. Asks it. */
enum lpm_told { LPM_TOLD_RUNS, LPM_TOLD_ENDED, LPM_TOLD_ABORTED, LPM_TOLD_NOTHING };
enum lpm_told lpm_handover_read_refusal(LpmMigration *migration, const GError *error);

/* Target, in post-copy: P3 to P5. With `act` held, on a thread that may wait for the journal.
 * FALSE: libvirt does not answer, and nothing was done. */
gboolean lpm_handover_target_switch(LpmMigration *migration);
/* Target, after P4: has it everything? PARTITION_ENDED when its QEMU is gone. */
gboolean lpm_handover_target_complete(LpmMigration *migration, gboolean *complete, GError **error);

/* Target, T1 and T2, or P7. Idempotent. NOT_PREPARED when the partition is not loaded and paused
 * here. */
gboolean lpm_handover_target_prepared(LpmMigration *migration, GError **error);

/* Target, T3 and T4, on the source's word (or an operator's fencing) only. Idempotent.
 * `resumed_us` is QEMU's stamp of RESUME, 0 if it was not seen. NOT_PREPARED before T2;
 * PARTITION_ENDED when the copy's QEMU is gone. */
gboolean lpm_handover_target_commit(LpmMigration *migration, gint64 *resumed_us, GError **error);

#endif
