/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/forecast.h"

#include <math.h>

#define SECOND 1e6
/* QEMU looks at a page that turns out to be zero, and the movers carry its record: microseconds. */
#define ZERO_PAGE_US 0.6
#define PAGE 4096.0
#define ZERO_RECORD 9.0
/* Frames, TLS records and TCP on top of what the codec makes. */
#define LINK_OVERHEAD 1.02
/* What has to be loaded after the last page whatever is left: processors and devices. */
#define DEVICES_US_LOW 2e3
#define DEVICES_US 1e4
#define DEVICES_US_HIGH 4e4
#define ROUNDS_MAX 60
#define LOAD_EXPONENT 0.7
/* QEMU measures its rate by tenths of a second, so that what it allows itself wavers: a rest that
 * is above it by less than a quarter, or by this, is its last. */
#define CRUMB_BYTES (128.0 * 1024)
#define CRUMB_PART 0.25
/* QEMU compares 512 pages of each GiB, so that one page found dirty stands for 2 MiB. */
#define BYTES_PER_HIT (2.0 * 1024 * 1024)
/* The distinct pages of one second say little of those of ten: the working set is taken for so many
 * times that. */
#define WORKING_SET_LOW 1.5
#define WORKING_SET 6.0
#define WORKING_SET_HIGH 30.0

/* By the shares of the movers' ladder: zstd 3 instead of -1; at best instead of lz4. */
#define CAP_GAIN_BEST 1.8
/* Tags of pages that the target has, and the offer of them, for each byte of those. */
#define KEPT_SHARE 0.01

/* One end of the ranges, or their middle. */
struct scenario {
    double full, zero, rate, ratio, dirty, again, working_set, limit_us; /* bytes, bytes/s */
    double before_us, after_us, added_us, freeze, devices_us, switch_us;
    enum lpm_post_copy post_copy;
    guint rounds_max;
};

struct course {
    double total_us, suspended_us, rounds, stream, link;
    gboolean ends; /* as pre-copy */
};

enum { BEST, EXPECTED, WORST, CASES };

/* ---- what one case assumes ---- */

/* Whoever shares a processor with n others gets a part of it. Less than in proportion, since the
 * load of this moment is not that of the whole migration. */
double lpm_load_slows(double load)
{
    return load > 1 ? pow(load, LOAD_EXPONENT) : 1;
}

static double pick(const struct lpm_range *range, int which, gboolean more_is_better)
{
    if (which == EXPECTED)
        return range->expected;
    return (which == BEST) == more_is_better ? range->high : range->low;
}

/* The sample counts hits: their number has the spread of chance. What QEMU saw the last time is the
 * better figure as long as the sample does not speak against it. */
static double dirty_of(const struct lpm_forecast_input *input, int which)
{
    double before = input->lessons.dirty_rate;

    if (input->dirty_rate < 0 && before < 0)
        return which == BEST ? 0 : which == EXPECTED ? BYTES_PER_HIT : 64 * BYTES_PER_HIT;
    if (input->dirty_rate < 0)
        return which == BEST ? before / 4 : which == EXPECTED ? before : before * 4 + BYTES_PER_HIT;
    double hits = input->dirty_rate / BYTES_PER_HIT, spread = 2 * sqrt(hits);
    double least = MAX(hits - spread, 0) * BYTES_PER_HIT;
    double most = (hits + spread + 3) * BYTES_PER_HIT;

    if (which == EXPECTED)
        return before >= least && before <= most ? before : input->dirty_rate;
    return which == BEST ? least : most;
}

static double full_of(const struct lpm_forecast_input *input, int which)
{
    double memory = (double)input->memory_bytes, resident = (double)input->resident_bytes;

    if (input->resident_bytes)
        return MIN(resident * pick(&input->lessons.full, which, FALSE), memory);
    return memory * (which == BEST ? 0.05 : which == EXPECTED ? 0.6 : 1);
}

double lpm_ratio_under_cap(double ratio, double gain)
{
    return ratio > 1 ? 1 + (ratio - 1) * gain : ratio;
}

/* What the target keeps goes as a tag. In proportion to the whole stream, since of the later rounds
 * little is left that it has. */
static double ratio_with_kept(const struct lpm_forecast_input *input, int which, double full,
                              double ratio)
{
    double part = pick(&input->lessons.unchanged, which, TRUE);
    double kept = MIN((double)input->retained_bytes, full) * CLAMP(part, 0, 1);

    return kept > 0 ? full / ((full - kept) / ratio + kept * KEPT_SHARE) : ratio;
}

/* The engine's pace: what passes when neither link nor cap are in the way. */
static double pace_of(const struct lpm_forecast_input *input, int which)
{
    return pick(&input->lessons.engine, which, TRUE) / lpm_load_slows(input->load);
}

/* A cap that holds the link back lets compression take its time. */
static double ratio_of(const struct lpm_forecast_input *input, int which, double full)
{
    static const double gains[CASES] = {CAP_GAIN_BEST, LPM_CAP_GAIN, 1};
    double ratio = pick(&input->lessons.ratio, which, TRUE);
    gboolean held = (double)input->bandwidth * ratio < pace_of(input, which);

    if (input->bandwidth && held && !input->fixed_method)
        ratio = lpm_ratio_under_cap(ratio, gains[which]);
    return ratio_with_kept(input, which, full, ratio);
}

static double rate_of(const struct lpm_forecast_input *input, int which, double ratio)
{
    double rate = pace_of(input, which);
    double link = input->link_rate > 0 ? input->link_rate : input->lessons.link_rate;

    if (link > 0)
        rate = MIN(rate, link * ratio * (which == WORST ? 0.8 : which == BEST ? 1.2 : 1));
    if (input->bandwidth)
        rate = MIN(rate, (double)input->bandwidth * ratio);
    return MAX(rate, 1);
}

static void assume(const struct lpm_forecast_input *input, guint limit_ms, int which,
                   struct scenario *scenario)
{
    const struct lpm_lessons *lessons = &input->lessons;
    double full = full_of(input, which), ratio = ratio_of(input, which, full);
    double dirty = dirty_of(input, which);
    double seconds = which == BEST       ? WORKING_SET_LOW
                     : which == EXPECTED ? WORKING_SET
                                         : WORKING_SET_HIGH;

    double slow = lpm_load_slows(input->load);

    *scenario = (struct scenario){
        .full = full,
        .zero = MAX((double)input->memory_bytes - full, 0),
        .rate = rate_of(input, which, ratio),
        .ratio = ratio,
        .dirty = dirty,
        .again = pick(&lessons->again, which, FALSE),
        .working_set = MIN(dirty * seconds, full),
        .limit_us = limit_ms * 1e3,
        .before_us = pick(&lessons->before_us, which, FALSE) * slow + input->sampling_us,
        .after_us = pick(&lessons->after_us, which, FALSE) * slow,
        .added_us = pick(&lessons->added_us, which, FALSE),
        .freeze = pick(&lessons->freeze, which, FALSE),
        .switch_us = pick(&lessons->switch_us, which, FALSE),
        .devices_us = which == BEST       ? DEVICES_US_LOW
                      : which == EXPECTED ? DEVICES_US
                                          : DEVICES_US_HIGH,
        .post_copy = input->post_copy,
        .rounds_max = input->post_copy_rounds,
    };
}

/* ---- the course of one case ---- */

static double sending_us(const struct scenario *scenario, double bytes)
{
    return bytes / scenario->rate * SECOND;
}

static double scan_us(const struct scenario *scenario)
{
    return scenario->zero / PAGE * ZERO_PAGE_US;
}

/* Rounds until what is left may go with the processors stopped. QEMU looks each time that the rest
 * falls below what it could send in the time allowed; what was written meanwhile is added then. */
static void pre_copy(const struct scenario *scenario, struct course *course)
{
    double allowed = scenario->rate * scenario->limit_us / SECOND;
    double left = scenario->full, time_us = scan_us(scenario), sent = 0;
    int round = 1;

    for (; left - allowed > MAX(CRUMB_BYTES, allowed * CRUMB_PART) && round < ROUNDS_MAX; round++) {
        double now = sending_us(scenario, left - allowed) + (round == 1 ? scan_us(scenario) : 0);
        double written =
            MIN(scenario->dirty * now / SECOND, scenario->working_set) * scenario->again;

        sent += left - allowed;
        time_us += sending_us(scenario, left - allowed);
        left = MIN(allowed + written, MAX(scenario->working_set, allowed));
    }
    course->ends = round < ROUNDS_MAX;
    course->rounds = MAX(round, 2); /* the last one is that of the suspension */
    sent += MIN(left, allowed);
    course->suspended_us =
        MAX(sending_us(scenario, MIN(left, allowed)) * scenario->freeze, scenario->devices_us) +
        scenario->added_us;
    course->total_us = time_us;
    course->stream = sent + scenario->zero / PAGE * ZERO_RECORD;
}

/* Everything is sent once; what `auto` has sent before counts on top of it. */
static void post_copy(const struct scenario *scenario, double rounds, struct course *course)
{
    double once = sending_us(scenario, scenario->full);
    double again = MIN(scenario->dirty * once / SECOND, scenario->working_set);
    double bytes = scenario->full + again * rounds;

    course->rounds = rounds + 1;
    course->suspended_us = scenario->switch_us;
    course->total_us = scan_us(scenario) + sending_us(scenario, bytes);
    course->stream = bytes + scenario->zero / PAGE * ZERO_RECORD;
}

static void run(const struct scenario *scenario, struct course *course)
{
    pre_copy(scenario, course);
    if (scenario->post_copy == LPM_POST_COPY_NOW)
        post_copy(scenario, 0, course);
    else if (!course->ends && scenario->post_copy == LPM_POST_COPY_AUTO)
        post_copy(scenario, MIN(scenario->rounds_max, 3), course);
    else if (!course->ends)
        course->total_us = course->suspended_us = course->rounds = course->stream = INFINITY;
    course->link = course->stream / scenario->ratio * LINK_OVERHEAD;
    course->total_us += course->suspended_us + scenario->before_us + scenario->after_us;
}

static struct lpm_range spread(double best, double expected, double worst)
{
    double low = MIN(best, worst);

    return (struct lpm_range){MIN(low, expected), expected, MAX(MAX(best, worst), expected)};
}

/* What QEMU may use of a suspension that an operator has asked for: the hand-over comes on top. */
static guint limit_for(const struct lpm_forecast_input *input)
{
    double whole = input->max_suspend_ms;
    double rest =
        (whole - input->lessons.added_us.expected / 1e3) / MAX(input->lessons.freeze.expected, 1);

    if (!input->limit_asked)
        return input->max_suspend_ms;
    return (guint)MAX(MAX(rest, whole / 4), 1);
}

void lpm_forecast_make(const struct lpm_forecast_input *input, struct lpm_forecast *forecast)
{
    struct scenario scenario[CASES];
    struct course course[CASES];

    forecast->limit_ms = limit_for(input);
    for (int i = 0; i < CASES; i++) {
        assume(input, forecast->limit_ms, i, &scenario[i]);
        run(&scenario[i], &course[i]);
    }
#define SPREAD(from, member) spread(from[BEST].member, from[EXPECTED].member, from[WORST].member)
    forecast->total_us = SPREAD(course, total_us);
    forecast->suspended_us = SPREAD(course, suspended_us);
    forecast->rounds = SPREAD(course, rounds);
    forecast->stream_bytes = SPREAD(course, stream);
    forecast->link_bytes = SPREAD(course, link);
    forecast->rate = SPREAD(scenario, rate);
#undef SPREAD
    forecast->converges = !course[BEST].ends                            ? LPM_CONVERGES_NO
                          : course[EXPECTED].ends && course[WORST].ends ? LPM_CONVERGES_YES
                                                                        : LPM_CONVERGES_UNSURE;
}

/* ---- what is made of it ---- */

gboolean lpm_forecast_holds(const struct lpm_forecast_input *input,
                            const struct lpm_forecast *forecast, char **why)
{
    g_autofree char *text = NULL;

    if (input->post_copy != LPM_POST_COPY_NEVER)
        return TRUE;
    if (forecast->converges == LPM_CONVERGES_NO)
        text = g_strdup_printf("it writes about %.1f MiB/s and the stream carries %.1f MiB/s at "
                               "best, so that never as little is left as fits into %u ms",
                               dirty_of(input, EXPECTED) / 1048576, forecast->rate.high / 1048576,
                               input->max_suspend_ms);
    else if (forecast->suspended_us.low > input->max_suspend_ms * 1e3)
        text =
            g_strdup_printf("%.0f ms are expected and %.0f ms in the best case, of which %.0f ms "
                            "are the hand-over; %u ms are allowed",
                            forecast->suspended_us.expected / 1e3, forecast->suspended_us.low / 1e3,
                            input->lessons.added_us.low / 1e3, input->max_suspend_ms);
    else
        return TRUE;
    if (why)
        *why = g_steal_pointer(&text);
    return FALSE;
}

static json_t *number(double value)
{
    return isfinite(value) ? json_integer((json_int_t)llround(value)) : json_null();
}

static json_t *range_json(const struct lpm_range *range, double divisor)
{
    return json_pack("{s:o, s:o, s:o}", "low", number(range->low / divisor), "expected",
                     number(range->expected / divisor), "high", number(range->high / divisor));
}

static json_t *positive(double value)
{
    return value > 0 ? number(value) : json_null();
}

static json_t *inputs_json(const struct lpm_forecast_input *input)
{
    const struct lpm_lessons *lessons = &input->lessons;

    return json_pack(
        "{s:I, s:o, s:o, s:f, s:o, s:o, s:o, s:b, s:o, s:i, s:b, s:s, s:o, s:f, s:{s:i, s:i, s:i}}",
        "memory_bytes", (json_int_t)input->memory_bytes, "resident_bytes",
        positive((double)input->resident_bytes), "link_rate", positive(input->link_rate), "load",
        input->load, "dirty_rate", input->dirty_rate < 0 ? json_null() : number(input->dirty_rate),
        "dirty_rate_before", lessons->dirty_rate < 0 ? json_null() : number(lessons->dirty_rate),
        "bandwidth", positive((double)input->bandwidth), "fixed_method", input->fixed_method,
        "retained_bytes", positive((double)input->retained_bytes), "max_suspend_ms",
        (int)input->max_suspend_ms, "limit_asked", input->limit_asked, "post_copy",
        lpm_post_copy_name(input->post_copy), "engine_rate", number(lessons->engine.expected),
        "ratio", lessons->ratio.expected, "learnt_from", "partition", (int)lessons->of_partition,
        "pair", (int)lessons->of_pair, "all", (int)lessons->of_all);
}

json_t *lpm_forecast_json(const struct lpm_forecast_input *input,
                          const struct lpm_forecast *forecast, gint64 made_ms)
{
    static const char *const words[] = {
        [LPM_CONVERGES_YES] = "yes", [LPM_CONVERGES_UNSURE] = "unsure", [LPM_CONVERGES_NO] = "no"};

    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:s, s:i, s:o}", "made_ms",
                     (json_int_t)made_ms, "total_ms", range_json(&forecast->total_us, 1e3),
                     "suspended_us", range_json(&forecast->suspended_us, 1), "rounds",
                     range_json(&forecast->rounds, 1), "stream_bytes",
                     range_json(&forecast->stream_bytes, 1), "link_bytes",
                     range_json(&forecast->link_bytes, 1), "converges", words[forecast->converges],
                     "limit_ms", (int)forecast->limit_ms, "inputs", inputs_json(input));
}
