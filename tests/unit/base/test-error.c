/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Numbers are unique and sorted, within the groups that the table names; nothing is left empty. */
static void test_catalogue_is_whole(void **state)
{
    gsize count;
    const struct lpm_error_info *lines = lpm_error_catalogue(&count);

    (void)state;
    assert_true(count > 30);
    for (gsize i = 0; i < count; i++) {
        const struct lpm_error_info *info = &lines[i];

        if (i > 0)
            assert_true(info->number > lines[i - 1].number);
        assert_true(info->number >= 1000 && info->number <= 9999);
        assert_true(info->http_status >= 400 && info->http_status <= 599);
        assert_true(strlen(info->title) > 10);
        assert_true(strlen(info->remedy) > 10);
        /* Sentences that are put together with others: no end mark, one line, no cell border. */
        assert_false(g_str_has_suffix(info->title, "."));
        assert_null(strpbrk(info->title, "\n|"));
        assert_null(strpbrk(info->remedy, "\n|"));
        assert_ptr_equal(lpm_error_info(info->number), info);
    }
}

static void test_unknown_number_is_internal(void **state)
{
    g_autoptr(GError) foreign = g_error_new_literal(G_FILE_ERROR, G_FILE_ERROR_NOENT, "gone");

    (void)state;
    assert_int_equal(lpm_error_info(4242)->number, LPM_E_INTERNAL);
    assert_int_equal(lpm_error_number(foreign), LPM_E_INTERNAL);
}

static void test_fail_sets_once_and_returns_false(void **state)
{
    g_autoptr(GError) error = NULL;

    (void)state;
    assert_false(lpm_fail(NULL, LPM_E_CONFIG, "nobody asks"));
    assert_false(lpm_fail(&error, LPM_E_CONFIG, "key '%s' is %d", "name", 7));
    assert_string_equal(error->message, "key 'name' is 7");
    assert_int_equal(error->domain, LPM_ERROR);
    assert_int_equal(error->code, LPM_E_CONFIG);
}

static void test_invalid_utf8_is_replaced(void **state)
{
    g_autoptr(GError) error = NULL;

    (void)state;
    lpm_fail(&error, LPM_E_STREAM, "a byte \xff here");
    assert_true(g_utf8_validate(error->message, -1, NULL));
}

static void test_json_round_trip(void **state)
{
    g_autoptr(GError) error = NULL;
    json_t *details = json_pack("{s:i}", "port", 9);

    (void)state;
    lpm_fail(&error, LPM_E_PARTITION_NOT_FOUND, "no partition 'db1'");
    json_auto_t *object = lpm_error_to_json(error, details);
    assert_string_equal(json_string_value(json_object_get(object, "code")), "LPM-1003");
    assert_string_equal(json_string_value(json_object_get(object, "severity")), "error");
    assert_int_equal(json_array_size(json_object_get(object, "aliases")), 2);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(object, "details"), "port")), 9);
    g_autoptr(GError) again = lpm_error_from_json(object);
    assert_int_equal(lpm_error_number(again), LPM_E_PARTITION_NOT_FOUND);
    assert_string_equal(again->message, "no partition 'db1'");
}

static void test_malformed_json_is_tolerated(void **state)
{
    static const char *const texts[] = {"{}",
                                        "[]",
                                        "7",
                                        "{\"code\": 7, \"cause\": []}",
                                        "{\"code\": \"LPM-\"}",
                                        "{\"code\": \"LPM-99999999999999999999\"}",
                                        "{\"code\": \"LPM--1\", \"cause\": \"x\"}"};

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        json_auto_t *object = json_loads(texts[i], JSON_DECODE_ANY, NULL);
        g_autoptr(GError) error = lpm_error_from_json(object);

        assert_int_equal(lpm_error_number(error), LPM_E_INTERNAL);
        assert_true(*error->message != 0);
    }
    g_autoptr(GError) none = lpm_error_from_json(NULL);
    assert_int_equal(lpm_error_number(none), LPM_E_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_catalogue_is_whole),
        cmocka_unit_test(test_unknown_number_is_internal),
        cmocka_unit_test(test_fail_sets_once_and_returns_false),
        cmocka_unit_test(test_invalid_utf8_is_replaced),
        cmocka_unit_test(test_json_round_trip),
        cmocka_unit_test(test_malformed_json_is_tolerated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
