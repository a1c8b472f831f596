/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What a sample of the time line holds, and when it is taken and kept. */
#include "base/clock.h"
#include "daemon/migration.h"
#include "daemon/timeline.h"

#define STATS_TIMEOUT_MS 500
/* How much of the line a crash of lpmd may cost. */
#define SAVE_PERIOD_US (10 * G_USEC_PER_SEC)

/* The integer at `outer.inner` of the mover's counters; nothing when the mover has no such one. */
static void take(json_t *sample, const char *name, const json_t *stats, const char *outer,
                 const char *inner)
{
    json_t *value = json_object_get(stats, outer);

    if (inner)
        value = json_object_get(value, inner);
    if (json_is_integer(value))
        json_object_set(sample, name, value);
}

static void take_stream(json_t *sample, const json_t *stats)
{
    size_t index;
    json_t *stream;

    json_array_foreach (json_object_get(stats, "streams"), index, stream) {
        if (g_strcmp0(json_string_value(json_object_get(stream, "channel")), "data") != 0)
            continue;
        take(sample, "stream_bytes", stream, "bytes_done", NULL);
        take(sample, "encoded_bytes", stream, "encoded_bytes", NULL);
    }
}

/* How many streams carry it, and the longest way there and back. */
static void take_links(json_t *sample, const json_t *stats)
{
    json_int_t up = 0, round_trip = 0;
    size_t index;
    json_t *link;

    json_array_foreach (json_object_get(stats, "links"), index, link) {
        const char *state = json_string_value(json_object_get(link, "state"));

        if (g_strcmp0(state, "up") != 0)
            continue;
        up++;
        round_trip = MAX(round_trip, json_integer_value(json_object_get(link, "round_trip_us")));
    }
    json_object_set_new(sample, "streams", json_integer(up));
    json_object_set_new(sample, "round_trip_us", json_integer(round_trip));
}

static void take_stats(json_t *sample, const json_t *stats)
{
    take_stream(sample, stats);
    take_links(sample, stats);
    take(sample, "wire_bytes", stats, "transmit", "bytes");
    take(sample, "pages_sent", stats, "pages", "sent");
    take(sample, "pages_zero", stats, "pages", "zero");
    take(sample, "pages_resent", stats, "pages", "resent");
    take(sample, "pages_unchanged", stats, "pages", "unchanged");
    take(sample, "level", stats, "pipeline", "level");
    take(sample, "threads", stats, "pipeline", "threads");
    take(sample, "cpu_us", stats, "cpu_us", NULL);
    take(sample, "demand_requests", stats, "demand", "requests");
    take(sample, "demand_served", stats, "demand", "served");
}

/* `copying`: libvirt's figures are of now, not of the last time that it had a job. */
static json_t *make_sample(LpmMigration *migration, const json_t *stats, gboolean copying)
{
    json_t *sample = json_pack("{s:I}", "at_us", (json_int_t)lpm_wall_us());

    g_mutex_lock(&migration->lock);
    const struct lpm_job job = migration->job;
    json_object_set_new(sample, "state", json_string(lpm_state_name(migration->state)));
    g_mutex_unlock(&migration->lock);
    json_object_set_new(sample, "round", json_integer((json_int_t)job.iteration));
    if (stats)
        take_stats(sample, stats);
    if (!copying)
        return sample;
    json_object_set_new(sample, "memory_total", json_integer((json_int_t)job.memory_total));
    json_object_set_new(sample, "memory_left", json_integer((json_int_t)job.memory_left));
    json_object_set_new(sample, "rate", json_integer((json_int_t)job.rate));
    json_object_set_new(sample, "dirty_rate", json_integer((json_int_t)job.dirty_rate));
    json_object_set_new(sample, "suspend_estimate_ms",
                        json_integer((json_int_t)job.expected_suspend_ms));
    return sample;
}

static void save(LpmMigration *migration)
{
    json_t *samples = lpm_timeline_samples(migration->timeline);
    g_autoptr(GError) error = NULL;

    /* A full disk costs the line, never the migration. */
    if (!lpm_journal_timeline_set(migration->daemon->journal, migration->id, samples, &error))
        lpm_migration_log(migration, LPM_LOG_WARNING, "timeline", "%s", error->message);
    json_decref(samples);
}

void lpm_migration_sample(LpmMigration *migration)
{
    gint64 now = lpm_monotonic_us();

    g_mutex_lock(&migration->lock);
    guint64 round = migration->job.iteration;
    gboolean known = migration->job.memory_total > 0;
    struct lpm_mover *mover = migration->mover;
    g_mutex_unlock(&migration->lock);
    if (!known || !lpm_timeline_due(migration->timeline, now, round))
        return;
    json_t *stats = mover ? lpm_mover_ask_stats(mover, STATS_TIMEOUT_MS, NULL) : NULL;
    lpm_timeline_add(migration->timeline, now, round, make_sample(migration, stats, TRUE));
    if (stats)
        json_decref(stats);
    g_mutex_lock(&migration->lock);
    gboolean saving = now - migration->timeline_saved_us >= SAVE_PERIOD_US;
    if (saving || !migration->timeline_saved_us)
        migration->timeline_saved_us = now;
    g_mutex_unlock(&migration->lock);
    if (saving)
        save(migration);
}

void lpm_migration_sample_last(LpmMigration *migration)
{
    g_mutex_lock(&migration->lock);
    gboolean sampled = migration->timeline_saved_us != 0;
    guint64 round = migration->job.iteration;
    json_t *stats = migration->source_stats ? json_incref(migration->source_stats) : NULL;
    g_mutex_unlock(&migration->lock);
    /* A target, and what never began to copy, have no line. */
    if (sampled)
        lpm_timeline_add(migration->timeline, lpm_monotonic_us(), round,
                         make_sample(migration, stats, FALSE));
    if (stats)
        json_decref(stats);
    if (!sampled)
        return;
    save(migration);
}

void lpm_migration_take_up_timeline(LpmMigration *migration)
{
    json_t *samples = lpm_journal_timeline_get(migration->daemon->journal, migration->id, NULL);

    lpm_timeline_load(migration->timeline, samples);
    if (samples)
        json_decref(samples);
}
