/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "base/cpu-list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_lists(void **state)
{
    cpu_set_t set;

    (void)state;
    assert_true(lpm_cpu_list_parse("0", &set));
    assert_int_equal(CPU_COUNT(&set), 1);
    assert_true(lpm_cpu_list_parse("0-3,8", &set));
    assert_int_equal(CPU_COUNT(&set), 5);
    assert_true(CPU_ISSET(3, &set) && CPU_ISSET(8, &set) && !CPU_ISSET(4, &set));
    assert_true(lpm_cpu_list_parse("1023", &set));
    assert_true(lpm_cpu_list_parse("2,2-2,1", &set));
    assert_int_equal(CPU_COUNT(&set), 2);
}

static void test_refused(void **state)
{
    static const char *const texts[] = {"",     ",",      "0,",   "-1",
                                        "3-1",  "0-",     "a",    "0 1",
                                        "1024", "0-1024", "0x2",  "99999999999999999999",
                                        "1;2",  " 1",     "1-2-3"};
    cpu_set_t set;

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
        if (lpm_cpu_list_parse(texts[i], &set))
            fail_msg("'%s' was taken", texts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
