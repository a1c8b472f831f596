/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/page-tags.h"

#include <string.h>

#define FLAG_CONTINUE 0x20u

struct lpm_page_tags {
    LpmTagger *tagger;
    LpmTagTable *table;  /* NULL before the first page */
    gboolean off;        /* from now on nothing is known */
    struct lpm_tag zero; /* of a page of zeros */
#ifdef LPM_MUTANT_LEAVE_OUT_CHANGED
    guint changed;
#endif
};

LpmPageTags *lpm_page_tags_new(const guint8 *secret, gsize length)
{
    LpmPageTags *tags = g_new0(LpmPageTags, 1);

    tags->tagger = lpm_tagger_new(secret, length);
    return tags;
}

void lpm_page_tags_free(LpmPageTags *tags)
{
    if (!tags)
        return;
    lpm_tagger_free(tags->tagger);
    lpm_tag_table_free(tags->table);
    g_free(tags);
}

/* The blocks are announced before the first page. FALSE: too much memory for a table. */
static gboolean make_table(LpmPageTags *tags, LpmStreamParser *parser, guint32 page_size)
{
    g_autofree guint8 *zeros = g_malloc0(page_size);
    const struct lpm_stream_block *block;

    tags->table = lpm_tag_table_new(page_size);
    lpm_tagger_tag(tags->tagger, zeros, page_size, &tags->zero);
    for (guint i = 0; (block = lpm_stream_parser_block(parser, i)); i++)
        if (!lpm_tag_table_add_block(tags->table, block->length))
            return FALSE;
    return TRUE;
}

/* Whether tags say what the target has. QEMU's own encodings are not looked into, and in post-copy
 * the target has thrown pages away; both sides see that at the same place of the stream. */
static gboolean usable(LpmPageTags *tags, LpmStreamParser *parser,
                       const struct lpm_stream_event *event)
{
    const struct lpm_stream_info *info = lpm_stream_parser_info(parser);

    if (!tags->off)
        tags->off = info->degraded || info->postcopy_resumed || info->postcopy_run ||
                    info->pages_encoded || info->multifd;
    if (!tags->off && !tags->table)
        tags->off = !make_table(tags, parser, event->page_size);
    return !tags->off;
}

enum lpm_page_had lpm_page_tags_note(LpmPageTags *tags, LpmStreamParser *parser,
                                     const struct lpm_stream_event *event)
{
    struct lpm_tag tag, old;

    if ((event->type != LPM_STREAM_PAGE && event->type != LPM_STREAM_ZERO_PAGE) ||
        event->block < 0 || !usable(tags, parser, event))
        return LPM_PAGE_NEW;
    if (event->type == LPM_STREAM_ZERO_PAGE)
        tag = tags->zero;
    else
        lpm_tagger_tag(tags->tagger, event->data + event->header_length, event->page_size, &tag);
    enum lpm_tag_state state =
        lpm_tag_table_get(tags->table, (guint)event->block, event->offset, &old);

    if (state == LPM_TAG_GIVEN && lpm_tag_equal(&tag, &old))
        return event->flags & FLAG_CONTINUE ? LPM_PAGE_UNCHANGED : LPM_PAGE_NEW;
    lpm_tag_table_set(tags->table, (guint)event->block, event->offset, LPM_TAG_GIVEN, &tag);
#ifdef LPM_MUTANT_LEAVE_OUT_CHANGED
    if (state == LPM_TAG_GIVEN && event->flags & FLAG_CONTINUE && ++tags->changed % 16 == 0)
        return LPM_PAGE_UNCHANGED;
#endif
    return LPM_PAGE_NEW;
}

void lpm_page_tags_digest(const LpmPageTags *tags, guint8 digest[LPM_TAG_BYTES])
{
    memset(digest, 0, LPM_TAG_BYTES);
    if (tags->table)
        lpm_tag_table_digest(tags->table, digest);
}
