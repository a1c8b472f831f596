/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/encode-crew.h"

#include "base/clock.h"

#include <pthread.h>
#include <string.h>

/* Over so much time it is counted how busy the threads are. */
#define BUSY_SPAN_US 50000

struct lpm_encode_crew {
    /* immutable */
    LpmSession *session;
    LpmRing *ring;
    LpmCrew *crew;

    pthread_mutex_t lock;
    /* guarded by lock */
    struct lpm_ladder ladder;
    struct lpm_ladder_choice last;
    gboolean hurry;
    gint64 span_began_us, span_busy_us;
    guint busy_percent, link_percent, share_percent;
    struct lpm_link_use link_seen, link_lately; /* the latter fades */
};

/* A thread's own. */
struct tool {
    LpmBatchEncoder *encoders[3]; /* by method; made when first used */
    GByteArray *body;
};

static gpointer tool_new(gpointer user)
{
    struct tool *tool = g_new0(struct tool, 1);

    (void)user;
    tool->body = g_byte_array_new();
    return tool;
}

static void tool_free(gpointer opaque)
{
    struct tool *tool = opaque;

    for (guint i = 0; i < G_N_ELEMENTS(tool->encoders); i++)
        lpm_batch_encoder_free(tool->encoders[i]);
    g_byte_array_unref(tool->body);
    g_free(tool);
}

static gpointer job_new(gpointer user)
{
    struct lpm_encode_job *job = g_new0(struct lpm_encode_job, 1);

    (void)user;
    job->batch = lpm_batch_new(0, 0);
    job->hash = XXH3_createState();
    XXH3_64bits_reset(job->hash);
    return job;
}

void lpm_encode_job_free(struct lpm_encode_job *job)
{
    if (!job)
        return;
    lpm_batch_free(job->batch);
    XXH3_freeState(job->hash);
    lpm_frame_free(job->frame);
    g_free(job);
}

static void job_free(gpointer job)
{
    lpm_encode_job_free(job);
}

/* Lock held. */
static void count_busy(LpmEncodeCrew *encode, const struct lpm_crew_state *state)
{
    gint64 now = lpm_monotonic_us(), span = now - encode->span_began_us;

    if (span < BUSY_SPAN_US)
        return;
    struct lpm_link_use use;

    lpm_session_link_use(encode->session, &use);
    gint64 busy_us = use.busy_us - encode->link_seen.busy_us;

    /* Another link counts from 0. */
    if (busy_us < 0 || use.acknowledged < encode->link_seen.acknowledged) {
        encode->link_seen = (struct lpm_link_use){0};
        busy_us = use.busy_us;
    }
    encode->link_percent = (guint)(MIN(busy_us, span) * 100 / span);
    /* Over half a second or so: a burst says nothing. */
    encode->link_lately.busy_us -= encode->link_lately.busy_us / 8 - busy_us;
    encode->link_lately.acknowledged -= encode->link_lately.acknowledged / 8;
    encode->link_lately.acknowledged += use.acknowledged - encode->link_seen.acknowledged;
    encode->link_seen = use;
    encode->busy_percent =
        (guint)((state->busy_us - encode->span_busy_us) * 100 / (span * (gint64)state->threads));
    encode->span_began_us = now;
    encode->span_busy_us = state->busy_us;
}

/* Lock held. */
static guint64 link_speed(const LpmEncodeCrew *encode)
{
    const struct lpm_link_use *lately = &encode->link_lately;

    if (lately->busy_us < BUSY_SPAN_US)
        return 0;
    return lately->acknowledged * G_USEC_PER_SEC / (guint64)lately->busy_us;
}

static struct lpm_ladder_choice choose(LpmEncodeCrew *encode)
{
    struct lpm_session_flow flow;
    struct lpm_crew_state state;

    lpm_session_get_flow(encode->session, LPM_CHANNEL_DATA, &flow);
    lpm_crew_get(encode->crew, &state);
    pthread_mutex_lock(&encode->lock);
    count_busy(encode, &state);
    struct lpm_ladder_look look = {.threads = state.threads,
                                   .waiting = state.waiting,
                                   .link_frames = flow.waiting,
                                   .busy_percent = encode->busy_percent,
                                   .link_percent = encode->link_percent,
                                   .share_percent = encode->share_percent,
                                   .link_speed = link_speed(encode),
                                   .hurry = encode->hurry};
    struct lpm_ladder_choice choice = lpm_ladder_choose(&encode->ladder, &look);

    encode->last = choice;
    pthread_mutex_unlock(&encode->lock);
    return choice;
}

/* Each frame moves the figure by an eighth of the difference. */
static void note_share(LpmEncodeCrew *encode, gsize original, gsize encoded)
{
    guint share = (guint)MIN(encoded * 100 / original, 100);

    pthread_mutex_lock(&encode->lock);
    encode->share_percent =
        encode->share_percent ? (encode->share_percent * 7 + share + 7) / 8 : share;
    pthread_mutex_unlock(&encode->lock);
}

static void work(gpointer user, gpointer opaque_tool, gpointer opaque_job)
{
    LpmEncodeCrew *encode = user;
    struct tool *tool = opaque_tool;
    struct lpm_encode_job *job = opaque_job;
    struct lpm_ladder_choice choice = choose(encode);
    LpmBatchEncoder **encoder = &tool->encoders[choice.method->method];
    gsize original = lpm_batch_original_bytes(job->batch);

    if (!*encoder)
        *encoder = lpm_batch_encoder_new(choice.method, choice.level);
    lpm_batch_encoder_set_level(*encoder, choice.level);
    g_byte_array_set_size(tool->body, 0);
    lpm_batch_encode(job->batch, *encoder, tool->body);
    LpmFrame *frame = lpm_frame_new(tool->body->len);

    frame->type = LPM_FRAME_DATA;
    frame->channel = LPM_CHANNEL_DATA;
    frame->flags = LPM_FRAME_BATCH;
    frame->original = (guint32)original;
    frame->checksum = XXH3_64bits_digest(job->hash);
    memcpy(frame->body, tool->body->data, tool->body->len);
    XXH3_64bits_reset(job->hash);
    job->frame = frame;
    note_share(encode, original, tool->body->len);
}

static void hand_on(gpointer user, gpointer opaque)
{
    LpmEncodeCrew *encode = user;
    struct lpm_encode_job *job = opaque;

    lpm_ring_pushing(encode->ring);
    lpm_session_push(encode->session, g_steal_pointer(&job->frame));
}

LpmEncodeCrew *lpm_encode_crew_new(LpmSession *session, LpmRing *ring,
                                   const struct lpm_compressor *method, int level, guint threads)
{
    static const struct lpm_crew_ops ops = {.name = "encode",
                                            .job_new = job_new,
                                            .job_free = job_free,
                                            .tool_new = tool_new,
                                            .tool_free = tool_free,
                                            .work = work,
                                            .hand_on = hand_on};
    LpmEncodeCrew *encode = g_new0(LpmEncodeCrew, 1);

    encode->session = session;
    encode->ring = ring;
    pthread_mutex_init(&encode->lock, NULL);
    lpm_ladder_init(&encode->ladder, method, level);
    encode->span_began_us = lpm_monotonic_us();
    encode->crew = lpm_crew_new(&ops, encode, threads ? threads : lpm_crew_processors());
    return encode;
}

void lpm_encode_crew_free(LpmEncodeCrew *encode)
{
    if (!encode)
        return;
    lpm_crew_free(encode->crew);
    pthread_mutex_destroy(&encode->lock);
    g_free(encode);
}

void lpm_encode_crew_close(LpmEncodeCrew *encode)
{
    lpm_crew_close(encode->crew);
}

struct lpm_encode_job *lpm_encode_crew_open(LpmEncodeCrew *encode)
{
    struct lpm_encode_job *job = lpm_crew_open(encode->crew);

    return job ? job : job_new(encode);
}

void lpm_encode_crew_give(LpmEncodeCrew *encode, struct lpm_encode_job *job)
{
    lpm_ring_sending(encode->ring);
    lpm_crew_give(encode->crew, job);
}

void lpm_encode_crew_drain(LpmEncodeCrew *encode)
{
    lpm_crew_drain(encode->crew);
}

void lpm_encode_crew_set_threads(LpmEncodeCrew *encode, guint threads)
{
    lpm_crew_set_threads(encode->crew, threads ? threads : lpm_crew_processors());
}

void lpm_encode_crew_hurry(LpmEncodeCrew *encode, gboolean hurry)
{
    pthread_mutex_lock(&encode->lock);
    encode->hurry = hurry;
    pthread_mutex_unlock(&encode->lock);
}

void lpm_encode_crew_get(LpmEncodeCrew *encode, struct lpm_encode_state *state)
{
    lpm_crew_get(encode->crew, &state->crew);
    pthread_mutex_lock(&encode->lock);
    state->last = encode->last;
    pthread_mutex_unlock(&encode->lock);
}
