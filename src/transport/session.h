/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * A session: two channels in both directions between two movers, over whatever links it is given.
 *
 * Theory of operation. What is pushed is numbered and kept until it is acknowledged; a link is only
 * a way to get it across. Each frame knows which link took it, and when that breaks, the others or
 * the next one take what the other side has not (docs/mover-protocol.md). Each link has a thread,
 * which handshakes, then joins the links in use, then moves frames between its descriptor and the
 * channels: whichever link can take a frame takes the next. Everything shared is guarded by one
 * lock, held for copies of a few frames and never while waiting for a descriptor.
 *
 * The owner's threads push and take. Those calls wait (for room, for frames) and return at once for
 * good when the session is stopped or has failed; so the way to end is: lpm_session_stop, join
 * one's own threads, lpm_session_free.
 *
 * Any function may be called from any thread, except new and free.
 */
#ifndef LPM_TRANSPORT_SESSION_H
#define LPM_TRANSPORT_SESSION_H

#include "transport/frame.h"
#include "transport/link.h"

typedef struct lpm_session LpmSession;

struct lpm_session_config {
    guint8 id[LPM_SESSION_ID_BYTES];
    guint8 psk[LPM_SESSION_PSK_BYTES];
    enum lpm_side side;
    guint64 window; /* original bytes per channel: most unacknowledged, most accepted ahead */
    guint links;    /* most at a time, up to LPM_LINKS_MOST; 0 and 1: a new one replaces the old */
    const struct lpm_link_ops *ops; /* of every link; NULL: TLS */
    /* All are called by any thread with the session's lock held: they must not wait nor call back.
     * `changed`: something in lpm_session_state did. `drained`: nothing of `channel` waits for the
     * link any more. `acknowledged`: something pushed to it has arrived. Each may be NULL. */
    void (*changed)(gpointer user);
    void (*drained)(gpointer user, enum lpm_channel channel);
    void (*acknowledged)(gpointer user, enum lpm_channel channel);
    gpointer user;
};

LpmSession *lpm_session_new(const struct lpm_session_config *config);
/* Ends every wait for good, closes the links and joins their threads: no callback of theirs comes
 * after it. Not from a callback. */
void lpm_session_stop(LpmSession *session);
/* Stops and frees. Nobody may be inside any other call. */
void lpm_session_free(LpmSession *session);

/* Gives the session a connection (taken over, also on error): `server` if we accepted it. It is
 * used once its handshake is done, beside the others, or, if there are as many as may be, in place
 * of the one not heard of for longest. FALSE: too many handshakes are under way already, or
 * stopped.
 */
gboolean lpm_session_add_link(LpmSession *session, int fd, gboolean server, GError **error);

/* From now on `needs_link` is said while there are fewer links than this (1 at first), as far as
 * both sides take so many. None is ended. */
void lpm_session_set_links(LpmSession *session, guint links);

/* Waits until at least one byte of original data may be taken in, and reserves up to `most`.
 * Returns how many; 0 when the session is over. */
gsize lpm_session_reserve(LpmSession *session, enum lpm_channel channel, gsize most);
/* Gives back what was reserved and is not needed. */
void lpm_session_unreserve(LpmSession *session, enum lpm_channel channel, gsize bytes);
/* Counts `bytes` as reserved without waiting, for what has become a little longer than it was. */
void lpm_session_charge(LpmSession *session, enum lpm_channel channel, gsize bytes);
/* Lets reserve go `bytes` beyond the window from now on, as long as the caller sees to it that no
 * more than the window is pushed and not acknowledged. */
void lpm_session_set_extra(LpmSession *session, enum lpm_channel channel, guint64 bytes);

/* From now on reserve keeps to `bytes`, if the window is larger. */
void lpm_session_set_limit(LpmSession *session, enum lpm_channel channel, guint64 bytes);

/* From now on what is reserved, pushed and not acknowledged is bounded so that the other side takes
 * it in about `us` (pace.h), if the window is larger; 0: by the window only. */
void lpm_session_set_drain(LpmSession *session, enum lpm_channel channel, gint64 us);

/* From now on all links together send at most so many bytes per second, headers below included (an
 * estimate within a few percent); 0: no bound. */
void lpm_session_set_rate(LpmSession *session, guint64 bytes_per_second);

struct lpm_session_flow {
    guint64 pushed, acknowledged; /* original bytes, in total */
    guint64 window;               /* most of them under way */
    guint64 limit;                /* most that may be reserved, the drain's bound included */
    guint64 waiting;              /* frames that wait for a link */
};
void lpm_session_get_flow(LpmSession *session, enum lpm_channel channel,
                          struct lpm_session_flow *flow);
/* What TCP knows of the links in use; zero without one. */
struct lpm_link_use {
    gint64 busy_us;       /* in total, the mean of them: with something to send or unacknowledged */
    guint64 acknowledged; /* bytes in total, of all */
};
void lpm_session_link_use(LpmSession *session, struct lpm_link_use *use);
/* Sends a DATA frame (taken over), whose original bytes are reserved. Never waits. */
void lpm_session_push(LpmSession *session, LpmFrame *frame);
/* Sends OPEN, CLOSE or RESET; a second one of a kind, or one after RESET, is nothing. Never waits.
 */
void lpm_session_mark(LpmSession *session, enum lpm_channel channel, enum lpm_frame_type type);

/* The next frame of the channel, in order; waits for it. The caller delivers it and gives it back
 * to lpm_session_delivered; it may take others before, and delivers in order. NULL when the session
 * is over. */
LpmFrame *lpm_session_take(LpmSession *session, enum lpm_channel channel);
/* The bytes of `frame` are where they belong: acknowledge. Takes the frame over. */
void lpm_session_delivered(LpmSession *session, LpmFrame *frame);

/* Fails the session; the first failure counts. The other side is told if a link is there. */
void lpm_session_fail(LpmSession *session, int code, const char *cause);
/* TRUE once stopped or failed. */
gboolean lpm_session_over(LpmSession *session);

struct lpm_session_channel {
    gboolean peer_opened;   /* the other side's program is there (or its frames came) */
    gboolean sent_all;      /* we pushed CLOSE or RESET, and everything is acknowledged */
    gboolean received_all;  /* CLOSE or RESET came and everything was delivered */
    guint64 unacknowledged; /* original bytes reserved, waiting or under way */
    guint64 sent, sent_encoded, sent_acked; /* original bytes, body bytes pushed; original acked */
    guint64 received, received_encoded;     /* delivered */
};

/* One of the places for links: one link at a time, in the course of time several. */
struct lpm_session_link {
    gboolean up;
    guint64 reconnects;                               /* links in it after the first */
    guint64 sent, received;                           /* bytes before TLS */
    guint64 round_trip_us;                            /* of the last PING answered, 0: none yet */
    gint64 cpu_us;                                    /* of the threads */
    guint tcp_round_trip_us, tcp_least_round_trip_us; /* the kernel's; 0: not up, or not TCP */
    gint64 tcp_busy_us; /* with something to send or unacknowledged, of the link that is up */
};

struct lpm_session_state {
    gboolean link_up;     /* at least one */
    gboolean needs_link;  /* fewer than wanted, none in handshake, and still something to carry */
    guint64 links;        /* that came up so far */
    guint64 reconnects;   /* those after the first of a place */
    guint64 outages;      /* times that there was none any more */
    gint64 link_ended_us; /* monotonic; of the last link that ended, or did not come up */
    char *link_cause;     /* owned: why the last one in use ended; NULL if none did */
    guint places;         /* of `link` that were used */
    guint links_most;     /* at a time, as far as is known */
    struct lpm_session_link link[LPM_LINKS_MOST];
    int failed;            /* catalogue number, 0: not */
    char *failed_cause;    /* owned */
    guint64 round_trip_us; /* of the last PING answered, 0: none yet */
    struct {
        guint64 packets, bytes, errors; /* frames, bytes on the link before TLS, links on which
                                           sending failed */
    } transmit;
    struct {
        guint64 packets, bytes, errors; /* errors: links that fell silent, ended or failed */
        guint64 bad_packets;            /* damaged or out of protocol */
        guint64 duplicates;             /* frames that came again after a link was lost */
        guint64 no_buffers; /* times that reading a program had to wait for room in the window */
    } receive;
    struct lpm_session_channel channels[LPM_CHANNEL_COUNT];
};

/* Fills in `*state`; clear it after use. */
void lpm_session_get_state(LpmSession *session, struct lpm_session_state *state);
void lpm_session_state_clear(struct lpm_session_state *state);

#endif
