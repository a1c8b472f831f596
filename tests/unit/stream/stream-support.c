/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "stream-support.h"

#include <string.h>
#include <zstd.h>

static gint compare(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GPtrArray *support_captures(const char *suffix)
{
    GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
    const char *folder = g_getenv("LPM_GOLDEN");
    g_autoptr(GDir) dir = NULL;
    const char *name;

    if (!folder)
        fail_msg("LPM_GOLDEN does not name the folder of the captures");
    dir = g_dir_open(folder, 0, NULL);
    assert_non_null(dir);
    while ((name = g_dir_read_name(dir)))
        if (g_str_has_suffix(name, suffix))
            g_ptr_array_add(paths, g_build_filename(folder, name, NULL));
    g_ptr_array_sort(paths, compare);
    assert_true(paths->len > 0);
    return paths;
}

GByteArray *support_load(const char *path)
{
    GByteArray *out = g_byte_array_new();
    g_autofree char *data = NULL;
    uint8_t chunk[65536];
    ZSTD_DStream *unpack;
    ZSTD_inBuffer in;
    gsize length;

    if (!g_file_get_contents(path, &data, &length, NULL))
        fail_msg("%s cannot be read", path);
    if (!g_str_has_suffix(path, ".zst")) {
        g_byte_array_append(out, (uint8_t *)data, (guint)length);
        return out;
    }
    unpack = ZSTD_createDStream();
    in = (ZSTD_inBuffer){data, length, 0};
    while (in.pos < in.size) {
        ZSTD_outBuffer piece = {chunk, sizeof chunk, 0};

        if (ZSTD_isError(ZSTD_decompressStream(unpack, &piece, &in)))
            fail_msg("%s is damaged", path);
        g_byte_array_append(out, chunk, (guint)piece.pos);
    }
    for (size_t more = sizeof chunk; more == sizeof chunk;) {
        ZSTD_outBuffer piece = {chunk, sizeof chunk, 0};

        ZSTD_decompressStream(unpack, &piece, &in);
        g_byte_array_append(out, chunk, (guint)piece.pos);
        more = piece.pos;
    }
    ZSTD_freeDStream(unpack);
    return out;
}

void support_hex(GByteArray *out, const char *hex)
{
    for (; *hex; hex++) {
        uint8_t byte;

        if (*hex == ' ')
            continue;
        byte = (uint8_t)(g_ascii_xdigit_value(hex[0]) << 4 | g_ascii_xdigit_value(hex[1]));
        g_byte_array_append(out, &byte, 1);
        hex++;
    }
}

void support_number(GByteArray *out, guint bytes, uint64_t value)
{
    while (bytes--) {
        uint8_t byte = (uint8_t)(value >> (8 * bytes));

        g_byte_array_append(out, &byte, 1);
    }
}

void support_name(GByteArray *out, const char *name)
{
    support_number(out, 1, strlen(name));
    g_byte_array_append(out, (const uint8_t *)name, (guint)strlen(name));
}

void support_header(GByteArray *out)
{
    support_hex(out, "5145564d 00000003 07 00000001 6d");
}

void support_section(GByteArray *out, guint type, guint id, const char *name, guint version)
{
    support_number(out, 1, type);
    support_number(out, 4, id);
    if (!name)
        return;
    support_name(out, name);
    support_number(out, 4, 0);
    support_number(out, 4, version);
}

void support_footer(GByteArray *out, guint id)
{
    support_number(out, 1, 0x7e);
    support_number(out, 4, id);
}

void support_start_ram(GByteArray *out, guint pages)
{
    support_section(out, 1, 2, "ram", 4);
    support_number(out, 8, (uint64_t)pages * 4096 | 4);
    support_name(out, "ram");
    support_number(out, 8, (uint64_t)pages * 4096);
    support_number(out, 8, 0x10);
    support_footer(out, 2);
}

void support_page(GByteArray *out, uint64_t word, const char *block, guint8 fill, guint size)
{
    support_number(out, 8, word);
    if (block)
        support_name(out, block);
    for (guint i = 0; i < size; i++)
        g_byte_array_append(out, &fill, 1);
}

static void check_event(const LpmStreamParser *parser, const struct lpm_stream_event *event,
                        const uint8_t *expected)
{
    assert_true(event->length > 0);
    assert_memory_equal(event->data, expected, event->length);
    if (event->type == LPM_STREAM_LITERAL)
        return;
    assert_non_null(lpm_stream_parser_block(parser, (guint)event->block));
    assert_int_equal(event->offset % event->page_size, 0);
    if (event->type == LPM_STREAM_PAGE)
        assert_int_equal(event->length, event->header_length + event->page_size);
    else
        assert_int_equal(event->length, event->header_length + 1);
}

LpmStreamParser *support_run(const GByteArray *input, gsize piece, GRand *random)
{
    LpmStreamParser *parser = lpm_stream_parser_new();
    struct lpm_stream_event event;
    gsize given = 0, out = 0;

    while (given < input->len) {
        gsize n = piece ? piece : (gsize)g_rand_int_range(random, 1, 3 * 4096);
        gsize taken = 0;

        n = MIN(n, input->len - given);
        while (taken < n) {
            gsize step =
                lpm_stream_parser_step(parser, input->data + given + taken, n - taken, &event);

            taken += step;
            assert_true(taken <= n);
            assert_true(step || event.type != LPM_STREAM_NONE);
            if (event.type == LPM_STREAM_NONE)
                continue;
            check_event(parser, &event, input->data + out);
            out += event.length;
        }
        given += n;
        assert_int_equal(out + lpm_stream_parser_withheld(parser), given);
        assert_true(lpm_stream_parser_withheld(parser) < 9 + 255 + LPM_STREAM_PAGE_MAX);
    }
    lpm_stream_parser_flush(parser, &event);
    if (event.type != LPM_STREAM_NONE) {
        check_event(parser, &event, input->data + out);
        out += event.length;
    }
    assert_int_equal(out, input->len);
    assert_int_equal(lpm_stream_parser_withheld(parser), 0);
    assert_int_equal(lpm_stream_parser_info(parser)->position, input->len);
    return parser;
}
