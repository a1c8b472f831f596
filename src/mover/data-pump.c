/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/data-pump.h"

#include "codec/batch.h"
#include "mover/ring.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

struct lpm_data_pump {
    /* immutable */
    struct lpm_pump pump;
    LpmSwitchover *switchover;
    GThread *forward, *backward; /* of this side's ends of the stream and of the return path */
    GThread *encoder;            /* source only */
    LpmRing *ring;               /* source only */

    /* owned by the reader at the source until it has ended the ring, then read by the encoder */
    int read_failure;

    /* owned by the encoder, or by the target's writer */
    LpmStreamParser *parser;

    /* owned by the encoder */
    LpmBatch *batch;
    LpmBatchEncoder *codec;
    XXH3_state_t *frame_hash; /* of the batch's original bytes */
    GByteArray *body;

    /* owned by the target's writer */
    LpmBatchDecoder *decoder;
    GByteArray *original;

    pthread_mutex_t lock;
    /* guarded by lock */
    XXH3_state_t *stream_hash;
    guint64 hash_bytes;
    struct lpm_stream_info info;
};

static void hash_stream(LpmDataPump *data, const guint8 *bytes, gsize length)
{
    pthread_mutex_lock(&data->lock);
    XXH3_128bits_update(data->stream_hash, bytes, length);
    data->hash_bytes += length;
    pthread_mutex_unlock(&data->lock);
}

/* ---- source ---- */

static gpointer run_reader(gpointer opaque)
{
    LpmDataPump *data = opaque;
    int fd = lpm_pump_begin_reading(&data->pump);
    struct lpm_ring_slot *slot;

    while (fd >= 0 && (slot = lpm_ring_room(data->ring))) {
        slot->length =
            lpm_pump_read(&data->pump, fd, slot->data, LPM_RING_SLOT_BYTES, &data->read_failure);
        if (!slot->length)
            break;
        lpm_ring_put(data->ring);
    }
    lpm_ring_end(data->ring);
    return NULL;
}

/* Sends the batch as a frame. */
static void send_batch(LpmDataPump *data)
{
    gsize original = lpm_batch_original_bytes(data->batch);

    if (!original)
        return;
    g_byte_array_set_size(data->body, 0);
    lpm_batch_encode(data->batch, data->codec, data->body);
    LpmFrame *frame = lpm_frame_new(data->body->len);

    frame->type = LPM_FRAME_DATA;
    frame->channel = LPM_CHANNEL_DATA;
    frame->flags = LPM_FRAME_BATCH;
    frame->original = (guint32)original;
    frame->checksum = XXH3_64bits_digest(data->frame_hash);
    memcpy(frame->body, data->body->data, data->body->len);
    XXH3_64bits_reset(data->frame_hash);
    lpm_ring_sending(data->ring);
    lpm_session_push(data->pump.session, frame);
}

static void add_literal(LpmDataPump *data, const guint8 *bytes, gsize length)
{
    while (length) {
        gsize n = lpm_batch_add_literal(data->batch, bytes, length);

        XXH3_64bits_update(data->frame_hash, bytes, n);
        bytes += n;
        length -= n;
        if (length)
            send_batch(data);
    }
}

static gboolean try_record(LpmDataPump *data, const struct lpm_stream_event *event)
{
    if (event->type == LPM_STREAM_ZERO_PAGE)
        return lpm_batch_add_zero(data->batch, event->data, event->length, event->page_size);
    return lpm_batch_add_page(data->batch, event->data, event->length, event->header_length,
                              event->page_size);
}

static void add_event(LpmDataPump *data, const struct lpm_stream_event *event)
{
    if (event->type == LPM_STREAM_NONE)
        return;
    if (event->type == LPM_STREAM_LITERAL) {
        add_literal(data, event->data, event->length);
        return;
    }
    if (!try_record(data, event)) {
        send_batch(data);
        if (!try_record(data, event)) {
            /* By its contract an empty batch takes any record; bytes are never lost if not. */
            add_literal(data, event->data, event->length);
            return;
        }
    }
    XXH3_64bits_update(data->frame_hash, event->data, event->length);
}

/* Tells what the parser has found out by now. */
static void note_progress(LpmDataPump *data)
{
    const struct lpm_stream_info *info = lpm_stream_parser_info(data->parser);

    if (info->postcopy_run || info->postcopy_resumed)
        lpm_switchover_note(data->switchover, LPM_OUTCOME_POSTCOPY);
    else if (info->eof)
        lpm_switchover_note(data->switchover, LPM_OUTCOME_PRECOPY);
    pthread_mutex_lock(&data->lock);
    data->info = *info;
    pthread_mutex_unlock(&data->lock);
}

static void encode_slot(LpmDataPump *data, const struct lpm_ring_slot *slot)
{
    gsize done = 0;

    hash_stream(data, slot->data, slot->length);
    while (done < slot->length) {
        struct lpm_stream_event event;

        done +=
            lpm_stream_parser_step(data->parser, slot->data + done, slot->length - done, &event);
        add_event(data, &event);
        if (lpm_batch_full(data->batch))
            send_batch(data);
    }
    note_progress(data);
}

static gpointer run_encoder(gpointer opaque)
{
    LpmDataPump *data = opaque;
    struct lpm_stream_event event;
    struct lpm_ring_slot *slot;

    for (;;) {
        switch (lpm_ring_take(data->ring, !lpm_batch_empty(data->batch), &slot)) {
        case LPM_RING_SLOT:
            encode_slot(data, slot);
            lpm_ring_release(data->ring);
            continue;
        case LPM_RING_FLUSH:
            send_batch(data);
            continue;
        case LPM_RING_CLOSED:
            return NULL;
        case LPM_RING_END:
            break;
        }
        break;
    }
    lpm_stream_parser_flush(data->parser, &event);
    add_event(data, &event);
    send_batch(data);
    lpm_pump_end_reading(&data->pump, data->read_failure);
    return NULL;
}

/* ---- target ---- */

/* Whether the word to run has passed the parser. A stream that resumes had it before. */
static gboolean runs(LpmDataPump *data)
{
    return lpm_stream_parser_info(data->parser)->postcopy_run;
}

/* Gives the bytes to QEMU. Before the last one of the word to run, and thereby of the package that
 * ends with it, it stops and asks. */
static gboolean write_watched(LpmDataPump *data, int fd, const guint8 *bytes, gsize length)
{
    gsize done = 0, written = 0;

    while (done < length) {
        gboolean ran = runs(data);
        struct lpm_stream_event event;

        done += lpm_stream_parser_step(data->parser, bytes + done, length - done, &event);
        if (ran || !runs(data))
            continue;
        /* The step that told ends with the word's last byte (never with none of these bytes). */
        gsize before = done - MIN(done, 1);

        if (!lpm_pump_write_all(fd, bytes + written, before - written))
            return FALSE;
        written = before;
        lpm_switchover_note(data->switchover, LPM_OUTCOME_POSTCOPY);
        if (!lpm_switchover_wait_allowed(data->switchover)) {
            errno = ECANCELED;
            return FALSE;
        }
    }
    if (!lpm_pump_write_all(fd, bytes + written, length - written))
        return FALSE;
    note_progress(data);
    return TRUE;
}

static enum lpm_delivery deliver_batch(gpointer opaque, int fd, const LpmFrame *frame,
                                       GError **error)
{
    LpmDataPump *data = opaque;
    const guint8 *bytes = frame->body;

    if (frame->flags & LPM_FRAME_BATCH) {
        g_byte_array_set_size(data->original, 0);
        if (!lpm_batch_decode(data->decoder, frame->body, frame->length, frame->original,
                              data->original, error))
            return LPM_DELIVERY_DAMAGED;
        bytes = data->original->data;
    }
    if (!lpm_frame_verify_original(frame, bytes, frame->original, error))
        return LPM_DELIVERY_DAMAGED;
    if (!write_watched(data, fd, bytes, frame->original))
        return LPM_DELIVERY_BROKEN;
    hash_stream(data, bytes, frame->original);
    return LPM_DELIVERY_DONE;
}

/* Nothing more comes: without the word to run it will not be said. */
static void stream_ended(gpointer opaque)
{
    LpmDataPump *data = opaque;

    lpm_switchover_note(data->switchover, LPM_OUTCOME_PRECOPY);
}

static gpointer run_writer(gpointer opaque)
{
    LpmDataPump *data = opaque;

    lpm_pump_write(&data->pump, deliver_batch, stream_ended, data);
    return NULL;
}

/* ---- return path ---- */

static gpointer run_return_reader(gpointer opaque)
{
    LpmDataPump *data = opaque;

    lpm_pump_read_raw(&data->pump);
    return NULL;
}

static gpointer run_return_writer(gpointer opaque)
{
    LpmDataPump *data = opaque;

    lpm_pump_write(&data->pump, lpm_pump_deliver_raw, NULL, NULL);
    return NULL;
}

/* ---- from outside ---- */

static void start_source(LpmDataPump *data, const struct lpm_compressor *method, int level)
{
    data->ring = lpm_ring_new();
    data->batch = lpm_batch_new(0, 0);
    data->codec = lpm_batch_encoder_new(method, level);
    data->frame_hash = XXH3_createState();
    data->body = g_byte_array_new();
    XXH3_64bits_reset(data->frame_hash);
    data->forward = g_thread_new("data-reader", run_reader, data);
    data->encoder = g_thread_new("data-encoder", run_encoder, data);
    data->backward = g_thread_new("return-writer", run_return_writer, data);
}

static void start_target(LpmDataPump *data)
{
    data->decoder = lpm_batch_decoder_new();
    data->original = g_byte_array_new();
    data->forward = g_thread_new("data-writer", run_writer, data);
    data->backward = g_thread_new("return-reader", run_return_reader, data);
}

LpmDataPump *lpm_data_pump_new(const struct lpm_pump *pump, LpmSwitchover *switchover,
                               const struct lpm_compressor *method, int level)
{
    LpmDataPump *data = g_new0(LpmDataPump, 1);

    data->pump = *pump;
    data->switchover = switchover;
    data->parser = lpm_stream_parser_new();
    pthread_mutex_init(&data->lock, NULL);
    data->stream_hash = XXH3_createState();
    XXH3_128bits_reset(data->stream_hash);
    if (pump->side == LPM_SIDE_SOURCE)
        start_source(data, method, level);
    else
        start_target(data);
    return data;
}

void lpm_data_pump_drained(LpmDataPump *data)
{
    if (data->ring)
        lpm_ring_drained(data->ring);
}

void lpm_data_pump_facts(LpmDataPump *data, struct lpm_data_facts *facts)
{
    memset(facts, 0, sizeof(*facts));
    pthread_mutex_lock(&data->lock);
    facts->stream = data->info;
    facts->hash_bytes = data->hash_bytes;
    XXH128_hash_t hash = XXH3_128bits_digest(data->stream_hash);

    pthread_mutex_unlock(&data->lock);
    if (facts->hash_bytes)
        snprintf(facts->hash, sizeof(facts->hash), "%016llx%016llx",
                 (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}

void lpm_data_pump_cancel(LpmDataPump *data)
{
    if (data->ring)
        lpm_ring_close(data->ring);
}

void lpm_data_pump_free(LpmDataPump *data)
{
    if (!data)
        return;
    lpm_data_pump_cancel(data);
    g_thread_join(data->forward);
    g_thread_join(data->backward);
    if (data->encoder)
        g_thread_join(data->encoder);
    lpm_ring_free(data->ring);
    lpm_stream_parser_free(data->parser);
    lpm_batch_free(data->batch);
    lpm_batch_encoder_free(data->codec);
    lpm_batch_decoder_free(data->decoder);
    XXH3_freeState(data->frame_hash);
    XXH3_freeState(data->stream_hash);
    g_clear_pointer(&data->body, g_byte_array_unref);
    g_clear_pointer(&data->original, g_byte_array_unref);
    pthread_mutex_destroy(&data->lock);
    g_free(data);
}
