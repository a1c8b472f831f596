/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The row of a post-copy: what may overtake what, and what must not. */
#include "mover/latency.h"
#include "mover/page-queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define PAGE 4096u
#define RECORD (8 + PAGE)
#define PAGES 512u

static LpmPageQueue *new_queue(guint64 host_page)
{
    LpmPageQueue *queue = lpm_page_queue_new(PAGE);

    lpm_page_queue_add_block(queue, "ram", PAGES * PAGE, host_page);
    lpm_page_queue_add_block(queue, "rom", 16 * PAGE, PAGE);
    return queue;
}

static void put(LpmPageQueue *queue, guint block, guint page)
{
    guint8 content[PAGE];

    memset(content, (int)(page & 0xff) | 1, sizeof(content));
    lpm_page_queue_put_page(queue, block, (guint64)page * PAGE, page % 3 ? content : NULL,
                            page % 3 ? RECORD : 9);
}

/* The page that goes next, 1000 for something else, 2000 for nothing. */
static guint take(LpmPageQueue *queue, gboolean urgent)
{
    struct lpm_page_item *item = lpm_page_queue_take(queue, urgent);
    guint result = item ? 1000 : 2000;

    if (item && item->block >= 0)
        result = (guint)(item->offset / PAGE);
    lpm_page_item_free(item);
    return result;
}

static void in_order_unless_asked(void **state G_GNUC_UNUSED)
{
    LpmPageQueue *queue = new_queue(PAGE);
    struct lpm_page_queue_state facts;

    for (guint i = 0; i < 10; i++)
        put(queue, 0, i);
    assert_int_equal(take(queue, TRUE), 2000);
    assert_int_equal(take(queue, FALSE), 0);
    assert_true(lpm_page_queue_demand(queue, "ram", 7 * PAGE, PAGE, 5));
    assert_true(lpm_page_queue_demand(queue, NULL, 5 * PAGE, PAGE, 6));
    assert_false(lpm_page_queue_demand(queue, NULL, 5 * PAGE, PAGE, 7)); /* again: no news */
    assert_int_equal(take(queue, TRUE), 7);
    assert_int_equal(take(queue, FALSE), 5);
    assert_int_equal(take(queue, FALSE), 1);
    lpm_page_queue_get(queue, &facts);
    assert_int_equal(facts.requests, 3);
    assert_int_equal(facts.overtook, 2);
    assert_int_equal(facts.bytes, 3 * RECORD + 3 * 9); /* 2 4 8, and 3 6 9 of zeros */
    lpm_page_queue_free(queue);
}

/* A page that was asked for before QEMU gave it, and one that had gone already. */
static void asked_before_it_came(void **state G_GNUC_UNUSED)
{
    LpmPageQueue *queue = new_queue(PAGE);
    struct lpm_page_queue_state facts;

    put(queue, 0, 1);
    put(queue, 0, 2);
    assert_int_equal(take(queue, FALSE), 1);
    assert_false(lpm_page_queue_demand(queue, "ram", 9 * PAGE, PAGE, 5));
    assert_false(lpm_page_queue_demand(queue, "ram", 1 * PAGE, PAGE, 5));
    put(queue, 0, 8);
    put(queue, 0, 9);
    struct lpm_page_item *item = lpm_page_queue_take(queue, TRUE);

    assert_non_null(item);
    assert_int_equal(item->offset, 9 * PAGE);
    assert_int_equal(item->wanted_us, 5);
    lpm_page_item_free(item);
    lpm_page_queue_get(queue, &facts);
    assert_int_equal(facts.too_late, 1);
    lpm_page_queue_free(queue);
}

/* The whole backlog is what a request waits for if nothing may overtake. */
static void without_overtaking_it_waits(void **state G_GNUC_UNUSED)
{
    for (guint overtaking = 0; overtaking < 2; overtaking++) {
        LpmPageQueue *queue = new_queue(PAGE);
        guint before = 0;

        lpm_page_queue_set_overtaking(queue, overtaking == 1);
        for (guint i = 0; i < PAGES; i++)
            put(queue, 0, i);
        lpm_page_queue_demand(queue, "ram", (PAGES - 1) * PAGE, PAGE, 1);
        while (take(queue, FALSE) != PAGES - 1)
            before++;
        assert_int_equal(before, overtaking ? 0 : PAGES - 1);
        lpm_page_queue_free(queue);
    }
}

static void nothing_passes_other_things(void **state G_GNUC_UNUSED)
{
    LpmPageQueue *queue = new_queue(PAGE);

    put(queue, 0, 1);
    put(queue, 0, 2);
    lpm_page_queue_put_bytes(queue, (const guint8 *)"command", 7);
    lpm_page_queue_put_bytes(queue, (const guint8 *)"more", 4);
    put(queue, 0, 3);
    put(queue, 0, 4);
    assert_true(lpm_page_queue_demand(queue, "ram", 4 * PAGE, PAGE, 1));
    assert_int_equal(take(queue, TRUE), 2000); /* asked for, and behind something else */
    assert_true(lpm_page_queue_demand(queue, "ram", 2 * PAGE, PAGE, 1));
    assert_int_equal(take(queue, FALSE), 2);
    assert_int_equal(take(queue, FALSE), 1);
    struct lpm_page_item *item = lpm_page_queue_take(queue, FALSE);

    assert_int_equal(item->block, -1);
    assert_int_equal(item->data->len, 11);
    assert_memory_equal(item->data->data, "commandmore", 11);
    lpm_page_item_free(item);
    assert_int_equal(take(queue, FALSE), 4); /* now it may */
    assert_int_equal(take(queue, FALSE), 3);
    assert_int_equal(take(queue, FALSE), 2000);
    lpm_page_queue_free(queue);
}

/* A huge page moves as a whole, and only when it is whole. */
static void huge_pages_stay_together(void **state G_GNUC_UNUSED)
{
    LpmPageQueue *queue = new_queue(8 * PAGE);
    struct lpm_page_queue_state facts;

    for (guint i = 0; i < 20; i++)
        put(queue, 0, i);
    assert_true(lpm_page_queue_demand(queue, "ram", 9 * PAGE, 8 * PAGE, 1)); /* 8..15, 16..23 */
    struct lpm_page_item *item = lpm_page_queue_take(queue, TRUE);

    assert_int_equal(item->offset, 8 * PAGE);
    assert_int_equal(item->data->len, 3 * 9 + 5 * RECORD);
    lpm_page_item_free(item);
    assert_int_equal(take(queue, TRUE), 2000); /* 16..19 is not whole */
    assert_int_equal(take(queue, FALSE), 0);
    lpm_page_queue_get(queue, &facts);
    assert_false(facts.ready);
    assert_int_equal(take(queue, FALSE), 2000);
    for (guint i = 20; i < 24; i++)
        put(queue, 0, i);
    assert_int_equal(take(queue, TRUE), 16);
    /* What is cut short by something else, or is not aligned, stays in its place. */
    put(queue, 0, 32);
    lpm_page_queue_put_bytes(queue, (const guint8 *)"x", 1);
    put(queue, 0, 41);
    put(queue, 1, 3);
    lpm_page_queue_demand(queue, "rom", 3 * PAGE, PAGE, 1);
    assert_int_equal(take(queue, FALSE), 32);
    assert_int_equal(take(queue, FALSE), 1000);
    assert_int_equal(take(queue, FALSE), 41);
    assert_int_equal(take(queue, FALSE), 3);
    lpm_page_queue_free(queue);
}

/* The target is another host: whatever it asks for is borne. */
static void odd_requests(void **state G_GNUC_UNUSED)
{
    LpmPageQueue *queue = new_queue(PAGE);
    struct lpm_page_queue_state facts;

    assert_false(lpm_page_queue_demand(queue, NULL, 0, PAGE, 1)); /* no block was named */
    assert_false(lpm_page_queue_demand(queue, "none", 0, PAGE, 1));
    assert_false(lpm_page_queue_demand(queue, "ram", G_MAXUINT64, G_MAXUINT32, 1));
    assert_false(lpm_page_queue_demand(queue, "ram", PAGES * PAGE, PAGE, 1));
    assert_false(lpm_page_queue_demand(queue, "ram", 0, 0, 1));
    lpm_page_queue_get(queue, &facts);
    assert_int_equal(facts.requests, 0);
    assert_false(lpm_page_queue_demand(queue, "ram", 5, G_MAXUINT32, 1)); /* all there is */
    lpm_page_queue_get(queue, &facts);
    assert_int_equal(facts.requests, PAGES);
    lpm_page_queue_free(queue);
}

static void percentiles(void **state G_GNUC_UNUSED)
{
    struct lpm_latency latency = {0};

    assert_int_equal(lpm_latency_percentile_us(&latency, 99), 0);
    for (gint64 i = 1; i <= 1000; i++)
        lpm_latency_add(&latency, i);
    lpm_latency_add(&latency, -5);
    assert_int_equal(latency.count, 1001);
    assert_int_equal(latency.max_us, 1000);
    assert_int_equal(lpm_latency_mean_us(&latency), 500);
    for (guint percent = 1; percent < 100; percent++) {
        guint64 value = lpm_latency_percentile_us(&latency, percent);

        assert_true(value >= percent * 10 - 1 && value <= percent * 10 * 9 / 8 + 1);
    }
    assert_int_equal(lpm_latency_percentile_us(&latency, 100), 1000);
    lpm_latency_add(&latency, G_MAXINT64);
    assert_int_equal(lpm_latency_percentile_us(&latency, 50) / 100, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order_unless_asked),
        cmocka_unit_test(asked_before_it_came),
        cmocka_unit_test(without_overtaking_it_waits),
        cmocka_unit_test(nothing_passes_other_things),
        cmocka_unit_test(huge_pages_stay_together),
        cmocka_unit_test(odd_requests),
        cmocka_unit_test(percentiles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
