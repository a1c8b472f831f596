/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Tags of pages: 128 bits that decide whether two hosts have the same content at an address.
 *
 * A tag is the GMAC (AES-128-GCM without plain text, one fixed nonce) of the page under a key that
 * belongs to the session. With one nonce for all it is no signature, but a universal hash: of two
 * different pages of up to 64 KiB that are chosen without knowing the key the tags are equal with a
 * probability of at most 2^-115. So the key, and the tags, are for the two movers only; no guest
 * ever sees either. Figures and alternatives: docs/mover-protocol.md, "Tags".
 *
 * The table holds a tag for each page (block, offset) and a digest over all of them. 17 bytes for
 * each page, allocated by the piece of 4096 pages when a page of it is first set, so that memory
 * follows the pages that came and not the sizes that were announced. One thread at a time.
 */
#ifndef LPM_CODEC_TAG_H
#define LPM_CODEC_TAG_H

#include <glib.h>
#include <stdint.h>

#define LPM_TAG_BYTES 16
/* Of all blocks together; beyond it there is no table. */
#define LPM_TAG_TABLE_MAX (1ULL << 40)

struct lpm_tag {
    uint8_t bytes[LPM_TAG_BYTES];
};

typedef struct lpm_tagger LpmTagger;

/* The key of the tags is derived from `secret`; the secret is not kept. Ends the program if the
 * library does not have the cipher. */
LpmTagger *lpm_tagger_new(const uint8_t *secret, gsize length);
/* Wipes the key. */
void lpm_tagger_free(LpmTagger *tagger);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmTagger, lpm_tagger_free)

void lpm_tagger_tag(LpmTagger *tagger, const uint8_t *page, gsize length, struct lpm_tag *tag);
gboolean lpm_tag_equal(const struct lpm_tag *one, const struct lpm_tag *other);

typedef struct lpm_tag_table LpmTagTable;

/* What is known of a page. */
enum lpm_tag_state {
    LPM_TAG_NONE,  /* nothing */
    LPM_TAG_KEPT,  /* the target says that it has this content in a retained image */
    LPM_TAG_GIVEN, /* the target's QEMU got this content last; counts in the digest */
};

/* `page_size` is a power of two. */
LpmTagTable *lpm_tag_table_new(guint32 page_size);
void lpm_tag_table_free(LpmTagTable *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmTagTable, lpm_tag_table_free)

/* Adds the next block (index 0, 1, ...). FALSE if the sum of lengths would pass the limit. */
gboolean lpm_tag_table_add_block(LpmTagTable *table, uint64_t length);

/* The state of the page and, unless that is NONE, its tag. */
enum lpm_tag_state lpm_tag_table_get(const LpmTagTable *table, guint block, uint64_t offset,
                                     struct lpm_tag *tag);
/* FALSE: the page is outside of the blocks, and nothing was noted. */
gboolean lpm_tag_table_set(LpmTagTable *table, guint block, uint64_t offset,
                           enum lpm_tag_state state, const struct lpm_tag *tag);

/* Of all pages that are GIVEN and their tags, in whatever order they came to be so. */
void lpm_tag_table_digest(const LpmTagTable *table, uint8_t digest[LPM_TAG_BYTES]);

#endif
