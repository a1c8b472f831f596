/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/latency.h"

/* Values below 8 have a step each; above, the first bit and the three behind it name the step. */
static guint step_of(guint64 us)
{
    if (us < 8)
        return (guint)us;
    guint bit = g_bit_storage(us) - 1;
    guint step = (bit - 2) * 8 + (guint)(us >> (bit - 3) & 7);

    return MIN(step, LPM_LATENCY_STEPS - 1);
}

/* The largest value of a step. */
static guint64 end_of(guint step)
{
    if (step < 8)
        return step;
    guint shift = step / 8 - 1;

    return ((8 + (guint64)(step % 8) + 1) << shift) - 1;
}

void lpm_latency_add(struct lpm_latency *latency, gint64 us)
{
    guint64 value = us > 0 ? (guint64)us : 0;

    latency->count++;
    latency->sum_us += value;
    latency->max_us = MAX(latency->max_us, value);
    latency->steps[step_of(value)]++;
}

guint64 lpm_latency_mean_us(const struct lpm_latency *latency)
{
    return latency->count ? latency->sum_us / latency->count : 0;
}

guint64 lpm_latency_percentile_us(const struct lpm_latency *latency, guint percent)
{
    guint64 wanted = (latency->count * percent + 99) / 100, seen = 0;

    for (guint i = 0; i < LPM_LATENCY_STEPS && latency->count; i++) {
        seen += latency->steps[i];
        if (seen >= MAX(wanted, 1))
            return MIN(end_of(i), latency->max_us);
    }
    return latency->max_us;
}
