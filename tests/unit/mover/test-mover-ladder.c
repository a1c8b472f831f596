/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The choice of the level, fed with the queues of a simulated source: a link and processors of
 * given speeds. What counts is what it comes to: near the best fixed choice, wherever the
 * bottleneck is. */
#include "mover/ladder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BATCH (256.0 * 1024)
#define WINDOW 16 /* batches between the reader and the acknowledgement */

/* A method's bytes per second of one processor, and what is left of the bytes. */
static struct {
    const char *name;
    int level;
    double speed, share;
} costs[] = {
    {"none", 0, 8e9, 1.0},     {"lz4", 0, 610e6, 0.485},  {"zstd", -3, 500e6, 0.42},
    {"zstd", -1, 440e6, 0.39}, {"zstd", 1, 330e6, 0.353}, {"zstd", 3, 205e6, 0.328},
};

static guint find(struct lpm_ladder_choice choice)
{
    for (guint i = 0; i < G_N_ELEMENTS(costs); i++)
        if (g_str_equal(costs[i].name, choice.method->name) && costs[i].level == choice.level)
            return i;
    fail_msg("a choice that no table knows: %s %d", choice.method->name, choice.level);
    return 0;
}

struct run {
    double rate;   /* bytes of the stream per second */
    double wire;   /* share of the bytes on the wire */
    guint last;    /* index into costs */
    guint changes; /* of the choice, in the second half */
};

/* An event for each batch: processors take batches from the reader, the link takes bodies in order;
 * at most WINDOW batches are between the two ends. `source`: bytes per second that QEMU gives. */
static struct run simulate(double link, guint threads, double source, guint batches)
{
    struct lpm_ladder ladder;
    struct run run = {0};
    g_autofree double *sent = g_new0(double, batches + 1);  /* when the link is done with it */
    g_autofree double *taken = g_new0(double, batches + 1); /* when it begins */
    double thread_free[32] = {0}, link_free = 0, busy = 0, bytes = 0;
    double span_busy = 0, span_at = 0, link_busy = 0, span_link = 0;
    guint64 link_speed = 0;
    guint busy_percent = 0, link_percent = 0, share_percent = 0, before = 0;

    lpm_ladder_init(&ladder, NULL, 0);
    for (guint i = 0; i < batches; i++) {
        guint thread = 0;

        for (guint t = 1; t < threads; t++)
            if (thread_free[t] < thread_free[thread])
                thread = t;
        double cut = MAX(i * BATCH / source, i >= WINDOW ? sent[i - WINDOW] : 0);
        double now = MAX(cut, thread_free[thread]);
        struct lpm_ladder_look look = {.threads = threads};

        /* Cut by now and not begun: those behind this one that the window lets in. */
        for (guint n = i + 1; n < MIN(i + WINDOW, batches); n++)
            look.waiting += MAX(n * BATCH / source,
                                n >= WINDOW && n - WINDOW < i ? sent[n - WINDOW] : 0) <= now;
        for (guint n = i > WINDOW ? i - WINDOW : 0; n < i; n++)
            look.link_frames += taken[n] > now;
        look.waiting = MIN(look.waiting, 2 * threads);
        if (now - span_at >= 0.05) {
            busy_percent = (guint)((busy - span_busy) * 100 / ((now - span_at) * threads));
            link_speed = (guint64)link;
            link_percent = (guint)((link_busy - span_link) * 100 / (now - span_at));
            span_link = link_busy;
            span_busy = busy;
            span_at = now;
        }
        look.busy_percent = MIN(busy_percent, 100);
        look.link_percent = MIN(link_percent, 100);
        look.share_percent = share_percent;
        look.link_speed = link_speed;
        guint choice = find(lpm_ladder_choose(&ladder, &look));
        double took = BATCH / costs[choice].speed;

        run.changes += i > batches / 2 && choice != before;
        before = choice;
        busy += took;
        thread_free[thread] = now + took;
        taken[i] = MAX(link_free, now + took);
        link_free = taken[i] + BATCH * costs[choice].share / link;
        sent[i] = link_free;
        link_busy += link_free - taken[i];
        share_percent = (guint)(costs[choice].share * 100);
        bytes += BATCH * costs[choice].share;
        run.last = choice;
    }
    run.rate = batches * BATCH / sent[batches - 1];
    run.wire = bytes / (batches * BATCH);
    return run;
}

/* What the best single choice could carry. */
static double best(double link, guint threads, double source)
{
    double found = 0;

    for (guint i = 0; i < G_N_ELEMENTS(costs); i++)
        found = MAX(found, MIN(MIN(costs[i].speed * threads, link / costs[i].share), source));
    return found;
}

static void test_near_the_best(void **state)
{
    static const double links[] = {3e6, 25e6, 125e6, 300e6, 600e6, 1250e6, 3e9};
    static const guint threads[] = {1, 2, 4, 8};

    (void)state;
    for (guint l = 0; l < G_N_ELEMENTS(links); l++)
        for (guint t = 0; t < G_N_ELEMENTS(threads); t++) {
            struct run run = simulate(links[l], threads[t], 2e9, 20000);
            double bound = best(links[l], threads[t], 2e9);

            print_message("link %.0f MB/s, %u threads: %.0f of %.0f MB/s, wire %.2f, %u changes\n",
                          links[l] / 1e6, threads[t], run.rate / 1e6, bound / 1e6, run.wire,
                          run.changes);
            assert_true(run.rate >= 0.8 * bound);
        }
}

/* A slow link takes the fewest bytes, a fast one the least work. */
static void test_ends(void **state)
{
    (void)state;
    assert_true(simulate(10e6, 2, 2e9, 4000).wire < 0.335);
    assert_true(simulate(5e9, 1, 2e9, 8000).wire > 0.9);
}

/* QEMU gives less than anything could carry: neither the least bytes at any cost nor the most. */
static void test_idle(void **state)
{
    struct run run = simulate(1e9, 2, 20e6, 2000);

    (void)state;
    assert_string_equal(costs[run.last].name, "zstd");
    assert_int_equal(costs[run.last].level, -1);
    assert_int_equal(run.changes, 0);
}

/* However little the processors can do: a gigabit is not filled with what could be left out. */
static void test_gigabit_is_spared(void **state)
{
    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(costs); i++)
        costs[i].speed /= 10;
    struct run run = simulate(125e6, 1, 2e9, 4000);

    for (guint i = 0; i < G_N_ELEMENTS(costs); i++)
        costs[i].speed *= 10;
    assert_true(run.wire <= 0.40);
}

static void test_hurry(void **state)
{
    struct lpm_ladder ladder;
    struct lpm_ladder_look look = {.threads = 2, .link_frames = 10};

    (void)state;
    lpm_ladder_init(&ladder, NULL, 0);
    for (guint i = 0; i < 100; i++)
        lpm_ladder_choose(&ladder, &look);
    assert_int_equal(lpm_ladder_choose(&ladder, &look).level, 3);
    look.hurry = TRUE;
    assert_int_equal(lpm_ladder_choose(&ladder, &look).level, -1);
    look.hurry = FALSE;
    assert_int_equal(lpm_ladder_choose(&ladder, &look).level, 3);
}

static void test_fixed(void **state)
{
    struct lpm_ladder ladder;
    struct lpm_ladder_look look = {.waiting = 9};

    (void)state;
    lpm_ladder_init(&ladder, &lpm_compressor_zstd, 5);
    for (guint i = 0; i < 20; i++) {
        struct lpm_ladder_choice choice = lpm_ladder_choose(&ladder, &look);

        assert_ptr_equal(choice.method, &lpm_compressor_zstd);
        assert_int_equal(choice.level, 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_near_the_best), cmocka_unit_test(test_ends),
        cmocka_unit_test(test_idle),          cmocka_unit_test(test_hurry),
        cmocka_unit_test(test_fixed),         cmocka_unit_test(test_gigabit_is_spared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
