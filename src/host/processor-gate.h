/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * A gate before the virtual processors of a QEMU that has not started yet: QEMU and libvirt may do
 * whatever they do to start it, and no instruction of the guest is carried out until the gate is
 * opened. It is made of ptrace, and of the threads that QEMU names for processors ("CPU 0/KVM",
 * "CPU 0/TCG", "ALL CPUs/TCG"; libvirt always passes debug-threads=on).
 *
 * A thread of TCG runs the guest in user mode and is stopped, where it rests. One of KVM has work
 * of QEMU's own to do on the way to the start, for which the main thread waits (the guest's clock
 * is set in each of them), so it goes on, and is stopped where it enters the guest: at its call of
 * ioctl(KVM_RUN).
 *
 * Who dies when, is what matters. Until lpm_processor_gate_stay the kernel kills QEMU when lpmd
 * ends (PTRACE_O_EXITKILL). From then on it leaves QEMU stopped by SIGSTOP as a whole, so that what
 * the journal says can decide: SIGCONT, or the end. At no moment does lpmd's end start it.
 *
 * One thread owned by the gate does all of ptrace, which belongs to the thread that attached. The
 * functions below: any thread, one at a time.
 */
#ifndef LPM_HOST_PROCESSOR_GATE_H
#define LPM_HOST_PROCESSOR_GATE_H

#include "host/qemu-process.h"

typedef struct lpm_processor_gate LpmProcessorGate;

/* Closes it: when this returns, no thread of a processor can enter the guest. The caller knows that
 * none has so far. `process` is borrowed, and outlives the gate. NULL with NOT_PREPARED when there
 * are not exactly `processors` such threads, or they do not come to rest within `limit_ms`, or
 * ptrace is refused; QEMU is then as it was. */
LpmProcessorGate *lpm_processor_gate_close(LpmQemuProcess *process, guint processors,
                                           guint limit_ms, GError **error);

/* Stops all of QEMU, and has it stay stopped if lpmd ends. FALSE with NOT_PREPARED if it does not
 * stop within `limit_ms`: then lpmd's end still kills it. */
gboolean lpm_processor_gate_stay(LpmProcessorGate *gate, guint limit_ms, GError **error);

/* Lets everything go: that is the start. FALSE when QEMU has ended. The gate stays to be freed. */
gboolean lpm_processor_gate_open(LpmProcessorGate *gate, GError **error);

/* What was neither opened nor made to stay is killed. NULL is nothing. */
void lpm_processor_gate_free(LpmProcessorGate *gate);

#endif
