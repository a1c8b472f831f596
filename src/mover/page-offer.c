/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/page-offer.h"

#include "base/error.h"
#include "transport/bytes.h"

#include <pthread.h>
#include <string.h>

/* Tags of one frame: 64 KiB. */
#define FRAME_TAGS 4096u
#define FIXED_BYTES 16u /* be64 page, be64 slot */
/* Gaps up to this are filled with tags of zeros: shorter than another frame. */
#define GAP_MAX 8u
/* An image in tatters is not offered to its end: frames are few (LPM_CHANNEL_FRAMES_MAX). */
#define FRAMES_MAX 8192u

struct lpm_page_offer {
    /* immutable */
    LpmImage *image;
    LpmTagger *tagger; /* the thread's */
    LpmSession *session;
    const struct lpm_log_context *log;
    GThread *thread;

    gint cancelled; /* atomic */
    pthread_mutex_t lock;
    /* guarded by lock */
    struct lpm_offer_facts facts;
};

/* A frame being made: of one block, of slots that follow each other. */
struct tags {
    const struct lpm_image_block *block;
    guint64 slot;
    guint count, frames;
    struct lpm_tag tags[FRAME_TAGS];
};

static void send_tags(LpmPageOffer *offer, struct tags *tags)
{
    gsize name = strlen(tags->block->name);
    gsize length = 1 + name + FIXED_BYTES + tags->count * sizeof(struct lpm_tag);

    if (!tags->count)
        return;
    LpmFrame *frame = lpm_frame_new(length);
    guint8 *at = frame->body;

    *at++ = (guint8)name;
    memcpy(at, tags->block->name, name);
    at += name;
    lpm_put_be64(at, tags->slot - tags->block->first);
    lpm_put_be64(at + 8, tags->slot);
    memcpy(at + FIXED_BYTES, tags->tags, tags->count * sizeof(struct lpm_tag));
    frame->type = LPM_FRAME_KEPT;
    frame->channel = LPM_CHANNEL_DATA;
    frame->checksum = lpm_checksum(frame->body, length);
    lpm_session_push(offer->session, frame);
    tags->count = 0;
    tags->frames++;
}

static void add_tag(LpmPageOffer *offer, struct tags *tags, guint64 slot, const struct lpm_tag *tag)
{
    guint64 gap = tags->count ? slot - tags->slot - tags->count : 0;

    if (gap <= GAP_MAX && tags->count + gap < FRAME_TAGS) {
        memset(tags->tags + tags->count, 0, gap * sizeof(*tag));
        tags->count += (guint)gap;
    } else {
        send_tags(offer, tags);
    }
    if (!tags->count)
        tags->slot = slot;
    tags->tags[tags->count++] = *tag;
}

/* A run of slots of one block. */
static void offer_run(LpmPageOffer *offer, struct tags *tags, guint64 slot, guint count,
                      guint8 *pages)
{
    struct lpm_offer_facts more = {0};
    guint64 good = lpm_image_read(offer->image, slot, count, pages, &more.damaged);

    for (guint i = 0; i < count; i++) {
        struct lpm_tag tag;

        if (!(good & 1ULL << i))
            continue;
        lpm_tagger_tag(offer->tagger, pages + i * LPM_IMAGE_PAGE, LPM_IMAGE_PAGE, &tag);
        add_tag(offer, tags, slot + i, &tag);
        more.offered++;
    }
    pthread_mutex_lock(&offer->lock);
    offer->facts.offered += more.offered;
    offer->facts.damaged += more.damaged;
    pthread_mutex_unlock(&offer->lock);
}

static void offer_block(LpmPageOffer *offer, struct tags *tags, guint8 *pages)
{
    guint64 end = tags->block->first + tags->block->pages;
    guint64 slot = lpm_image_next(offer->image, tags->block->first);

    while (slot < end && !g_atomic_int_get(&offer->cancelled) && tags->frames < FRAMES_MAX) {
        guint count = (guint)MIN(LPM_IMAGE_RUN, end - slot);

        offer_run(offer, tags, slot, count, pages);
        slot = lpm_image_next(offer->image, slot + count);
    }
    send_tags(offer, tags);
}

static gpointer run(gpointer opaque)
{
    LpmPageOffer *offer = opaque;
    g_autofree guint8 *pages = g_malloc(LPM_IMAGE_RUN * LPM_IMAGE_PAGE);
    g_autofree struct tags *tags = g_new0(struct tags, 1);
    struct lpm_offer_facts facts;

    for (guint i = 0; (tags->block = lpm_image_block(offer->image, i)); i++)
        offer_block(offer, tags, pages);
    pthread_mutex_lock(&offer->lock);
    offer->facts.done = TRUE;
    facts = offer->facts;
    pthread_mutex_unlock(&offer->lock);
    lpm_log(facts.damaged ? LPM_LOG_WARNING : LPM_LOG_INFO, offer->log,
            "%" G_GUINT64_FORMAT " retained pages are offered, %" G_GUINT64_FORMAT " are damaged",
            facts.offered, facts.damaged);
    return NULL;
}

LpmPageOffer *lpm_page_offer_new(int fd, const guint8 key[LPM_IMAGE_KEY_BYTES], LpmTagger *tagger,
                                 LpmSession *session, const struct lpm_log_context *log,
                                 GError **error)
{
    g_autoptr(LpmTagger) owned = tagger;
    LpmImage *image = lpm_image_open(fd, key, error);

    if (!image)
        return NULL;
    LpmPageOffer *offer = g_new0(LpmPageOffer, 1);

    offer->image = image;
    offer->tagger = g_steal_pointer(&owned);
    offer->session = session;
    offer->log = log;
    pthread_mutex_init(&offer->lock, NULL);
    offer->thread = g_thread_new("page-offer", run, offer);
    return offer;
}

void lpm_page_offer_cancel(LpmPageOffer *offer)
{
    g_atomic_int_set(&offer->cancelled, TRUE);
}

void lpm_page_offer_free(LpmPageOffer *offer)
{
    if (!offer)
        return;
    lpm_page_offer_cancel(offer);
    g_thread_join(offer->thread);
    lpm_image_free(offer->image);
    lpm_tagger_free(offer->tagger);
    pthread_mutex_destroy(&offer->lock);
    g_free(offer);
}

gboolean lpm_page_offer_fetch(LpmPageOffer *offer, guint64 slot, guint count, guint8 *pages,
                              GError **error)
{
    guint64 damaged = 0;

    for (guint done = 0; done < count; done += LPM_IMAGE_RUN) {
        guint n = MIN(count - done, LPM_IMAGE_RUN);
        guint64 all = n == 64 ? G_MAXUINT64 : (1ULL << n) - 1;

        if (lpm_image_read(offer->image, slot + done, n, pages + (gsize)done * LPM_IMAGE_PAGE,
                           &damaged) != all)
            return lpm_fail(error, LPM_E_RETAINED,
                            "a page that the retained image had (place %" G_GUINT64_FORMAT
                            ") cannot be read from it any more",
                            slot + done);
    }
    pthread_mutex_lock(&offer->lock);
    offer->facts.used += count;
    pthread_mutex_unlock(&offer->lock);
    return TRUE;
}

void lpm_page_offer_get(LpmPageOffer *offer, struct lpm_offer_facts *facts)
{
    pthread_mutex_lock(&offer->lock);
    *facts = offer->facts;
    pthread_mutex_unlock(&offer->lock);
}

gboolean lpm_kept_parse(const LpmFrame *frame, struct lpm_kept *kept, GError **error)
{
    gsize name = frame->length ? frame->body[0] : 0;
    gsize fixed = 1 + name + FIXED_BYTES;

    if (lpm_checksum(frame->body, frame->length) != frame->checksum)
        return lpm_fail(error, LPM_E_DATA_DAMAGED, "an offer of pages arrived damaged");
    if (!name || frame->length <= fixed || (frame->length - fixed) % sizeof(struct lpm_tag))
        return lpm_fail(error, LPM_E_PROTOCOL, "an offer of pages is malformed");
    memcpy(kept->name, frame->body + 1, name);
    kept->name[name] = '\0';
    kept->page = lpm_get_be64(frame->body + 1 + name);
    kept->slot = lpm_get_be64(frame->body + 1 + name + 8);
    kept->tags = (const struct lpm_tag *)(frame->body + fixed);
    kept->count = (guint)((frame->length - fixed) / sizeof(struct lpm_tag));
    if (kept->page > LPM_IMAGE_PAGES_MAX || kept->slot > LPM_IMAGE_PAGES_MAX)
        return lpm_fail(error, LPM_E_PROTOCOL, "an offer of pages is out of bounds");
    return TRUE;
}
