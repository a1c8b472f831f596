/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The stream parser and the return path's, on anything: whole and cut at places that the input
 * chooses, the events' bytes must be the input and the facts must agree. The first byte chooses the
 * cuts and the parser; the rest is the stream.
 */
#include "require.h"
#include "stream/bitmap-marks.h"
#include "stream/return-path.h"
#include "stream/stream-parser.h"

#include <string.h>

/* Lengths of the pieces: a generator seeded by the input; 0 is the whole. */
static gsize next_piece(uint32_t *seed)
{
    if (!*seed)
        return G_MAXSIZE;
    *seed = *seed * 1664525u + 1013904223u;
    return 1 + (*seed >> 16) % (*seed & 0x100 ? 9 : 5000);
}

static void run_stream(const uint8_t *data, gsize size, uint32_t seed, struct lpm_stream_info *info)
{
    g_autoptr(LpmStreamParser) parser = lpm_stream_parser_new();
    struct lpm_stream_event event;
    gsize out = 0;

    for (gsize at = 0; at < size;) {
        gsize piece = next_piece(&seed);
        gsize end = at + MIN(piece, size - at);

        while (at < end) {
            gsize taken = lpm_stream_parser_step(parser, data + at, end - at, &event);

            REQUIRE(taken <= end - at && (taken || event.type != LPM_STREAM_NONE));
            at += taken;
            if (event.type == LPM_STREAM_NONE)
                continue;
            REQUIRE(event.length && event.length <= at - out);
            REQUIRE(!memcmp(event.data, data + out, event.length));
            out += event.length;
        }
        REQUIRE(out + lpm_stream_parser_withheld(parser) == at);
    }
    lpm_stream_parser_flush(parser, &event);
    REQUIRE(event.length == size - out);
    REQUIRE(!event.length || !memcmp(event.data, data + out, event.length));
    memcpy(info, lpm_stream_parser_info(parser), sizeof *info);
}

static void run_return(const uint8_t *data, gsize size, uint32_t seed, struct lpm_return_info *info)
{
    g_autoptr(LpmReturnParser) parser = lpm_return_parser_new();
    struct lpm_return_event event;
    gsize out = 0;

    for (gsize at = 0; at < size;) {
        gsize piece = next_piece(&seed);
        gsize end = at + MIN(piece, size - at);

        while (at < end) {
            gsize taken = lpm_return_parser_step(parser, data + at, end - at, &event);

            REQUIRE(taken <= end - at && (taken || event.type != LPM_RETURN_NONE));
            at += taken;
            REQUIRE(event.length <= at - out);
            REQUIRE(!event.length || !memcmp(event.data, data + out, event.length));
            out += event.length;
        }
    }
    lpm_return_parser_flush(parser, &event);
    REQUIRE(event.length == size - out);
    memcpy(info, lpm_return_parser_info(parser), sizeof *info);
}

/* The same with marks in its bitmaps: however it is cut the same bits are set, and none is cleared.
 */
static GByteArray *run_marks(const uint8_t *data, gsize size, uint32_t seed)
{
    g_autoptr(LpmReturnParser) parser = lpm_return_parser_new();
    g_autoptr(LpmBitmapMarks) marks = lpm_bitmap_marks_new();
    GByteArray *bytes = g_byte_array_append(g_byte_array_new(), data, (guint)size);
    struct lpm_return_event event;

    lpm_bitmap_marks_add(marks, "ram", 3, 90);
    lpm_bitmap_marks_add(marks, "pc.ram", 0, 17);
    lpm_bitmap_marks_add(marks, "", 1, G_MAXUINT64 - 1);
    for (gsize at = 0; at < size;) {
        gsize piece = next_piece(&seed);
        gsize end = at + MIN(piece, size - at);

        while (at < end) {
            guint8 *here = bytes->data + at;

            at += lpm_return_parser_step(parser, here, end - at, &event);
            if (event.type != LPM_RETURN_BYTES || event.data == here)
                lpm_bitmap_marks_apply(marks, &event, here);
        }
    }
    for (gsize i = 0; i < size; i++)
        REQUIRE((bytes->data[i] & data[i]) == data[i]);
    return bytes;
}

static void fuzz_marks(const uint8_t *data, gsize size, uint32_t seed)
{
    g_autoptr(GByteArray) whole = run_marks(data, size, 0), cut = run_marks(data, size, seed);

    REQUIRE(!size || !memcmp(whole->data, cut->data, size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    if (data[0] & 0x80) {
        struct lpm_return_info whole, cut;

        run_return(data + 1, size - 1, 0, &whole);
        run_return(data + 1, size - 1, data[0] + 1u, &cut);
        REQUIRE(whole.position == cut.position && whole.messages == cut.messages);
        REQUIRE(whole.degraded == cut.degraded && whole.shut == cut.shut);
        fuzz_marks(data + 1, size - 1, data[0] + 1u);
    } else {
        struct lpm_stream_info whole, cut;

        run_stream(data + 1, size - 1, 0, &whole);
        run_stream(data + 1, size - 1, data[0] + 1u, &cut);
        REQUIRE(whole.pages_normal == cut.pages_normal && whole.pages_zero == cut.pages_zero);
        REQUIRE(whole.pages_resent == cut.pages_resent && whole.rounds == cut.rounds);
        REQUIRE(whole.position == cut.position && whole.degraded == cut.degraded);
        REQUIRE(whole.degraded_at == cut.degraded_at && whole.phase == cut.phase);
    }
    return 0;
}
