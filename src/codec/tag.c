/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "codec/tag.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <xxhash.h>

#define PIECE_PAGES 4096u
#define KEY_BYTES 16u

struct lpm_tagger {
    gnutls_aead_cipher_hd_t cipher;
};

LpmTagger *lpm_tagger_new(const uint8_t *secret, gsize length)
{
    static const char label[] = "lpm page tags";
    LpmTagger *tagger = g_new0(LpmTagger, 1);
    uint8_t bytes[32];
    const gnutls_datum_t key = {.data = bytes, .size = KEY_BYTES};

    if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret, length, label, sizeof(label) - 1, bytes) < 0 ||
        gnutls_aead_cipher_init(&tagger->cipher, GNUTLS_CIPHER_AES_128_GCM, &key) < 0)
        g_error("GnuTLS has no AES-128-GCM or no HMAC-SHA256");
    gnutls_memset(bytes, 0, sizeof(bytes));
    return tagger;
}

void lpm_tagger_free(LpmTagger *tagger)
{
    if (!tagger)
        return;
    gnutls_aead_cipher_deinit(tagger->cipher);
    g_free(tagger);
}

void lpm_tagger_tag(LpmTagger *tagger, const uint8_t *page, gsize length, struct lpm_tag *tag)
{
#ifdef LPM_MUTANT_WEAK_TAG
    /* What a guest can choose: its page's first bytes. */
    (void)tagger;
    memcpy(tag->bytes, page, MIN(length, sizeof(tag->bytes)));
#else
    static const uint8_t nonce[12];
    size_t size = sizeof(tag->bytes);

    if (gnutls_aead_cipher_encrypt(tagger->cipher, nonce, sizeof(nonce), page, length,
                                   sizeof(tag->bytes), "", 0, tag->bytes, &size) < 0)
        g_error("a tag cannot be made");
#endif
}

gboolean lpm_tag_equal(const struct lpm_tag *one, const struct lpm_tag *other)
{
    return !memcmp(one->bytes, other->bytes, sizeof(one->bytes));
}

/* ---- the table ---- */

struct piece {
    struct lpm_tag tags[PIECE_PAGES];
    uint8_t states[PIECE_PAGES];
};

struct block {
    uint64_t pages;
    guint n_pieces;
    struct piece **pieces; /* owned; NULL until a page of the piece is set */
};

struct lpm_tag_table {
    guint shift; /* of the page size */
    uint64_t total;
    GArray *blocks; /* of struct block */
    XXH128_hash_t digest;
};

LpmTagTable *lpm_tag_table_new(guint32 page_size)
{
    LpmTagTable *table = g_new0(LpmTagTable, 1);

    table->shift = (guint)g_bit_nth_lsf(page_size, -1);
    table->blocks = g_array_new(FALSE, TRUE, sizeof(struct block));
    return table;
}

void lpm_tag_table_free(LpmTagTable *table)
{
    if (!table)
        return;
    for (guint i = 0; i < table->blocks->len; i++) {
        struct block *block = &g_array_index(table->blocks, struct block, i);

        for (guint piece = 0; piece < block->n_pieces; piece++)
            g_free(block->pieces[piece]);
        g_free(block->pieces);
    }
    g_array_free(table->blocks, TRUE);
    g_free(table);
}

gboolean lpm_tag_table_add_block(LpmTagTable *table, uint64_t length)
{
    struct block block = {0};

    if (length > LPM_TAG_TABLE_MAX - table->total)
        return FALSE;
    table->total += length;
    block.pages = length >> table->shift;
    block.n_pieces = (guint)((block.pages + PIECE_PAGES - 1) / PIECE_PAGES);
    block.pieces = g_new0(struct piece *, block.n_pieces);
    g_array_append_val(table->blocks, block);
    return TRUE;
}

/* The place of a page's piece, NULL if there is no such page. */
static struct piece **find(const LpmTagTable *table, guint index, uint64_t page)
{
    if (index >= table->blocks->len)
        return NULL;
    const struct block *block = &g_array_index(table->blocks, struct block, index);

    return page < block->pages ? &block->pieces[page / PIECE_PAGES] : NULL;
}

enum lpm_tag_state lpm_tag_table_get(const LpmTagTable *table, guint block, uint64_t offset,
                                     struct lpm_tag *tag)
{
    uint64_t page = offset >> table->shift;
    struct piece **place = find(table, block, page);

    if (!place || !*place)
        return LPM_TAG_NONE;
    *tag = (*place)->tags[page % PIECE_PAGES];
    return (*place)->states[page % PIECE_PAGES];
}

/* Puts one page into the digest, or takes it out again. */
static void toggle(LpmTagTable *table, guint block, uint64_t page, const struct lpm_tag *tag)
{
    struct {
        uint64_t block, page;
        struct lpm_tag tag;
    } item = {.block = block, .page = page, .tag = *tag};
    XXH128_hash_t hash = XXH3_128bits(&item, sizeof(item));

    table->digest.low64 ^= hash.low64;
    table->digest.high64 ^= hash.high64;
}

gboolean lpm_tag_table_set(LpmTagTable *table, guint block, uint64_t offset,
                           enum lpm_tag_state state, const struct lpm_tag *tag)
{
    uint64_t page = offset >> table->shift;
    struct piece **place = find(table, block, page);

    if (!place)
        return FALSE;
    if (!*place)
        *place = g_new0(struct piece, 1);
    uint8_t *old_state = &(*place)->states[page % PIECE_PAGES];
    struct lpm_tag *old = &(*place)->tags[page % PIECE_PAGES];

    if (*old_state == LPM_TAG_GIVEN)
        toggle(table, block, page, old);
    if (state == LPM_TAG_GIVEN)
        toggle(table, block, page, tag);
    *old = *tag;
    *old_state = (uint8_t)state;
    return TRUE;
}

void lpm_tag_table_digest(const LpmTagTable *table, uint8_t digest[LPM_TAG_BYTES])
{
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, table->digest);
    memcpy(digest, canonical.digest, LPM_TAG_BYTES);
}
