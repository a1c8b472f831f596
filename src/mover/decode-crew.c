/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/decode-crew.h"

#include "base/error.h"
#include "codec/batch.h"

struct lpm_decode_crew {
    /* immutable */
    LpmSession *session;
    LpmCrew *crew;
    GThread *giver;

    LpmPageOffer *offer; /* atomic */

    struct job *taken; /* owned by the taker, as what follows */
    LpmBatchDecoder *ordered;
};

/* One frame. */
struct job {
    LpmFrame *frame;      /* until the taker has it */
    GByteArray *original; /* of a batch */
    const guint8 *bytes;  /* the original bytes; NULL if damaged, or no DATA */
    GError *error;
    gboolean in_order; /* it refers to pages of the batches before: the taker decodes it */
};

static gpointer tool_new(gpointer user)
{
    (void)user;
    return lpm_batch_decoder_new();
}

static void tool_free(gpointer tool)
{
    lpm_batch_decoder_free(tool);
}

static gpointer job_new(gpointer user)
{
    struct job *job = g_new0(struct job, 1);

    (void)user;
    job->original = g_byte_array_new();
    return job;
}

static void job_free(gpointer opaque)
{
    struct job *job = opaque;

    lpm_frame_free(job->frame);
    g_byte_array_unref(job->original);
    g_clear_error(&job->error);
    g_free(job);
}

static gboolean fetch(gpointer offer, uint64_t slot, guint count, uint8_t *pages, GError **error)
{
    return lpm_page_offer_fetch(offer, slot, count, pages, error);
}

static void work(gpointer user, gpointer tool, gpointer opaque)
{
    LpmDecodeCrew *decode = user;
    LpmPageOffer *offer = g_atomic_pointer_get(&decode->offer);
    struct job *job = opaque;
    const LpmFrame *frame = job->frame;
    const guint8 *bytes = frame->body;

    if (frame->type == LPM_FRAME_KEPT)
        lpm_fail(&job->error, LPM_E_PROTOCOL, "the source offers pages of an image");
    if (frame->type != LPM_FRAME_DATA)
        return;
    if (offer)
        lpm_batch_decoder_set_image(tool, fetch, offer);
    if (frame->flags & LPM_FRAME_BATCH) {
        g_byte_array_set_size(job->original, 0);
        if (!lpm_batch_decode(tool, frame->body, frame->length, frame->original, job->original,
                              &job->error)) {
            job->in_order = lpm_batch_decoder_wants_ring(tool);
            return;
        }
        bytes = job->original->data;
    }
    if (lpm_frame_verify_original(frame, bytes, frame->original, &job->error))
        job->bytes = bytes;
}

static gpointer run_giver(gpointer opaque)
{
    LpmDecodeCrew *decode = opaque;
    LpmFrame *frame;

    while ((frame = lpm_session_take(decode->session, LPM_CHANNEL_DATA))) {
        struct job *job = lpm_crew_open(decode->crew);

        if (!job) {
            lpm_frame_free(frame);
            break;
        }
        job->frame = frame;
        lpm_crew_give(decode->crew, job);
    }
    lpm_crew_close(decode->crew);
    return NULL;
}

LpmDecodeCrew *lpm_decode_crew_new(LpmSession *session, const LpmPageRing *ring, guint threads)
{
    static const struct lpm_crew_ops ops = {.name = "decode",
                                            .job_new = job_new,
                                            .job_free = job_free,
                                            .tool_new = tool_new,
                                            .tool_free = tool_free,
                                            .work = work};
    LpmDecodeCrew *decode = g_new0(LpmDecodeCrew, 1);

    decode->session = session;
    decode->ordered = lpm_batch_decoder_new();
    lpm_batch_decoder_set_ring(decode->ordered, ring);
    decode->crew = lpm_crew_new(&ops, decode, threads ? threads : lpm_crew_processors());
    decode->giver = g_thread_new("data-taker", run_giver, decode);
    return decode;
}

void lpm_decode_crew_free(LpmDecodeCrew *decode)
{
    if (!decode)
        return;
    lpm_crew_close(decode->crew);
    g_thread_join(decode->giver);
    lpm_crew_free(decode->crew);
    lpm_batch_decoder_free(decode->ordered);
    g_free(decode);
}

void lpm_decode_crew_set_offer(LpmDecodeCrew *decode, LpmPageOffer *offer)
{
    g_atomic_pointer_set(&decode->offer, offer);
}

LpmFrame *lpm_decode_crew_take(LpmDecodeCrew *decode)
{
    if (decode->taken) {
        decode->taken->bytes = NULL;
        decode->taken->in_order = FALSE;
        g_clear_error(&decode->taken->error);
        lpm_crew_release(decode->crew, g_steal_pointer(&decode->taken));
    }
    decode->taken = lpm_crew_take(decode->crew);
    /* What is behind a frame that failed the session may be decoded already: it goes nowhere. */
    if (!decode->taken || lpm_session_over(decode->session))
        return NULL;
    return g_steal_pointer(&decode->taken->frame);
}

/* By the taker, which has given all batches before to QEMU. */
static void decode_in_order(LpmDecodeCrew *decode, const LpmFrame *frame, struct job *job)
{
    LpmPageOffer *offer = g_atomic_pointer_get(&decode->offer);

    g_clear_error(&job->error);
    if (offer)
        lpm_batch_decoder_set_image(decode->ordered, fetch, offer);
    g_byte_array_set_size(job->original, 0);
    if (lpm_batch_decode(decode->ordered, frame->body, frame->length, frame->original,
                         job->original, &job->error) &&
        lpm_frame_verify_original(frame, job->original->data, frame->original, &job->error))
        job->bytes = job->original->data;
}

const guint8 *lpm_decode_crew_bytes(LpmDecodeCrew *decode, const LpmFrame *frame, GError **error)
{
    if (decode->taken->in_order)
        decode_in_order(decode, frame, decode->taken);

    if (decode->taken->error)
        g_propagate_error(error, g_steal_pointer(&decode->taken->error));
    return decode->taken->bytes;
}

void lpm_decode_crew_set_threads(LpmDecodeCrew *decode, guint threads)
{
    lpm_crew_set_threads(decode->crew, threads ? threads : lpm_crew_processors());
}

void lpm_decode_crew_get(LpmDecodeCrew *decode, struct lpm_crew_state *state)
{
    lpm_crew_get(decode->crew, state);
}
