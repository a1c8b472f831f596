/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The return path: captures and hand-made messages, whole and byte by byte. */
#include "stream-support.h"
#include "stream/return-path.h"

#include <string.h>

/* Runs the parser over the input in pieces; asserts identity; collects the messages' events. */
static GArray *run(LpmReturnParser *parser, const GByteArray *input, gsize piece)
{
    GArray *events = g_array_new(FALSE, FALSE, sizeof(struct lpm_return_event));
    struct lpm_return_event event;
    gsize out = 0;

    for (gsize at = 0; at < input->len;) {
        gsize taken =
            lpm_return_parser_step(parser, input->data + at, MIN(piece, input->len - at), &event);

        at += taken;
        assert_true(taken || event.type != LPM_RETURN_NONE);
        if (event.type == LPM_RETURN_NONE)
            continue;
        assert_memory_equal(event.data, input->data + out, event.length);
        out += event.length;
        if (event.type != LPM_RETURN_BYTES)
            g_array_append_val(events, event);
    }
    lpm_return_parser_flush(parser, &event);
    if (event.length)
        assert_memory_equal(event.data, input->data + out, event.length);
    assert_int_equal(out + event.length, input->len);
    return events;
}

static void captures(void **state G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) paths = support_captures(".return.zst");

    for (guint i = 0; i < paths->len; i++) {
        const char *path = g_ptr_array_index(paths, i);
        g_autoptr(GByteArray) input = support_load(path);

        for (gsize piece = 1; piece <= input->len; piece++) {
            g_autoptr(LpmReturnParser) parser = lpm_return_parser_new();
            g_autoptr(GArray) events = run(parser, input, piece);

            assert_true(events->len >= 2);
            assert_false(lpm_return_parser_info(parser)->degraded);
            assert_true(lpm_return_parser_info(parser)->shut);
            assert_int_equal(lpm_return_parser_info(parser)->shut_value, 0);
            if (strstr(path, "postcopy"))
                assert_true(lpm_return_parser_info(parser)->pages_requested > 0);
        }
    }
}

static void messages(void **state G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) input = g_byte_array_new();

    support_hex(input, "0002 0004 00000007");
    support_hex(input, "0003 0010 0000000000005000 00001000 03 72616d");
    support_hex(input, "0004 000c 0000000000006000 00002000");
    support_hex(input, "0005 0004 03 72616d 0000000000000003 aabbcc 0123456789abcdef");
    support_hex(input, "0006 0004 00000001 0007 0000 0001 0004 00000001");
    for (gsize piece = 1; piece <= input->len; piece++) {
        g_autoptr(LpmReturnParser) parser = lpm_return_parser_new();
        g_autoptr(GArray) events = run(parser, input, piece);
        const struct lpm_return_event *event =
            (const struct lpm_return_event *)(void *)events->data;

        assert_int_equal(events->len, 7);
        assert_int_equal(event[0].type, LPM_RETURN_PONG);
        assert_int_equal(event[0].value, 7);
        assert_string_equal(event[1].name, "ram");
        assert_int_equal(event[1].start, 0x5000);
        assert_int_equal(event[2].count, 0x2000);
        assert_int_equal(event[3].type, LPM_RETURN_RECV_BITMAP);
        assert_int_equal(event[4].type, LPM_RETURN_RESUME_ACK);
        assert_int_equal(event[5].type, LPM_RETURN_SWITCHOVER_ACK);
        assert_int_equal(lpm_return_parser_info(parser)->pages_requested, 2);
        assert_int_equal(lpm_return_parser_info(parser)->shut_value, 1);
    }
}

static void unknown_is_carried(void **state G_GNUC_UNUSED)
{
    static const char *const bad[] = {"0002 0004 00000007 0009 0004 01020304 0001 0004 00000000",
                                      "0002 0004 00000007 0001 ffff 00",
                                      "0002 0004 00000007 0005 0001 00 ffffffffffffffff 01020304"};

    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GByteArray) input = g_byte_array_new();

        support_hex(input, bad[i]);
        for (gsize piece = 1; piece <= input->len; piece++) {
            g_autoptr(LpmReturnParser) parser = lpm_return_parser_new();
            g_autoptr(GArray) events = run(parser, input, piece);

            assert_true(events->len <= 2);
            assert_true(lpm_return_parser_info(parser)->degraded);
            assert_false(lpm_return_parser_info(parser)->shut);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captures),
        cmocka_unit_test(messages),
        cmocka_unit_test(unknown_is_carried),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
