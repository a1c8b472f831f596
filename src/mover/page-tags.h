/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * What the target has of each page, as both movers know it: the one that sends and the one that
 * gives to QEMU keep the same table (codec/tag.h), each from the stream that it sees.
 *
 * The source leaves out a page whose content the target's QEMU has already, and only while the
 * stream is understood, in pre-copy. Both digests must be equal in the end: the source's is over
 * all that its QEMU said, the target's over all that its QEMU was given. In post-copy nothing is
 * left out and nothing noted; the hash of the stream itself covers that part.
 *
 * One thread at a time; the statistics are the caller's to copy.
 */
#ifndef LPM_MOVER_PAGE_TAGS_H
#define LPM_MOVER_PAGE_TAGS_H

#include "codec/page-ring.h"
#include "codec/tag.h"
#include "mover/page-offer.h"
#include "stream/stream-parser.h"

typedef struct lpm_page_tags LpmPageTags;

enum lpm_page_had {
    LPM_PAGE_NEW,       /* the target does not have it, or it is not known */
    LPM_PAGE_UNCHANGED, /* the target's QEMU has it, and the record may be left out: it does not
                           name its block, which later records could rely on */
    LPM_PAGE_KEPT,      /* the source: the target has it in a retained image; such a record does not
                           name its block either */
};

/* `secret`: the session's key. */
LpmPageTags *lpm_page_tags_new(const guint8 *secret, gsize length);
void lpm_page_tags_free(LpmPageTags *tags);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmPageTags, lpm_page_tags_free)

struct lpm_page_note {
    guint64 slot;       /* KEPT: where in the image */
    gboolean in_ring;   /* the page counts in the ring (codec/page-ring.h), if it goes */
    guint64 place;      /* then: its address, as one number */
    struct lpm_tag tag; /* and its tag */
};

/* Notes that the target has, or will have in order, what `event` of `parser` says; tells whether it
 * had it before. Any event may be shown. */
enum lpm_page_had lpm_page_tags_note(LpmPageTags *tags, LpmStreamParser *parser,
                                     const struct lpm_stream_event *event,
                                     struct lpm_page_note *note);

/* The source: the target offers pages of its image. Any thread; a copy waits, bounded, until the
 * other functions' thread says `take`, which does nothing before the blocks are known. */
gboolean lpm_page_tags_offer(LpmPageTags *tags, const LpmFrame *frame, GError **error);
void lpm_page_tags_take(LpmPageTags *tags, LpmStreamParser *parser);

/* Zeros while there is nothing. */
void lpm_page_tags_digest(const LpmPageTags *tags, guint8 digest[LPM_TAG_BYTES]);

#endif
