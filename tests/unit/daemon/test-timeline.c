/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/timeline.h"

#include "hosts.h"

static json_int_t at(json_t *samples, size_t index)
{
    return json_integer_value(json_object_get(json_array_get(samples, index), "at_us"));
}

/* Offers a sample each 200 ms, as lpmd does, and returns how many were taken. */
static guint feed(LpmTimeline *timeline, gint64 from_us, gint64 to_us, guint64 rounds_per_second)
{
    guint taken = 0;

    for (gint64 now = from_us; now < to_us; now += 200000) {
        guint64 round = (guint64)now * rounds_per_second / G_USEC_PER_SEC;

        if (!lpm_timeline_due(timeline, now, round))
            continue;
        lpm_timeline_add(timeline, now, round, json_pack("{s:I}", "at_us", (json_int_t)now));
        taken++;
    }
    return taken;
}

static void test_each_second_and_each_round(void **state G_GNUC_UNUSED)
{
    g_autoptr(LpmTimeline) slow = lpm_timeline_new(), quick = lpm_timeline_new();

    assert_int_equal(feed(slow, 1, 10 * G_USEC_PER_SEC, 0), 10);
    assert_int_equal(feed(quick, 1, 10 * G_USEC_PER_SEC, 5), 50);
}

static void test_a_long_one_is_thinned_out(void **state G_GNUC_UNUSED)
{
    g_autoptr(LpmTimeline) timeline = lpm_timeline_new();
    const gint64 day = 86400LL * G_USEC_PER_SEC;

    feed(timeline, 1, day, 100);
    json_auto_t *samples = lpm_timeline_samples(timeline);
    size_t count = json_array_size(samples);
    assert_in_range(count, LPM_TIMELINE_SAMPLES / 4, LPM_TIMELINE_SAMPLES);
    assert_int_equal(at(samples, 0), 1);
    assert_true(at(samples, count - 1) > day - day / 100);
    for (size_t i = 1; i < count; i++)
        assert_true(at(samples, i) > at(samples, i - 1) &&
                    at(samples, i) - at(samples, i - 1) < day / 100);
}

static void test_goes_on_after_a_restart(void **state G_GNUC_UNUSED)
{
    g_autoptr(LpmTimeline) before = lpm_timeline_new(), after = lpm_timeline_new();
    json_auto_t *nothing = json_null();

    feed(before, 1, 3 * G_USEC_PER_SEC, 0);
    json_auto_t *kept = lpm_timeline_samples(before);
    lpm_timeline_load(after, nothing);
    lpm_timeline_load(after, kept);
    feed(after, 3 * G_USEC_PER_SEC, 5 * G_USEC_PER_SEC, 0);
    json_auto_t *samples = lpm_timeline_samples(after);
    assert_int_equal(json_array_size(samples), 5);
    assert_int_equal(at(samples, 0), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_second_and_each_round),
        cmocka_unit_test(test_a_long_one_is_thinned_out),
        cmocka_unit_test(test_goes_on_after_a_restart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
