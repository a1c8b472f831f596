/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/*
 * The few things every part of the ledger needs: an error text, the clocks, a checksum, sizes.
 * Nothing here keeps state; every function may be called from any thread.
 */
#ifndef LEDGER_UTIL_H
#define LEDGER_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One error, set where it happens and printed once at the top. An empty text means no error. */
struct err {
    char text[320];
};

/* Sets ERR (may be NULL) unless it already holds an error; always returns false. */
bool err_set(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* CLOCK_MONOTONIC and CLOCK_REALTIME in microseconds. */
int64_t now_us(void);
int64_t wall_us(void);

/*
 * A 64-bit checksum of LEN bytes. Every step is a bijection of the state for a given word, so a
 * change confined to one aligned 8-byte word is always detected, any other with odds of 2^-64.
 * No defence against somebody who chooses the bytes: this finds accidents.
 */
uint64_t sum64(uint64_t seed, const void *data, size_t len);

/* A bijective mixing of 64 bits. */
uint64_t mix64(uint64_t x);

/* The next number of an xorshift generator; STATE must not be 0. */
static inline uint64_t rng_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* 64 bits that differ from run to run, never 0; does not wait for the kernel's entropy. */
uint64_t random_id(void);

/* "64M", "4096", "1G": bytes (binary units K, M, G). False when TEXT is not such a size. */
bool parse_size(const char *text, uint64_t *bytes);

/* A decimal number within [MIN, MAX]. */
bool parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value);

/* Write or read all of LEN bytes at OFFSET; 0 or -errno (-ENODATA at the end of the file). */
int pwrite_all(int fd, const void *data, size_t len, uint64_t offset);
int pread_all(int fd, void *data, size_t len, uint64_t offset);

#endif
