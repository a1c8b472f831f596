/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The pages that went last, as both movers have them: each keeps the contents of the newest
 * LPM_RING_PAGES records of pages, in the order of the stream, so that a page can be sent as one of
 * them, or as what differs from one. Both count the pages from 0; a page is there as long as it is
 * among the newest. 32 MiB. One thread at a time.
 */
#ifndef LPM_CODEC_PAGE_RING_H
#define LPM_CODEC_PAGE_RING_H

#include "codec/tag.h"

#define LPM_RING_PAGES 8192u
#define LPM_RING_PAGE 4096u

typedef struct lpm_page_ring LpmPageRing;

/* `finds`: pages can be looked for (the source). */
LpmPageRing *lpm_page_ring_new(gboolean finds);
void lpm_page_ring_free(LpmPageRing *ring);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmPageRing, lpm_page_ring_free)

/* Adds a page. `place` stands for its address, `tag` for its content; both are for finding. */
void lpm_page_ring_push(LpmPageRing *ring, const uint8_t *page, uint64_t place,
                        const struct lpm_tag *tag);
/* How many were added: the number of the next. */
uint64_t lpm_page_ring_pushed(const LpmPageRing *ring);
/* The page of that number, NULL if it is not there (any more). */
const uint8_t *lpm_page_ring_at(const LpmPageRing *ring, uint64_t number);

/* The number of a page below `before` with that content, or of the newest from that place, if it is
 * found: nothing promises that one that is there is. */
gboolean lpm_page_ring_find_tag(const LpmPageRing *ring, const struct lpm_tag *tag, uint64_t before,
                                uint64_t *number);
gboolean lpm_page_ring_find_place(const LpmPageRing *ring, uint64_t place, uint64_t before,
                                  uint64_t *number);

#endif
