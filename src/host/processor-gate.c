/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/processor-gate.h"

#include "base/clock.h"
#include "base/error.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* The two names of this in Linux's and in glibc's headers do not agree. */
#define SYSCALL_STOP (SIGTRAP | 0x80)

/* How long the thread sleeps when there is nothing to see. A processor of KVM makes some ten system
 * calls on its way to the guest, each of which waits for this. */
#define WATCH_US 50
#define IDLE_US 5000

struct tracee {
    pid_t tid;
    gboolean kvm, all; /* which kind; `all`: TCG's one thread for all processors */
    gboolean stopped;  /* in a ptrace-stop that was not ended yet */
    gboolean restless; /* was stopped where it must not be held, and has gone on */
    gboolean gone;
    int signal; /* it was about to take; given back when it goes on */
};

/* Where a thread that is held has to stand. */
enum hold { HOLD_ANYWHERE, HOLD_AT_REST };

enum place { PLACE_NONE, PLACE_CLOSED, PLACE_STAYS, PLACE_OPEN, PLACE_LEFT };

struct lpm_processor_gate {
    LpmQemuProcess *process; /* borrowed */
    GThread *thread;

    GMutex lock;
    GCond moved;
    /* under lock */
    enum place wanted, reached;
    guint limit_ms;
    GError *failure; /* of the last step that was asked for */

    /* owned by the thread, after close has found them */
    struct tracee *tracees;
    guint count;
    gboolean passing; /* those of KVM go on, up to the guest */
};

/* ---- which threads ---- */

static gboolean is_processor(const char *name, struct tracee *tracee)
{
    guint number;
    char kind[4], rest;

    tracee->all = strcmp(name, "ALL CPUs/TCG") == 0;
    if (tracee->all)
        return TRUE;
    if (sscanf(name, "CPU %u/%3[A-Z]%c", &number, kind, &rest) != 2)
        return FALSE;
    tracee->kvm = strcmp(kind, "KVM") == 0;
    return tracee->kvm || strcmp(kind, "TCG") == 0;
}

static void add_thread(GArray *found, const char *folder, const char *tid)
{
    g_autofree char *path = g_strdup_printf("%s/%s/comm", folder, tid);
    g_autofree char *name = NULL;
    struct tracee tracee = {.tid = (pid_t)g_ascii_strtoll(tid, NULL, 10)};

    if (g_file_get_contents(path, &name, NULL, NULL) && is_processor(g_strchomp(name), &tracee))
        g_array_append_val(found, tracee);
}

static gboolean find_threads(LpmProcessorGate *gate, guint processors, GError **error)
{
    g_autofree char *folder =
        g_strdup_printf("/proc/%d/task", (int)lpm_qemu_process_pid(gate->process));
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(struct tracee));
    const char *tid;

    while (dir && (tid = g_dir_read_name(dir)))
        add_thread(found, folder, tid);
    gboolean one_for_all = found->len == 1 && g_array_index(found, struct tracee, 0).all;
    if (!found->len || (found->len != processors && !one_for_all))
        return lpm_fail(error, LPM_E_NOT_PREPARED,
                        "process %d has %u threads that are named for processors, of %u",
                        (int)lpm_qemu_process_pid(gate->process), found->len, processors);
    gsize bytes = found->len * sizeof(struct tracee);
    gate->count = found->len;
    gate->tracees = g_memdup2(found->data, bytes);
    return TRUE;
}

/* ---- ptrace, on the thread ---- */

static gboolean call(const struct tracee *tracee, enum __ptrace_request request, guintptr data)
{
    return ptrace(request, tracee->tid, NULL, (void *)data) == 0;
}

static void go_on(struct tracee *tracee)
{
    call(tracee, PTRACE_SYSCALL, (guintptr)tracee->signal);
    tracee->stopped = FALSE;
    tracee->signal = 0;
}

static gboolean enters_guest(const struct tracee *tracee)
{
    struct __ptrace_syscall_info info = {0};

    if (ptrace(PTRACE_GET_SYSCALL_INFO, tracee->tid, (void *)sizeof(info), &info) <= 0)
        return TRUE; /* not to be told: it waits */
    return info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr == SYS_ioctl &&
           (guint)info.entry.args[1] == KVM_RUN;
}

/* What becomes of a thread of KVM that has stopped somewhere on its way. */
static void let_pass(struct tracee *tracee, int status)
{
    int number = WSTOPSIG(status), event = status >> 16;

    if (number == SYSCALL_STOP && enters_guest(tracee))
        return;
    if (event == PTRACE_EVENT_STOP && number != SIGTRAP) {
        /* Somebody has stopped the process as a whole: so is this thread, until he lets it go. */
        call(tracee, PTRACE_LISTEN, 0);
        tracee->stopped = FALSE;
        return;
    }
    go_on(tracee);
}

static void take_note(LpmProcessorGate *gate, struct tracee *tracee, int status)
{
    if (!WIFSTOPPED(status)) {
        tracee->gone = TRUE;
        return;
    }
    tracee->stopped = TRUE;
    if (status >> 16 == 0 && WSTOPSIG(status) != SYSCALL_STOP)
        tracee->signal = WSTOPSIG(status);
    if (gate->passing && tracee->kvm)
        let_pass(tracee, status);
}

/* Takes what has happened; FALSE when nothing has. Only this thread's own: lpmd's other children
 * are those of other threads. */
static gboolean look(LpmProcessorGate *gate)
{
    int status;
    pid_t tid = waitpid(-1, &status, __WALL | __WNOTHREAD | WNOHANG);

    for (guint i = 0; tid > 0 && i < gate->count; i++) {
        if (gate->tracees[i].tid == tid)
            take_note(gate, &gate->tracees[i], status);
    }
    return tid > 0;
}

static gboolean fail_with(LpmProcessorGate *gate, const char *what, GError **error)
{
    return lpm_fail(error, LPM_E_NOT_PREPARED, "the processors of process %d %s: %s",
                    (int)lpm_qemu_process_pid(gate->process), what, g_strerror(errno));
}

/* Of a thread that has stopped: it waits for a condition, which is how QEMU has a processor rest.
 * Anywhere else it may hold QEMU's lock, or have been woken as the next to take it, and nobody gets
 * that while it stands: not the main thread either, which is to start the copy. (The C library asks
 * for a condition by FUTEX_WAIT_BITSET and for a lock by FUTEX_WAIT; where it does otherwise there
 * is no gate.) */
static gboolean rests(const LpmProcessorGate *gate, const struct tracee *tracee)
{
    g_autofree char *path = g_strdup_printf(
        "/proc/%d/task/%d/syscall", (int)lpm_qemu_process_pid(gate->process), (int)tracee->tid);
    g_autofree char *text = NULL;
    unsigned long operation;
    long number;

    return g_file_get_contents(path, &text, NULL, NULL) &&
           sscanf(text, "%ld %*s %lx", &number, &operation) == 2 && number == SYS_futex &&
           ((int)operation & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
}

static gboolean is_held(const LpmProcessorGate *gate, struct tracee *tracee, enum hold hold)
{
    if (tracee->restless) {
        tracee->restless = FALSE;
        call(tracee, PTRACE_INTERRUPT, 0);
    }
    if (!tracee->stopped || hold == HOLD_ANYWHERE || tracee->kvm || rests(gate, tracee))
        return tracee->stopped;
    call(tracee, PTRACE_CONT, (guintptr)tracee->signal);
    tracee->stopped = FALSE;
    tracee->signal = 0;
    tracee->restless = TRUE;
    return FALSE;
}

/* Until each of them stands. */
static gboolean await_stop(LpmProcessorGate *gate, enum hold hold, guint limit_ms, GError **error)
{
    gint64 deadline = lpm_monotonic_us() + (gint64)limit_ms * 1000;

    for (;;) {
        gboolean all = TRUE;

        while (look(gate))
            continue;
        for (guint i = 0; i < gate->count; i++) {
            if (gate->tracees[i].gone) {
                errno = ESRCH;
                return fail_with(gate, "have ended", error);
            }
            all = is_held(gate, &gate->tracees[i], hold) && all;
        }
        if (all)
            return TRUE;
        if (lpm_monotonic_us() > deadline) {
            errno = ETIMEDOUT;
            return fail_with(gate, "do not stop", error);
        }
        g_usleep(WATCH_US);
    }
}

static gboolean set_options(LpmProcessorGate *gate, guintptr options, GError **error)
{
    for (guint i = 0; i < gate->count; i++) {
        if (!call(&gate->tracees[i], PTRACE_SETOPTIONS, options))
            return fail_with(gate, "cannot be held", error);
    }
    return TRUE;
}

/* The end of this thread undoes what is done here, as long as it is not to kill for it. */
static gboolean do_close(LpmProcessorGate *gate, guint limit_ms, GError **error)
{
    for (guint i = 0; i < gate->count; i++) {
        if (!call(&gate->tracees[i], PTRACE_SEIZE, PTRACE_O_TRACESYSGOOD) ||
            !call(&gate->tracees[i], PTRACE_INTERRUPT, 0))
            return fail_with(gate, "cannot be traced", error);
    }
    if (!await_stop(gate, HOLD_AT_REST, limit_ms, error) ||
        !set_options(gate, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL, error))
        return FALSE;
    gate->passing = TRUE;
    for (guint i = 0; i < gate->count; i++) {
        if (gate->tracees[i].kvm)
            go_on(&gate->tracees[i]);
    }
    return TRUE;
}

/* SIGSTOP first: without the order to kill, and without it, this thread's end would be the start.
 */
static gboolean do_stay(LpmProcessorGate *gate, guint limit_ms, GError **error)
{
    gate->passing = FALSE;
    for (guint i = 0; i < gate->count; i++) {
        if (!gate->tracees[i].stopped)
            call(&gate->tracees[i], PTRACE_INTERRUPT, 0);
    }
    return await_stop(gate, HOLD_ANYWHERE, limit_ms, error) &&
           lpm_qemu_process_halt(gate->process, limit_ms, error) &&
           set_options(gate, PTRACE_O_TRACESYSGOOD, error);
}

static gboolean do_open(LpmProcessorGate *gate, GError **error)
{
    gboolean ok = TRUE;

    lpm_qemu_process_thaw(gate->process);
    for (guint i = 0; i < gate->count; i++)
        ok = call(&gate->tracees[i], PTRACE_DETACH, (guintptr)gate->tracees[i].signal) && ok;
    gate->count = 0;
    return ok || fail_with(gate, "have ended", error);
}

static gboolean do_step(LpmProcessorGate *gate, enum place wanted, guint limit_ms, GError **error)
{
    switch (wanted) {
    case PLACE_CLOSED:
        return do_close(gate, limit_ms, error);
    case PLACE_STAYS:
        return do_stay(gate, limit_ms, error);
    case PLACE_OPEN:
        return do_open(gate, error);
    case PLACE_NONE:
    case PLACE_LEFT:
        break;
    }
    return TRUE;
}

/* Lock held. Sleeps until there is something to do, or to see. */
static void rest(LpmProcessorGate *gate)
{
    gint64 pause = gate->passing ? WATCH_US : IDLE_US;

    g_cond_wait_until(&gate->moved, &gate->lock, g_get_monotonic_time() + pause);
}

static gpointer run(gpointer opaque)
{
    LpmProcessorGate *gate = opaque;

    g_mutex_lock(&gate->lock);
    while (gate->wanted != PLACE_LEFT) {
        if (gate->wanted == gate->reached) {
            rest(gate);
            while (look(gate))
                continue;
            continue;
        }
        enum place wanted = gate->wanted;
        guint limit_ms = gate->limit_ms;
        GError *failure = NULL;

        g_mutex_unlock(&gate->lock);
        do_step(gate, wanted, limit_ms, &failure);
        g_mutex_lock(&gate->lock);
        gate->failure = failure;
        gate->reached = wanted;
        g_cond_broadcast(&gate->moved);
    }
    g_mutex_unlock(&gate->lock);
    return NULL;
}

/* ---- from outside ---- */

static gboolean go_to(LpmProcessorGate *gate, enum place place, guint limit_ms, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&gate->lock);

    gate->wanted = place;
    gate->limit_ms = limit_ms;
    g_cond_broadcast(&gate->moved);
    while (gate->reached != place)
        g_cond_wait(&gate->moved, &gate->lock);
    if (!gate->failure)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&gate->failure));
    return FALSE;
}

LpmProcessorGate *lpm_processor_gate_close(LpmQemuProcess *process, guint processors,
                                           guint limit_ms, GError **error)
{
    LpmProcessorGate *gate = g_new0(LpmProcessorGate, 1);

    gate->process = process;
    g_mutex_init(&gate->lock);
    g_cond_init(&gate->moved);
    gboolean ok = find_threads(gate, processors, error);
    if (ok) {
        gate->thread = g_thread_new("processor-gate", run, gate);
        ok = go_to(gate, PLACE_CLOSED, limit_ms, error);
    }
    if (ok)
        return gate;
    lpm_processor_gate_free(gate);
    return NULL;
}

gboolean lpm_processor_gate_stay(LpmProcessorGate *gate, guint limit_ms, GError **error)
{
    return go_to(gate, PLACE_STAYS, limit_ms, error);
}

gboolean lpm_processor_gate_open(LpmProcessorGate *gate, GError **error)
{
    return go_to(gate, PLACE_OPEN, 0, error);
}

void lpm_processor_gate_free(LpmProcessorGate *gate)
{
    if (!gate)
        return;
    g_mutex_lock(&gate->lock);
    gate->wanted = PLACE_LEFT;
    g_cond_broadcast(&gate->moved);
    g_mutex_unlock(&gate->lock);
    if (gate->thread)
        g_thread_join(gate->thread);
    g_mutex_clear(&gate->lock);
    g_cond_clear(&gate->moved);
    g_free(gate->tracees);
    g_free(gate);
}
