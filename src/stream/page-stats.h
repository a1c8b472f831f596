/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Which pages were sent before: one bit per page, allocated by the piece when a page of it is first
 * marked, so that memory follows the pages that came and not the size that was announced (which may
 * lie): 32 KiB per piece of 262144 pages. Above LPM_PAGE_STATS_MAX nothing is counted.
 * One thread at a time.
 */
#ifndef LPM_STREAM_PAGE_STATS_H
#define LPM_STREAM_PAGE_STATS_H

#include <glib.h>
#include <stdint.h>

#define LPM_PAGE_STATS_MAX (16ULL << 40) /* bytes of memory */

typedef struct lpm_page_stats LpmPageStats;

/* `page_size` is a power of two. */
LpmPageStats *lpm_page_stats_new(guint32 page_size);
void lpm_page_stats_free(LpmPageStats *stats);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmPageStats, lpm_page_stats_free)

/* Adds the next block (index 0, 1, ...). FALSE if the sum of lengths would pass the limit; the
 * statistics then cannot be used any more and must be freed. */
gboolean lpm_page_stats_add_block(LpmPageStats *stats, uint64_t length);

/* Marks the page at `offset` of `block`. TRUE if it was marked before. A page outside of the blocks
 * is not counted: FALSE. */
gboolean lpm_page_stats_mark(LpmPageStats *stats, guint block, uint64_t offset);

/* Whether the page is marked. */
gboolean lpm_page_stats_marked(const LpmPageStats *stats, guint block, uint64_t offset);

/* Pages marked at least once. */
uint64_t lpm_page_stats_distinct(const LpmPageStats *stats);

#endif
