/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The forecast: its model on made-up inputs, what is learnt from made-up migrations, the score, and
 * the sample of a link. */
#include "hosts.h"

#include "daemon/forecast-history.h"
#include "daemon/validate/throughput.h"

#include <math.h>
#include <sys/socket.h>
#include <unistd.h>

#define MIB 1048576.0

/* A partition of 1 GiB, half of it in use, over a link of 100 MiB/s that bounds the copy. */
static struct lpm_forecast_input ordinary(void)
{
    struct lpm_forecast_input input = {.memory_bytes = (guint64)(1024 * MIB),
                                       .resident_bytes = (guint64)(512 * MIB),
                                       .link_rate = 100 * MIB,
                                       .dirty_rate = 8 * MIB,
                                       .max_suspend_ms = 300,
                                       .post_copy = LPM_POST_COPY_NEVER,
                                       .post_copy_rounds = 10};

    lpm_lessons_default(&input.lessons);
    input.lessons.engine = (struct lpm_range){1e9, 1e9, 1e9};
    input.lessons.ratio = (struct lpm_range){1, 1, 1};
    input.lessons.full = (struct lpm_range){1, 1, 1};
    input.lessons.freeze = (struct lpm_range){0.8, 1, 1.2};
    input.lessons.again = (struct lpm_range){1, 1, 1};
    return input;
}

static struct lpm_forecast make(const struct lpm_forecast_input *input)
{
    struct lpm_forecast forecast;

    lpm_forecast_make(input, &forecast);
    return forecast;
}

static void assert_ordered(const struct lpm_range *range)
{
    assert_true(range->low <= range->expected);
    assert_true(range->expected <= range->high);
}

static LpmForecastPast *past_of(const char *uuid, const char *peer, int bandwidth, int stream_ms,
                                int suspended_ms)
{
    LpmForecastPast *past = g_new0(LpmForecastPast, 1);
    LpmMigrationRow *row = past->row = g_new0(LpmMigrationRow, 1);

    row->id = g_strdup("m");
    row->partition = g_strdup("web");
    row->uuid = g_strdup(uuid);
    row->peer = g_strdup(peer);
    row->role = g_strdup("source");
    row->state = g_strdup("done");
    row->doc = json_pack("{s:i}", "bandwidth", bandwidth);
    row->report = json_pack(
        "{s:i, s:i, s:f, s:i, s:i, s:{s:i}, s:{s:i, s:i, s:i}, s:{s:i, s:i, s:i, s:i}, s:{s:i}}",
        "total_ms", 2000, "suspended_us", suspended_ms * 1000, "compression_ratio", 2.5,
        "stream_bytes", 100000000, "dirty_rate", 4096, "handover", "added_us", 20000, "pages",
        "sent", 25000, "zero", 1000, "resent", 5000, "costs", "before_us", 900000, "stream_us",
        stream_ms * 1000, "after_us", 100000, "limit_ms", 300, "link_bytes", "sent", 40000000);
    past->forecast =
        json_pack("{s:{s:i, s:i, s:i}, s:{s:i, s:i, s:i}, s:{s:i, s:i}}", "total_ms", "low", 1000,
                  "expected", 1500, "high", 3000, "suspended_us", "low", 100000, "expected", 400000,
                  "high", 500000, "inputs", "resident_bytes", 100000000, "link_rate", 50000000);
    return past;
}

static GPtrArray *new_past(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)lpm_forecast_past_free);
}

static void test_ordinary(void **state)
{
    struct lpm_forecast_input input = ordinary();
    struct lpm_forecast forecast = make(&input);

    (void)state;
    assert_ordered(&forecast.total_us);
    assert_ordered(&forecast.suspended_us);
    assert_ordered(&forecast.rounds);
    assert_ordered(&forecast.stream_bytes);
    assert_ordered(&forecast.link_bytes);
    assert_int_equal(forecast.converges, LPM_CONVERGES_YES);
    /* 512 MiB at 100 MiB/s, of which 8 are written again: 5.6 s and the fixed costs. */
    assert_true(forecast.total_us.expected > 5.5e6 && forecast.total_us.expected < 8e6);
    assert_true(forecast.suspended_us.expected > 2e5 && forecast.suspended_us.expected < 4e5);
    assert_true(forecast.stream_bytes.expected > 512 * MIB);
    assert_true(forecast.stream_bytes.expected < 580 * MIB);
}

/* Each input moves the outcome the way it does in life. */
static void test_directions(void **state)
{
    struct lpm_forecast_input input = ordinary();
    double usual = make(&input).total_us.expected;

    (void)state;
    input.bandwidth = (guint64)(50 * MIB);
    assert_true(make(&input).total_us.expected > 1.7 * usual);
    input = ordinary();
    input.resident_bytes /= 4;
    assert_true(make(&input).total_us.expected < 0.6 * usual);
    input = ordinary();
    input.dirty_rate = 50 * MIB;
    assert_true(make(&input).total_us.expected > 1.3 * usual);
    input = ordinary();
    input.lessons.ratio = (struct lpm_range){3, 3, 3};
    assert_true(make(&input).total_us.expected < 0.6 * usual);
    assert_true(make(&input).link_bytes.expected < 0.4 * 512 * MIB);
    input = ordinary();
    input.max_suspend_ms = 2000;
    assert_true(make(&input).suspended_us.expected > 1.2e6);
}

/* What is not known widens the range and nothing else. */
static void test_unknown(void **state)
{
    struct lpm_forecast_input input = ordinary();

    (void)state;
    input.lessons.engine = (struct lpm_range){4e7, 1.2e8, 8e8};
    struct lpm_forecast known = make(&input);
    input.resident_bytes = 0;
    input.dirty_rate = -1;
    input.link_rate = 0;
    struct lpm_forecast unknown = make(&input);
    assert_true(unknown.total_us.low < known.total_us.low);
    assert_true(unknown.total_us.high > known.total_us.high);
    assert_true(isfinite(unknown.total_us.expected));
}

/* What QEMU saw the last time counts until the sample speaks against it. */
static void test_dirty_rate_before(void **state)
{
    struct lpm_forecast_input input = ordinary();
    double usual = make(&input).stream_bytes.expected;

    (void)state;
    input.lessons.dirty_rate = 5 * MIB;
    assert_true(make(&input).stream_bytes.expected < usual - 10 * MIB);
    input.lessons.dirty_rate = 40 * MIB;
    assert_true(fabs(make(&input).stream_bytes.expected - usual) < 1);
    input.dirty_rate = -1;
    assert_true(make(&input).stream_bytes.expected > usual + 100 * MIB);
}

/* A busy host is slower, and what was seen while it was busy is not taken for its best. */
static void test_load(void **state)
{
    struct lpm_forecast_input input = ordinary();
    g_autoptr(GPtrArray) past = new_past();
    struct lpm_lessons idle, busy;

    (void)state;
    input.lessons.engine = (struct lpm_range){5e7, 5e7, 5e7};
    double usual = make(&input).total_us.expected;
    input.load = 0.5;
    assert_true(fabs(make(&input).total_us.expected - usual) < 1);
    input.load = 4;
    assert_true(make(&input).total_us.expected > 2 * usual);
    g_ptr_array_add(past, past_of("u1", "beta", 0, 820, 200));
    lpm_lessons_learn(past, "u1", "beta", &idle);
    LpmForecastPast *entry = past->pdata[0];
    json_object_set_new(json_object_get(entry->forecast, "inputs"), "load", json_real(4));
    lpm_lessons_learn(past, "u1", "beta", &busy);
    assert_true(busy.engine.expected > 2 * idle.engine.expected);
    assert_true(busy.before_us.expected < idle.before_us.expected / 2);
}

static void test_never_converges(void **state)
{
    struct lpm_forecast_input input = ordinary();
    g_autofree char *why = NULL;

    (void)state;
    input.bandwidth = (guint64)(20 * MIB);
    input.dirty_rate = 80 * MIB;
    struct lpm_forecast forecast = make(&input);
    assert_int_equal(forecast.converges, LPM_CONVERGES_NO);
    assert_true(!isfinite(forecast.total_us.expected));
    assert_false(lpm_forecast_holds(&input, &forecast, &why));
    assert_non_null(strstr(why, "20.0 MiB/s"));
    json_auto_t *json = lpm_forecast_json(&input, &forecast, 1);
    assert_true(json_is_null(json_object_get(json_object_get(json, "total_ms"), "expected")));
    assert_string_equal(json_string_value(json_object_get(json, "converges")), "no");
    input.post_copy = LPM_POST_COPY_AUTO;
    forecast = make(&input);
    assert_true(isfinite(forecast.total_us.expected));
    assert_true(lpm_forecast_holds(&input, &forecast, NULL));
}

/* A small working set ends by itself however fast it is written. */
static void test_small_working_set(void **state)
{
    struct lpm_forecast_input input = ordinary();

    (void)state;
    input.resident_bytes = (guint64)(24 * MIB);
    input.dirty_rate = 200 * MIB;
    assert_int_equal(make(&input).converges, LPM_CONVERGES_YES);
}

static void test_holds(void **state)
{
    struct lpm_forecast_input input = ordinary();
    g_autofree char *why = NULL;

    (void)state;
    input.limit_asked = TRUE;
    struct lpm_forecast forecast = make(&input);
    assert_true(lpm_forecast_holds(&input, &forecast, NULL));
    /* What the hand-over takes is not QEMU's to use. */
    input.lessons.added_us = (struct lpm_range){8e4, 1e5, 1.2e5};
    forecast = make(&input);
    assert_int_equal(forecast.limit_ms, 200);
    assert_true(lpm_forecast_holds(&input, &forecast, NULL));
    input.max_suspend_ms = 50;
    forecast = make(&input);
    assert_false(lpm_forecast_holds(&input, &forecast, &why));
    assert_non_null(strstr(why, "80 ms are the hand-over; 50 ms are allowed"));
    input.post_copy = LPM_POST_COPY_NOW;
    assert_true(lpm_forecast_holds(&input, &forecast, NULL));
}

/* On a host that has never migrated anything only what nobody could hold is refused. */
static void test_first_ever(void **state)
{
    struct lpm_forecast_input input = ordinary();

    (void)state;
    lpm_lessons_default(&input.lessons);
    input.limit_asked = TRUE;
    input.max_suspend_ms = 20;
    struct lpm_forecast forecast = make(&input);
    assert_true(lpm_forecast_holds(&input, &forecast, NULL));
    input.max_suspend_ms = 1;
    forecast = make(&input);
    assert_false(lpm_forecast_holds(&input, &forecast, NULL));
}

/* ---- history ---- */

static void test_learns(void **state)
{
    g_autoptr(GPtrArray) past = new_past();
    struct lpm_lessons lessons;

    (void)state;
    g_ptr_array_add(past, past_of("u1", "beta", 0, 820, 200));
    g_ptr_array_add(past, past_of("u2", "beta", 0, 320, 200));
    lpm_lessons_learn(past, "u1", "beta", &lessons);
    assert_int_equal(lessons.of_all, 2);
    assert_int_equal(lessons.of_pair, 2);
    assert_int_equal(lessons.of_partition, 1);
    /* 100 MB in 820 ms and the 180 ms before the hand-over. */
    assert_true(fabs(lessons.engine.expected - 1e8) < 1);
    assert_ordered(&lessons.engine);
    assert_true(fabs(lessons.freeze.expected - 0.6) < 1e-6);
    assert_true(fabs(lessons.ratio.expected - 2.5) < 1e-6);
    assert_true(fabs(lessons.full.expected - 0.8) < 1e-6);
    assert_true(fabs(lessons.added_us.expected - 2e4) < 1e-6);
    assert_true(fabs(lessons.before_us.expected - 9e5) < 1e-6);
    assert_true(fabs(lessons.link_rate - 5e7) < 1e-6); /* sampled; 40 MB in a second since */
    assert_true(fabs(lessons.dirty_rate - 4096) < 1e-6);
    /* A partition that is new takes the others'; a host that is new too, with more room. */
    lpm_lessons_learn(past, "u3", "beta", &lessons);
    assert_true(fabs(lessons.engine.expected - 1.5e8) < 1e6);
    double high = lessons.before_us.high;
    lpm_lessons_learn(past, "u3", "gamma", &lessons);
    assert_true(lessons.before_us.high > high);
    assert_true(lessons.link_rate <= 0 && lessons.dirty_rate < 0);
}

/* What was held back by a cap teaches nothing of what the hosts can do. */
static void test_learns_no_cap(void **state)
{
    g_autoptr(GPtrArray) past = new_past();
    struct lpm_lessons lessons, fresh;

    (void)state;
    g_ptr_array_add(past, past_of("u1", "beta", 45000000, 820, 200));
    lpm_lessons_default(&fresh);
    lpm_lessons_learn(past, "u1", "beta", &lessons);
    assert_true(fabs(lessons.engine.expected - fresh.engine.expected) < 1);
    /* A cap gives compression time: without one it would have been less tight. */
    assert_true(fabs(lessons.ratio.expected - (1 + 1.5 / LPM_CAP_GAIN)) < 1e-6);
}

/* What a cap teaches comes back under a cap, and is not taken for what would be without one. */
static void test_cap_packs_tighter(void **state)
{
    struct lpm_forecast_input input = ordinary();

    (void)state;
    input.lessons.ratio = (struct lpm_range){1.5, 2, 3};
    double usual = make(&input).link_bytes.expected;
    input.bandwidth = (guint64)(10 * MIB);
    input.dirty_rate = 0;
    struct lpm_forecast capped = make(&input);
    double ratio = capped.stream_bytes.expected / capped.link_bytes.expected * 1.02;
    assert_true(capped.link_bytes.expected < usual);
    assert_true(fabs(ratio - lpm_ratio_under_cap(input.lessons.ratio.expected, LPM_CAP_GAIN)) <
                1e-3);
    input.fixed_method = TRUE;
    struct lpm_forecast fixed = make(&input);
    assert_true(fixed.link_bytes.expected > capped.link_bytes.expected);
    /* One that is above what passes anyhow changes nothing. */
    input = ordinary();
    input.lessons.ratio = (struct lpm_range){1.5, 2, 3};
    double free_bytes = make(&input).link_bytes.expected;
    input.bandwidth = (guint64)(10000 * MIB);
    assert_true(fabs(make(&input).link_bytes.expected - free_bytes) < 1);
    assert_true(fabs(lpm_ratio_under_cap(0.9, 2) - 0.9) < 1e-9);
}

/* What the target kept from an earlier visit crosses the link as a tag. */
static void test_coming_home(void **state)
{
    struct lpm_forecast_input input = ordinary();

    (void)state;
    input.bandwidth = (guint64)(20 * MIB);
    input.dirty_rate = 0;
    struct lpm_forecast first = make(&input);
    input.retained_bytes = (guint64)(512 * MIB);
    input.lessons.unchanged = (struct lpm_range){0, 0.7, 1};
    struct lpm_forecast home = make(&input);
    assert_true(home.link_bytes.expected < 0.4 * first.link_bytes.expected);
    assert_true(home.total_us.expected < 0.7 * first.total_us.expected);
    assert_true(fabs(home.stream_bytes.expected / first.stream_bytes.expected - 1) < 0.2);
    /* Nothing may be left of it. */
    assert_true(home.link_bytes.high >= 0.99 * first.link_bytes.high);
    assert_ordered(&home.link_bytes);
}

static void test_learns_of_coming_home(void **state)
{
    g_autoptr(GPtrArray) past = new_past();
    LpmForecastPast *home = past_of("u1", "beta", 0, 820, 200);
    struct lpm_lessons lessons;

    (void)state;
    /* Of 100 MB 12207 pages (half) were there; 80 MB were kept. */
    json_object_set_new(json_object_get(home->row->report, "pages"), "kept", json_integer(12207));
    json_object_set_new(json_object_get(home->forecast, "inputs"), "retained_bytes",
                        json_integer(80000000));
    g_ptr_array_add(past, home);
    lpm_lessons_learn(past, "u1", "beta", &lessons);
    assert_true(fabs(lessons.unchanged.expected - 0.625) < 1e-3);
    assert_true(fabs(lessons.ratio.expected - 1.25) < 1e-3);
    /* Next to nothing was sent: that says nothing of how it packs. */
    json_object_set_new(json_object_get(home->row->report, "pages"), "kept", json_integer(24000));
    struct lpm_lessons fresh;
    lpm_lessons_default(&fresh);
    lpm_lessons_learn(past, "u1", "beta", &lessons);
    assert_memory_equal(&lessons.ratio, &fresh.ratio, sizeof(fresh.ratio));
}

/* The journal is a file: what is damaged or of another version is no lesson and no crash. */
static void test_learns_nothing_from_rubbish(void **state)
{
    static const char *const reports[] = {
        "{}", "[]", "{\"pages\": 3, \"costs\": [], \"handover\": null}",
        "{\"total_ms\": -5, \"costs\": {\"stream_us\": \"x\", \"before_us\": -1}}",
        "{\"phases\": [1, {\"name\": 2}], \"suspended_us\": 0, \"compression_ratio\": -1}"};
    struct lpm_lessons lessons, fresh;

    (void)state;
    lpm_lessons_default(&fresh);
    for (gsize i = 0; i < G_N_ELEMENTS(reports); i++) {
        g_autoptr(GPtrArray) past = new_past();
        LpmForecastPast *entry = past_of("u1", "beta", 0, 820, 200);

        json_decref(entry->row->report);
        entry->row->report = json_loads(reports[i], 0, NULL);
        json_decref(entry->forecast);
        entry->forecast = json_loads("{\"inputs\": 7, \"total_ms\": []}", 0, NULL);
        g_ptr_array_add(past, entry);
        lpm_lessons_learn(past, "u1", "beta", &lessons);
        assert_memory_equal(&lessons.engine, &fresh.engine, sizeof(fresh.engine));
        assert_memory_equal(&lessons.full, &fresh.full, sizeof(fresh.full));
        json_auto_t *score = lpm_forecast_score(past);
        assert_non_null(score);
        assert_int_equal(
            json_integer_value(json_object_get(json_object_get(score, "score"), "scored")), 0);
    }
}

static void test_score(void **state)
{
    g_autoptr(GPtrArray) past = new_past();
    const json_t *score, *first;

    (void)state;
    g_ptr_array_add(past, past_of("u1", "beta", 0, 820, 200));
    g_ptr_array_add(past, past_of("u1", "beta", 0, 820, 800));
    LpmForecastPast *none = past_of("u1", "beta", 0, 820, 200);
    json_decref(none->forecast);
    none->forecast = NULL;
    g_ptr_array_add(past, none);
    LpmForecastPast *failed = past_of("u1", "beta", 0, 820, 200);
    g_free(failed->row->state);
    failed->row->state = g_strdup("failed");
    g_ptr_array_add(past, failed);
    json_auto_t *answer = lpm_forecast_score(past);
    assert_int_equal(json_array_size(json_object_get(answer, "forecasts")), 3);
    score = json_object_get(answer, "score");
    assert_int_equal(json_integer_value(json_object_get(score, "scored")), 2);
    assert_true(fabs(json_real_value(json_object_get(score, "total_error")) - 0.25) < 1e-9);
    /* Twice too long and twice too short are the same mistake. */
    assert_true(fabs(json_real_value(json_object_get(score, "suspended_factor")) - 2) < 1e-9);
    assert_int_equal(json_integer_value(json_object_get(score, "total_in_range")), 2);
    assert_int_equal(json_integer_value(json_object_get(score, "suspended_in_range")), 1);
    first = json_array_get(json_object_get(answer, "forecasts"), 0);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(first, "outcome"), "link_bytes")),
        40000000);
    assert_true(json_is_null(
        json_object_get(json_array_get(json_object_get(answer, "forecasts"), 2), "outcome")));
}

/* ---- the journal ---- */

static void add_migration(struct lpm_journal *journal, const char *id, const char *role)
{
    json_auto_t *doc = json_object();
    const LpmMigrationRow row = {.id = (char *)id,
                                 .role = (char *)role,
                                 .partition = (char *)"web",
                                 .uuid = (char *)"u1",
                                 .peer = (char *)"beta",
                                 .state = (char *)"copying",
                                 .doc = doc};

    assert_true(lpm_journal_migration_insert(journal, &row, NULL));
}

static void test_journal(void **state)
{
    g_autofree char *folder = test_folder();
    g_autofree char *path = g_build_filename(folder, "lpmd.db", NULL);
    g_autoptr(LpmJournal) journal = lpm_journal_open(path, NULL);
    json_auto_t *forecast = json_pack("{s:s}", "converges", "yes");

    (void)state;
    add_migration(journal, "m1", "source");
    add_migration(journal, "m2", "source");
    add_migration(journal, "m3", "target");
    json_auto_t *earlier = json_pack("{s:s}", "converges", "no");
    assert_true(lpm_journal_forecast_add(journal, "m1", 5, earlier, NULL));
    assert_true(lpm_journal_forecast_add(journal, "m1", 6, forecast, NULL));
    assert_false(lpm_journal_forecast_add(journal, "none", 6, forecast, NULL));
    assert_true(lpm_journal_migration_finish(journal, "m2", "done", 9, NULL, NULL, NULL));
    assert_true(lpm_journal_migration_finish(journal, "m3", "done", 9, NULL, NULL, NULL));
    g_autoptr(GPtrArray) list = lpm_journal_forecasts(journal, "web", 10, NULL);
    assert_int_equal(list->len, 2);
    const LpmForecastPast *newest = list->pdata[0], *oldest = list->pdata[1];
    assert_string_equal(newest->row->id, "m2");
    assert_null(newest->forecast);
    assert_true(json_equal(oldest->forecast, forecast));
    g_autoptr(GPtrArray) other = lpm_journal_forecasts(journal, "db", 10, NULL);
    assert_int_equal(other->len, 0);
    g_clear_pointer(&journal, lpm_journal_close);
    test_remove_folder(g_steal_pointer(&folder));
}

/* ---- the sample of a link ---- */

struct slow_reader {
    int fd;
    struct lpm_throughput result;
};

static gpointer receive(gpointer user)
{
    struct slow_reader *reader = user;

    lpm_throughput_receive(reader->fd, &reader->result);
    return NULL;
}

static void test_throughput(void **state)
{
    int pair[2];
    gint stop = 0;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct slow_reader reader = {.fd = pair[1]};
    GThread *thread = g_thread_new("receive", receive, &reader);
    guint64 sent = lpm_throughput_send(pair[0], LPM_THROUGHPUT_US, &stop);
    g_thread_join(thread);
    assert_int_equal(reader.result.bytes, sent);
    /* What was counted, by the time it took, within the noise of a machine that does other work. */
    assert_true(reader.result.rate > sent / 2);
    assert_true(reader.result.rate < sent * 8);
    close(pair[0]);
    close(pair[1]);
}

/* Neither a peer that sends nothing nor one that takes nothing holds a validation up. */
static void test_throughput_bounded(void **state)
{
    int pair[2];
    gint stop = 0;
    struct lpm_throughput result;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    gint64 begin = g_get_monotonic_time();
    lpm_throughput_receive(pair[1], &result);
    assert_int_equal(result.bytes, 0);
    assert_int_equal(result.rate, 0);
    guint64 sent = lpm_throughput_send(pair[0], LPM_THROUGHPUT_US, &stop);
    assert_true(sent < 16 * 1024 * 1024);
    assert_true(g_get_monotonic_time() - begin < 3 * G_USEC_PER_SEC);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ordinary),
        cmocka_unit_test(test_directions),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_dirty_rate_before),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_never_converges),
        cmocka_unit_test(test_small_working_set),
        cmocka_unit_test(test_holds),
        cmocka_unit_test(test_first_ever),
        cmocka_unit_test(test_learns),
        cmocka_unit_test(test_learns_no_cap),
        cmocka_unit_test(test_cap_packs_tighter),
        cmocka_unit_test(test_coming_home),
        cmocka_unit_test(test_learns_of_coming_home),
        cmocka_unit_test(test_learns_nothing_from_rubbish),
        cmocka_unit_test(test_score),
        cmocka_unit_test(test_journal),
        cmocka_unit_test(test_throughput),
        cmocka_unit_test(test_throughput_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
