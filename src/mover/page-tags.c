/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/page-tags.h"

#include <pthread.h>
#include <string.h>

#define FLAG_CONTINUE 0x20u
/* Offers that wait, in bytes: what 16 GiB take. They wait only until the blocks are announced. */
#define OFFERS_MAX (64u << 20)

/* A block's pages in the target's image. */
struct base {
    gboolean known;
    guint64 page, slot; /* of one of them; the others lie in the same order */
};

struct lpm_page_tags {
    LpmTagger *tagger;
    LpmTagTable *table;  /* NULL before the first page */
    gboolean off;        /* from now on nothing is known */
    struct lpm_tag zero; /* of a page of zeros */
    GArray *bases;       /* of struct base, by block */

    pthread_mutex_t lock;
    /* guarded by lock */
    GQueue offers; /* of LpmFrame */
    gsize offered; /* bytes of them */
#ifdef LPM_MUTANT_LEAVE_OUT_CHANGED
    guint changed;
#endif
};

LpmPageTags *lpm_page_tags_new(const guint8 *secret, gsize length)
{
    LpmPageTags *tags = g_new0(LpmPageTags, 1);

    tags->tagger = lpm_tagger_new(secret, length);
    tags->bases = g_array_new(FALSE, TRUE, sizeof(struct base));
    pthread_mutex_init(&tags->lock, NULL);
    g_queue_init(&tags->offers);
    return tags;
}

static void free_frame(gpointer frame)
{
    lpm_frame_free(frame);
}

void lpm_page_tags_free(LpmPageTags *tags)
{
    if (!tags)
        return;
    lpm_tagger_free(tags->tagger);
    lpm_tag_table_free(tags->table);
    g_array_unref(tags->bases);
    g_queue_clear_full(&tags->offers, free_frame);
    pthread_mutex_destroy(&tags->lock);
    g_free(tags);
}

/* The blocks are announced before the first page. FALSE: too much memory for a table. */
static gboolean make_table(LpmPageTags *tags, LpmStreamParser *parser, guint32 page_size)
{
    g_autofree guint8 *zeros = g_malloc0(page_size);
    const struct lpm_stream_block *block;

    tags->table = lpm_tag_table_new(page_size);
    lpm_tagger_tag(tags->tagger, zeros, page_size, &tags->zero);
    guint i;

    for (i = 0; (block = lpm_stream_parser_block(parser, i)); i++)
        if (!lpm_tag_table_add_block(tags->table, block->length))
            return FALSE;
    g_array_set_size(tags->bases, i);
    return TRUE;
}

/* Whether tags say what the target has. QEMU's own encodings are not looked into, and in post-copy
 * the target has thrown pages away; both sides see that at the same place of the stream. */
static gboolean known(LpmPageTags *tags, LpmStreamParser *parser)
{
    const struct lpm_stream_info *info = lpm_stream_parser_info(parser);

    if (!tags->off)
        tags->off = info->degraded || info->postcopy_resumed || info->postcopy_run ||
                    info->pages_encoded || info->multifd;
    if (!tags->off && !tags->table)
        tags->off = !make_table(tags, parser, info->page_size);
    return !tags->off;
}

/* What the table says of the page, which has `tag` now. */
static enum lpm_page_had look(LpmPageTags *tags, const struct lpm_stream_event *event,
                              const struct lpm_tag *tag, guint64 *slot)
{
    struct lpm_tag old;
    enum lpm_tag_state state =
        lpm_tag_table_get(tags->table, (guint)event->block, event->offset, &old);

    if (state == LPM_TAG_NONE || !(event->flags & FLAG_CONTINUE))
        return LPM_PAGE_NEW;
#ifdef LPM_MUTANT_LEAVE_OUT_CHANGED
    if (state == LPM_TAG_GIVEN && !lpm_tag_equal(tag, &old) && ++tags->changed % 16 == 0)
        return LPM_PAGE_UNCHANGED;
#endif
    if (!lpm_tag_equal(tag, &old))
        return LPM_PAGE_NEW;
    if (state == LPM_TAG_GIVEN)
        return LPM_PAGE_UNCHANGED;
    if (event->type != LPM_STREAM_PAGE)
        return LPM_PAGE_NEW;
    const struct base *base = &g_array_index(tags->bases, struct base, event->block);

    *slot = event->offset / LPM_IMAGE_PAGE - base->page + base->slot;
    return LPM_PAGE_KEPT;
}

enum lpm_page_had lpm_page_tags_note(LpmPageTags *tags, LpmStreamParser *parser,
                                     const struct lpm_stream_event *event,
                                     struct lpm_page_note *note)
{
    *note = (struct lpm_page_note){.slot = 0};
    if ((event->type != LPM_STREAM_PAGE && event->type != LPM_STREAM_ZERO_PAGE) ||
        event->block < 0 || !known(tags, parser))
        return LPM_PAGE_NEW;
    if (event->type == LPM_STREAM_ZERO_PAGE)
        note->tag = tags->zero;
    else
        lpm_tagger_tag(tags->tagger, event->data + event->header_length, event->page_size,
                       &note->tag);
    enum lpm_page_had had = look(tags, event, &note->tag, &note->slot);

    if (!lpm_tag_table_set(tags->table, (guint)event->block, event->offset, LPM_TAG_GIVEN,
                           &note->tag))
        return LPM_PAGE_NEW;
    note->in_ring = event->type == LPM_STREAM_PAGE && event->page_size == LPM_RING_PAGE;
    note->place = (guint64)event->block << 48 | event->offset / LPM_RING_PAGE;
    return had;
}

/* ---- offers ---- */

gboolean lpm_page_tags_offer(LpmPageTags *tags, const LpmFrame *frame, GError **error)
{
    struct lpm_kept kept;

    if (!lpm_kept_parse(frame, &kept, error))
        return FALSE;
    pthread_mutex_lock(&tags->lock);
    if (tags->offered + frame->length <= OFFERS_MAX) {
        tags->offered += frame->length;
        g_queue_push_tail(&tags->offers, g_memdup2(frame, sizeof(*frame) + frame->length));
    }
    pthread_mutex_unlock(&tags->lock);
    return TRUE;
}

/* Notes pages of block `index` of which nothing is known yet. */
static void note_kept(LpmPageTags *tags, guint index, const struct lpm_kept *kept)
{
    static const struct lpm_tag none;
    struct base *base = &g_array_index(tags->bases, struct base, index);
    struct lpm_tag old;

    if (!base->known)
        *base = (struct base){.known = TRUE, .page = kept->page, .slot = kept->slot};
    if (kept->page - base->page != kept->slot - base->slot)
        return;
    for (guint i = 0; i < kept->count; i++) {
        guint64 offset = (kept->page + i) * LPM_IMAGE_PAGE;

        if (!lpm_tag_equal(&kept->tags[i], &none) &&
            lpm_tag_table_get(tags->table, index, offset, &old) == LPM_TAG_NONE)
            lpm_tag_table_set(tags->table, index, offset, LPM_TAG_KEPT, &kept->tags[i]);
    }
}

static void take_one(LpmPageTags *tags, LpmStreamParser *parser, const LpmFrame *frame)
{
    const struct lpm_stream_block *block;
    struct lpm_kept kept;

    if (!lpm_kept_parse(frame, &kept, NULL))
        return;
    for (guint i = 0; (block = lpm_stream_parser_block(parser, i)) && i < tags->bases->len; i++)
        if (!strcmp(block->name, kept.name))
            note_kept(tags, i, &kept);
}

void lpm_page_tags_take(LpmPageTags *tags, LpmStreamParser *parser)
{
    const struct lpm_stream_info *info = lpm_stream_parser_info(parser);

    if (!info->setup_done || info->page_size != LPM_IMAGE_PAGE || !known(tags, parser))
        return;
    for (;;) {
        pthread_mutex_lock(&tags->lock);
        g_autoptr(LpmFrame) frame = g_queue_pop_head(&tags->offers);

        tags->offered -= frame ? frame->length : 0;
        pthread_mutex_unlock(&tags->lock);
        if (!frame)
            return;
        take_one(tags, parser, frame);
    }
}

void lpm_page_tags_digest(const LpmPageTags *tags, guint8 digest[LPM_TAG_BYTES])
{
    memset(digest, 0, LPM_TAG_BYTES);
    if (tags->table)
        lpm_tag_table_digest(tags->table, digest);
}
