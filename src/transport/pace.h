/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Two measures against sending too much, both pure; the session guards them with its lock.
 *
 * A pace is a bound on bytes per second: what was sent is a debt, which time pays. It holds on
 * average over a second; a single frame goes out whole.
 *
 * A drain is a bound on bytes under way, so that they are gone in a given time at the rate at which
 * the other side takes them: what waits between QEMU and the wire makes QEMU believe in a link that
 * is not there, and is sent while the partition stands still.
 */
#ifndef LPM_TRANSPORT_PACE_H
#define LPM_TRANSPORT_PACE_H

#include <glib.h>

struct lpm_pace {
    guint64 rate;  /* bytes per second, 0: no bound */
    gint64 credit; /* bytes; below 0: a debt */
    gint64 at_us;  /* when it was true */
};

/* `rate` holds from now on; a debt stays. */
void lpm_pace_set(struct lpm_pace *pace, guint64 rate, gint64 now_us);
/* `bytes` before TLS go to a connection; what TLS and the headers of TCP and IP add is estimated.
 */
void lpm_pace_charge(struct lpm_pace *pace, gsize bytes);
/* 0: more may be sent now; else the moment from which on it may. */
gint64 lpm_pace_ready_us(struct lpm_pace *pace, gint64 now_us);

/* What a drain lets through whatever the rate. */
#define LPM_DRAIN_LEAST (G_GUINT64_CONSTANT(1) << 20)

struct lpm_drain {
    gint64 time_us; /* 0: no bound */
    guint64 limit;  /* bytes under way; 0: not known yet */
    guint64 acknowledged;
    gint64 at_us;
    gint64 round_trip_us; /* the least seen, 0: none */
};

/* Of so much time; it begins with `window` bytes. */
void lpm_drain_set(struct lpm_drain *drain, gint64 time_us, guint64 window);
/* A round trip of the link was measured. */
void lpm_drain_round_trip(struct lpm_drain *drain, gint64 us);
/* `acknowledged` bytes in total have arrived by now; `full`: more would have been sent but for the
 * limit since it looked last; `window`: the most in any case. TRUE: it has looked; else too little
 * time has passed. */
gboolean lpm_drain_look(struct lpm_drain *drain, guint64 acknowledged, gboolean full,
                        guint64 window, gint64 now_us);
/* The bound, `window` at most. */
guint64 lpm_drain_limit(const struct lpm_drain *drain, guint64 window);

#endif
