/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Bodies from a broken or hostile peer: an error of the catalogue and an output left as it was, or
 * exactly the announced length; never more. */
#include "base/error.h"
#include "codec/batch.h"
#include "stream-support.h"

#include <string.h>

static gboolean decode(const uint8_t *body, gsize length, gsize original, int *code)
{
    g_autoptr(LpmBatchDecoder) decoder = lpm_batch_decoder_new();
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    gboolean good;

    g_byte_array_append(out, (const uint8_t *)"before", 6);
    good = lpm_batch_decode(decoder, body, length, original, out, &error);
    assert_int_equal(out->len, good ? 6 + original : 6);
    assert_memory_equal(out->data, "before", 6);
    assert_true(good == !error);
    if (error) {
        assert_int_equal(error->domain, LPM_ERROR);
        assert_true(error->code == LPM_E_PROTOCOL || error->code == LPM_E_DATA_DAMAGED);
        *code = error->code;
    }
    return good;
}

static void malformed(void **state G_GNUC_UNUSED)
{
    static const struct {
        const char *hex;
        gsize original;
    } cases[] = {
        {"", 1},
        {"00 00", 1},
        {"00 00 0c 01 01 00 00", 1},                         /* operations are missing */
        {"00 00 0c 02 02 00 00 08 41", 2},                   /* makes 1 of 2 bytes */
        {"00 00 0c 03 03 00 00 10 41 42", 1},                /* makes 2 of 1 bytes */
        {"00 00 0c 02 02 00 00 08 41 00", 1},                /* a byte after the end */
        {"00 00 09 02 02 00 00 08 41", 1},                   /* page bits */
        {"00 00 11 02 02 00 00 08 41", 1},                   /* page bits */
        {"07 00 0c 02 02 00 00 08 41", 1},                   /* method */
        {"00 07 0c 02 02 00 00 08 41", 1},                   /* method */
        {"00 00 0c 02 02 01 01 08 41 55", 1},                /* pages left over */
        {"00 00 0c 8200 02 00 00 08 41", 1},                 /* a varint that is not the shortest */
        {"00 00 0c ffffffffffffffffff7f 00 00 00", 1},       /* a varint beyond 64 bits */
        {"00 00 0c ffffffffffffffffff01 00 00 00", 1},       /* operations beyond the limit */
        {"00 00 0c 02 02 00 00 09 00", 8},                   /* no room for a record */
        {"00 00 0c 02 02 00 00 01 00", 9},                   /* a run of none */
        {"00 00 0c 02 02 00 00 09 01", 9},                   /* page -1 */
        {"00 00 0c 03 03 00 00 0d 00 00", 9},                /* kind 5 */
        {"00 00 0c 02 02 00 00 0a 00", 4104},                /* a page without content */
        {"00 00 0c 01 01 00 00 0c", 4096},                   /* content without content */
        {"00 00 0c 0b 0b 00 00 f9ffffffffffffffff01 00", 9}, /* a run of 2^61 */
        {"00 00 0c 02 01 00 00 08", 1},                      /* stored, with another length */
        {"00 00 0c 02 02 00 00 08 41", 0},                   /* announces nothing */
        {"00 00 0c 02 02 00 00 08 41", LPM_BATCH_ORIGINAL_MAX + 1},
    };
    int code;

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) body = g_byte_array_new();

        support_hex(body, cases[i].hex);
        code = 0;
        if (decode(body->data, body->len, cases[i].original, &code))
            fail_msg("case %u is accepted", i);
        assert_int_equal(code, LPM_E_PROTOCOL);
    }
}

static void does_not_unpack(void **state G_GNUC_UNUSED)
{
    static const char *const cases[] = {
        "01 00 0c 09 04 00 00 deadbeef",         /* not zstd */
        "01 00 0c 00 04 00 00 28b52ffd",         /* zstd, of nothing */
        "01 00 0c 09 08 00 00 502a4d1800000000", /* a skippable frame */
        "02 00 0c 09 04 00 00 ffffffff",         /* not lz4 */
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) body = g_byte_array_new();
        int code = 0;

        support_hex(body, cases[i]);
        assert_false(decode(body->data, body->len, 9, &code));
        assert_int_equal(code, LPM_E_DATA_DAMAGED);
    }
}

/* A batch with everything in it. */
static gsize example(const struct lpm_compressor *method, GByteArray *body)
{
    g_autoptr(LpmBatchEncoder) encoder = lpm_batch_encoder_new(method, 1);
    g_autoptr(GByteArray) record = g_byte_array_new();
    g_autoptr(LpmBatch) batch = lpm_batch_new(0, 0);
    gsize original;

    for (guint i = 0; i < 40; i++) {
        uint64_t offset = (i * 7 % 40) * 4096;

        g_byte_array_set_size(record, 0);
        if (i % 3 == 0) {
            support_page(record, offset | 0x22, NULL, 0, 1);
            lpm_batch_add_zero(batch, record->data, record->len, 4096);
        } else {
            support_page(record, offset | 0x28, NULL, (guint8)i, 4096);
            lpm_batch_add_page(batch, record->data, record->len, 8, 4096);
        }
        if (i % 5 == 0)
            lpm_batch_add_literal(batch, (const uint8_t *)"some text between the pages", 27);
    }
    original = lpm_batch_original_bytes(batch);
    lpm_batch_encode(batch, encoder, body);
    return original;
}

static void damaged_anywhere(void **state G_GNUC_UNUSED)
{
    for (uint8_t method = 0; method < 3; method++) {
        g_autoptr(GByteArray) body = g_byte_array_new();
        gsize original = example(lpm_compressor_by_method(method), body);
        guint step = MAX(body->len / 300, 1);
        int code;

        assert_true(decode(body->data, body->len, original, &code));
        assert_false(decode(body->data, body->len, original - 1, &code));
        assert_false(decode(body->data, body->len, original + 1, &code));
        for (guint i = 0; i < body->len; i += i < 200 ? 1 : step) {
            assert_false(decode(body->data, i, original, &code));
            for (guint bit = 0; bit < 8; bit++) {
                body->data[i] ^= (uint8_t)(1u << bit);
                decode(body->data, body->len, original, &code);
                body->data[i] ^= (uint8_t)(1u << bit);
            }
        }
    }
}

/* Random bytes behind a good head. */
static void noise(void **state G_GNUC_UNUSED)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(11);
    uint8_t body[64];
    int code;

    for (guint i = 0; i < 20000; i++) {
        guint length = (guint)g_rand_int_range(random, 7, sizeof body);

        for (guint j = 0; j < length; j++)
            body[j] = (uint8_t)g_rand_int_range(random, 0, j < 3 ? 3 : 256);
        body[2] = 12;
        body[3] = body[4] = (uint8_t)(length - 7);
        body[5] = body[6] = 0;
        decode(body, length, (gsize)g_rand_int_range(random, 1, 10000), &code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed),
        cmocka_unit_test(does_not_unpack),
        cmocka_unit_test(damaged_anywhere),
        cmocka_unit_test(noise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
