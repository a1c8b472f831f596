/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What session.c, the set of its links (session-links.c) and their threads (session-link.c,
 * link-thread.c) share. */
#ifndef LPM_TRANSPORT_SESSION_INTERNAL_H
#define LPM_TRANSPORT_SESSION_INTERNAL_H

#include "transport/channel.h"
#include "transport/session.h"

#include <pthread.h>
#include <time.h>

/* Connections in handshake or winding up at the same time. */
#define LPM_LINKS_PENDING_MOST 4

/* One connection and its thread. In use from the end of its handshake until it breaks, or another
 * takes its place. */
struct lpm_link_thread {
    /* immutable */
    LpmSession *session;
    const struct lpm_link_ops *ops;
    gpointer link;
    int fd;      /* the link's, for poll */
    int wake_fd; /* an eventfd: the session has something to send, or wants the thread to end */
    gboolean server;
    guint32 number; /* of its outboxes' frames: LPM_CARRIER_NONE and _ARRIVED are never one */
    GThread *thread;
    /* guarded by the session's lock */
    gboolean kicked;         /* wake_fd was written and not yet looked at */
    gboolean live;           /* in use: in one of the session's slots */
    gboolean hello_received; /* frames may go */
    gboolean idle;           /* it could take more than there was when it last looked */
    gboolean finished;       /* the thread is about to return: join it */
    gsize queued;            /* bytes of `out` not written yet, lately */
    gint64 last_heard_us;
    clockid_t cpu_clock; /* the thread's, until it has finished */
    /* owned by the thread */
    GByteArray *out; /* bytes for the link; those before out_done are written */
    gsize out_done;
    LpmFrameDecoder *decoder;
    gint64 heard_us, ping_us;
    gint64 paced_us;        /* frames wait until then for the rate's sake; 0: none do */
    gboolean broke_sending; /* the link ended because nothing could be written to it */
};

/* A place for a link: what came and went in it is one line of the statistics. */
struct lpm_link_slot {
    struct lpm_link_thread *thread; /* the link in use, or NULL */
    guint64 came;                   /* links that greeted in it */
    guint64 sent, received;         /* bytes before TLS */
    gint64 cpu_us;                  /* of the threads that have ended */
    guint64 round_trip_us;          /* of the last PING answered */
};

struct lpm_session {
    /* immutable */
    struct lpm_session_config config;
    char *identity; /* of the PSK */

    pthread_mutex_t lock;
    /* guarded by lock */
    gboolean stopped;
    int failed;
    gboolean failed_by_peer; /* it told us: it need not be told */
    char *failed_cause;
    struct lpm_outbox outbox[LPM_CHANNEL_COUNT];
    struct lpm_inbox inbox[LPM_CHANNEL_COUNT];
    gboolean drained[LPM_CHANNEL_COUNT];
    pthread_cond_t room[LPM_CHANNEL_COUNT];    /* outbox has room, or the session is over */
    pthread_cond_t arrival[LPM_CHANNEL_COUNT]; /* inbox has a frame, or the session is over */
    guint64 peer_window;                       /* of the last HELLO */
    GPtrArray *threads;                        /* of struct lpm_link_thread */
    struct lpm_link_slot slots[LPM_LINKS_MOST];
    guint32 numbers;    /* of links given so far */
    guint links_wanted; /* at a time */
    guint links_most;   /* at a time, by this side and by the other's last HELLO */
    guint64 links;      /* that came up so far */
    guint64 outages;    /* times that the last one went */
    gint64 link_ended_us;
    char *link_cause;
    guint64 round_trip_us;
    struct lpm_pace pace;
    guint64 tx_packets, tx_bytes, rx_packets, rx_bytes, rx_bad, tx_errors, rx_errors;
};

/* ---- for both halves; the lock is held ---- */

/* Makes the thread look. */
void lpm_session_kick_locked(struct lpm_link_thread *thread);
/* There is something to send: makes one link look that can take it soonest. If all have their hands
 * full, none is told, for each looks again when they are not. */
void lpm_session_offer_locked(LpmSession *session);
void lpm_session_changed_locked(LpmSession *session);
/* The first failure counts. */
void lpm_session_fail_locked(LpmSession *session, int code, const char *cause);
gboolean lpm_session_over_locked(const LpmSession *session);

/* ---- the set of links (session-links.c); the lock is held ---- */

/* In use, greeted or not. */
guint lpm_session_live_locked(const LpmSession *session);
/* Any can carry frames. */
gboolean lpm_session_up_locked(const LpmSession *session);
/* The slot of a link in use, else NULL. */
struct lpm_link_slot *lpm_session_slot_locked(const struct lpm_link_thread *thread);
/* FALSE: nothing was heard on the link for a while, but on another. It may be dead already. */
gboolean lpm_session_trusted_locked(const struct lpm_link_thread *thread, gint64 now_us);
/* Puts the thread into a slot; others leave theirs as far as there may not be so many. */
void lpm_session_join_locked(struct lpm_link_thread *thread);
/* Those not heard of for longest leave until there are no more than may be; `keep` stays. */
void lpm_session_make_room_locked(LpmSession *session, guint most,
                                  const struct lpm_link_thread *keep);
/* The link is not in use any more: what it carried waits for the others, or for the next one. */
void lpm_session_leave_locked(struct lpm_link_thread *thread);
/* TRUE: a connection should be given, and `complete` tells that there is nothing to carry. */
gboolean lpm_session_needs_link_locked(const LpmSession *session, gboolean complete);
/* What there is to tell of the link in a slot. */
void lpm_session_look_at_link(const struct lpm_link_slot *slot, struct lpm_session_link *link);
/* Joins the threads that have ended (all: waits for the others, which must be about to end). The
 * lock is not held. */
void lpm_session_reap(LpmSession *session, gboolean all);

/* ---- called by a link's thread (session-link.c) ---- */

/* The handshake is done: this link is in use from now on. `*hello` is the first frame to send.
 * FALSE: the session is over. */
gboolean lpm_session_link_begin(struct lpm_link_thread *thread, LpmFrame **hello);

enum lpm_fill {
    LPM_FILL_GO_ON,
    LPM_FILL_END, /* another took the link's place, or the session stopped or failed */
};
/* Appends to thread->out what should go next, until that holds `limit` bytes or nothing is left. */
enum lpm_fill lpm_session_link_fill(struct lpm_link_thread *thread, gsize limit);
/* Appends FAIL with the reason. */
void lpm_session_link_append_fail(struct lpm_link_thread *thread);
/* Appends one frame. */
void lpm_session_link_append(struct lpm_link_thread *thread, const LpmFrame *frame);

/* Takes a received frame over. FALSE: breach or FAIL, and the session has failed. */
gboolean lpm_session_link_frame(struct lpm_link_thread *thread, LpmFrame *frame, GError **error);
/* The bytes that came are no frames: fails the session, if the link is in use. */
void lpm_session_link_breach(struct lpm_link_thread *thread, const GError *error);
/* TRUE: the session has failed, and this link can tell the other side. */
gboolean lpm_session_link_failed(struct lpm_link_thread *thread);
/* FALSE: another took the link's place, or the session stopped. */
gboolean lpm_session_link_wanted(struct lpm_link_thread *thread);
/* What one turn moved; `queued` bytes wait to be written. */
void lpm_session_link_count(struct lpm_link_thread *thread, gsize received, gsize sent,
                            gsize queued);
/* The link is gone; `cause` is why (NULL: wanted). The thread only returns after this. */
void lpm_session_link_end(struct lpm_link_thread *thread, const char *cause);

/* The thread's function; `opaque` is the struct lpm_link_thread. */
gpointer lpm_link_thread_run(gpointer opaque);
void lpm_link_thread_free(struct lpm_link_thread *thread);

#endif
