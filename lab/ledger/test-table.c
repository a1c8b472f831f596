/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/* The table in memory: a damaged page, a stale page and a changed index are each noticed. */
#include "test.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

#define PAGES 64u

static struct table *make(enum content content, const char *marker)
{
    struct err err = {0};
    struct table *t = table_new(PAGES * PAGE_SIZE, 0, content, marker, 0, &err);
    assert_string_equal(err.text, "");
    assert_non_null(t);
    return t;
}

static struct table_check check_of(struct table *t)
{
    struct table_check check;
    table_verify(t, &check);
    return check;
}

static void test_whole_after_writing(void **state)
{
    (void)state;
    for (unsigned c = 0; c < CONTENT_COUNT; c++) {
        struct table *t = make((enum content)c, "");
        for (unsigned i = 0; i < 1000; i++)
            table_touch(t, i * 7 % PAGES);
        struct table_check check = check_of(t);
        struct table_state st;
        table_state(t, &st);
        assert_int_equal(check.bad, 0);
        assert_true(check.index_ok);
        assert_int_equal(st.dirtied, 1000);
        assert_int_equal(st.bad_touched, 0);
        table_free(t);
    }
}

static void test_flipped_byte(void **state)
{
    (void)state;
    struct table *t = make(CONTENT_TEXT, "");
    for (unsigned at = 0; at < PAGE_SIZE; at += 5) {
        table_page(t, 9)[at] ^= 0x10;
        struct table_check check = check_of(t);
        assert_int_equal(check.bad, 1);
        assert_int_equal(check.first_bad, 9);
        table_page(t, 9)[at] ^= 0x10;
    }
    assert_int_equal(check_of(t).bad, 0);
    table_free(t);
}

/* The page is whole in itself, but as it was before: what a missed dirty page looks like. */
static void test_stale_page(void **state)
{
    (void)state;
    struct table *t = make(CONTENT_MOSTLY, "");
    uint8_t old[PAGE_SIZE];
    memcpy(old, table_page(t, 3), PAGE_SIZE);
    table_touch(t, 3);
    memcpy(table_page(t, 3), old, PAGE_SIZE);
    assert_int_equal(check_of(t).bad, 1);
    /* The writer comes by and overwrites it: the page is good again, the fact stays known. */
    table_touch(t, 3);
    struct table_state st;
    table_state(t, &st);
    assert_int_equal(check_of(t).bad, 0);
    assert_int_equal(st.bad_touched, 1);
    table_free(t);
}

static void test_pages_exchanged(void **state)
{
    (void)state;
    struct table *t = make(CONTENT_RANDOM, "");
    uint8_t page[PAGE_SIZE];
    memcpy(page, table_page(t, 1), PAGE_SIZE);
    memcpy(table_page(t, 1), table_page(t, 2), PAGE_SIZE);
    memcpy(table_page(t, 2), page, PAGE_SIZE);
    assert_int_equal(check_of(t).bad, 2);
    table_free(t);
}

static void test_marker(void **state)
{
    (void)state;
    static const char marker[] = "only-this-table-holds-it";
    struct table *t = make(CONTENT_RANDOM, marker);
    table_touch(t, 0);
    assert_non_null(memmem(table_page(t, 0), PAGE_SIZE, marker, strlen(marker)));
    assert_null(memmem(table_page(t, 1), (PAGES - 1) * PAGE_SIZE, marker, strlen(marker)));
    assert_int_equal(check_of(t).bad, 0);
    table_free(t);
}

static void test_writer_keeps_rate_and_hot_set(void **state)
{
    (void)state;
    struct err err = {0};
    struct table *t = table_new(PAGES * PAGE_SIZE, 4 * PAGE_SIZE, CONTENT_TEXT, NULL, 0, &err);
    assert_non_null(t);
    uint8_t *before = malloc(PAGES * PAGE_SIZE);
    assert_non_null(before);
    memcpy(before, table_page(t, 0), PAGES * PAGE_SIZE);
    assert_true(table_start(t, &err));
    table_set_rate(t, 100 * PAGE_SIZE, CONTENT_RANDOM);
    int64_t start = now_us();
    struct table_state st = {0};
    /* 50 pages are due after half a second; a busy machine may take longer, never less. */
    while (st.dirtied < 50 && now_us() - start < 10000000) {
        poll(NULL, 0, 20);
        table_state(t, &st);
    }
    assert_true(st.dirtied >= 50);
    assert_true(now_us() - start > 300000);
    assert_memory_equal(before + 4 * PAGE_SIZE, table_page(t, 4), (PAGES - 4) * PAGE_SIZE);
    assert_memory_not_equal(before, table_page(t, 0), 4 * PAGE_SIZE);
    assert_int_equal(check_of(t).bad, 0);
    free(before);
    table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_after_writing),
        cmocka_unit_test(test_flipped_byte),
        cmocka_unit_test(test_stale_page),
        cmocka_unit_test(test_pages_exchanged),
        cmocka_unit_test(test_marker),
        cmocka_unit_test(test_writer_keeps_rate_and_hot_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
