/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/*
 * The memory that a migration has to carry over without a mistake.
 *
 * Theory of operation. A table of 4 KiB pages; each page holds its own index, a generation and a
 * checksum over everything. The generation and the checksum of every page are kept a second time
 * in arrays elsewhere, and their sum and their xor a third time in the table's head. So a page
 * that arrives damaged fails its own checksum, and a page that arrives whole but stale (the
 * typical mistake of a migration: a dirty page not sent again) disagrees with the arrays.
 * A writer thread dirties pages at a rate. Before it overwrites a page it checks it, and keeps
 * count of the bad ones: otherwise it would paint over the evidence.
 *
 * Every function may be called from any thread; one lock guards the pages and the arrays and is
 * held for one page at a time.
 */
#ifndef LEDGER_TABLE_H
#define LEDGER_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto.h"
#include "util.h"

#define PAGE_SIZE 4096u
#define MARKER_EVERY 64u /* of a table with a marker, one page in this many is full of it */
#define MARKER_MAX 256u

struct table;

/*
 * A table of BYTES (rounded down to pages, at least one page), filled with CONTENT, whose writer
 * stays within the first HOT bytes (0: all). MARKER may be NULL or "". NULL with ERR on failure.
 */
struct table *table_new(uint64_t bytes, uint64_t hot, enum content content, const char *marker,
                        uint64_t rate, struct err *err);
/* Starts the writer thread; it ends with table_free(). */
bool table_start(struct table *table, struct err *err);
void table_free(struct table *table);

/* Bytes of pages to dirty per second (every page counts as 4096); takes effect within 20 ms. */
void table_set_rate(struct table *table, uint64_t rate, enum content content);

/* Rewrites one page now, after checking it; INDEX must be below the number of pages. */
void table_touch(struct table *table, uint64_t index);

struct table_state {
    uint64_t bytes, pages, rate, content;
    uint64_t dirtied;     /* pages dirtied since the start, the first fill not counted */
    uint64_t bad_touched; /* pages that were bad when the writer came to overwrite them */
    uint64_t measured;    /* bytes dirtied in the last whole second */
};
void table_state(struct table *table, struct table_state *state);

struct table_check {
    uint64_t bad;       /* pages that are damaged or stale */
    uint64_t first_bad; /* index, when bad != 0 */
    bool index_ok;      /* the arrays agree with their sum and their xor */
};
/* Checks every page; the writer goes on meanwhile. */
void table_verify(struct table *table, struct table_check *check);

/* The page's bytes, for the tests that damage them. */
uint8_t *table_page(struct table *table, uint64_t index);

#endif
