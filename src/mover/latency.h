/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Many durations in little room: a histogram whose steps grow by an eighth at most, so that a
 * percentile is at most 12.5 % too large. Zero it to begin; one thread at a time.
 */
#ifndef LPM_MOVER_LATENCY_H
#define LPM_MOVER_LATENCY_H

#include <glib.h>

/* Eight steps to each doubling, up to 2^40 us. */
#define LPM_LATENCY_STEPS (41 * 8)

struct lpm_latency {
    guint64 count;
    guint64 sum_us, max_us;
    guint64 steps[LPM_LATENCY_STEPS];
};

/* Negative durations count as 0. */
void lpm_latency_add(struct lpm_latency *latency, gint64 us);
guint64 lpm_latency_mean_us(const struct lpm_latency *latency);
/* A duration that `percent` (0..100) of them do not exceed; 0 without any. */
guint64 lpm_latency_percentile_us(const struct lpm_latency *latency, guint percent);

#endif
