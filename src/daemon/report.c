/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/report.h"

#include "base/clock.h"

#include <string.h>

#define NO_QUEUE_US 100000

/* A member of nested objects, borrowed; NULL if there is none. */
static json_t *member(json_t *object, const char *outer, const char *inner)
{
    json_t *found = json_object_get(object, outer);

    return inner ? json_object_get(found, inner) : found;
}

static json_t *copy_or_null(json_t *value)
{
    return value ? json_incref(value) : json_null();
}

static json_t *positive_or_null(gint64 value)
{
    return value > 0 ? json_integer((json_int_t)value) : json_null();
}

/* The data stream's entry of a mover's statistics. */
static json_t *data_stream(json_t *stats)
{
    json_t *list = json_object_get(stats, "streams"), *entry;
    size_t i;

    json_array_foreach (list, i, entry) {
        if (g_strcmp0(json_string_value(json_object_get(entry, "channel")), "data") == 0)
            return entry;
    }
    return NULL;
}

static json_t *hashes(json_t *source, json_t *target)
{
    json_t *here = member(source, "stream_hash", NULL),
           *there = member(target, "stream_hash", NULL);

    return json_pack("{s:o, s:o, s:b}", "source", copy_or_null(here), "target", copy_or_null(there),
                     "identical", here && there && json_is_string(here) && json_equal(here, there));
}

static json_t *cpu_ms(json_t *stats)
{
    json_t *us = member(stats, "cpu_us", NULL);

    return us ? json_integer(json_integer_value(us) / 1000) : json_null();
}

/* The clocks of both hosts differ by the offset that was measured at the start. */
static gint64 on_source_clock(const LpmMigration *migration, gint64 target_us)
{
    return target_us ? target_us - migration->clock_offset_us : 0;
}

static json_t *handover_json(const LpmMigration *migration, gint64 resumed_us)
{
    gint64 added =
        resumed_us && migration->finish_held_us ? resumed_us - migration->finish_held_us : 0;

    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "finish_held_us",
                     positive_or_null(migration->finish_held_us), "source_ended_us",
                     positive_or_null(migration->source_ended_us), "committed_us",
                     positive_or_null(migration->committed_us), "resumed_us",
                     positive_or_null(resumed_us), "added_us", positive_or_null(added));
}

/* Where the time went; what the next forecast learns from. */
static json_t *costs_json(const LpmMigration *migration, gint64 resumed_us, gint64 now_us)
{
    gint64 begin = migration->stream_begin_us;

    gint64 started = migration->started_ms * 1000;
    /* The start of a thread is no queue. */
    gint64 begun = migration->begun_us - started > NO_QUEUE_US ? migration->begun_us : started;

    return json_pack("{s:I, s:o, s:I, s:o, s:o, s:i}", "queued_us", (json_int_t)(begun - started),
                     "before_us", positive_or_null(begin ? begin - begun : 0), "sampling_us",
                     (json_int_t)migration->sampling_us, "stream_us",
                     positive_or_null(begin && migration->stop_us ? migration->stop_us - begin : 0),
                     "after_us", positive_or_null(resumed_us ? now_us - resumed_us : 0), "limit_ms",
                     (int)migration->limit_ms);
}

static void add_stream(json_t *report, LpmMigration *migration)
{
    json_t *stats = migration->source_stats, *stream = data_stream(stats);
    double stream_bytes = json_number_value(json_object_get(stream, "bytes_done"));
    double encoded = json_number_value(json_object_get(stream, "encoded_bytes"));

    json_object_set_new(report, "pages", copy_or_null(member(stats, "pages", NULL)));
    json_object_set_new(report, "retained",
                        json_pack("{s:o, s:o}", "source",
                                  copy_or_null(member(stats, "retain", NULL)), "target",
                                  copy_or_null(member(migration->target_stats, "retained", NULL))));
    json_object_set_new(report, "placement",
                        copy_or_null(member(migration->target_stats, "placement", NULL)));
    json_object_set_new(report, "rounds", copy_or_null(member(stats, "iteration", NULL)));
    json_object_set_new(report, "dirty_rate", json_integer((json_int_t)migration->job.dirty_rate));
    json_object_set_new(report, "stream_bytes",
                        copy_or_null(json_object_get(stream, "bytes_done")));
    json_object_set_new(report, "encoded_bytes",
                        copy_or_null(json_object_get(stream, "encoded_bytes")));
    json_object_set_new(report, "compression_ratio",
                        encoded > 0 ? json_real(stream_bytes / encoded) : json_null());
    json_object_set_new(report, "link_bytes",
                        json_pack("{s:o, s:o}", "sent",
                                  copy_or_null(member(stats, "transmit", "bytes")), "received",
                                  copy_or_null(member(stats, "receive", "bytes"))));
    /* Only who owns the interface can read its counter. */
    json_object_set_new(report, "wire_bytes", json_null());
    json_object_set_new(report, "stream_hash", hashes(stats, migration->target_stats));
    json_object_set_new(report, "cpu_ms",
                        json_pack("{s:o, s:o}", "source_mover", cpu_ms(stats), "target_mover",
                                  cpu_ms(migration->target_stats)));
}

json_t *lpm_report(LpmMigration *migration)
{
    gint64 now = lpm_wall_us();

    lpm_journal_phase_end(migration->daemon->journal, migration->id, now, NULL);
    json_t *phases = lpm_journal_phases(migration->daemon->journal, migration->id, NULL);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
    gint64 resumed = on_source_clock(migration, migration->target_resumed_us);
    gboolean clock_known = migration->clock_error_us >= 0;
    gint64 suspended =
        clock_known && resumed && migration->stop_us ? resumed - migration->stop_us : 0;
    json_t *report = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o}", "id", migration->id,
        "partition", migration->partition, "uuid", migration->uuid, "source",
        migration->daemon->config->name, "target", migration->peer, "result", "done", "total_ms",
        (json_int_t)(now / 1000 - migration->started_ms), "suspended_us",
        positive_or_null(suspended), "clock_offset_us",
        clock_known ? json_integer((json_int_t)migration->clock_offset_us) : json_null(),
        "clock_error_us",
        clock_known ? json_integer((json_int_t)migration->clock_error_us) : json_null(), "phases",
        phases ? phases : json_array(), "handover", handover_json(migration, resumed));

    migration->percent = 100.0;
    add_stream(report, migration);
    json_object_set_new(report, "costs", costs_json(migration, resumed, now));
    json_object_set_new(report, "forecast", copy_or_null(migration->forecast));
    return report;
}
