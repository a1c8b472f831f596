/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/*
 * Which numbers of which client were applied: the service's memory of what it acknowledged, and
 * the same thing rebuilt from a disk, so that the two can be compared.
 * Not locked: a book belongs to one thread; a copy is how another thread gets one.
 */
#ifndef LEDGER_BOOK_H
#define LEDGER_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A set of small numbers; grows as needed. Zero-initialised is empty. */
struct bits {
    uint8_t *map;
    uint64_t size; /* numbers that have room, a multiple of 8 */
};

bool bits_get(const struct bits *bits, uint64_t n);
/* Makes room for N; false without memory. */
bool bits_reserve(struct bits *bits, uint64_t n);
/* N must have room. */
void bits_set(struct bits *bits, uint64_t n);
uint64_t bits_count(const struct bits *bits);

/* Numbers above this are refused: 8 MiB of bitmap for one client. */
#define BOOK_NUMBER_MAX ((UINT64_C(1) << 26) - 1)
#define BOOK_CLIENTS_MAX 4096u
/* All bitmaps of a book together. */
#define BOOK_BYTES_MAX (UINT64_C(64) << 20)

struct book_client {
    uint64_t id; /* the upper 32 bits name the run, the lower the connection; never 0 */
    struct bits seen;
    uint64_t doubled; /* applications beyond the first, over all numbers */
    uint64_t highest;
};

struct book {
    struct book_client *slots; /* open addressing, 2 * BOOK_CLIENTS_MAX slots */
    uint64_t clients;
    uint64_t bytes;   /* of bitmaps */
    uint64_t applied; /* distinct (client, number) pairs */
    uint64_t doubled;
};

bool book_init(struct book *book);
void book_free(struct book *book);
/* A deep copy into TO, which holds nothing yet. False without memory. */
bool book_copy(struct book *to, const struct book *from);

/* Makes room so that book_apply() of the same pair cannot fail; false at a limit. */
bool book_reserve(struct book *book, uint64_t client, uint64_t number);
/* Applies a pair for which there is room; false when it was applied before (and counts it). */
bool book_apply(struct book *book, uint64_t client, uint64_t number);
/* NULL when the client is not known. */
const struct book_client *book_find(const struct book *book, uint64_t client);

struct book_diff {
    uint64_t missing; /* in LEFT, not in RIGHT */
    uint64_t extra;   /* in RIGHT, not in LEFT */
    uint64_t doubled; /* the higher count of the two, per client */
};

/* Compares the clients of one run (upper 32 bits), or all of them for RUN 0. */
void book_compare(const struct book *left, const struct book *right, uint32_t run,
                  struct book_diff *diff);

#endif
