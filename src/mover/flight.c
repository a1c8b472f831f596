/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/flight.h"

/* Beyond the shortest time: up to the first more may be under way, from the second on less. */
#define SHORT_US 5000
#define LONG_US 20000

void lpm_flight_init(struct lpm_flight *flight)
{
    *flight = (struct lpm_flight){.limit = LPM_FLIGHT_MIN, .least_us = G_MAXINT64};
}

void lpm_flight_sent(struct lpm_flight *flight, LpmSession *session, gint64 now_us)
{
    struct lpm_session_flow flow;

    if (flight->timed)
        return;
    lpm_session_get_flow(session, LPM_CHANNEL_DATA, &flow);
    flight->timed = flow.pushed;
    flight->sent_us = now_us;
    flight->limited = FALSE;
}

void lpm_flight_look(struct lpm_flight *flight, LpmSession *session, gint64 now_us)
{
    struct lpm_session_flow flow;

    lpm_session_get_flow(session, LPM_CHANNEL_DATA, &flow);
    if (!flight->timed || flow.acknowledged < flight->timed)
        return;
    gint64 took_us = now_us - flight->sent_us;

    flight->timed = 0;
    flight->least_us = MIN(flight->least_us, took_us);
    if (took_us > flight->least_us + LONG_US)
        flight->limit -= flight->limit / 4;
    else if (took_us < flight->least_us + SHORT_US && flight->limited)
        flight->limit += flight->limit / 4;
    flight->limit =
        CLAMP(flight->limit, LPM_FLIGHT_MIN, MAX(LPM_FLIGHT_MIN, flow.window - flow.window / 8));
}

gsize lpm_flight_room(struct lpm_flight *flight, LpmSession *session, gboolean urgent)
{
    struct lpm_session_flow flow;

    lpm_session_get_flow(session, LPM_CHANNEL_DATA, &flow);
    guint64 under_way = flow.pushed - flow.acknowledged;

    if (urgent)
        return under_way < flow.window ? LPM_FLIGHT_FRAME_MAX : 0;
    if (under_way >= flight->limit) {
        flight->limited = TRUE;
        return 0;
    }
    return (gsize)CLAMP(flight->limit / 4, LPM_FLIGHT_FRAME_MIN, LPM_FLIGHT_FRAME_MAX);
}
