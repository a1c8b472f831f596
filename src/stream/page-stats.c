/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "stream/page-stats.h"

#define PIECE_PAGES 262144u
#define PIECE_WORDS (PIECE_PAGES / 64)

struct block {
    uint64_t pages;
    guint n_pieces;
    uint64_t **pieces; /* owned; NULL until a page of the piece is marked */
};

struct lpm_page_stats {
    guint shift; /* of the page size */
    uint64_t total;
    uint64_t distinct;
    GArray *blocks; /* of struct block */
};

LpmPageStats *lpm_page_stats_new(guint32 page_size)
{
    LpmPageStats *stats = g_new0(LpmPageStats, 1);

    stats->shift = (guint)g_bit_nth_lsf(page_size, -1);
    stats->blocks = g_array_new(FALSE, TRUE, sizeof(struct block));
    return stats;
}

void lpm_page_stats_free(LpmPageStats *stats)
{
    if (!stats)
        return;
    for (guint i = 0; i < stats->blocks->len; i++) {
        struct block *block = &g_array_index(stats->blocks, struct block, i);

        for (guint piece = 0; piece < block->n_pieces; piece++)
            g_free(block->pieces[piece]);
        g_free(block->pieces);
    }
    g_array_free(stats->blocks, TRUE);
    g_free(stats);
}

gboolean lpm_page_stats_add_block(LpmPageStats *stats, uint64_t length)
{
    struct block block = {0};

    if (length > LPM_PAGE_STATS_MAX - stats->total)
        return FALSE;
    stats->total += length;
    block.pages = length >> stats->shift;
    /* At most 16 TiB of 1 KiB pages: 65536 pieces. */
    block.n_pieces = (guint)((block.pages + PIECE_PAGES - 1) / PIECE_PAGES);
    block.pieces = g_new0(uint64_t *, block.n_pieces);
    g_array_append_val(stats->blocks, block);
    return TRUE;
}

gboolean lpm_page_stats_mark(LpmPageStats *stats, guint index, uint64_t offset)
{
    uint64_t page = offset >> stats->shift;
    uint64_t **piece;
    uint64_t *word, bit;
    struct block *block;

    if (index >= stats->blocks->len)
        return FALSE;
    block = &g_array_index(stats->blocks, struct block, index);
    if (page >= block->pages)
        return FALSE;
    piece = &block->pieces[page / PIECE_PAGES];
    if (!*piece)
        *piece = g_new0(uint64_t, PIECE_WORDS);
    word = &(*piece)[page % PIECE_PAGES / 64];
    bit = 1ULL << (page % 64);
    if (*word & bit)
        return TRUE;
    *word |= bit;
    stats->distinct++;
    return FALSE;
}

gboolean lpm_page_stats_marked(const LpmPageStats *stats, guint index, uint64_t offset)
{
    uint64_t page = offset >> stats->shift;

    if (index >= stats->blocks->len)
        return FALSE;
    const struct block *block = &g_array_index(stats->blocks, struct block, index);
    const uint64_t *piece = page < block->pages ? block->pieces[page / PIECE_PAGES] : NULL;

    return piece && piece[page % PIECE_PAGES / 64] >> (page % 64) & 1;
}

uint64_t lpm_page_stats_distinct(const LpmPageStats *stats)
{
    return stats->distinct;
}
