/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COMMAND_LINE_MAX (128 * 1024)
#define PF_EXITING 0x4u
#define LIST_EVERY_US 10000 /* how often threads are looked for while none is known */

gint64 now_us(void)
{
    return g_get_monotonic_time();
}

void journal_line(struct journal *journal, const char *members, ...)
{
    va_list ap;
    va_start(ap, members);
    fprintf(journal->file, "{\"t_us\": %" PRId64 ", ", now_us());
    vfprintf(journal->file, members, ap);
    fputs("}\n", journal->file);
    va_end(ap);
}

static const struct host *host_of(pid_t pid, const struct host *hosts, guint n_hosts)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/ns/net", pid);
    struct stat s;
    if (stat(path, &s) < 0)
        return NULL;
    for (guint i = 0; i < n_hosts; i++) {
        if (hosts[i].dev == s.st_dev && hosts[i].ino == s.st_ino)
            return &hosts[i];
    }
    return NULL;
}

/* The words of the command line; NULL when there are none. */
static char **words_of(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    g_autofree char *text = g_malloc(COMMAND_LINE_MAX);
    gssize have = 0, n;
    while (have < COMMAND_LINE_MAX &&
           (n = read(fd, text + have, COMMAND_LINE_MAX - (gsize)have)) > 0)
        have += n;
    close(fd);
    /* Few programs get past this: it is run for each program that the machine starts. */
    if (have <= 0 || !memmem(text, (gsize)have, "\0-uuid", sizeof "\0-uuid"))
        return NULL;
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    for (gssize at = 0; at < have; at += (gssize)strnlen(text + at, (gsize)(have - at)) + 1)
        g_ptr_array_add(words, g_strndup(text + at, (gsize)(have - at)));
    g_ptr_array_add(words, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&words), FALSE);
}

static void read_words(struct copy *copy, char **words)
{
    static const char prefix[] = "unix:" WATCH_FOLDER;
    for (; words[0]; words++) {
        if (strcmp(words[0], "-incoming") == 0)
            copy->incoming = TRUE;
        if (!words[1])
            break;
        if (strcmp(words[0], "-uuid") == 0 && g_uuid_string_is_valid(words[1]))
            copy->uuid = g_strdup(words[1]);
        if (strcmp(words[0], "-qmp") == 0 && g_str_has_prefix(words[1], prefix)) {
            const char *name = words[1] + strlen("unix:");
            copy->monitor_path =
                g_strdup_printf("/proc/%d/root%.*s", copy->pid, (int)strcspn(name, ","), name);
            copy->monitor = MONITOR_CONNECTING;
        }
    }
}

struct copy *copy_new(pid_t pid, const struct host *hosts, guint n_hosts, struct journal *journal)
{
    g_auto(GStrv) words = words_of(pid);
    const struct host *host = words ? host_of(pid, hosts, n_hosts) : NULL;
    int pidfd = host ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (pidfd < 0)
        return NULL;
    struct copy *copy = g_new0(struct copy, 1);
    *copy = (struct copy){.pid = pid, .host = host, .pidfd = pidfd, .monitor_fd = -1};
    copy->input = g_string_new(NULL);
    copy->cpus = g_array_new(FALSE, FALSE, sizeof(struct cpu));
    copy->born_us = copy->spent_from_us = now_us();
    read_words(copy, words);
    if (!copy->uuid) {
        copy_free(copy);
        return NULL;
    }
    journal_line(journal,
                 "\"what\": \"born\", \"host\": \"%s\", \"pid\": %d, \"uuid\": \"%s\", "
                 "\"incoming\": %s, \"monitor\": %s",
                 host->name, pid, copy->uuid, copy->incoming ? "true" : "false",
                 copy->monitor_path ? "true" : "false");
    return copy;
}

static void close_cpus(struct copy *copy)
{
    for (guint i = 0; i < copy->cpus->len; i++) {
        struct cpu *cpu = &g_array_index(copy->cpus, struct cpu, i);
        close(cpu->stat_fd);
        close(cpu->sched_fd);
    }
    g_array_set_size(copy->cpus, 0);
}

void copy_free(struct copy *copy)
{
    close_cpus(copy);
    g_array_free(copy->cpus, TRUE);
    g_string_free(copy->input, TRUE);
    close(copy->pidfd);
    if (copy->monitor_fd >= 0)
        close(copy->monitor_fd);
    g_free(copy->uuid);
    g_free(copy->monitor_path);
    g_free(copy);
}

/* Reads a small file of /proc as text; FALSE when the thread is gone. */
static gboolean look_at(int fd, char *text, gsize size)
{
    ssize_t n = pread(fd, text, size - 1, 0);
    if (n <= 0)
        return FALSE;
    text[n] = 0;
    return TRUE;
}

/* QEMU names the threads of processors "CPU 0/TCG", "CPU 1/KVM" or "ALL CPUs/TCG". */
static gboolean is_cpu(pid_t pid, const char *thread)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%s/comm", pid, thread);
    g_autofree char *name = NULL;
    return g_file_get_contents(path, &name, NULL, NULL) &&
           (g_str_has_prefix(name, "CPU ") || g_str_has_prefix(name, "ALL CPUs"));
}

static void list_cpus(struct copy *copy)
{
    copy->listed_us = now_us();
    copy->relist = FALSE;
    close_cpus(copy);
    g_autofree char *path = g_strdup_printf("/proc/%d/task", copy->pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *thread;
    while (dir && (thread = g_dir_read_name(dir))) {
        if (!is_cpu(copy->pid, thread))
            continue;
        g_autofree char *stat_path = g_build_filename(path, thread, "stat", NULL);
        g_autofree char *sched_path = g_build_filename(path, thread, "schedstat", NULL);
        char text[128];
        struct cpu cpu = {.stat_fd = open(stat_path, O_RDONLY | O_CLOEXEC),
                          .sched_fd = open(sched_path, O_RDONLY | O_CLOEXEC)};
        if (cpu.stat_fd >= 0 && cpu.sched_fd >= 0 && look_at(cpu.sched_fd, text, sizeof text)) {
            cpu.ran_ns = g_ascii_strtoull(text, NULL, 10);
            g_array_append_val(copy->cpus, cpu);
        } else {
            if (cpu.stat_fd >= 0)
                close(cpu.stat_fd);
            if (cpu.sched_fd >= 0)
                close(cpu.sched_fd);
        }
    }
}

/* State and flags of a thread, from its stat; the name in parentheses may hold anything. */
static gboolean parse_stat(const char *text, char *state, unsigned *flags)
{
    const char *end = strrchr(text, ')');
    return end && sscanf(end + 1, " %c %*d %*d %*d %*d %*d %u", state, flags) == 2;
}

void copy_look(struct copy *copy, struct journal *journal)
{
    gint64 now = now_us(), before = copy->seen_us;
    if (copy->exiting)
        return;
    if (copy->cpus->len == 0 || copy->relist) {
        if (now - copy->listed_us >= LIST_EVERY_US)
            list_cpus(copy);
        return;
    }
    guint left = 0, frozen = 0;
    for (guint i = 0; i < copy->cpus->len; i++) {
        struct cpu *cpu = &g_array_index(copy->cpus, struct cpu, i);
        char text[512], state = 0;
        unsigned flags = 0;
        if (!look_at(cpu->stat_fd, text, sizeof text) || !parse_stat(text, &state, &flags) ||
            (flags & PF_EXITING) || state == 'Z' || state == 'X')
            continue;
        left++;
        frozen += state == 'T';
        if (look_at(cpu->sched_fd, text, sizeof text)) {
            guint64 ran = g_ascii_strtoull(text, NULL, 10);
            copy->spent_ns += ran - cpu->ran_ns;
            cpu->ran_ns = ran;
        }
    }
    gboolean is_frozen = left > 0 && frozen == left;
    if (left == 0) {
        copy->exiting = TRUE;
        journal_line(journal, "\"what\": \"exiting\", \"pid\": %d, \"not_before_us\": %" PRId64,
                     copy->pid, before);
    } else if (is_frozen != copy->frozen) {
        copy->frozen = is_frozen;
        journal_line(journal, "\"what\": \"%s\", \"pid\": %d, \"not_before_us\": %" PRId64,
                     is_frozen ? "frozen" : "thawed", copy->pid, before);
    }
    /* The instant before the look: at that time the threads were still as the look found them, or
     * in the state of the look before. */
    copy->seen_us = now;
}

void copy_write_spent(struct copy *copy, struct journal *journal)
{
    gint64 now = now_us();
    journal_line(journal,
                 "\"what\": \"cpu\", \"pid\": %d, \"from_us\": %" PRId64 ", \"to_us\": %" PRId64
                 ", \"ns\": %" PRIu64 ", \"running\": %s",
                 copy->pid, copy->spent_from_us, now, copy->spent_ns,
                 copy->running ? "true" : "false");
    copy->spent_from_us = now;
    copy->spent_ns = 0;
}
