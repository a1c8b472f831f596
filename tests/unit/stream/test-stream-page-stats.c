/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "stream-support.h"
#include "stream/page-stats.h"

/* Against a hash table, over piece boundaries and two blocks. */
static void like_a_set(void **state G_GNUC_UNUSED)
{
    g_autoptr(LpmPageStats) stats = lpm_page_stats_new(4096);
    g_autoptr(GHashTable) set = g_hash_table_new(NULL, NULL);
    g_autoptr(GRand) random = g_rand_new_with_seed(5);

    assert_true(lpm_page_stats_add_block(stats, 3ULL << 30));
    assert_true(lpm_page_stats_add_block(stats, 1ULL << 20));
    for (guint i = 0; i < 20000; i++) {
        guint block = g_rand_boolean(random);
        guint page = (guint)g_rand_int_range(random, 0, block ? 256 : 786432);
        gboolean known = !g_hash_table_add(set, GUINT_TO_POINTER(page * 2 + block + 1));

        assert_int_equal(lpm_page_stats_mark(stats, block, (uint64_t)page * 4096), known);
    }
    assert_int_equal(lpm_page_stats_distinct(stats), g_hash_table_size(set));
}

static void outside_is_not_counted(void **state G_GNUC_UNUSED)
{
    g_autoptr(LpmPageStats) stats = lpm_page_stats_new(65536);

    assert_false(lpm_page_stats_mark(stats, 0, 0));
    assert_true(lpm_page_stats_add_block(stats, 65536));
    assert_false(lpm_page_stats_mark(stats, 0, 65536));
    assert_false(lpm_page_stats_mark(stats, 1, 0));
    assert_int_equal(lpm_page_stats_distinct(stats), 0);
    assert_false(lpm_page_stats_mark(stats, 0, 0));
    assert_true(lpm_page_stats_mark(stats, 0, 0));
}

static void limit(void **state G_GNUC_UNUSED)
{
    g_autoptr(LpmPageStats) stats = lpm_page_stats_new(4096);

    assert_true(lpm_page_stats_add_block(stats, LPM_PAGE_STATS_MAX - 4096));
    assert_true(lpm_page_stats_add_block(stats, 4096));
    assert_false(lpm_page_stats_mark(stats, 0, LPM_PAGE_STATS_MAX - 8192));
    assert_false(lpm_page_stats_add_block(stats, 4096));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(like_a_set),
        cmocka_unit_test(outside_is_not_counted),
        cmocka_unit_test(limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
