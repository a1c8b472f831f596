/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * What earlier migrations teach the forecast, and how good their forecasts were. Both are read from
 * the journal: a migration's parameters, its report, and the forecast that was stored with it.
 */
#ifndef LPM_DAEMON_FORECAST_HISTORY_H
#define LPM_DAEMON_FORECAST_HISTORY_H

#include "daemon/forecast.h"
#include "daemon/journal.h"

/* So many of the newest migrations are looked at. */
#define LPM_FORECAST_HISTORY 200

/* The defaults, of a host that has never migrated anything. */
void lpm_lessons_default(struct lpm_lessons *lessons);

/* Fills `lessons` from `past` (LpmForecastPast, newest first), for moving the partition `uuid` to
 * `peer`: what depends on the partition is learnt from its own migrations to that host, else from
 * all to that host, else from all; what depends on the hosts likewise without the first. Pure. */
void lpm_lessons_learn(const GPtrArray *past, const char *uuid, const char *peer,
                       struct lpm_lessons *lessons);

/* `past` (newest first) as an answer of the API: {forecasts: [{migration, partition, peer, state,
 * started_ms, forecast, outcome: {total_ms, suspended_us, rounds, stream_bytes, link_bytes} or
 * null, errors: {total, suspended_factor, total_in_range, suspended_in_range} or null}], score:
 * {scored, total_error, suspended_factor, total_in_range, suspended_in_range}}. `total` is the
 * error as a part of the outcome, `suspended_factor` how many times too long or too short (1 is
 * right); those of `score` are medians, and counts. A new reference. Pure. */
json_t *lpm_forecast_score(const GPtrArray *past);

#endif
