/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The target's half of the data channel: the writer of the stream and the reader of the return
 * path. */
#include "mover/data-internal.h"

#include "base/clock.h"

#include <string.h>

/* Of the names of blocks, bytes; escaped each may take six, and a message has 64 KiB. */
#define NAMES_MAX 8192
#define NAME_COST 16 /* what goes with each counts so much at least */

/* A page of the frame that is being written. */
struct lpm_given {
    guint block;
    guint64 offset;
};

static gboolean runs(LpmDataPump *data)
{
    return lpm_stream_parser_info(data->parser)->postcopy_run;
}

static void note_given(LpmDataPump *data, const struct lpm_stream_event *event)
{
    const struct lpm_given given = {.block = (guint)event->block, .offset = event->offset};

    if (data->meter && event->block >= 0 &&
        (event->type == LPM_STREAM_PAGE || event->type == LPM_STREAM_ZERO_PAGE))
        g_array_append_val(data->given, given);
}

static void tell_given(LpmDataPump *data)
{
    gint64 now = lpm_monotonic_us();

    for (guint i = 0; i < data->given->len; i++) {
        const struct lpm_given *given = &g_array_index(data->given, struct lpm_given, i);

        lpm_demand_meter_given(data->meter, given->block, given->offset, now);
    }
    g_array_set_size(data->given, 0);
}

/* What the stream calls the memory, for lpmd: it may have to name pages when this mover is gone.
 * NULL: it would not fit into a message. */
static json_t *describe_memory(const LpmStreamParser *parser)
{
    json_t *blocks = json_array();
    const struct lpm_stream_block *block;
    gsize room = NAMES_MAX;

    for (guint i = 0; (block = lpm_stream_parser_block(parser, i)); i++) {
        if (block->length < LPM_MEMORY_BLOCK_MIN)
            continue;
        gsize needs = strlen(block->name) + NAME_COST;

        if (needs > room) {
            json_decref(blocks);
            return NULL;
        }
        room -= needs;
        json_array_append_new(blocks, json_pack("{s:s, s:I}", "name", block->name, "length",
                                                (json_int_t)block->length));
    }
    return json_pack("{s:i, s:o}", "page_size", (int)lpm_stream_parser_info(parser)->page_size,
                     "blocks", blocks);
}

/* The word to run is about to be given to QEMU, whose processors libvirt keeps stopped until its
 * Finish. Loading the devices needs pages that are asked for now, so it comes before the decision:
 * as long as Finish waits here all of it can still be taken back. */
static void note_run(LpmDataPump *data)
{
    const struct lpm_stream_info *info = lpm_stream_parser_info(data->parser);

    pthread_mutex_lock(&data->lock);
    data->meter = lpm_demand_meter_new(data->parser);
    data->memory = describe_memory(data->parser);
    data->awaits_pong = info->package_pinged;
    data->pong = info->package_ping;
    pthread_mutex_unlock(&data->lock);
    lpm_switchover_note(data->switchover, LPM_OUTCOME_POSTCOPY);
    if (!info->package_pinged)
        lpm_switchover_note_loaded(data->switchover);
}

/* Places the event's page, or keeps its bytes for QEMU. A record that was cut is in the parser's
 * memory, and lands before the parser is called again. */
static gboolean sort_out(LpmDataPump *data, const struct lpm_stream_event *event,
                         const guint8 *frame, gsize length, GError **error)
{
    gboolean inside = event->data >= frame && event->data < frame + length;
    g_autoptr(GError) failure = NULL;

    if (!lpm_page_placer_take(data->placer, data->parser, event, &failure)) {
        if (event->length)
            g_byte_array_append(data->out, event->data, (guint)event->length);
    } else if (!inside) {
        lpm_page_placer_land(data->placer, &failure);
    }
    if (!failure)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}

/* Looks at the frame's bytes, and takes note of the word to run before its last byte is given. With
 * pages to be placed: they are in memory then, and the rest is in `out`. */
static gboolean look_at(LpmDataPump *data, const guint8 *bytes, gsize length, GError **error)
{
    gsize done = 0;

    g_byte_array_set_size(data->out, 0);
    while (done < length) {
        gboolean ran = runs(data);
        struct lpm_stream_event event;
        struct lpm_page_note note;

        done += lpm_stream_parser_step(data->parser, bytes + done, length - done, &event);
        lpm_page_tags_note(data->tags, data->parser, &event, &note);
        if (note.in_ring)
            lpm_page_ring_push(data->page_ring, event.data + event.header_length, note.place,
                               &note.tag);
        note_given(data, &event);
        if (!ran && runs(data))
            note_run(data);
        if (data->placer && !sort_out(data, &event, bytes, length, error))
            return FALSE;
    }
    return !data->placer || lpm_page_placer_land(data->placer, error);
}

static enum lpm_delivery deliver_batch(gpointer opaque, int fd, const LpmFrame *frame,
                                       GError **error)
{
    LpmDataPump *data = opaque;
    const guint8 *bytes = lpm_decode_crew_bytes(data->decode, frame, error);

    if (!bytes)
        return LPM_DELIVERY_DAMAGED;
    if (!look_at(data, bytes, frame->original, error))
        return LPM_DELIVERY_DAMAGED;
    /* All pages of the frame are in memory before QEMU gets what follows them. */
    if (!lpm_pump_write_all(fd, data->placer ? data->out->data : bytes,
                            data->placer ? data->out->len : frame->original))
        return LPM_DELIVERY_BROKEN;
    tell_given(data);
    lpm_data_note_progress(data);
    lpm_data_hash(data, bytes, frame->original);
    return LPM_DELIVERY_DONE;
}

/* Nothing more comes: without the word to run it will not be said, unless it was long ago. */
static void stream_ended(gpointer opaque)
{
    LpmDataPump *data = opaque;
    gboolean resumed = lpm_stream_parser_info(data->parser)->postcopy_resumed;

    if (data->placer)
        lpm_page_placer_close(data->placer);
    lpm_switchover_note(data->switchover, resumed ? LPM_OUTCOME_POSTCOPY : LPM_OUTCOME_PRECOPY);
}

static LpmFrame *take_frame(gpointer opaque)
{
    LpmDataPump *data = opaque;

    return lpm_decode_crew_take(data->decode);
}

static gpointer run_writer(gpointer opaque)
{
    static const struct lpm_pump_writer writer = {
        .take = take_frame, .deliver = deliver_batch, .ended = stream_ended};
    LpmDataPump *data = opaque;

    lpm_pump_write(&data->pump, &writer, data);
    return NULL;
}

/* ---- return path ---- */

static void note_requests(gpointer opaque, guint8 *bytes, gsize length)
{
    LpmDataPump *data = opaque;

    pthread_mutex_lock(&data->lock);
    LpmDemandMeter *meter = data->meter;
    gboolean awaits = data->awaits_pong;
    guint32 pong = data->pong;

    pthread_mutex_unlock(&data->lock);
    for (gsize done = 0; done < length;) {
        struct lpm_return_event event;
        guint8 *here = bytes + done;

        done += lpm_return_parser_step(data->requests, here, length - done, &event);
        if (event.data == here || event.type != LPM_RETURN_BYTES)
            lpm_bitmap_gate_take(data->gate, &event, here);
        if (awaits && event.type == LPM_RETURN_PONG && event.value == pong)
            lpm_switchover_note_loaded(data->switchover);
        if (event.type == LPM_RETURN_RESUME_ACK)
            lpm_switchover_note(data->switchover, LPM_OUTCOME_POSTCOPY);
        if (meter && (event.type == LPM_RETURN_REQ_PAGES_ID || event.type == LPM_RETURN_REQ_PAGES))
            lpm_demand_meter_asked(meter, event.name[0] ? event.name : NULL, event.start,
                                   lpm_monotonic_us());
    }
}

static gpointer run_return_reader(gpointer opaque)
{
    LpmDataPump *data = opaque;

    lpm_pump_read_raw(&data->pump, note_requests, data);
    return NULL;
}

void lpm_data_target_start(LpmDataPump *data, const struct lpm_data_config *config)
{
    data->decode = lpm_decode_crew_new(data->pump.session, data->page_ring, config->threads);
    data->given = g_array_new(FALSE, FALSE, sizeof(struct lpm_given));
    data->out = g_byte_array_new();
    data->forward = g_thread_new("data-writer", run_writer, data);
    data->backward = g_thread_new("return-reader", run_return_reader, data);
}
