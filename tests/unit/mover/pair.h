/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Two real lpm-mover processes and the part of lpmd that they need: control connections, TCP on
 * loopback, the programs' sockets. One thread drives it (pair_step); whatever goes wrong fails the
 * running cmocka test.
 */
#ifndef LPM_TEST_PAIR_H
#define LPM_TEST_PAIR_H

#include "base/fdio.h"
#include "transport/mover-control.h"

#include <sys/types.h>

struct mover_end {
    enum lpm_side side;
    pid_t pid;
    lpm_fd control, link; /* link: our duplicate of the descriptor in use, for cutting it */
    lpm_fd program[LPM_CHANNEL_COUNT]; /* the test's end: QEMU's or libvirtd's part */
    char *socket_path;
    guint8 psk[LPM_SESSION_PSK_BYTES];
    /* what was told */
    gboolean hello_started, link_up, finish_held, ended, postcopy, run_waiting, bitmaps_waiting;
    enum lpm_finish_state hello_finish;
    gint finish_status;
    gboolean finish_cancelled;
    guint64 reconnects;
    guint links_down;
    char *link_cause;
    enum lpm_channel_state state[LPM_CHANNEL_COUNT];
    int failed;
    char *failed_cause;
    gboolean need[3];
    json_t *stats; /* the last answer */
};

struct pair {
    char *folder;
    struct mover_end end[2]; /* by enum lpm_side */
    lpm_fd listener;         /* TCP on loopback */
    guint16 port;
    guint16 via_port;     /* where the source dials; = port unless a test puts something between */
    gboolean keep_linked; /* answer NEED link */
};

/* Starts both, with links kept up. `backlog` 0: 4 MiB. */
struct pair *pair_new(guint64 backlog, const char *compression, int level);
/* The same with keys made of the given bytes. */
struct pair *pair_new_keys(guint64 backlog, const char *compression, int level, guint8 source_key,
                           guint8 target_key);
/* The same as pair_new(0, "zstd", 1) with a target's mover that changes Finish by the outcome and,
 * with `gate`, keeps the word to run back. */
struct pair *pair_new_postcopy(gboolean gate);
/* Threads of the movers that are started next, bytes/s on the wire, links at a time, and whether
 * the source begins with one; 0: not said. */
extern guint pair_threads;
extern guint64 pair_bandwidth;
extern guint pair_links;
extern gboolean pair_grow;
/* Tells a mover what is to be otherwise. */
void pair_set(struct pair *pair, enum lpm_side side, const struct lpm_mover_set *set);
/* Lets both quit and asserts that they end with 0 within 10 s. */
void pair_free(struct pair *pair);

/* Waits up to `timeout_ms` for news of either mover and acts on it. */
void pair_step(struct pair *pair, int timeout_ms);
/* Steps until `*flag`, at most `seconds`; fails the test if it does not come. */
void pair_until(struct pair *pair, const gboolean *flag, guint seconds, const char *what);
void pair_until_state(struct pair *pair, enum lpm_side side, enum lpm_channel channel,
                      enum lpm_channel_state state, guint seconds);
/* Connects to the source's mover as the program of `channel`, waits until the target's asks for its
 * socket and gives it one. */
void pair_connect(struct pair *pair, enum lpm_channel channel);
/* The file is memory of the target's program, which has no socket yet. */
void pair_give_memory(struct pair *pair, const char *block, guint64 size, int fd);
/* Cuts the link at once, in both directions. */
void pair_cut(struct pair *pair);
/* Asks for statistics and waits for them; borrowed. */
json_t *pair_stats(struct pair *pair, enum lpm_side side);
/* Drops the control connection and makes a new one, as a restarted lpmd would. */
void pair_reattach(struct pair *pair, enum lpm_side side);

#endif
