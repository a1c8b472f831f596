/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Batches made by hand: what becomes a run, what stays literal, where a batch is full. */
#include "codec/batch.h"
#include "stream-support.h"

#include <string.h>

struct fixture {
    LpmBatch *batch;
    LpmBatchEncoder *encoder;
    LpmBatchDecoder *decoder;
    GByteArray *original, *body, *out;
};

static int setup(void **state)
{
    struct fixture *f = g_new0(struct fixture, 1);

    f->batch = lpm_batch_new(0, 0);
    f->encoder = lpm_batch_encoder_new(&lpm_compressor_none, 0);
    f->decoder = lpm_batch_decoder_new();
    f->original = g_byte_array_new();
    f->body = g_byte_array_new();
    f->out = g_byte_array_new();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    lpm_batch_free(f->batch);
    lpm_batch_encoder_free(f->encoder);
    lpm_batch_decoder_free(f->decoder);
    g_byte_array_unref(f->original);
    g_byte_array_unref(f->body);
    g_byte_array_unref(f->out);
    g_free(f);
    return 0;
}

static void add_literal(struct fixture *f, const char *text)
{
    gsize length = strlen(text);

    assert_int_equal(lpm_batch_add_literal(f->batch, (const uint8_t *)text, length), length);
    g_byte_array_append(f->original, (const uint8_t *)text, (guint)length);
}

static void add_page(struct fixture *f, uint64_t word, const char *block, guint8 fill, guint size)
{
    guint start = f->original->len;
    gsize header = 8 + (block ? 1 + strlen(block) : 0);

    support_page(f->original, word, block, fill, size);
    assert_true(
        lpm_batch_add_page(f->batch, f->original->data + start, header + size, header, size));
}

static void add_zero(struct fixture *f, uint64_t word, const char *block)
{
    guint start = f->original->len;

    support_page(f->original, word, block, 0, 1);
    assert_true(
        lpm_batch_add_zero(f->batch, f->original->data + start, f->original->len - start, 4096));
}

/* Encodes, decodes, compares; returns the length of the body. */
static gsize round_trip(struct fixture *f)
{
    g_autoptr(GError) error = NULL;
    gsize original = lpm_batch_original_bytes(f->batch);
    gsize length;

    assert_int_equal(original, f->original->len);
    length = lpm_batch_encode(f->batch, f->encoder, f->body);
    assert_int_equal(length, f->body->len);
    assert_true(length <= LPM_BATCH_BODY_MAX);
    assert_true(lpm_batch_empty(f->batch));
    if (!lpm_batch_decode(f->decoder, f->body->data, f->body->len, original, f->out, &error))
        fail_msg("%s", error->message);
    assert_int_equal(f->out->len, original);
    assert_memory_equal(f->out->data, f->original->data, original);
    return length;
}

static void empty(void **state)
{
    struct fixture *f = *state;

    assert_true(lpm_batch_empty(f->batch));
    assert_int_equal(lpm_batch_encode(f->batch, f->encoder, f->body), 0);
    assert_int_equal(f->body->len, 0);
}

static void literals_merge(void **state)
{
    struct fixture *f = *state;

    add_literal(f, "one");
    add_literal(f, "two");
    assert_int_equal(round_trip(f), 7 + 1 + 6);
}

/* 500 zero pages in a row are one operation of a few bytes. */
static void zero_run(void **state)
{
    struct fixture *f = *state;

    for (guint i = 0; i < 500; i++)
        add_zero(f, (0x100000000 + i * 4096ull) | 0x22, NULL);
    assert_int_equal(lpm_batch_pages(f->batch), 500);
    assert_int_equal(round_trip(f), 7 + 2 + 4);
}

/* Runs of all kinds, backwards too, and records that are no runs. */
static void everything(void **state)
{
    struct fixture *f = *state;

    add_literal(f, "header");
    add_page(f, 0x5008, "pc.ram", 1, 4096);
    add_page(f, 0x6028, NULL, 2, 4096);
    add_page(f, 0x7028, NULL, 3, 4096);
    add_page(f, 0x8028, NULL, 0, 4096);
    add_zero(f, 0x9022, NULL);
    add_zero(f, 0x1022, NULL);
    add_zero(f, 0x2002, "vga");
    add_page(f, 0xfffffffffffff028, NULL, 9, 4096);
    add_page(f, 0x0028, NULL, 9, 4096);
    add_page(f, 0x1028, NULL, 9, 65536);
    add_literal(f, "footer");
    assert_int_equal(lpm_batch_pages(f->batch), 7);
    round_trip(f);
}

/* A caller that is wrong about what a record is costs nothing but length. */
static void wrong_records(void **state)
{
    struct fixture *f = *state;
    uint8_t record[8 + 4096];

    memset(record, 0x5a, sizeof record);
    for (guint length = 1; length < 12; length++) {
        assert_true(lpm_batch_add_zero(f->batch, record, length, 4096));
        g_byte_array_append(f->original, record, length);
        assert_true(lpm_batch_add_page(f->batch, record, length, 8, 4096));
        g_byte_array_append(f->original, record, length);
    }
    assert_true(lpm_batch_add_zero(f->batch, record, 9, 12345));
    g_byte_array_append(f->original, record, 9);
    assert_true(lpm_batch_add_page(f->batch, record, sizeof record, 8, 4096));
    g_byte_array_append(f->original, record, sizeof record);
    assert_int_equal(lpm_batch_pages(f->batch), 0);
    round_trip(f);
}

static void full_of_pages(void **state)
{
    struct fixture *f = *state;
    guint pages = 0;

    while (!lpm_batch_full(f->batch)) {
        add_page(f, pages * 4096 | 0x28, NULL, (guint8)(pages % 7 + 1), 4096);
        pages++;
    }
    assert_int_equal(pages, LPM_BATCH_PAGE_BYTES / 4096);
    assert_false(lpm_batch_add_page(f->batch, f->original->data, 8 + 4096, 8, 4096));
    round_trip(f);
}

static void full_of_literals(void **state)
{
    struct fixture *f = *state;
    g_autofree uint8_t *data = g_malloc0(2 * LPM_BATCH_ORIGINAL_BYTES);

    assert_int_equal(lpm_batch_add_literal(f->batch, data, 2 * LPM_BATCH_ORIGINAL_BYTES),
                     LPM_BATCH_ORIGINAL_BYTES);
    assert_true(lpm_batch_full(f->batch));
    assert_int_equal(lpm_batch_add_literal(f->batch, data, 1), 0);
    assert_false(lpm_batch_add_zero(f->batch, data, 9, 4096));
    g_byte_array_append(f->original, data, LPM_BATCH_ORIGINAL_BYTES);
    round_trip(f);
}

/* An empty batch of the least size takes the longest record. */
static void longest_record(void **state)
{
    struct fixture *f = *state;
    g_autofree char *name = g_strnfill(255, 'n');

    lpm_batch_free(f->batch);
    f->batch = lpm_batch_new(1, 1);
    add_page(f, 0x10008, name, 5, 65536);
    round_trip(f);
}

/* Compression that does not pay is left out, and one that does is not. */
static void pass_through(void **state)
{
    struct fixture *f = *state;
    g_autoptr(GRand) random = g_rand_new_with_seed(3);

    lpm_batch_encoder_free(f->encoder);
    f->encoder = lpm_batch_encoder_new(&lpm_compressor_zstd, 3);
    support_number(f->original, 8, 0x28);
    for (guint i = 0; i < 4096; i++)
        support_number(f->original, 1, (uint64_t)g_rand_int_range(random, 0, 256));
    assert_true(lpm_batch_add_page(f->batch, f->original->data, 8 + 4096, 8, 4096));
    assert_int_equal(round_trip(f), 3 + 6 + 2 + 4096);
    assert_int_equal(f->body->data[1], 0);
    g_byte_array_set_size(f->original, 0);
    g_byte_array_set_size(f->body, 0);
    g_byte_array_set_size(f->out, 0);
    add_page(f, 0x28, NULL, 0x11, 4096);
    assert_true(round_trip(f) < 100);
    assert_int_equal(f->body->data[1], 1);
}

static void names_and_methods(void **state G_GNUC_UNUSED)
{
    static const char *const names[] = {"none", "zstd", "lz4"};

    for (uint8_t i = 0; i < 3; i++) {
        assert_int_equal(lpm_compressor_by_name(names[i])->method, i);
        assert_string_equal(lpm_compressor_by_method(i)->name, names[i]);
    }
    assert_null(lpm_compressor_by_name("gzip"));
    assert_null(lpm_compressor_by_method(3));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(empty),         CASE(literals_merge),    CASE(zero_run),         CASE(everything),
        CASE(wrong_records), CASE(full_of_pages),     CASE(full_of_literals), CASE(longest_record),
        CASE(pass_through),  CASE(names_and_methods),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
