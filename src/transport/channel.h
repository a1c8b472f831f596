/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The bookkeeping of one channel: an outbox (what was numbered and is not acknowledged yet) and an
 * inbox (what came, put in order, and is not delivered yet). No locks, no threads, no descriptors:
 * the session guards them with its lock.
 */
#ifndef LPM_TRANSPORT_CHANNEL_H
#define LPM_TRANSPORT_CHANNEL_H

#include "transport/frame.h"
#include "transport/pace.h"

/* A sender has at most this many frames unacknowledged; a receiver accepts as many. */
#define LPM_CHANNEL_FRAMES_MAX 16384u

/* Who carries a frame of an outbox: nobody (it waits), the link with that number, or nobody any
 * more because the other side has said that it has the frame. */
#define LPM_CARRIER_NONE 0u
#define LPM_CARRIER_ARRIVED G_MAXUINT32

/* Sending half. Frames stay in the list from push to ack; `unsent` points into it. */
struct lpm_outbox {
    LpmFrame *head, *tail;
    LpmFrame *unsent; /* the first frame that waits for a link, or NULL */
    guint waiting;    /* frames that wait for a link */
    guint64 next;     /* number of the next frame pushed */
    guint64 given;    /* every frame below it, and none from it on, was given to a link before */
    guint64 acked;    /* every frame below it is acknowledged */
    guint64 told;     /* highest number the other side said it expects, in an ACK or HELLO */
    guint64 used;     /* original bytes reserved, waiting or unacknowledged */
    guint64 extra;    /* that may be reserved beyond the window */
    guint64 limit;    /* most that may be reserved, 0: the window */
    struct lpm_drain drain;
    guint frames;     /* in the list */
    guint64 original; /* original bytes pushed, in total */
    guint64 encoded;  /* bytes of bodies pushed, in total */
    guint64 original_acked;
    guint64 stalls;                 /* times that somebody had to wait for room */
    guint64 stalls_seen;            /* at the last acknowledgement */
    gboolean stalled;               /* one was since the drain looked */
    gboolean opened, closed, reset; /* which of OPEN, CLOSE, RESET were pushed */
};

/* Numbers `frame` and takes it over. Its original bytes must have been added to `used` before. */
void lpm_outbox_push(struct lpm_outbox *outbox, LpmFrame *frame);
/* The next frame to give to the link of that number, or NULL; it stays the outbox's. */
const LpmFrame *lpm_outbox_take(struct lpm_outbox *outbox, guint32 link);
/* Frees what is below `next`. FALSE (LPM_E_PROTOCOL): `next` is beyond what was ever sent. An
 * old `next` is no error, for acknowledgements of an older link may come late. */
gboolean lpm_outbox_ack(struct lpm_outbox *outbox, guint64 next, GError **error);
/* The other side has every frame below `next`, though it may not have delivered them: they need not
 * be sent again. FALSE (LPM_E_PROTOCOL): beyond what was ever sent, or, if it is `fresh`, below
 * what was said before; if not, an acknowledgement over another link may have overtaken it. */
gboolean lpm_outbox_has(struct lpm_outbox *outbox, guint64 next, gboolean fresh, GError **error);
/* A link is gone: what it carried waits again, but for what the other side has. */
void lpm_outbox_lost(struct lpm_outbox *outbox, guint32 link);
void lpm_outbox_clear(struct lpm_outbox *outbox);

/* Receiving half. */
struct lpm_inbox {
    LpmFrame *head, *tail; /* in order, not taken by the deliverer yet */
    GHashTable *ahead;     /* of LpmFrame by number: came before those that precede them */
    guint64 expected;      /* number of the next frame missing */
    guint64 delivered;     /* every frame below it is delivered; what ACK tells */
    guint64 acked;         /* what the last ACK told; G_MAXUINT64: it may be lost */
    guint64 held;          /* original bytes accepted and not delivered */
    guint frames;          /* accepted and not delivered */
    guint64 original;      /* original bytes delivered, in total */
    guint64 encoded;       /* bytes of bodies delivered, in total */
    guint64 duplicates;    /* frames dropped because they had come before */
    gboolean ended;        /* a RESET came in order: nothing may follow */
    gboolean closed;       /* a CLOSE came in order */
    gboolean opened;       /* something came in order */
};

void lpm_inbox_init(struct lpm_inbox *inbox);
void lpm_inbox_clear(struct lpm_inbox *inbox);
/* Takes `frame` over in every case. FALSE (LPM_E_PROTOCOL): more than `window` or out of grammar.
 */
gboolean lpm_inbox_put(struct lpm_inbox *inbox, LpmFrame *frame, guint64 window, GError **error);
/* The next frame to deliver, or NULL. The caller owns it and gives it to lpm_inbox_delivered, in
 * the order in which it took. */
LpmFrame *lpm_inbox_take(struct lpm_inbox *inbox);
/* Counts `frame`, the first taken that was not counted yet, as delivered, and frees it. */
void lpm_inbox_delivered(struct lpm_inbox *inbox, LpmFrame *frame);

#endif
