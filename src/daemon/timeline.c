/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/timeline.h"

struct lpm_timeline {
    GMutex lock;
    /* under lock */
    json_t *samples;
    gint64 period_us; /* between two samples of one round */
    gint64 last_us;   /* monotonic; 0: none yet */
    guint64 round;
};

LpmTimeline *lpm_timeline_new(void)
{
    LpmTimeline *timeline = g_new0(LpmTimeline, 1);

    g_mutex_init(&timeline->lock);
    timeline->samples = json_array();
    timeline->period_us = LPM_TIMELINE_PERIOD_US;
    return timeline;
}

void lpm_timeline_free(LpmTimeline *timeline)
{
    if (!timeline)
        return;
    json_decref(timeline->samples);
    g_mutex_clear(&timeline->lock);
    g_free(timeline);
}

gboolean lpm_timeline_due(LpmTimeline *timeline, gint64 now_us, guint64 round)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&timeline->lock);

    /* A writer may make a hundred rounds a second: once there is much, time alone counts. */
    gboolean dense = timeline->period_us > LPM_TIMELINE_PERIOD_US;

    return !timeline->last_us || now_us - timeline->last_us >= timeline->period_us ||
           (!dense && round != timeline->round);
}

static void thin_out(LpmTimeline *timeline)
{
    while (json_array_size(timeline->samples) >= LPM_TIMELINE_SAMPLES) {
        json_t *kept = json_array();
        size_t index;
        json_t *sample;

        json_array_foreach (timeline->samples, index, sample) {
            if (index % 2 == 0)
                json_array_append(kept, sample);
        }
        json_decref(timeline->samples);
        timeline->samples = kept;
        timeline->period_us *= 2;
    }
}

void lpm_timeline_add(LpmTimeline *timeline, gint64 now_us, guint64 round, json_t *sample)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&timeline->lock);

    thin_out(timeline);
    json_array_append_new(timeline->samples, sample);
    timeline->last_us = now_us;
    timeline->round = round;
}

void lpm_timeline_load(LpmTimeline *timeline, json_t *samples)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&timeline->lock);
    size_t index;
    json_t *sample;

    if (!json_is_array(samples))
        return;
    json_array_clear(timeline->samples);
    json_array_foreach (samples, index, sample)
        json_array_append(timeline->samples, sample);
    thin_out(timeline);
}

json_t *lpm_timeline_samples(LpmTimeline *timeline)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&timeline->lock);

    return json_deep_copy(timeline->samples);
}
