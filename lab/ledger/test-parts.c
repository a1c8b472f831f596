/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/* The small parts: the book of applied numbers, frames, options, sizes. */
#include "test.h"

#include <string.h>

#include "book.h"
#include "options.h"
#include "proto.h"

#define CLIENT(run, n) ((uint64_t)(run) << 32 | (n))

static void test_book(void **state)
{
    (void)state;
    struct book a, b;
    struct book_diff diff;
    assert_true(book_init(&a));
    for (uint64_t n = 1; n <= 100000; n++) {
        assert_true(book_reserve(&a, CLIENT(1, 1), n));
        assert_true(book_apply(&a, CLIENT(1, 1), n));
    }
    assert_false(book_apply(&a, CLIENT(1, 1), 500));
    assert_int_equal(a.applied, 100000);
    assert_int_equal(a.doubled, 1);
    assert_true(book_copy(&b, &a));
    assert_true(book_reserve(&b, CLIENT(1, 1), 200000));
    assert_true(book_apply(&b, CLIENT(1, 1), 200000));
    assert_true(book_reserve(&a, CLIENT(2, 1), 3));
    assert_true(book_apply(&a, CLIENT(2, 1), 3));
    book_compare(&a, &b, 0, &diff);
    assert_int_equal(diff.missing, 1);
    assert_int_equal(diff.extra, 1);
    assert_int_equal(diff.doubled, 1);
    book_compare(&a, &b, 2, &diff);
    assert_int_equal(diff.missing, 1);
    assert_int_equal(diff.extra, 0);
    assert_int_equal(diff.doubled, 0);
    book_free(&a);
    book_free(&b);
}

static void test_book_bounds(void **state)
{
    (void)state;
    struct book book;
    assert_true(book_init(&book));
    assert_false(book_reserve(&book, 0, 1));
    assert_false(book_reserve(&book, 1, BOOK_NUMBER_MAX + 1));
    unsigned taken = 0;
    for (uint64_t c = 1; c < 100; c++)
        taken += book_reserve(&book, c, BOOK_NUMBER_MAX);
    assert_true(taken >= 4 && taken < 10);
    assert_true(book.bytes <= BOOK_BYTES_MAX + (UINT64_C(1) << 20));
    book_free(&book);
    assert_true(book_init(&book));
    for (uint64_t c = 1; c <= BOOK_CLIENTS_MAX; c++)
        assert_true(book_reserve(&book, c, 1));
    assert_false(book_reserve(&book, BOOK_CLIENTS_MAX + 1, 1));
    assert_true(book_reserve(&book, 1, 2));
    book_free(&book);
}

static void test_frames(void **state)
{
    (void)state;
    uint8_t wire[FRAME_MAX];
    struct frame in = {.type = FRAME_WRITE,
                       .len = 5,
                       .client = 7,
                       .number = 8,
                       .aux = 9,
                       .payload = (const uint8_t *)"hello"};
    struct frame out;
    size_t len = frame_encode(&in, wire);
    for (size_t have = 0; have < len; have++)
        assert_int_equal(frame_decode(wire, have, &out), 0);
    assert_int_equal(frame_decode(wire, len, &out), (int)len);
    assert_int_equal(out.number, 8);
    assert_memory_equal(out.payload, "hello", 5);
    for (size_t i = 0; i < len; i++) {
        wire[i] ^= 4;
        assert_true(frame_decode(wire, len, &out) <= 0);
        wire[i] ^= 4;
    }
}

static void test_fields(void **state)
{
    (void)state;
    uint8_t payload[FRAME_PAYLOAD_MAX];
    struct verify_reply in = {.memory_ok = 1, .took_us = 99}, out;
    uint16_t len = fields_put(&in, sizeof in, payload);
    fields_get(&out, sizeof out, payload, len);
    assert_memory_equal(&in, &out, sizeof in);
    fields_get(&out, sizeof out, payload, (uint16_t)(len - 8));
    assert_int_equal(out.took_us, 0);
    assert_int_equal(out.memory_ok, 1);
}

static void test_options(void **state)
{
    (void)state;
    struct err err = {0};
    struct options opt;
    char *argv[] = {"ledgerd", "--mem", "8M", "--dirty=1K", "--fresh"};
    options_defaults(&opt);
    assert_true(options_from_cmdline(
        &opt, "quiet ledger.mem=32M ledger.content=mostly ledger.marker=a=b console=ttyS0\n",
        &err));
    assert_int_equal(opt.mem, 32 << 20);
    assert_int_equal(opt.content, CONTENT_MOSTLY);
    assert_string_equal(opt.marker, "a=b");
    assert_true(options_from_argv(&opt, 5, argv, &err));
    assert_int_equal(opt.mem, 8 << 20);
    assert_int_equal(opt.dirty, 1024);
    assert_int_equal(opt.fresh, 1);
    assert_string_equal(err.text, "");
}

static void test_options_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"--mem=x",     "--mem=99999999999G", "--port=70000",
                                      "--nothing=1", "--content=",         "--disk",
                                      "mem"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err err = {0};
        struct options opt;
        char *argv[] = {"ledgerd", (char *)(uintptr_t)bad[i]};
        options_defaults(&opt);
        assert_false(options_from_argv(&opt, 2, argv, &err));
        assert_string_not_equal(err.text, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_book),    cmocka_unit_test(test_book_bounds),
        cmocka_unit_test(test_frames),  cmocka_unit_test(test_fields),
        cmocka_unit_test(test_options), cmocka_unit_test(test_options_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
