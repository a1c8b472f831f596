/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The bounds on the rate and on what is under way, against simulated clocks and links. */
#include "transport/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Sends frames as fast as the pace allows, up to `seconds`; wakes up to `late_us` late. Returns the
 * bytes per second, with what is added to them. */
static double paced(guint64 rate, gsize frame, gint64 late_us, double seconds)
{
    struct lpm_pace pace = {0};
    gint64 now = 1000000, end = now + (gint64)(seconds * 1e6);
    guint64 sent = 0;

    lpm_pace_set(&pace, rate, now);
    for (guint i = 0; now < end; i++) {
        gint64 ready = lpm_pace_ready_us(&pace, now);

        if (ready) {
            assert_true(ready > now);
            now = ready + (late_us ? (gint64)i * 7919 % late_us : 0);
            continue;
        }
        lpm_pace_charge(&pace, frame);
        sent += frame;
        now += 20;
    }
    return (double)sent * 1.02 / seconds;
}

static void test_rate_holds(void **state)
{
    static const guint64 rates[] = {1000000, 8000000, 50000000, 400000000};
    static const gsize frames[] = {100, 65536, 262144};
    static const gint64 lates[] = {0, 3000, 20000};

    (void)state;
    for (guint r = 0; r < G_N_ELEMENTS(rates); r++)
        for (guint f = 0; f < G_N_ELEMENTS(frames); f++)
            for (guint l = 0; l < G_N_ELEMENTS(lates); l++) {
                if (frames[f] == 100 && rates[r] > 4000000)
                    continue; /* the simulation sends 50000 frames a second */
                double got = paced(rates[r], frames[f], lates[l], 10);

                if (got < 0.97 * (double)rates[r] || got > 1.04 * (double)rates[r])
                    fail_msg("%.0f instead of %.0f with frames of %zu, late by %d us", got,
                             (double)rates[r], frames[f], (int)lates[l]);
            }
}

static void test_no_bound(void **state)
{
    struct lpm_pace pace = {0};

    (void)state;
    lpm_pace_charge(&pace, 1u << 30);
    assert_int_equal(lpm_pace_ready_us(&pace, 5), 0);
    lpm_pace_set(&pace, 1000, 10);
    lpm_pace_charge(&pace, 1u << 30);
    assert_true(lpm_pace_ready_us(&pace, 20) > 20);
    lpm_pace_set(&pace, 0, 30);
    assert_int_equal(lpm_pace_ready_us(&pace, 40), 0);
}

/* A higher rate takes effect at once: the debt is paid at it. */
static void test_change(void **state)
{
    struct lpm_pace pace = {0};

    (void)state;
    lpm_pace_set(&pace, 1000, 0);
    lpm_pace_charge(&pace, 1000000);
    assert_true(lpm_pace_ready_us(&pace, 0) > 1000 * G_USEC_PER_SEC);
    lpm_pace_set(&pace, 100000000, 1);
    assert_true(lpm_pace_ready_us(&pace, 1) < 20000);
}

/* A link of `rate` and `delay_us` with the drain before it; what was under way at the end, and the
 * rate of the last second in `*got`. */
static guint64 drained(double rate, gint64 delay_us, guint64 window, double *got)
{
    struct lpm_drain drain = {0};
    GQueue flight = G_QUEUE_INIT; /* of when each 64 KiB arrive, and is known here */
    guint64 out = 0, acknowledged = 0, second = 0;
    double link_free = 0;

    lpm_drain_round_trip(&drain, 2 * delay_us + 100);
    lpm_drain_set(&drain, 30000, window);
    for (gint64 now = 1000000; now < 5000000; now += 200) {
        gboolean full;

        while (flight.head && *(gint64 *)flight.head->data <= now) {
            g_free(g_queue_pop_head(&flight));
            out -= 65536;
            acknowledged += 65536;
        }
        while (!(full = out + 65536 > lpm_drain_limit(&drain, window))) {
            gint64 *when = g_new(gint64, 1);

            link_free = MAX(link_free, (double)now) + 65536 * 1e6 / rate;
            *when = (gint64)link_free + 2 * delay_us;
            g_queue_push_tail(&flight, when);
            out += 65536;
        }
        lpm_drain_look(&drain, acknowledged, full, window, now);
        if (now < 4000000)
            second = acknowledged;
    }
    *got = (double)(acknowledged - second);
    g_queue_clear_full(&flight, g_free);
    return out;
}

static void test_drain(void **state)
{
    double got;

    (void)state;
    /* Slow: a second's worth may not wait. */
    guint64 out = drained(5e6, 100, 4u << 20, &got);

    assert_true(out <= LPM_DRAIN_LEAST && got > 0.95 * 5e6);
    /* In between: about the time it was given. */
    out = drained(60e6, 100, 16u << 20, &got);
    assert_true(out >= 1000000 && out <= 3600000 && got > 0.95 * 60e6);
    /* Fast: the window. */
    out = drained(2e9, 100, 4u << 20, &got);
    assert_true(out > (4u << 20) - 70000 && got > 0.9 * 2e9);
    /* Far: the link is kept busy. */
    out = drained(60e6, 40000, 64u << 20, &got);
    assert_true(got > 0.95 * 60e6);
}

/* Where QEMU gives little, little comes: no reason to let less through. */
static void test_drain_idle(void **state)
{
    struct lpm_drain drain = {0};

    (void)state;
    lpm_drain_set(&drain, 30000, 4u << 20);
    for (gint64 now = 1; now < 2000000; now += 10000)
        lpm_drain_look(&drain, (guint64)now / 10, FALSE, 4u << 20, now);
    assert_int_equal(lpm_drain_limit(&drain, 4u << 20), 4u << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate_holds), cmocka_unit_test(test_no_bound),
        cmocka_unit_test(test_change),     cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_idle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
