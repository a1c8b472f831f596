/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/suspend-aim.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_less_at_first(void **state)
{
    (void)state;
    for (guint64 round = 0; round <= LPM_SUSPEND_AIM_ROUNDS; round++)
        assert_int_equal(lpm_suspend_aim(300, FALSE, round), 100);
    for (guint64 round = LPM_SUSPEND_AIM_ROUNDS + 1; round < 100; round++)
        assert_int_equal(lpm_suspend_aim(300, FALSE, round), 300);
}

/* Never more than the limit, and never so little that no rest could fit. */
static void test_bounds(void **state)
{
    (void)state;
    for (guint limit = 1; limit < 4000; limit++) {
        guint aim = lpm_suspend_aim(limit, FALSE, 1);

        assert_in_range(aim, MIN(limit, 30), limit);
        assert_true(aim <= MAX(limit / 3, 30));
    }
}

static void test_whole(void **state)
{
    (void)state;
    for (guint64 round = 0; round < 10; round++)
        assert_int_equal(lpm_suspend_aim(300, TRUE, round), 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_less_at_first),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
