/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The process of a partition's QEMU: identified once, held by a pidfd, ended for good and proved
 * ended by what the kernel shows of it, never by a reply or a libvirt state.
 *
 * Proof: the process is gone (pidfd readable), or every thread of /proc/PID/task carries
 * PF_EXITING (flag 4 of field 9 of its stat; linux/sched.h): such a thread never returns to user
 * mode, so no virtual processor can run again and no request can be issued. The kernel gives the
 * memory of a large guest back long after that, which is why the second proof is worth having.
 */
#ifndef LPM_HOST_QEMU_PROCESS_H
#define LPM_HOST_QEMU_PROCESS_H

#include <glib.h>
#include <sys/types.h>

typedef struct lpm_qemu_process LpmQemuProcess;

/* Finds the process by libvirt's `run_dir`/NAME.pid and takes a pidfd. The process's command line
 * must hold the partition's UUID, or the file is stale: LPM_E_QEMU_NOT_IDENTIFIED. Any thread. */
LpmQemuProcess *lpm_qemu_process_open(const char *run_dir, const char *name, const char *uuid,
                                      GError **error);

/* The same by what a journal kept: TRUE in *gone when no process has that pid and start time any
 * more (then NULL is returned without an error). */
LpmQemuProcess *lpm_qemu_process_reopen(pid_t pid, guint64 start_time, gboolean *gone,
                                        GError **error);
void lpm_qemu_process_free(LpmQemuProcess *process);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmQemuProcess, lpm_qemu_process_free)

/* What identifies it across a restart: pid and start time (clock ticks since boot, stat field 22).
 */
pid_t lpm_qemu_process_pid(const LpmQemuProcess *process);
guint64 lpm_qemu_process_start_time(const LpmQemuProcess *process);

/* SIGSTOP, then waits until no thread can run, at most `limit_ms`; on failure it is thawed again
 * (LPM_E_SOURCE_ALIVE). Reversible: what must be looked at before the end is decided is looked at
 * between freeze and end, where nothing, not even a command that waits in QEMU's monitor, can start
 * the processors any more. */
gboolean lpm_qemu_process_freeze(LpmQemuProcess *process, guint limit_ms, GError **error);
void lpm_qemu_process_thaw(LpmQemuProcess *process);

/* SIGSTOP, then waits until its main thread stands, at most `limit_ms`: from then on every thread
 * that comes out of what it is doing stands too, a traced one when it is let go. Undone by thaw,
 * and on failure (NOT_PREPARED). */
gboolean lpm_qemu_process_halt(LpmQemuProcess *process, guint limit_ms, GError **error);

/* TRUE when the proof above holds now. Never blocks. */
gboolean lpm_qemu_process_is_ended(const LpmQemuProcess *process);

/* SIGKILL, then waits for the proof, at most `limit_ms`; LPM_E_SOURCE_ALIVE with the pid if it does
 * not come (a thread stuck in the kernel). Safe to call again. */
gboolean lpm_qemu_process_end(LpmQemuProcess *process, guint limit_ms, GError **error);

/* The same until the process is gone, and with it what it had asked of its disks: the kernel waits
 * for that before. */
gboolean lpm_qemu_process_end_wholly(LpmQemuProcess *process, guint limit_ms, GError **error);

#endif
