/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * One mover: the control socket, the session and its two channels. Runs in the main thread; the
 * other threads only make it look (mover.c: note_change).
 */
#ifndef LPM_MOVER_MOVER_H
#define LPM_MOVER_MOVER_H

#include "mover/data-pump.h"
#include "mover/growth.h"
#include "mover/rpc-pump.h"

/* What lpmd was told last, so that only changes are sent. */
struct lpm_told {
    gboolean link_up;
    guint64 links, outages;
    gint64 link_ended_us;
    gboolean need[3]; /* by enum lpm_mover_need: said and not yet met */
    enum lpm_channel_state channel[LPM_CHANNEL_COUNT];
    enum lpm_finish_state finish;
    gboolean failed, ended;
    enum lpm_outcome outcome;
    gboolean run_waiting;
    gboolean bitmaps_seen, bitmaps_waiting;
};

/* The source's, if it may choose the number of its links. */
struct lpm_link_watch {
    gboolean grows;
    struct lpm_growth growth;
    gint64 at_us;                /* of the last look; 0: none */
    gboolean waited;             /* frames waited for a link each time since */
    struct lpm_growth_look seen; /* totals then */
};

/* Owned by the main thread, but for `wake_fd`, which anybody writes. */
typedef struct lpm_mover {
    enum lpm_side side; /* of the command line; START must agree */
    gint64 born_us, started_us;
    int listen_fd;                        /* where lpmd connects */
    lpm_fd control_fd;                    /* to lpmd, or -1 */
    lpm_fd wake_fd;                       /* eventfd */
    lpm_fd program_fd[LPM_CHANNEL_COUNT]; /* source: listening, until the program came */
    int stat_fd;                          /* /proc/stat, borrowed; -1: none */
    gboolean quit;
    struct lpm_told told;
    struct lpm_link_watch links;
    guint64 bandwidth; /* bytes/s on the wire, 0: no bound */

    /* set by START, then immutable */
    gboolean started;
    LpmMoverStart start; /* without the key; its strings are owned */
    struct lpm_log_context log;
    LpmSession *session;
    LpmEndpoint *endpoint[LPM_CHANNEL_COUNT];
    LpmSwitchover *switchover;
    LpmBitmapGate *gate; /* the target's; open at the source */
    LpmRpcPump *rpc;
    LpmDataPump *data;
} LpmMover;

/* Both descriptors are borrowed: `stat_fd` is of /proc/stat, which no mover in its sandbox can open
 * any more, or -1. */
LpmMover *lpm_mover_new(int listen_fd, int stat_fd, enum lpm_side side);
/* Serves until QUIT, or SIGTERM where that is heeded, or until nobody wants it any more. */
void lpm_mover_run(LpmMover *mover);
/* Ends everything in order. */
void lpm_mover_free(LpmMover *mover);

/* ---- between the files of the main thread ---- */

/* Makes the session ask for links as START says, and as it turns out to be useful
 * (mover-links.c). */
void lpm_mover_links_start(LpmMover *mover, const LpmMoverStart *start);
void lpm_mover_links_look(LpmMover *mover);
/* Tells lpmd whatever it does not know yet (mover-tell.c). */
void lpm_mover_tell(LpmMover *mover);
/* The same from the beginning, for a new connection. */
void lpm_mover_greet(LpmMover *mover);
/* "Mover statistics" of docs/architecture.md, a new reference (mover-stats.c). */
json_t *lpm_mover_stats(LpmMover *mover);
/* Sends and, if lpmd is gone, forgets the connection. */
void lpm_mover_send(LpmMover *mover, const LpmMoverEvent *event);

#endif
