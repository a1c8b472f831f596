/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Streams of real QEMU, and bad ones: however the input is cut, the events' bytes are the input and
 * the facts are the same. */
#include "stream-support.h"

#include <string.h>

/* The facts of a run, without those that may differ. */
static struct lpm_stream_info facts(const LpmStreamParser *parser)
{
    return *lpm_stream_parser_info(parser);
}

static void cut_everywhere(const char *suffix, gboolean good)
{
    g_autoptr(GPtrArray) paths = support_captures(suffix);
    g_autoptr(GRand) random = g_rand_new_with_seed(20260101);

    for (guint i = 0; i < paths->len; i++) {
        g_autoptr(GByteArray) input = support_load(g_ptr_array_index(paths, i));
        g_autoptr(LpmStreamParser) whole = support_run(input, input->len, NULL);
        struct lpm_stream_info expected = facts(whole);
        static const gsize pieces[] = {1, 7, 4096, 4104, 65536, 0, 0, 0};

        print_message("%s: %u bytes\n", (char *)g_ptr_array_index(paths, i), input->len);
        if (good) {
            assert_false(expected.degraded);
            assert_true(expected.eof);
            assert_true(expected.ram_ended);
            assert_int_equal(expected.phase, LPM_STREAM_PHASE_ENDED);
        } else {
            assert_true(expected.degraded);
            assert_non_null(expected.degraded_reason);
        }
        for (guint j = 0; j < G_N_ELEMENTS(pieces); j++) {
            g_autoptr(LpmStreamParser) cut = support_run(input, pieces[j], random);
            struct lpm_stream_info found = facts(cut);

            assert_memory_equal(&found, &expected, sizeof found);
        }
    }
}

static void captures_are_identical_however_cut(void **state G_GNUC_UNUSED)
{
    cut_everywhere(".stream.zst", TRUE);
}

static void bad_streams_are_carried(void **state G_GNUC_UNUSED)
{
    cut_everywhere(".bad", FALSE);
}

/* A stream that ends early is not an error of the parser: it says how far it came. */
static void truncated_anywhere(void **state G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) paths = support_captures("pc.stream.zst");
    g_autoptr(GByteArray) input = support_load(g_ptr_array_index(paths, 0));
    guint whole = input->len;

    for (guint length = 1; length < whole; length += length < 600 ? 1 : whole / 97) {
        g_autoptr(LpmStreamParser) parser = NULL;

        input->len = length;
        parser = support_run(input, 4096, NULL);
        assert_false(lpm_stream_parser_info(parser)->degraded);
        assert_false(lpm_stream_parser_info(parser)->description_done);
    }
    input->len = whole;
}

/* One byte of a capture is different: whatever the parser makes of it, the bytes pass. */
static void damaged_anywhere(void **state G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) paths = support_captures("pc-postcopy.stream.zst");
    g_autoptr(GByteArray) input = support_load(g_ptr_array_index(paths, 0));
    g_autoptr(GRand) random = g_rand_new_with_seed(7);

    for (guint i = 0; i < 300; i++) {
        guint at = i < 200 ? i : (guint)g_rand_int_range(random, 0, (gint32)input->len);
        guint8 flip = (guint8)g_rand_int_range(random, 1, 256);
        LpmStreamParser *parser;

        input->data[at] ^= flip;
        parser = support_run(input, 30000, NULL);
        lpm_stream_parser_free(parser);
        input->data[at] ^= flip;
    }
}

/* In a stream of post-copy the package and the switch are recognised. */
static void postcopy_is_recognised(void **state G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) paths = support_captures("postcopy.stream.zst");
    g_autoptr(GByteArray) input = support_load(g_ptr_array_index(paths, 0));
    g_autoptr(LpmStreamParser) parser = support_run(input, 65536, NULL);
    const struct lpm_stream_info *info = lpm_stream_parser_info(parser);

    assert_true(info->return_path);
    assert_true(info->postcopy_advised);
    assert_true(info->postcopy_packaged);
    assert_true(info->postcopy_listen);
    assert_true(info->postcopy_run);
    assert_int_equal(info->description_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captures_are_identical_however_cut),
        cmocka_unit_test(bad_streams_are_carried),
        cmocka_unit_test(truncated_anywhere),
        cmocka_unit_test(damaged_anywhere),
        cmocka_unit_test(postcopy_is_recognised),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
