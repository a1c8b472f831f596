/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * How many links a source asks for, when it may choose: one, and another as long as those that are
 * there are what holds the stream up, and another helps. Pure; belongs to one thread.
 *
 * A link's thread does the TLS and the copies of all that goes over it, and can be no faster than
 * one processor. And TCP may not fill a long path with one connection, whose window one lost
 * segment halves.
 */
#ifndef LPM_MOVER_GROWTH_H
#define LPM_MOVER_GROWTH_H

#include <glib.h>

/* What was seen since the last look. */
struct lpm_growth_look {
    gint64 span_us;
    guint links;          /* that are up */
    gboolean waiting;     /* frames waited for a link whenever somebody looked */
    gint64 cpu_us;        /* of the links' threads together */
    gint64 idle_us;       /* of the processors that the mover may use together; < 0: not known */
    gint64 tcp_busy_us;   /* the mean of the links': with something to send or unacknowledged */
    gint64 round_trip_us; /* the least that TCP saw */
    guint64 bytes;        /* on all links */
};

struct lpm_growth {
    guint most;
    guint wanted;
    guint held_up;  /* looks in a row that pointed upwards */
    double before;  /* bytes per second before the last link was asked for; 0: none was */
    guint tried;    /* looks since it came */
    gboolean still; /* the last one was of no use: no more */
};

/* Never more than `most`. */
void lpm_growth_init(struct lpm_growth *growth, guint most);
/* Once in about half a second. How many links there should be. */
guint lpm_growth_look(struct lpm_growth *growth, const struct lpm_growth_look *look);

#endif
