/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Streams of real QEMU through parser, batches and every method and back: the same bytes. */
#include "codec/batch.h"
#include "stream-support.h"

struct way {
    LpmBatch *batch;
    LpmBatchEncoder *encoder;
    LpmBatchDecoder *decoder;
    GByteArray *body, *out;
    gsize encoded;
};

static void flush(struct way *way)
{
    g_autoptr(GError) error = NULL;
    gsize original = lpm_batch_original_bytes(way->batch);

    if (lpm_batch_empty(way->batch))
        return;
    g_byte_array_set_size(way->body, 0);
    way->encoded += lpm_batch_encode(way->batch, way->encoder, way->body);
    assert_true(way->body->len <= LPM_BATCH_BODY_MAX);
    if (!lpm_batch_decode(way->decoder, way->body->data, way->body->len, original, way->out,
                          &error))
        fail_msg("%s", error->message);
}

static gboolean add(struct way *way, struct lpm_stream_event *event)
{
    if (event->type == LPM_STREAM_ZERO_PAGE)
        return lpm_batch_add_zero(way->batch, event->data, event->length, event->page_size);
    if (event->type == LPM_STREAM_PAGE)
        return lpm_batch_add_page(way->batch, event->data, event->length, event->header_length,
                                  event->page_size);
    for (;;) {
        gsize n = lpm_batch_add_literal(way->batch, event->data, event->length);

        event->data += n;
        event->length -= n;
        if (!event->length)
            return TRUE;
        flush(way);
    }
}

static gsize travel(const GByteArray *input, const struct lpm_compressor *method, int level,
                    gsize batch_bytes, gsize piece)
{
    g_autoptr(LpmStreamParser) parser = lpm_stream_parser_new();
    struct lpm_stream_event event;
    struct way way = {lpm_batch_new(batch_bytes, 0),
                      lpm_batch_encoder_new(method, level),
                      lpm_batch_decoder_new(),
                      g_byte_array_new(),
                      g_byte_array_new(),
                      0};

    for (gsize at = 0; at < input->len;) {
        gsize n = MIN(piece - at % piece, input->len - at);

        at += lpm_stream_parser_step(parser, input->data + at, n, &event);
        if (event.type == LPM_STREAM_NONE)
            continue;
        if (!add(&way, &event)) {
            flush(&way);
            assert_true(add(&way, &event));
        }
        if (lpm_batch_full(way.batch))
            flush(&way);
    }
    flush(&way);
    assert_int_equal(way.out->len, input->len);
    assert_memory_equal(way.out->data, input->data, input->len);
    lpm_batch_free(way.batch);
    lpm_batch_encoder_free(way.encoder);
    lpm_batch_decoder_free(way.decoder);
    g_byte_array_unref(way.body);
    g_byte_array_unref(way.out);
    return way.encoded;
}

static void captures_survive(void **state G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) paths = support_captures(".stream.zst");

    for (guint i = 0; i < paths->len; i++) {
        g_autoptr(GByteArray) input = support_load(g_ptr_array_index(paths, i));
        gsize none = travel(input, &lpm_compressor_none, 0, 0, 65536);
        gsize best = travel(input, &lpm_compressor_zstd, 9, 1 << 20, 262144);

        /* Zero pages are runs even without a method, and a method is worth it. */
        assert_true(none < input->len);
        assert_true(best < none);
        print_message("%s: %u -> %zu without, %zu with zstd 9\n",
                      (char *)g_ptr_array_index(paths, i), input->len, none, best);
        for (int level = -7; level <= 6; level += 3)
            assert_true(travel(input, &lpm_compressor_zstd, level, 0, 32768) < none);
        assert_true(travel(input, &lpm_compressor_lz4, 0, 0, 99991) < none);
        assert_true(travel(input, &lpm_compressor_lz4, -7, 65536, 1 << 20) < none);
    }
}

static void highest_level(void **state G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) paths = support_captures("pc-compress.stream.zst");
    g_autoptr(GByteArray) input = support_load(g_ptr_array_index(paths, 0));

    travel(input, &lpm_compressor_zstd, 100, 0, 65536);
    travel(input, &lpm_compressor_zstd, -100, 0, 65536);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captures_survive),
        cmocka_unit_test(highest_level),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
