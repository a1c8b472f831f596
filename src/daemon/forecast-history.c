/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/forecast-history.h"

#include <math.h>
#include <string.h>

/* The middle is that of the newest few, since hosts and links change; the ends are those of more.
 */
#define MIDDLE_OF 3
#define ENDS_OF 12
/* Bytes per second below which nothing is learnt of pages that go again. */
#define AGAIN_LEAST (1024.0 * 1024)
#define PAGE 4096.0
/* Of a move that sent less of the stream than this nothing is learnt of how it was packed. */
#define PACKED_LEAST 0.1

/* One migration, as far as it teaches. A figure below 0 could not be taken. */
struct lesson {
    gboolean of_partition, of_peer;
    double before_us, after_us, added_us, freeze, switch_us, engine, ratio, unchanged, full, again;
};

/* ---- readers ---- */

static double number(const json_t *object, const char *outer, const char *inner)
{
    const json_t *value = json_object_get(object, outer);

    value = inner ? json_object_get(value, inner) : value;
    return json_is_number(value) ? json_number_value(value) : -1;
}

static gboolean went_post_copy(const json_t *report)
{
    const json_t *phase;
    size_t i;

    json_array_foreach (json_object_get(report, "phases"), i, phase) {
        if (g_strcmp0(json_string_value(json_object_get(phase, "name")), "post-copy") == 0)
            return TRUE;
    }
    return FALSE;
}

/* ---- one migration ---- */

/* Part of the stream that went for the first time. */
static double first_bytes(const json_t *report)
{
    double sent = number(report, "pages", "sent"), resent = number(report, "pages", "resent");
    double stream = number(report, "stream_bytes", NULL);

    if (sent <= 0 || resent < 0 || stream <= 0)
        return -1;
    return stream * CLAMP(1 - resent / sent, 0, 1);
}

/* What went over the link while the stream lasted, bytes/s; -1: not known. */
static double carried_rate(const LpmForecastPast *past)
{
    const json_t *report = past->row->report;
    double sent = number(report, "link_bytes", "sent"), took = number(report, "costs", "stream_us");
    double suspended = number(report, "suspended_us", NULL);

    return sent > 0 && took > 0 ? sent / (took + MAX(suspended, 0)) * 1e6 : -1;
}

/* What comes near the cap on the wire was held by it. */
static gboolean was_held(const LpmForecastPast *past)
{
    double cap = number(past->row->doc, "bandwidth", NULL);

    return cap > 0 && carried_rate(past) >= cap * 0.7;
}

/* How tightly the movers packed what they packed: without the pages that the target had, and as if
 * no cap had given them time. */
static void read_ratio(struct lesson *lesson, const LpmForecastPast *past)
{
    const json_t *report = past->row->report;
    const json_t *inputs = json_object_get(past->forecast, "inputs");
    double stream = number(report, "stream_bytes", NULL), kept = number(report, "pages", "kept");
    double retained = number(inputs, "retained_bytes", NULL);
    double packed = stream > 0 && kept > 0 ? 1 - kept * PAGE / stream : 1;

    lesson->ratio = number(report, "compression_ratio", NULL);
    lesson->unchanged = retained > 0 && kept >= 0 ? CLAMP(kept * PAGE / retained, 0, 1) : -1;
    if (packed < PACKED_LEAST)
        lesson->ratio = -1;
    if (lesson->ratio <= 0)
        return;
    lesson->ratio *= packed;
    if (was_held(past) && !json_is_true(json_object_get(inputs, "fixed_method")))
        lesson->ratio = lpm_ratio_under_cap(lesson->ratio, 1 / LPM_CAP_GAIN);
}

/* The rate at which bytes passed when nothing capped it; -1 if it was capped. */
static void read_engine(struct lesson *lesson, const LpmForecastPast *past, double freeze_us)
{
    double stream = number(past->row->report, "stream_bytes", NULL);
    double took = number(past->row->report, "costs", "stream_us") + MAX(freeze_us, 0);

    lesson->engine = -1;
    if (number(past->row->report, "costs", "stream_us") <= 0 || stream <= 0)
        return;
    if (!was_held(past))
        lesson->engine = stream / took * 1e6;
}

static void read_freeze(struct lesson *lesson, const LpmForecastPast *past, double freeze_us)
{
    const json_t *report = past->row->report;
    double limit_us = number(report, "costs", "limit_ms") * 1e3;
    double first = first_bytes(report), took = number(report, "costs", "stream_us");
    double whole_us = took > 0 && freeze_us > 0 ? took + freeze_us : -1;

    lesson->freeze = -1;
    if (limit_us <= 0 || freeze_us <= 0 || first <= 0 || whole_us <= 0)
        return;
    /* A partition so small that all of it fits is suspended for less than is allowed. */
    lesson->freeze = freeze_us / MIN(limit_us, whole_us);
}

/* Of the pages that were written while the stream lasted, so many went again: others had not gone
 * for the first time yet, or were written once more before they did. */
static void read_again(struct lesson *lesson, const LpmForecastPast *past)
{
    const json_t *report = past->row->report;
    double dirty = number(report, "dirty_rate", NULL), took = number(report, "costs", "stream_us");
    double stream = number(report, "stream_bytes", NULL), first = first_bytes(report);

    lesson->again = -1;
    if (dirty < AGAIN_LEAST || took <= 0 || first < 0)
        return;
    lesson->again = CLAMP((stream - first) / (dirty * took / 1e6), 0.05, 1);
}

static void read_lesson(struct lesson *lesson, const LpmForecastPast *past, const char *uuid,
                        const char *peer)
{
    const json_t *report = past->row->report;
    double suspended = number(report, "suspended_us", NULL);
    double added = number(report, "handover", "added_us");
    double resident = number(json_object_get(past->forecast, "inputs"), "resident_bytes", NULL);
    double freeze_us = suspended > 0 && added >= 0 ? MAX(suspended - added, 1) : -1;
    double sampling = number(report, "costs", "sampling_us");
    double load = number(json_object_get(past->forecast, "inputs"), "load", NULL);
    double after = number(report, "costs", "after_us"), slow = lpm_load_slows(load);
    gboolean switched = went_post_copy(report);

    lesson->of_peer = g_strcmp0(past->row->peer, peer) == 0;
    lesson->of_partition = lesson->of_peer && g_strcmp0(past->row->uuid, uuid) == 0;
    double before = number(report, "costs", "before_us");
    lesson->before_us = before > 0 ? MAX(before - MAX(sampling, 0), 0) / slow : -1;
    lesson->after_us = switched || after < 0 ? -1 : after / slow;
    read_ratio(lesson, past);
    lesson->full = resident > 0 ? first_bytes(report) / resident : -1;
    lesson->switch_us = switched ? suspended : -1;
    lesson->added_us = switched ? -1 : added;
    lesson->engine = lesson->freeze = lesson->again = -1;
    if (switched)
        return;
    read_engine(lesson, past, freeze_us);
    lesson->engine = lesson->engine > 0 ? lesson->engine * slow : -1;
    read_freeze(lesson, past, freeze_us);
    read_again(lesson, past);
}

/* ---- many ---- */

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return left < right ? -1 : left > right;
}

static double median(const double *values, guint count)
{
    g_autofree double *sorted = g_memdup2(values, count * sizeof(*values));

    qsort(sorted, count, sizeof(*sorted), compare);
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

enum reach { OF_PARTITION, OF_PEER, OF_ALL };

/* The newest figures within reach; how many. */
static guint collect(const GArray *lessons, gsize member, enum reach reach, double *values)
{
    guint count = 0;

    for (guint i = 0; i < lessons->len && count < ENDS_OF; i++) {
        const struct lesson *lesson = &g_array_index(lessons, struct lesson, i);
        double value = G_STRUCT_MEMBER(double, lesson, member);

        if (value < 0 || (reach == OF_PARTITION && !lesson->of_partition) ||
            (reach == OF_PEER && !lesson->of_peer))
            continue;
        values[count++] = value;
    }
    return count;
}

/* Replaces the default by what was seen, from the nearest reach that saw anything. The fewer and
 * the farther, the more is allowed on both sides. */
static void learn(const GArray *lessons, gsize member, enum reach nearest, struct lpm_range *range)
{
    double values[ENDS_OF];

    for (enum reach reach = nearest; reach <= OF_ALL; reach++) {
        guint count = collect(lessons, member, reach, values);

        if (count == 0)
            continue;
        double slack = (count == 1 ? 1.7 : count == 2 ? 1.5 : 1.25) * (reach > nearest ? 1.3 : 1);

        range->expected = median(values, MIN(count, MIDDLE_OF));
        qsort(values, count, sizeof(*values), compare);
        range->low = MIN(values[0], range->expected) / slack;
        range->high = MAX(values[count - 1], range->expected) * slack;
        return;
    }
}

/* Defaults: of a host of two processors under emulation and of one with forty, so the ranges are
 * wide. docs/forecast.md tells where they are from. */
void lpm_lessons_default(struct lpm_lessons *lessons)
{
    *lessons = (struct lpm_lessons){
        .before_us = {2e5, 7e5, 4e6},
        .after_us = {2e4, 1e5, 1e6},
        .added_us = {2e3, 3e4, 2.5e5},
        .freeze = {0.1, 0.5, 2},
        .switch_us = {1e4, 1.2e5, 8e5},
        .engine = {5e7, 1.8e8, 1e9},
        .ratio = {1, 2.2, 5},
        .unchanged = {0, 0.7, 1},
        .full = {0.5, 0.9, 1.02},
        .again = {0.2, 0.6, 1},
        .dirty_rate = -1,
    };
}

/* The newest figure of the partition's own migrations, wherever to, or of the link to that host. */
static void learn_newest(const GPtrArray *past, const char *uuid, const char *peer,
                         struct lpm_lessons *lessons)
{
    double widest = 0;

    for (guint i = 0; i < past->len; i++) {
        const LpmForecastPast *entry = past->pdata[i];
        const json_t *inputs = json_object_get(entry->forecast, "inputs");
        gboolean there = g_strcmp0(entry->row->peer, peer) == 0;
        double link = number(inputs, "link_rate", NULL), carried = carried_rate(entry);
        double dirty = number(entry->row->report, "dirty_rate", NULL);

        /* A link that carried more since than it was sampled with has been widened. */
        if (there && lessons->link_rate <= 0)
            widest = MAX(widest, carried);
        if (there && lessons->link_rate <= 0 && link > 0)
            lessons->link_rate = MAX(link, widest);
        if (lessons->dirty_rate < 0 && dirty > 0 && g_strcmp0(entry->row->uuid, uuid) == 0)
            lessons->dirty_rate = dirty;
    }
}

void lpm_lessons_learn(const GPtrArray *past, const char *uuid, const char *peer,
                       struct lpm_lessons *lessons)
{
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(struct lesson));

    lpm_lessons_default(lessons);
    for (guint i = 0; i < past->len; i++) {
        const LpmForecastPast *entry = past->pdata[i];
        struct lesson lesson;

        /* A partition that was powered off is moved without a copy. */
        if (g_strcmp0(entry->row->state, "done") != 0 ||
            !json_is_object(json_object_get(entry->row->report, "costs")))
            continue;
        read_lesson(&lesson, entry, uuid, peer);
        g_array_append_val(list, lesson);
        lessons->of_all++;
        lessons->of_pair += lesson.of_peer ? 1 : 0;
        lessons->of_partition += lesson.of_partition ? 1 : 0;
    }
#define LEARN(member, nearest)                                                                     \
    learn(list, G_STRUCT_OFFSET(struct lesson, member), nearest, &lessons->member)
    LEARN(before_us, OF_PEER);
    LEARN(after_us, OF_PEER);
    LEARN(added_us, OF_PEER);
    LEARN(switch_us, OF_PEER);
    LEARN(freeze, OF_PARTITION);
    LEARN(engine, OF_PARTITION);
    LEARN(ratio, OF_PARTITION);
    LEARN(unchanged, OF_PARTITION);
    LEARN(full, OF_PARTITION);
    LEARN(again, OF_PEER);
#undef LEARN
    lessons->unchanged.low = MIN(lessons->unchanged.low, lessons->unchanged.expected / 2);
    lessons->full.high = MIN(lessons->full.high, 1.1);
    lessons->again.high = CLAMP(lessons->again.high, lessons->again.expected, 1.2);
    lessons->ratio.low = MAX(lessons->ratio.low, 0.95);
    learn_newest(past, uuid, peer, lessons);
}

/* ---- the score ---- */

static json_t *outcome_of(const LpmForecastPast *past)
{
    const json_t *report = past->row->report;
    json_t *sent = json_object_get(json_object_get(report, "link_bytes"), "sent");
    /* What it waited in the queue was not foretold. */
    double queued_ms = MAX(number(report, "costs", "queued_us"), 0) / 1e3;
    double total_ms = number(report, "total_ms", NULL) - queued_ms;

    if (g_strcmp0(past->row->state, "done") != 0 || total_ms <= 0)
        return NULL;
    return json_pack("{s:I, s:O?, s:O?, s:O?, s:O?}", "total_ms", (json_int_t)total_ms,
                     "suspended_us", json_object_get(report, "suspended_us"), "rounds",
                     json_object_get(report, "rounds"), "stream_bytes",
                     json_object_get(report, "stream_bytes"), "link_bytes", sent);
}

static gboolean within(const json_t *forecast, const char *name, double value)
{
    double low = number(forecast, name, "low"), high = number(forecast, name, "high");

    return low >= 0 && value >= low && (high < 0 || value <= high);
}

struct score {
    GArray *total, *suspended; /* of double */
    int total_in_range, suspended_in_range;
};

/* What the forecast was wrong by; NULL when there is nothing to compare. */
static json_t *errors_of(const json_t *forecast, const json_t *outcome, struct score *score)
{
    double total = number(outcome, "total_ms", NULL),
           said = number(forecast, "total_ms", "expected");
    double suspended = number(outcome, "suspended_us", NULL);
    double said_suspended = number(forecast, "suspended_us", "expected");
    json_t *errors;

    if (!outcome || total <= 0 || said <= 0)
        return NULL;
    double error = fabs(said - total) / total;
    gboolean in_range = within(forecast, "total_ms", total);
    g_array_append_val(score->total, error);
    score->total_in_range += in_range;
    errors = json_pack("{s:f, s:b}", "total", error, "total_in_range", in_range);
    if (suspended > 0 && said_suspended > 0) {
        double factor = MAX(said_suspended / suspended, suspended / said_suspended);

        in_range = within(forecast, "suspended_us", suspended);
        g_array_append_val(score->suspended, factor);
        score->suspended_in_range += in_range;
        json_object_set_new(errors, "suspended_factor", json_real(factor));
        json_object_set_new(errors, "suspended_in_range", json_boolean(in_range));
    }
    return errors;
}

static json_t *median_json(const GArray *values)
{
    return values->len ? json_real(median((const double *)(const void *)values->data, values->len))
                       : json_null();
}

static json_t *or_null(json_t *value)
{
    return value ? value : json_null();
}

json_t *lpm_forecast_score(const GPtrArray *past)
{
    struct score score = {.total = g_array_new(FALSE, FALSE, sizeof(double)),
                          .suspended = g_array_new(FALSE, FALSE, sizeof(double))};
    json_t *list = json_array();

    for (guint i = 0; i < past->len; i++) {
        const LpmForecastPast *entry = past->pdata[i];
        const LpmMigrationRow *row = entry->row;

        if (!entry->forecast)
            continue;
        json_t *outcome = outcome_of(entry);
        json_t *errors = errors_of(entry->forecast, outcome, &score);
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s, s:I, s:O, s:o, s:o}", "migration", row->id,
                            "partition", row->partition, "peer", row->peer, "state", row->state,
                            "started_ms", (json_int_t)row->started_ms, "forecast", entry->forecast,
                            "outcome", or_null(outcome), "errors", or_null(errors)));
    }
    json_t *result =
        json_pack("{s:o, s:{s:i, s:o, s:o, s:i, s:i}}", "forecasts", list, "score", "scored",
                  (int)score.total->len, "total_error", median_json(score.total),
                  "suspended_factor", median_json(score.suspended), "total_in_range",
                  score.total_in_range, "suspended_in_range", score.suspended_in_range);
    g_array_unref(score.total);
    g_array_unref(score.suspended);
    return result;
}
