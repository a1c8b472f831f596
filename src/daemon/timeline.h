/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The time line of a migration: what it did, about once a second and at the end of each round, for
 * as long as it lasts, in bounded memory.
 *
 * Samples are JSON objects; the last LPM_TIMELINE_SAMPLES at most. When there is no room every
 * second one goes and from then on they are taken half as often, so that a migration of any length
 * is shown from its beginning, as finely as there is room for. Any thread.
 */
#ifndef LPM_DAEMON_TIMELINE_H
#define LPM_DAEMON_TIMELINE_H

#include <glib.h>
#include <jansson.h>

#define LPM_TIMELINE_SAMPLES 512
#define LPM_TIMELINE_PERIOD_US G_USEC_PER_SEC

typedef struct lpm_timeline LpmTimeline;

LpmTimeline *lpm_timeline_new(void);
void lpm_timeline_free(LpmTimeline *timeline);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmTimeline, lpm_timeline_free)

/* Is a sample wanted at this instant (monotonic) of this round? */
gboolean lpm_timeline_due(LpmTimeline *timeline, gint64 now_us, guint64 round);
/* Takes a sample, which is stolen. */
void lpm_timeline_add(LpmTimeline *timeline, gint64 now_us, guint64 round, json_t *sample);
/* Puts samples found in the journal (borrowed; anything but an array is none) before what comes. */
void lpm_timeline_load(LpmTimeline *timeline, json_t *samples);
/* A copy of the list, a new reference. */
json_t *lpm_timeline_samples(LpmTimeline *timeline);

#endif
