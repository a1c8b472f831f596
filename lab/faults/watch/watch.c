/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/*
 * lpm-watch: sees at which times which copy of a partition could run.
 *
 *   lpm-watch --log FILE HOST=HOLDER-PID...
 *
 * Goals. Whether two copies of a partition ever ran at the same time is decided from what this
 * program writes down, so it relies on nothing that takes part in the move: it asks neither lpmd
 * nor libvirt. It is to cost next to nothing beside a thousand migrations on a small machine.
 *
 * Evidence. The kernel tells of each program that is started; those with -uuid in the network of
 * one of the hosts are copies. A copy's own STOP and RESUME come from a monitor that only this
 * program uses, stamped by QEMU: RESUME before the processors start, STOP after they have stopped,
 * so what lies between is never too short. Its death comes from a pidfd. While there are two copies
 * of one partition, the threads of their processors are looked at each millisecond: whether they
 * are stopped by a signal, are exiting, and how much they have run.
 *
 * Limits. A line that says since when something is so has the last look at which it was not so
 * beside it (not_before_us): only what lies before is certain. FILE is written line by line; it
 * ends with the program, at SIGTERM or SIGINT.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "births.h"
#include "copy.h"

#define HOSTS_MAX 8u
#define FAST_US 1000    /* two copies, or one whose monitor is not there yet */
#define SLOW_US 10000   /* one copy: only frozen and thawed, for the record */
#define SCAN_US 20000   /* births, where the kernel does not tell */
#define SPENT_US 100000 /* how often the processors' time is written down */
#define CONNECT_US (30 * G_USEC_PER_SEC)

struct watch {
    struct host hosts[HOSTS_MAX];
    guint n_hosts;
    GPtrArray *copies; /* struct copy, owned */
    struct journal journal;
    int epoll, births, timer, signals;
    gint64 period_us, scanned_us;
};

/* What has happened is found by looking at everything: there are never more than a few copies. */
static gboolean add_source(struct watch *w, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    return epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void take_pid(void *user, pid_t pid)
{
    struct watch *w = user;
    for (guint i = 0; i < w->copies->len; i++) {
        if (((struct copy *)w->copies->pdata[i])->pid == pid)
            return;
    }
    struct copy *copy = copy_new(pid, w->hosts, w->n_hosts, &w->journal);
    if (!copy)
        return;
    g_ptr_array_add(w->copies, copy);
    add_source(w, copy->pidfd);
}

static void take_births(struct watch *w)
{
    pid_t pid = 0;
    while (w->births >= 0 && (pid = births_next(w->births)) > 0)
        take_pid(w, pid);
    gint64 now = now_us();
    if (pid < 0 || (w->births < 0 && now - w->scanned_us >= SCAN_US)) {
        births_scan(take_pid, w);
        w->scanned_us = now;
    }
}

static gboolean has_twin(const struct watch *w, const struct copy *copy)
{
    for (guint i = 0; i < w->copies->len; i++) {
        const struct copy *other = w->copies->pdata[i];
        if (other != copy && strcmp(other->uuid, copy->uuid) == 0)
            return TRUE;
    }
    return FALSE;
}

/* TRUE as soon as every thread is through with exiting, whether the process is reaped or not. */
static gboolean is_dead(const struct copy *copy)
{
    struct pollfd end = {.fd = copy->pidfd, .events = POLLIN};
    return poll(&end, 1, 0) > 0;
}

static void serve_copy(struct watch *w, struct copy *copy, gboolean paired)
{
    if (copy->monitor == MONITOR_CONNECTING && monitor_connect(copy, &w->journal))
        add_source(w, copy->monitor_fd);
    if (copy->monitor_fd >= 0)
        monitor_read(copy, &w->journal);
    copy_look(copy, &w->journal);
    if (paired && now_us() - copy->spent_from_us >= SPENT_US)
        copy_write_spent(copy, &w->journal);
}

/* How soon the next look has to be; 0: not before something happens. */
static gint64 serve(struct watch *w)
{
    gint64 period = w->births < 0 ? SCAN_US : 0;
    take_births(w);
    for (guint i = 0; i < w->copies->len; i++) {
        struct copy *copy = w->copies->pdata[i];
        /* Asked first: what it has said until then is read after it. */
        gboolean dead = is_dead(copy), paired = has_twin(w, copy);
        serve_copy(w, copy, paired);
        if (dead) {
            journal_line(&w->journal,
                         "\"what\": \"gone\", \"pid\": %d, \"not_before_us\": %" PRId64, copy->pid,
                         copy->seen_us);
            g_ptr_array_remove_index(w->copies, i--);
            continue;
        }
        gboolean waits = copy->monitor < MONITOR_READY && copy->monitor != MONITOR_NONE &&
                         now_us() - copy->born_us < CONNECT_US;
        gint64 wanted = paired || waits ? FAST_US : SLOW_US;
        period = period ? MIN(period, wanted) : wanted;
    }
    return period;
}

static void set_period(struct watch *w, gint64 period_us)
{
    if (period_us == w->period_us)
        return;
    w->period_us = period_us;
    struct timespec t = {.tv_sec = 0, .tv_nsec = (long)period_us * 1000};
    struct itimerspec spec = {.it_interval = t, .it_value = t};
    timerfd_settime(w->timer, 0, &spec, NULL);
}

static gboolean ended(struct watch *w)
{
    struct signalfd_siginfo info;
    return read(w->signals, &info, sizeof info) == sizeof info;
}

static void run(struct watch *w)
{
    births_scan(take_pid, w);
    while (!ended(w)) {
        set_period(w, serve(w));
        fflush(w->journal.file);
        struct epoll_event events[16];
        int n = epoll_wait(w->epoll, events, G_N_ELEMENTS(events), -1);
        guint64 ticks;
        if ((n < 0 && errno != EINTR) ||
            (read(w->timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN))
            break;
    }
    for (guint i = 0; i < w->copies->len; i++)
        copy_write_spent(w->copies->pdata[i], &w->journal);
    journal_line(&w->journal, "\"what\": \"end\"");
}

static gboolean add_host(struct watch *w, const char *word)
{
    const char *equal = strchr(word, '=');
    struct stat s;
    if (!equal || equal == word || w->n_hosts == HOSTS_MAX)
        return FALSE;
    g_autofree char *path = g_strdup_printf("/proc/%d/ns/net", atoi(equal + 1));
    if (stat(path, &s) < 0)
        return FALSE;
    w->hosts[w->n_hosts++] = (struct host){
        .name = g_strndup(word, (gsize)(equal - word)), .dev = s.st_dev, .ino = s.st_ino};
    return TRUE;
}

static gboolean open_all(struct watch *w, const char *log)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    w->copies = g_ptr_array_new_with_free_func((GDestroyNotify)copy_free);
    w->journal.file = fopen(log, "ae");
    w->journal.wall_offset_us = g_get_real_time() - now_us();
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    w->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    w->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    w->births = births_open();
    return w->journal.file && w->epoll >= 0 && w->timer >= 0 && w->signals >= 0 &&
           add_source(w, w->timer) && add_source(w, w->signals) &&
           (w->births < 0 || add_source(w, w->births));
}

int main(int argc, char **argv)
{
    struct watch *w = g_new0(struct watch, 1);
    gboolean ok = argc >= 4 && strcmp(argv[1], "--log") == 0;
    for (int i = 3; ok && i < argc; i++)
        ok = add_host(w, argv[i]);
    if (!ok) {
        fprintf(stderr,
                "usage: lpm-watch --log FILE HOST=PID...: at most %u hosts, each with a "
                "process in its network namespace\n",
                HOSTS_MAX);
        return 2;
    }
    if (!open_all(w, argv[2])) {
        fprintf(stderr, "lpm-watch: %s: %s\n", argv[2], g_strerror(errno));
        return 1;
    }
    /* A look each millisecond is worth little if it has to wait for a turn. */
    struct sched_param first = {.sched_priority = 1};
    gboolean prompt = sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first) == 0;
    journal_line(&w->journal, "\"what\": \"begin\", \"connector\": %s, \"prompt\": %s",
                 w->births >= 0 ? "true" : "false", prompt ? "true" : "false");
    run(w);
    g_ptr_array_free(w->copies, TRUE);
    fclose(w->journal.file);
    for (guint i = 0; i < w->n_hosts; i++)
        g_free(w->hosts[i].name);
    close(w->epoll);
    close(w->timer);
    close(w->signals);
    if (w->births >= 0)
        close(w->births);
    g_free(w);
    return 0;
}
