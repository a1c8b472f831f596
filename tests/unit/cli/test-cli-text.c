/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What lpm makes of text, sizes, times, typing mistakes, errors and progress. */
#include "base/error.h"
#include "cli/exit.h"
#include "cli/progress.h"
#include "cli/suggest.h"
#include "cli/table.h"
#include "cli/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect(char *got, const char *wanted)
{
    assert_string_equal(got, wanted);
    g_free(got);
}

static void test_clean_shows_what_a_terminal_would_obey(void **state)
{
    (void)state;
    expect(text_clean("web"), "web");
    expect(text_clean("M\xc3\xbcnchen \xe6\x97\xa5\xe6\x9c\xac"),
           "M\xc3\xbcnchen \xe6\x97\xa5\xe6\x9c\xac");
    expect(text_clean("a\033[2Jb"), "a\\x1b[2Jb");
    expect(text_clean("one\ntwo\r\t\x7f"), "one\\x0atwo\\x0d\\x09\\x7f");
    expect(text_clean("csi \xc2\x9b"
                      "2J"),
           "csi \\u009b2J");
    expect(text_clean("bidi \xe2\x80\xae"
                      "txt"),
           "bidi \\u202etxt");
    expect(text_clean("bad \xff\xc3"), "bad \\xff\\xc3");
}

static void test_columns_and_truncation(void **state)
{
    (void)state;
    assert_int_equal(text_columns("abc"), 3);
    assert_int_equal(text_columns("\xe6\x97\xa5\xe6\x9c\xac"), 4);
    assert_int_equal(text_columns("e\xcc\x81"), 1); /* a combining accent */
    expect(text_truncate("\xe6\x97\xa5\xe6\x9c\xac", 3), "\xe6\x97\xa5");
    expect(text_truncate("abc", 10), "abc");
    expect(text_truncate("abc", 0), "");
    expect(text_wrap("one two three", 7, 2), "one two\n  three");
}

static void test_sizes(void **state)
{
    (void)state;
    expect(text_bytes(-1), "-");
    expect(text_bytes(0), "0 B");
    expect(text_bytes(1023), "1023 B");
    expect(text_bytes(1024), "1.00 KiB");
    expect(text_bytes(1536), "1.50 KiB");
    expect(text_bytes(1048575), "1.00 MiB");
    expect(text_bytes((gint64)143 << 20), "143 MiB");
    expect(text_bytes(G_MAXINT64), "8.00 EiB");
    expect(text_rate((gint64)112 << 20), "112 MiB/s");
}

static void test_times(void **state)
{
    (void)state;
    expect(text_duration_us(-1), "-");
    expect(text_duration_us(850), "850 us");
    expect(text_duration_us(45123), "45.1 ms");
    expect(text_duration_us(450000), "450 ms");
    expect(text_duration_us(12345678), "12.3 s");
    expect(text_duration_us((gint64)125 * G_USEC_PER_SEC), "2 min 5 s");
    expect(text_duration_us((gint64)10920 * G_USEC_PER_SEC), "3 h 2 min");
    expect(text_clock(0), "0:00");
    expect(text_clock(11001), "0:12");
    expect(text_clock(3723000), "1:02:03");
    expect(text_instant_us(0, FALSE), "1970-01-01 00:00:00");
    expect(text_instant_us(1234567, TRUE), "1970-01-01 00:00:01.234567");
    expect(text_instant_us(G_MAXINT64, FALSE), "-");
}

static void test_rates_that_are_typed(void **state)
{
    static const struct {
        const char *text;
        gint64 bytes; /* -1: refused */
    } cases[] = {
        {"0", 0},
        {"1000", 1000},
        {"1k", 1024},
        {"100M", (gint64)100 << 20},
        {"1G", 1 << 30},
        {"2GiB", (gint64)2 << 30},
        {"5MB", 5 << 20},
        {"", -1},
        {"-1", -1},
        {"+1", -1},
        {" 1", -1},
        {"1.5M", -1},
        {"M", -1},
        {"1X", -1},
        {"1MM", -1},
        {"99999999999999999999", -1},
        {"9007199254740992T", -1},
    };

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        gint64 bytes = -1;
        gboolean good = text_parse_bytes(cases[i].text, &bytes);
        if (good != (cases[i].bytes >= 0) || (good && bytes != cases[i].bytes))
            fail_msg("'%s' was read as %s %" G_GINT64_FORMAT, cases[i].text, good ? "good" : "bad",
                     bytes);
    }
}

static void test_suggestions(void **state)
{
    static const char *const words[] = {"list", "migrate", "status", "stop", "host pair", NULL};

    (void)state;
    assert_int_equal(suggest_distance("stauts", "status"), 1);
    assert_string_equal(suggest_nearest("migrat", words), "migrate");
    assert_string_equal(suggest_nearest("mirgate", words), "migrate");
    assert_string_equal(suggest_nearest("lst", words), "list");
    assert_string_equal(suggest_nearest("host pari", words), "host pair");
    assert_null(suggest_nearest("teleport", words));
    assert_null(suggest_nearest("", words));
    g_autofree char *endless = g_strnfill(100000, 'm');
    assert_null(suggest_nearest(endless, words));
}

static void test_every_error_has_its_exit_code(void **state)
{
    gsize count;
    const struct lpm_error_info *info = lpm_error_catalogue(&count);
    enum cli_exit code;

    (void)state;
    for (gsize i = 0; i < count; i++) {
        if (!cli_exit_of_number(info[i].number, &code))
            fail_msg("LPM-%04d has no exit code: add LPM_E_%s to the map in src/cli/exit.c",
                     info[i].number, info[i].symbol);
    }
    assert_false(cli_exit_of_number(4242, &code));
    assert_int_equal(code, CLI_INTERNAL);
}

static void test_exit_codes_of_ends(void **state)
{
    static const struct {
        const char *migration;
        enum cli_exit code;
    } cases[] = {
        {"{\"state\": \"done\"}", CLI_OK},
        {"{\"state\": \"done\", \"report\": {\"stream_hash\": {\"identical\": true}}}", CLI_OK},
        {"{\"state\": \"done\", \"report\": {\"stream_hash\": {\"identical\": false}}}",
         CLI_WARNING},
        {"{\"state\": \"done\", \"error\": {\"code\": \"LPM-3001\"}}", CLI_WARNING},
        {"{\"state\": \"stopped\"}", CLI_STOPPED},
        {"{\"state\": \"in-doubt\"}", CLI_IN_DOUBT},
        {"{\"state\": \"copying\"}", CLI_OK},
        {"{\"state\": \"failed\"}", CLI_FAILED},
        {"{\"state\": \"failed\", \"error\": {\"code\": \"LPM-3003\"}}", CLI_REFUSED},
        {"{\"state\": \"failed\", \"error\": {\"code\": \"LPM-2002\"}}", CLI_UNREACHABLE},
        {"{\"state\": \"failed\", \"error\": {\"code\": \"LPM-2002\"},"
         " \"phases\": [{\"name\": \"copying\"}]}",
         CLI_FAILED},
        {"{\"state\": \"failed\", \"error\": {\"code\": \"LPM-9001\"}}", CLI_FAILED},
        {"{}", CLI_OK},
    };

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        json_t *migration = json_loads(cases[i].migration, 0, NULL);
        assert_non_null(migration);
        if (cli_exit_of_migration(migration) != cases[i].code)
            fail_msg("%s: exit code %d", cases[i].migration, (int)cli_exit_of_migration(migration));
        json_decref(migration);
    }
}

static json_t *copying(void)
{
    return json_pack("{s:s, s:s, s:{s:i, s:I, s:I, s:I, s:I, s:I}}", "partition", "web", "state",
                     "copying", "progress", "percent", 50, "bytes_left", (json_int_t)143 << 20,
                     "rate", (json_int_t)112 << 20, "dirty_rate", (json_int_t)3 << 20, "eta_ms",
                     (json_int_t)12000, "suspend_estimate_ms", (json_int_t)45);
}

static void test_progress_fits_every_width(void **state)
{
    json_t *migration = copying();

    (void)state;
    for (gsize columns = 0; columns <= 200; columns++) {
        g_autofree char *line = progress_line(migration, columns);
        assert_true(text_columns(line) <= columns);
    }
    expect(
        progress_text(migration),
        "web: copying  50%  112 MiB/s  dirty 3.00 MiB/s  left 143 MiB  ETA 0:12  suspend ~45 ms");
    expect(progress_line(migration, 200),
           "web: copying  50% [###############...............]  112 MiB/s  dirty 3.00 MiB/s"
           "  left 143 MiB  ETA 0:12  suspend ~45 ms");
    expect(progress_line(migration, 40), "web: copying  50% [##...]  112 MiB/s  di");
    json_decref(migration);
}

static void test_progress_of_nonsense(void **state)
{
    json_t *migration = json_loads("{\"partition\": 7, \"state\": \"\\u001b[31m\", \"progress\":"
                                   " {\"percent\": 1e300, \"rate\": -5, \"eta_ms\": null}}",
                                   0, NULL);

    (void)state;
    expect(progress_line(migration, 80), ": \\x1b[31m  100% [##############################]");
    json_decref(migration);
    expect(progress_line(NULL, 80), ":   0% [..............................]");
}

static void test_table_aligns_wide_characters(void **state)
{
    static const char *const header[] = {"NAME", ">N", "LAST", NULL};
    CliTable *table = cli_table_new(header);
    char *text = NULL;
    size_t length;
    FILE *memory = open_memstream(&text, &length);

    (void)state;
    cli_table_add(table, g_strdup("\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"));
    cli_table_add(table, g_strdup("7"));
    cli_table_add(table, g_strdup("x"));
    cli_table_add(table, g_strdup("a"));
    cli_table_add(table, g_strdup("1234"));
    cli_table_add(table, NULL);
    cli_table_print(table, memory);
    fclose(memory);
    assert_string_equal(text, "NAME       N  LAST\n"
                              "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e     7  x\n"
                              "a       1234  -\n");
    free(text);
    cli_table_free(table);
}

static void test_fields_tolerate_anything(void **state)
{
    json_t *object = json_loads("{\"a\": {\"b\": 3.6, \"c\": \"x\"}, \"d\": null}", 0, NULL);

    (void)state;
    assert_int_equal(field_int(object, "a.b"), 4);
    assert_int_equal(field_int(object, "a.c"), -1);
    assert_int_equal(field_int(object, "d"), -1);
    assert_int_equal(field_int(object, "d.e.f"), -1);
    assert_int_equal(field_int(NULL, "a"), -1);
    assert_string_equal(field_raw(object, "a.c"), "x");
    assert_string_equal(field_raw(object, "a"), "");
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean_shows_what_a_terminal_would_obey),
        cmocka_unit_test(test_columns_and_truncation),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_rates_that_are_typed),
        cmocka_unit_test(test_suggestions),
        cmocka_unit_test(test_every_error_has_its_exit_code),
        cmocka_unit_test(test_exit_codes_of_ends),
        cmocka_unit_test(test_progress_fits_every_width),
        cmocka_unit_test(test_progress_of_nonsense),
        cmocka_unit_test(test_table_aligns_wide_characters),
        cmocka_unit_test(test_fields_tolerate_anything),
    };

    g_setenv("TZ", "UTC", TRUE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
