/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * How much of the data channel is under way in post-copy. What is under way cannot be overtaken, so
 * it is what a page that is asked for waits for; too little of it, and the link is idle between.
 *
 * One frame at a time is timed, from when it is sent to its acknowledgement. As long as that takes
 * hardly longer than the shortest time seen, more may be under way; once it takes longer, the rest
 * is spent in queues, and less may be. One thread.
 */
#ifndef LPM_MOVER_FLIGHT_H
#define LPM_MOVER_FLIGHT_H

#include "transport/session.h"

/* Original bytes of one frame, and under way. */
#define LPM_FLIGHT_FRAME_MIN (16u << 10)
#define LPM_FLIGHT_FRAME_MAX (128u << 10)
#define LPM_FLIGHT_MIN (256u << 10)

struct lpm_flight {
    guint64 limit;
    guint64 timed;    /* bytes pushed at the end of the frame that is timed, 0: none is */
    gint64 sent_us;   /* and when */
    gint64 least_us;  /* shortest time of a frame */
    gboolean limited; /* the limit was reached since the frame was sent */
};

void lpm_flight_init(struct lpm_flight *flight);
/* A frame was pushed just now. */
void lpm_flight_sent(struct lpm_flight *flight, LpmSession *session, gint64 now_us);
/* Something may have been acknowledged. */
void lpm_flight_look(struct lpm_flight *flight, LpmSession *session, gint64 now_us);
/* How large the next frame may be, 0: nothing may be sent. What is `urgent` is bounded by the
 * window only. */
gsize lpm_flight_room(struct lpm_flight *flight, LpmSession *session, gboolean urgent);

#endif
