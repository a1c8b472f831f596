/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/qemu-process.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fdio.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FLAG_EXITING 0x4u /* PF_EXITING of the kernel's sched.h */

struct lpm_qemu_process { /* immutable after open */
    pid_t pid;
    guint64 start_time;
    int pidfd;
};

struct stat_fields {
    char state;         /* field 3 */
    guint flags;        /* field 9 */
    guint threads;      /* field 20 */
    guint64 start_time; /* field 22, clock ticks since boot */
};

/* Fields of /proc/.../stat after the command name, which may hold spaces and brackets: counting
 * starts behind the last ')'. */
static gboolean read_stat(const char *path, struct stat_fields *out)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return FALSE;
    char *rest = strrchr(text, ')');
    if (!rest || !rest[1])
        return FALSE;
    g_auto(GStrv) fields = g_strsplit(rest + 2, " ", -1); /* [0] is field 3 */
    if (g_strv_length(fields) < 20)
        return FALSE;
    out->state = fields[0][0];
    out->flags = (guint)g_ascii_strtoull(fields[6], NULL, 10);
    out->threads = (guint)g_ascii_strtoull(fields[17], NULL, 10);
    out->start_time = g_ascii_strtoull(fields[19], NULL, 10);
    return TRUE;
}

static gboolean read_process_stat(pid_t pid, struct stat_fields *out)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);

    return read_stat(path, out);
}

static LpmQemuProcess *open_pid(pid_t pid, GError **error)
{
    lpm_autofd pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct stat_fields stat;

    if (pidfd < 0 || !read_process_stat(pid, &stat)) {
        lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED, "process %d cannot be opened: %s", (int)pid,
                 g_strerror(errno));
        return NULL;
    }
    LpmQemuProcess *process = g_new0(LpmQemuProcess, 1);
    process->pid = pid;
    process->start_time = stat.start_time;
    process->pidfd = lpm_steal_fd(&pidfd);
    return process;
}

/* The command line is a list of NUL-terminated words; one of them must hold the UUID. */
static gboolean command_line_names(pid_t pid, const char *uuid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", (int)pid);
    g_autofree char *text = NULL;
    gsize length = 0;

    if (!g_file_get_contents(path, &text, &length, NULL))
        return FALSE;
    return memmem(text, length, uuid, strlen(uuid)) != NULL;
}

LpmQemuProcess *lpm_qemu_process_open(const char *run_dir, const char *name, const char *uuid,
                                      GError **error)
{
    g_autofree char *path = g_strdup_printf("%s/%s.pid", run_dir, name);
    g_autofree char *text = NULL;
    g_autoptr(GError) reason = NULL;

    if (!g_file_get_contents(path, &text, NULL, &reason)) {
        lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED, "%s", reason->message);
        return NULL;
    }
    pid_t pid = (pid_t)strtol(text, NULL, 10);
    if (pid <= 1) {
        lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED, "%s holds no process id", path);
        return NULL;
    }
    /* The pidfd comes first: a pid that is reused between the two steps fails the second. */
    g_autoptr(LpmQemuProcess) process = open_pid(pid, error);
    if (process && !command_line_names(pid, uuid)) {
        lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED, "process %d of %s is not partition %s", (int)pid,
                 path, uuid);
        return NULL;
    }
    return g_steal_pointer(&process);
}

LpmQemuProcess *lpm_qemu_process_reopen(pid_t pid, guint64 start_time, gboolean *gone,
                                        GError **error)
{
    g_autoptr(GError) reason = NULL;
    g_autoptr(LpmQemuProcess) process = NULL;

    *gone = FALSE;
    process = open_pid(pid, &reason);
    if (process && process->start_time == start_time)
        return g_steal_pointer(&process);
    struct stat_fields now;
    *gone = process != NULL || !read_process_stat(pid, &now) || now.start_time != start_time;
    if (!*gone)
        g_propagate_error(error, g_steal_pointer(&reason));
    return NULL;
}

void lpm_qemu_process_free(LpmQemuProcess *process)
{
    if (!process)
        return;
    close(process->pidfd);
    g_free(process);
}

pid_t lpm_qemu_process_pid(const LpmQemuProcess *process)
{
    return process->pid;
}

guint64 lpm_qemu_process_start_time(const LpmQemuProcess *process)
{
    return process->start_time;
}

static gboolean is_gone(const LpmQemuProcess *process)
{
    struct pollfd p = {.fd = process->pidfd, .events = POLLIN};

    return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

/* Never returns to user mode again. */
static gboolean is_exiting(const struct stat_fields *thread)
{
    return (thread->flags & FLAG_EXITING) != 0;
}

/* Stopped by a signal, or ended. */
static gboolean is_stopped(const struct stat_fields *thread)
{
    return is_exiting(thread) || strchr("TtZX", thread->state) != NULL;
}

/* How many threads the folder showed, or 0 when one of them does not pass. */
static guint count_threads(const char *folder, gboolean (*passes)(const struct stat_fields *))
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;
    guint seen = 0;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_strdup_printf("%s/%s/stat", folder, name);
        struct stat_fields thread;

        if (read_stat(path, &thread) && !passes(&thread))
            return 0;
        seen++;
    }
    return seen;
}

/* The kernel ends the listing early when a thread vanishes under it, so a listing counts only if it
 * showed as many threads as the process had before and after. A pid that was reused meanwhile can
 * only make this FALSE for a moment: the pidfd then says "gone". */
static gboolean all_threads(pid_t pid, gboolean (*pass)(const struct stat_fields *))
{
    g_autofree char *folder = g_strdup_printf("/proc/%d/task", (int)pid);
    struct stat_fields before, after;

    if (!read_process_stat(pid, &before))
        return FALSE;
    guint seen = count_threads(folder, pass);
    return seen > 0 && seen == before.threads && read_process_stat(pid, &after) &&
           seen == after.threads;
}

gboolean lpm_qemu_process_is_ended(const LpmQemuProcess *process)
{
    return is_gone(process) || all_threads(process->pid, is_exiting);
}

static gboolean send_signal(const LpmQemuProcess *process, int signal_number, GError **error)
{
    if (syscall(SYS_pidfd_send_signal, process->pidfd, signal_number, NULL, 0) < 0 &&
        errno != ESRCH)
        return lpm_fail(error, LPM_E_SOURCE_ALIVE, "process %d cannot be signalled: %s",
                        (int)process->pid, g_strerror(errno));
    return TRUE;
}

/* Looks every millisecond, or when the process ends, until `pass` holds for every thread. */
static gboolean wait_for_threads(const LpmQemuProcess *process, guint limit_ms,
                                 gboolean (*pass)(const struct stat_fields *))
{
    gint64 deadline = lpm_monotonic_us() + (gint64)limit_ms * 1000;

    while (!is_gone(process) && !all_threads(process->pid, pass)) {
        struct pollfd p = {.fd = process->pidfd, .events = POLLIN};

        if (lpm_monotonic_us() > deadline)
            return FALSE;
        poll(&p, 1, 1);
    }
    return TRUE;
}

gboolean lpm_qemu_process_freeze(LpmQemuProcess *process, guint limit_ms, GError **error)
{
    if (!send_signal(process, SIGSTOP, error))
        return FALSE;
    if (wait_for_threads(process, limit_ms, is_stopped))
        return TRUE;
    lpm_qemu_process_thaw(process);
    return lpm_fail(error, LPM_E_SOURCE_ALIVE, "process %d did not stop within %u ms",
                    (int)process->pid, limit_ms);
}

void lpm_qemu_process_thaw(LpmQemuProcess *process)
{
    send_signal(process, SIGCONT, NULL);
}

gboolean lpm_qemu_process_halt(LpmQemuProcess *process, guint limit_ms, GError **error)
{
    gint64 deadline = lpm_monotonic_us() + (gint64)limit_ms * 1000;
    g_autofree char *path =
        g_strdup_printf("/proc/%d/task/%d/stat", (int)process->pid, (int)process->pid);
    struct stat_fields main_thread;

    if (!send_signal(process, SIGSTOP, error))
        return FALSE;
    while (!is_gone(process) && read_stat(path, &main_thread)) {
        if (main_thread.state == 'T')
            return TRUE;
        if (lpm_monotonic_us() > deadline)
            break;
        g_usleep(100);
    }
    lpm_qemu_process_thaw(process);
    return lpm_fail(error, LPM_E_NOT_PREPARED, "process %d did not stop within %u ms",
                    (int)process->pid, limit_ms);
}

gboolean lpm_qemu_process_end(LpmQemuProcess *process, guint limit_ms, GError **error)
{
    if (!send_signal(process, SIGKILL, error))
        return FALSE;
    if (wait_for_threads(process, limit_ms, is_exiting))
        return TRUE;
    return lpm_fail(error, LPM_E_SOURCE_ALIVE, "process %d did not end within %u ms after SIGKILL",
                    (int)process->pid, limit_ms);
}

gboolean lpm_qemu_process_end_wholly(LpmQemuProcess *process, guint limit_ms, GError **error)
{
    struct pollfd p = {.fd = process->pidfd, .events = POLLIN};

    if (!send_signal(process, SIGKILL, error))
        return FALSE;
    if (poll(&p, 1, (int)limit_ms) == 1)
        return TRUE;
    return lpm_fail(error, LPM_E_SOURCE_ALIVE, "process %d is not gone %u ms after SIGKILL",
                    (int)process->pid, limit_ms);
}
