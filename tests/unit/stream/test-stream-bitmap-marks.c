/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Marks in the bitmaps of the return path, whole and cut at every byte. */
#include "stream-support.h"
#include "stream/bitmap-marks.h"

/* A PONG, the bitmaps of `ram` (70 pages, of which 0, 3 and 69 are there) and `vga` (9), RESUME_ACK
 * and a request. */
static const char before[] = "0002 0004 00000007"
                             "0005 0004 03 72616d 0000000000000010"
                             "0900000000000000 2000000000000000 0123456789abcdef"
                             "0005 0004 03 766761 0000000000000008"
                             "0000000000000000 0123456789abcdef"
                             "0006 0004 00000001"
                             "0004 000c 0000000000006000 00002000";
/* `ram` has 1, 2, 3, 62 to 65 and 69 too. */
static const char after[] = "0002 0004 00000007"
                            "0005 0004 03 72616d 0000000000000010"
                            "0f000000000000c0 2300000000000000 0123456789abcdef"
                            "0005 0004 03 766761 0000000000000008"
                            "0000000000000000 0123456789abcdef"
                            "0006 0004 00000001"
                            "0004 000c 0000000000006000 00002000";

/* Follows the bytes, in two pieces or more, and writes into them. */
static void apply(LpmBitmapMarks *marks, GByteArray *bytes, gsize piece, gsize first)
{
    g_autoptr(LpmReturnParser) parser = lpm_return_parser_new();
    struct lpm_return_event event;

    for (gsize at = 0; at < bytes->len;) {
        gsize end = at < first ? first : MIN(at + piece, bytes->len);

        while (at < end) {
            guint8 *here = bytes->data + at;

            at += lpm_return_parser_step(parser, here, end - at, &event);
            if (event.type != LPM_RETURN_BYTES || event.data == here)
                lpm_bitmap_marks_apply(marks, &event, here);
        }
    }
}

static void assert_marked(LpmBitmapMarks *marks, const char *input, const char *wanted)
{
    g_autoptr(GByteArray) length = g_byte_array_new();

    support_hex(length, input);
    for (gsize cut = 1; cut <= length->len; cut++) {
        g_autoptr(GByteArray) whole = g_byte_array_new(), pieces = g_byte_array_new(),
                              expected = g_byte_array_new();

        support_hex(expected, wanted);
        support_hex(whole, input);
        apply(marks, whole, length->len, cut);
        assert_memory_equal(whole->data, expected->data, expected->len);
        support_hex(pieces, input);
        apply(marks, pieces, cut, 0);
        assert_memory_equal(pieces->data, expected->data, expected->len);
    }
}

static void marked(void **state G_GNUC_UNUSED)
{
    g_autoptr(LpmBitmapMarks) marks = lpm_bitmap_marks_new();

    assert_true(lpm_bitmap_marks_add(marks, "ram", 62, 4));
    assert_true(lpm_bitmap_marks_add(marks, "ram", 1, 1));
    assert_true(lpm_bitmap_marks_add(marks, "ram", 2, 2));
    assert_true(lpm_bitmap_marks_add(marks, "ram", 69, 1));
    assert_true(lpm_bitmap_marks_add(marks, "rom", 0, 9));
    assert_marked(marks, before, after);
}

static void nothing_else_is_changed(void **state G_GNUC_UNUSED)
{
    g_autoptr(LpmBitmapMarks) none = lpm_bitmap_marks_new(), beyond = lpm_bitmap_marks_new();
    static const char opaque[] = "0005 0004 03 72616d ffffffffffffffff 00000000 00000000";

    assert_marked(none, before, before);
    assert_true(lpm_bitmap_marks_add(beyond, "ram", 128, 1000));
    assert_true(lpm_bitmap_marks_add(beyond, "vga", G_MAXUINT64 - 1, 1));
    assert_marked(beyond, before, before);
    assert_true(lpm_bitmap_marks_add(beyond, "ram", 0, 8));
    assert_marked(beyond, opaque, opaque);
}

static void refused(void **state G_GNUC_UNUSED)
{
    g_autoptr(LpmBitmapMarks) marks = lpm_bitmap_marks_new();

    assert_false(lpm_bitmap_marks_add(marks, "ram", 7, 0));
    assert_false(lpm_bitmap_marks_add(marks, "ram", 1, G_MAXUINT64));
    for (guint i = 0; i < LPM_BITMAP_MARKS_MAX; i++)
        assert_true(lpm_bitmap_marks_add(marks, "ram", i, 1));
    assert_false(lpm_bitmap_marks_add(marks, "vga", 0, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marked),
        cmocka_unit_test(nothing_else_is_changed),
        cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
