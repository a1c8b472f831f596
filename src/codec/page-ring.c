/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "codec/page-ring.h"

#include <string.h>

/* Places where the numbers are kept for finding; the newest of two that meet there counts. */
#define INDEX_SIZE (16 * LPM_RING_PAGES)

/* Of a page that is there. */
struct entry {
    struct lpm_tag tag;
    uint64_t place;
};

struct lpm_page_ring {
    uint8_t *pages;
    uint64_t pushed;
    struct entry *entries;       /* NULL: nothing can be found */
    uint64_t *by_tag, *by_place; /* number + 1; 0: none */
};

LpmPageRing *lpm_page_ring_new(gboolean finds)
{
    LpmPageRing *ring = g_new0(LpmPageRing, 1);

    ring->pages = g_malloc((gsize)LPM_RING_PAGES * LPM_RING_PAGE);
    if (finds) {
        ring->entries = g_new0(struct entry, LPM_RING_PAGES);
        ring->by_tag = g_new0(uint64_t, INDEX_SIZE);
        ring->by_place = g_new0(uint64_t, INDEX_SIZE);
    }
    return ring;
}

void lpm_page_ring_free(LpmPageRing *ring)
{
    if (!ring)
        return;
    g_free(ring->pages);
    g_free(ring->entries);
    g_free(ring->by_tag);
    g_free(ring->by_place);
    g_free(ring);
}

static guint at_tag(const struct lpm_tag *tag)
{
    uint64_t word;

    memcpy(&word, tag->bytes, sizeof(word));
    return (guint)(word % INDEX_SIZE);
}

static guint at_place(uint64_t place)
{
    return (guint)((place * 0x9e3779b97f4a7c15u >> 32) % INDEX_SIZE);
}

void lpm_page_ring_push(LpmPageRing *ring, const uint8_t *page, uint64_t place,
                        const struct lpm_tag *tag)
{
    guint at = (guint)(ring->pushed % LPM_RING_PAGES);

    memcpy(ring->pages + (gsize)at * LPM_RING_PAGE, page, LPM_RING_PAGE);
    ring->pushed++;
    if (!ring->entries)
        return;
    ring->entries[at] = (struct entry){.tag = *tag, .place = place};
    ring->by_tag[at_tag(tag)] = ring->pushed;
    ring->by_place[at_place(place)] = ring->pushed;
}

uint64_t lpm_page_ring_pushed(const LpmPageRing *ring)
{
    return ring->pushed;
}

const uint8_t *lpm_page_ring_at(const LpmPageRing *ring, uint64_t number)
{
    if (number >= ring->pushed || ring->pushed - number > LPM_RING_PAGES)
        return NULL;
    return ring->pages + (gsize)(number % LPM_RING_PAGES) * LPM_RING_PAGE;
}

/* What an index says, if the page is there and below `before`. */
static const struct entry *indexed(const LpmPageRing *ring, uint64_t said, uint64_t before,
                                   uint64_t *number)
{
    if (!said || said - 1 >= before || !lpm_page_ring_at(ring, said - 1))
        return NULL;
    *number = said - 1;
    return &ring->entries[*number % LPM_RING_PAGES];
}

gboolean lpm_page_ring_find_tag(const LpmPageRing *ring, const struct lpm_tag *tag, uint64_t before,
                                uint64_t *number)
{
    const struct entry *entry = indexed(ring, ring->by_tag[at_tag(tag)], before, number);

    return entry && lpm_tag_equal(&entry->tag, tag);
}

gboolean lpm_page_ring_find_place(const LpmPageRing *ring, uint64_t place, uint64_t before,
                                  uint64_t *number)
{
    const struct entry *entry = indexed(ring, ring->by_place[at_place(place)], before, number);

    return entry && entry->place == place;
}
