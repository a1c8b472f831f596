/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/*
 * One QEMU process of a partition: a copy. What it says itself, on a monitor that only the observer
 * uses, and what /proc says of its threads.
 */
#ifndef WATCH_COPY_H
#define WATCH_COPY_H

#include <glib.h>
#include <stdio.h>
#include <sys/types.h>

/* A monitor below this folder of the host is the observer's; the lab's guests have one there. */
#define WATCH_FOLDER "/run/lpm-watch/"

struct host {
    char *name;
    dev_t dev; /* of its network namespace */
    ino_t ino;
};

enum monitor_state {
    MONITOR_NONE,       /* its command line has none: the copy cannot be told to be running */
    MONITOR_CONNECTING, /* QEMU has not made the socket yet */
    MONITOR_GREETING,   /* connected; QEMU speaks first */
    MONITOR_ASKING,     /* asked for capabilities, then for the status */
    MONITOR_READY,      /* events arrive; `running` is known */
    MONITOR_CLOSED,
};

/* A processor's thread; its descriptors stay open, so that a look is two preads. */
struct cpu {
    int stat_fd, sched_fd;
    guint64 ran_ns; /* at the last look */
};

struct copy {
    pid_t pid;
    char *uuid;
    const struct host *host;
    gboolean incoming;
    int pidfd, monitor_fd;
    enum monitor_state monitor;
    char *monitor_path;
    GString *input;
    gboolean running; /* by its last STOP or RESUME, or its first answer */
    gint64 born_us;

    GArray *cpus;              /* struct cpu */
    gint64 listed_us, seen_us; /* last looks at the list of threads, and at the threads */
    gboolean frozen;           /* SIGSTOPped */
    gboolean exiting;          /* no processor's thread is there that is not exiting */
    gboolean relist;           /* there may be more threads than are known */
    guint64 spent_ns;          /* by the processors since spent_from_us */
    gint64 spent_from_us;
};

/* What all parts of the observer write to: one JSON object per line, all times CLOCK_MONOTONIC. */
struct journal {
    FILE *file;
    gint64 wall_offset_us; /* CLOCK_REALTIME - CLOCK_MONOTONIC, before the last step if any */
};

gint64 now_us(void);

/* Writes {"t_us": now, MEMBERS}; nothing in MEMBERS needs escaping. */
void journal_line(struct journal *journal, const char *members, ...) G_GNUC_PRINTF(2, 3);

/*
 * The copy that process PID is, NULL when it is no QEMU of a partition on one of the hosts or has
 * gone already. Writes its birth.
 */
struct copy *copy_new(pid_t pid, const struct host *hosts, guint n_hosts, struct journal *journal);
void copy_free(struct copy *copy);

/* Looks at the processors' threads; writes what has changed. */
void copy_look(struct copy *copy, struct journal *journal);

/* Writes what the processors have used since the last time, and begins anew. */
void copy_write_spent(struct copy *copy, struct journal *journal);

/* Tries to connect; TRUE when monitor_fd is to be watched from now on. */
gboolean monitor_connect(struct copy *copy, struct journal *journal);

/* Takes what the monitor has said, until it would block or has ended. */
void monitor_read(struct copy *copy, struct journal *journal);

#endif
