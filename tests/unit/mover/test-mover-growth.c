/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/growth.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SPAN 500000

/* A host and a path: what the links would do. */
struct scenery {
    double thread_speed; /* bytes per second that one thread encrypts */
    double path_speed;   /* that the path carries, however many links */
    double link_speed;   /* that TCP gets out of one connection */
    gint64 round_trip_us;
    double processors; /* idle beside the links' threads */
    double wanted;     /* bytes per second that there are */
};

/* How many links there are after some time. */
static guint grown(const struct scenery *scenery, guint most, guint looks)
{
    struct lpm_growth growth;
    guint links = 1;

    lpm_growth_init(&growth, most);
    for (guint i = 0; i < looks; i++) {
        double threads = MIN((double)links, scenery->processors);
        double speed = MIN(MIN(threads * scenery->thread_speed, links * scenery->link_speed),
                           MIN(scenery->path_speed, scenery->wanted));
        double busy = speed / scenery->thread_speed;
        gboolean waiting = speed < scenery->wanted;
        struct lpm_growth_look look = {
            .span_us = SPAN,
            .links = links,
            .waiting = waiting,
            .cpu_us = (gint64)(busy * SPAN),
            .idle_us = (gint64)((scenery->processors - busy) * SPAN),
            .tcp_busy_us = waiting ? SPAN : SPAN / 4,
            .round_trip_us = scenery->round_trip_us,
            .bytes = (guint64)(speed * SPAN / G_USEC_PER_SEC),
        };
        links = lpm_growth_look(&growth, &look);
        assert_in_range(links, 1, most);
    }
    return links;
}

static const struct scenery fast = {.thread_speed = 1e9,
                                    .path_speed = 1e10,
                                    .link_speed = 1e10,
                                    .round_trip_us = 100,
                                    .processors = 16,
                                    .wanted = 1e11};

static void test_a_thread_that_is_full(void **state)
{
    struct scenery scenery = fast;

    (void)state;
    assert_int_equal(grown(&scenery, 8, 100), 8);
    assert_int_equal(grown(&scenery, 3, 100), 3);
    assert_int_equal(grown(&scenery, 1, 100), 1);
    scenery.wanted = 0.9e9; /* nothing waits */
    assert_int_equal(grown(&scenery, 8, 100), 1);
    scenery.wanted = 2.5e9;
    assert_int_equal(grown(&scenery, 8, 100), 3);
}

/* A gigabit: a thread fills it with a ninth of its time, and frames wait all the time. */
static void test_a_path_that_is_full(void **state)
{
    struct scenery scenery = fast;

    (void)state;
    scenery.path_speed = 115e6;
    assert_int_equal(grown(&scenery, 8, 1000), 1);
    scenery.round_trip_us = 15000; /* a queue in front of it, or a town away */
    assert_int_equal(grown(&scenery, 8, 1000), 1);
}

/* Another thread would only take the time of this one, or of the partitions. */
static void test_no_processor_is_idle(void **state)
{
    struct scenery scenery = fast;

    (void)state;
    scenery.processors = 1.2;
    assert_int_equal(grown(&scenery, 8, 100), 1);
    scenery.processors = 2.2;
    assert_int_equal(grown(&scenery, 8, 100), 2);
}

static void test_nobody_knows_of_the_processors(void **state)
{
    struct lpm_growth_look look = {.span_us = SPAN,
                                   .links = 1,
                                   .waiting = TRUE,
                                   .cpu_us = SPAN,
                                   .idle_us = -1,
                                   .bytes = 1000000};
    struct lpm_growth growth;

    (void)state;
    lpm_growth_init(&growth, 8);
    for (guint i = 0; i < 100; i++)
        assert_int_equal(lpm_growth_look(&growth, &look), 1);
}

/* TCP gets little out of one connection over a long path: as long as another brings more. */
static void test_a_long_path(void **state)
{
    struct scenery scenery = fast;

    (void)state;
    scenery.link_speed = 50e6;
    scenery.round_trip_us = 80000;
    assert_int_equal(grown(&scenery, 8, 100), 8);
    scenery.round_trip_us = 500;
    assert_int_equal(grown(&scenery, 8, 100), 1);
    scenery.round_trip_us = 80000;
    scenery.path_speed = 50e6; /* it is the path that is full: one was tried in vain */
    assert_int_equal(grown(&scenery, 8, 1000), 2);
    scenery.path_speed = 102e6;
    assert_int_equal(grown(&scenery, 8, 1000), 3);
}

/* A link that was lost is asked for already. */
static void test_one_is_missing(void **state)
{
    struct lpm_growth_look look = {.span_us = SPAN,
                                   .links = 1,
                                   .waiting = TRUE,
                                   .cpu_us = SPAN,
                                   .idle_us = 4 * SPAN,
                                   .bytes = 1000000};
    struct lpm_growth growth;

    (void)state;
    lpm_growth_init(&growth, 8);
    while (lpm_growth_look(&growth, &look) < 2)
        continue;
    for (guint i = 0; i < 100; i++)
        assert_int_equal(lpm_growth_look(&growth, &look), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thread_that_is_full),
        cmocka_unit_test(test_a_path_that_is_full),
        cmocka_unit_test(test_no_processor_is_idle),
        cmocka_unit_test(test_nobody_knows_of_the_processors),
        cmocka_unit_test(test_a_long_path),
        cmocka_unit_test(test_one_is_missing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
