/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "transport/pace.h"

/* What is not sent in time may be made up for within this. */
#define CREDIT_US 200000
#define CREDIT_LEAST (64 << 10)
/* Of 1448 bytes in a segment TLS adds 2 and TCP, IP and Ethernet 66, but a counter of an interface
 * that segments itself sees few of these: between the two, to be right within 3 % either way. */
#define OVERHEAD_PERCENT 2
/* A debt is bounded, so that a rate of almost nothing can be taken back. */
#define DEBT_MOST (G_GINT64_CONSTANT(4) << 20)

void lpm_pace_set(struct lpm_pace *pace, guint64 rate, gint64 now_us)
{
    lpm_pace_ready_us(pace, now_us);
    pace->rate = rate;
    pace->at_us = now_us;
}

void lpm_pace_charge(struct lpm_pace *pace, gsize bytes)
{
    if (pace->rate)
        pace->credit =
            MAX(pace->credit - (gint64)bytes - (gint64)bytes * OVERHEAD_PERCENT / 100, -DEBT_MOST);
}

gint64 lpm_pace_ready_us(struct lpm_pace *pace, gint64 now_us)
{
    if (!pace->rate) {
        pace->credit = 0;
        return 0;
    }
    double rate = (double)pace->rate / G_USEC_PER_SEC;
    double most = MAX(rate * CREDIT_US, (double)CREDIT_LEAST);
    double credit = (double)pace->credit + rate * (double)(now_us - pace->at_us);

    pace->credit = (gint64)MIN(credit, most);
    pace->at_us = now_us;
    return pace->credit >= 0 ? 0 : now_us + 1 + (gint64)((double)-pace->credit / rate);
}

/* ---- drain ---- */

/* Rates are taken over at least this. */
#define SPAN_US 20000

void lpm_drain_set(struct lpm_drain *drain, gint64 time_us, guint64 window)
{
    *drain = (struct lpm_drain){
        .time_us = time_us, .limit = window, .round_trip_us = drain->round_trip_us};
}

void lpm_drain_round_trip(struct lpm_drain *drain, gint64 us)
{
    if (us > 0 && (!drain->round_trip_us || us < drain->round_trip_us))
        drain->round_trip_us = us;
}

gboolean lpm_drain_look(struct lpm_drain *drain, guint64 acknowledged, gboolean full,
                        guint64 window, gint64 now_us)
{
    gint64 span = now_us - drain->at_us;

    if (!drain->time_us || span < SPAN_US)
        return FALSE;
    guint64 came = acknowledged - drain->acknowledged;
    gboolean first = !drain->at_us;

    drain->acknowledged = acknowledged;
    drain->at_us = now_us;
    if (first)
        return TRUE;
    /* Twice the round trip, so that a long link is kept busy. */
    guint64 aim = (guint64)((double)came / (double)span *
                            (double)(drain->time_us + 2 * drain->round_trip_us));

    /* Less came because less was there: that says nothing of the link. */
    if (aim < drain->limit && !full)
        return TRUE;
    drain->limit = CLAMP(aim, drain->limit - drain->limit / 4, 2 * drain->limit);
    drain->limit = CLAMP(drain->limit, MIN(LPM_DRAIN_LEAST, window), window);
    return TRUE;
}

guint64 lpm_drain_limit(const struct lpm_drain *drain, guint64 window)
{
    return drain->time_us && drain->limit ? MIN(drain->limit, window) : window;
}
