/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What session.c and the threads of its links (link-thread.c) share. */
#ifndef LPM_TRANSPORT_SESSION_INTERNAL_H
#define LPM_TRANSPORT_SESSION_INTERNAL_H

#include "transport/channel.h"
#include "transport/session.h"

#include <pthread.h>

/* Connections in handshake or winding up at the same time. */
#define LPM_LINKS_MAX 4

/* One connection and its thread. Becomes the session's `current` after its handshake. */
struct lpm_link_thread {
    /* immutable */
    LpmSession *session;
    const struct lpm_link_ops *ops;
    gpointer link;
    int fd;      /* the link's, for poll */
    int wake_fd; /* an eventfd: the session has something to send, or wants the thread to end */
    gboolean server;
    GThread *thread;
    /* guarded by the session's lock */
    gboolean kicked; /* wake_fd was written and not yet looked at */
    gboolean hello_received;
    gboolean finished; /* the thread is about to return: join it */
    /* owned by the thread */
    GByteArray *out; /* bytes for the link; those before out_done are written */
    gsize out_done;
    LpmFrameDecoder *decoder;
    gint64 heard_us, ping_us;
    gint64 paced_us;        /* frames wait until then for the rate's sake; 0: none do */
    gboolean broke_sending; /* the link ended because nothing could be written to it */
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
    struct lpm_link_thread *current;           /* the link in use, or NULL */
    guint64 links;
    gint64 link_ended_us;
    char *link_cause;
    guint64 round_trip_us;
    struct lpm_pace pace;
    guint64 tx_packets, tx_bytes, rx_packets, rx_bytes, rx_bad, tx_errors, rx_errors;
};

/* ---- for both halves; the lock is held ---- */

/* Makes the thread (NULL: nobody) look. */
void lpm_session_kick_locked(struct lpm_link_thread *thread);
void lpm_session_changed_locked(LpmSession *session);
/* The first failure counts. */
void lpm_session_fail_locked(LpmSession *session, int code, const char *cause);
gboolean lpm_session_over_locked(const LpmSession *session);

/* ---- called by a link's thread (session-link.c) ---- */

/* The handshake is done: this link is the one in use from now on. `*hello` is the first frame to
 * send. FALSE: the session is over. */
gboolean lpm_session_link_begin(struct lpm_link_thread *thread, LpmFrame **hello);

enum lpm_fill {
    LPM_FILL_GO_ON,
    LPM_FILL_END, /* the link was replaced, or the session stopped or failed */
};
/* Appends to thread->out what should go next, until that holds `limit` bytes or nothing is left. */
enum lpm_fill lpm_session_link_fill(struct lpm_link_thread *thread, gsize limit);
/* Appends FAIL with the reason. */
void lpm_session_link_append_fail(struct lpm_link_thread *thread);
/* Appends one frame. */
void lpm_session_link_append(struct lpm_link_thread *thread, const LpmFrame *frame);

/* Takes a received frame over. FALSE: breach or FAIL, and the session has failed. */
gboolean lpm_session_link_frame(struct lpm_link_thread *thread, LpmFrame *frame, GError **error);
/* The bytes that came are no frames: fails the session, if the link is the one in use. */
void lpm_session_link_breach(struct lpm_link_thread *thread, const GError *error);
/* TRUE: the session has failed, and this link can tell the other side. */
gboolean lpm_session_link_failed(struct lpm_link_thread *thread);
/* FALSE: the link was replaced, or the session stopped. */
gboolean lpm_session_link_wanted(struct lpm_link_thread *thread);
void lpm_session_link_count(struct lpm_link_thread *thread, gsize received, gsize sent);
/* The link is gone; `cause` is why (NULL: wanted). The thread only returns after this. */
void lpm_session_link_end(struct lpm_link_thread *thread, const char *cause);

/* The thread's function; `opaque` is the struct lpm_link_thread. */
gpointer lpm_link_thread_run(gpointer opaque);
void lpm_link_thread_free(struct lpm_link_thread *thread);

#endif
