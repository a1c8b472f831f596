/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/* One block of the log: what goes in comes out, and no single damaged bit goes unnoticed. */
#include "test.h"

#include <string.h>

#include "record.h"

static struct record sample(void)
{
    struct record rec = {
        .epoch = 77,
        .sequence = 5,
        .client = (UINT64_C(9) << 32) | 1,
        .number = 42,
        .wall_us = 1000,
        .mono_us = 2000,
        .previous = 0xabcdef,
        .payload_len = 100,
    };
    payload_make(rec.client, rec.number, rec.payload, rec.payload_len);
    return rec;
}

static void test_round_trip(void **state)
{
    (void)state;
    uint8_t block[BLOCK_SIZE];
    struct record in = sample(), out;
    record_encode(&in, block);
    assert_int_equal(record_decode(block, 77, &out), BLOCK_RECORD);
    assert_int_equal(out.sequence, 5);
    assert_int_equal(out.client, in.client);
    assert_int_equal(out.number, 42);
    assert_int_equal(out.wall_us, 1000);
    assert_int_equal(out.mono_us, 2000);
    assert_int_equal(out.previous, 0xabcdef);
    assert_int_equal(out.sum, in.sum);
    assert_int_equal(out.payload_len, 100);
    assert_memory_equal(out.payload, in.payload, 100);
}

static void test_every_flipped_bit(void **state)
{
    (void)state;
    uint8_t block[BLOCK_SIZE];
    struct record in = sample(), out;
    record_encode(&in, block);
    for (unsigned bit = 0; bit < 8 * BLOCK_SIZE; bit++) {
        block[bit / 8] = (uint8_t)(block[bit / 8] ^ 1u << bit % 8);
        assert_int_not_equal(record_decode(block, 77, &out), BLOCK_RECORD);
        block[bit / 8] = (uint8_t)(block[bit / 8] ^ 1u << bit % 8);
    }
    assert_int_equal(record_decode(block, 77, &out), BLOCK_RECORD);
}

static void test_kinds(void **state)
{
    (void)state;
    uint8_t block[BLOCK_SIZE] = {0};
    struct record in = sample(), out;
    assert_int_equal(record_decode(block, 77, &out), BLOCK_OTHER);
    record_encode(&in, block);
    assert_int_equal(record_decode(block, 78, &out), BLOCK_OTHER);
    block[200] ^= 1;
    assert_int_equal(record_decode(block, 77, &out), BLOCK_BAD);
}

static void test_head(void **state)
{
    (void)state;
    uint8_t block[BLOCK_SIZE];
    uint64_t epoch = 0;
    head_encode(123, block);
    assert_true(head_decode(block, &epoch));
    assert_int_equal(epoch, 123);
    block[9] ^= 1;
    assert_false(head_decode(block, &epoch));
}

static void test_payload(void **state)
{
    (void)state;
    uint8_t a[PAYLOAD_MAX], b[PAYLOAD_MAX];
    payload_make(1, 2, a, 37);
    payload_make(1, 2, b, 37);
    assert_memory_equal(a, b, 37);
    payload_make(1, 3, b, 37);
    assert_memory_not_equal(a, b, 37);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_every_flipped_bit),
        cmocka_unit_test(test_kinds),      cmocka_unit_test(test_head),
        cmocka_unit_test(test_payload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
