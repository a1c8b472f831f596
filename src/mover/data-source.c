/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The source's half of the data channel: reader, cutter, and the writer of the return path.
 *
 * Theory of operation. Up to the word to run the cutter gives batches away as soon as there is
 * something to send and fills them while the link or the threads that encode are busy; what waits
 * for the link waits encoded, in the session. Behind that word what waits must wait where it can
 * still be overtaken: in the row of the post-copy (page-queue.h). So the cutter reads on as far as
 * the channel's window allows, gives the session pages that were asked for at once, and others only
 * while little is under way.
 */
#include "mover/data-internal.h"

#include "base/clock.h"

#include <string.h>

/* While a page is asked for that QEMU has not given yet, so much more is read from it than the
 * window allows: the page may stand behind others in QEMU's socket, whose buffer is a quarter MiB.
 */
#define POSTCOPY_EXTRA (4u << 20)

/* What is on its way from QEMU to the other one should be there within this: the partition stands
 * still while the last of it goes. */
#define DRAIN_US 30000

/* A batch while the partition stands still, or where little may be under way. */
#define CUT_LEAST (64u << 10)

/* A stream that resumes a post-copy goes in its own order: so little of it may wait. */
#define RESUMED_WINDOW (512u << 10)

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

/* ---- batches ---- */

/* Sends the batch as a frame. In post-copy it is with the session on return: what is under way is
 * counted there (flight.h). */
static void send_batch(LpmDataPump *data)
{
    struct lpm_session_flow flow;

    if (lpm_batch_empty(data->job->batch))
        return;
    lpm_encode_crew_give(data->encode, data->job);
    if (data->postcopy)
        lpm_encode_crew_drain(data->encode);
    data->job = lpm_encode_crew_open(data->encode);
    data->job_first = lpm_page_ring_pushed(data->page_ring);
    lpm_session_get_flow(data->pump.session, LPM_CHANNEL_DATA, &flow);
    data->cut_bytes = (gsize)CLAMP(flow.limit / 8, CUT_LEAST, LPM_BATCH_ORIGINAL_BYTES);
}

static void add_literal(LpmDataPump *data, const guint8 *bytes, gsize length)
{
    while (length) {
        gsize n = lpm_batch_add_literal(data->job->batch, bytes, length);

        XXH3_64bits_update(data->job->hash, bytes, n);
        bytes += n;
        length -= n;
        if (length)
            send_batch(data);
    }
}

static gboolean try_record(LpmDataPump *data, const struct lpm_stream_event *event)
{
    if (event->type == LPM_STREAM_ZERO_PAGE)
        return lpm_batch_add_zero(data->job->batch, event->data, event->length, event->page_size);
    return lpm_batch_add_page(data->job->batch, event->data, event->length, event->header_length,
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
    XXH3_64bits_update(data->job->hash, event->data, event->length);
}

/* A page that the target has in its image. */
static void add_kept(LpmDataPump *data, const struct lpm_stream_event *event, guint64 slot)
{
    for (guint i = 0; i < 2; i++) {
        if (lpm_batch_add_kept(data->job->batch, event->data, event->length, event->header_length,
                               event->page_size, slot))
            break;
        send_batch(data);
    }
    XXH3_64bits_update(data->job->hash, event->data, event->length);
}

static void count(LpmDataPump *data, guint64 *counter)
{
    pthread_mutex_lock(&data->lock);
    (*counter)++;
    pthread_mutex_unlock(&data->lock);
}

/* What the page differs by from `old`, in data->delta; TRUE if that is little: a third of its words
 * at most. */
static gboolean make_delta(LpmDataPump *data, const guint8 *page, const guint8 *old)
{
    guint64 *out = (guint64 *)(void *)data->delta;
    guint differ = 0;

    for (guint i = 0; i < LPM_RING_PAGE / sizeof(*out); i++) {
        guint64 here, there;

        memcpy(&here, page + i * sizeof(here), sizeof(here));
        memcpy(&there, old + i * sizeof(there), sizeof(there));
        out[i] = here ^ there;
        differ += out[i] != 0;
    }
    return differ <= LPM_RING_PAGE / sizeof(*out) / 3;
}

enum shortcut { NO_SHORTCUT, NO_ROOM, SHORTENED };

/* Adds the page as one that went already, or against the one that went from its place. What it
 * refers to went in an earlier batch: the target knows it when it decodes this one. */
static enum shortcut add_short(LpmDataPump *data, const struct lpm_stream_event *event,
                               const struct lpm_page_note *note)
{
    LpmBatch *batch = data->job->batch;
    const guint8 *page;
    gboolean same;
    guint64 number;

    if (!note->in_ring || event->header_length != 8)
        return NO_SHORTCUT;
    page = event->data + event->header_length;
    same = lpm_page_ring_find_tag(data->page_ring, &note->tag, data->job_first, &number);
    if (!same &&
        (!lpm_page_ring_find_place(data->page_ring, note->place, data->job_first, &number) ||
         !make_delta(data, page, lpm_page_ring_at(data->page_ring, number))))
        return NO_SHORTCUT;
    if (data->job_first - number > LPM_RING_PAGES)
        return NO_SHORTCUT;
    if (!lpm_batch_add_recalled(batch, event->data, event->length, data->job_first - number,
                                same ? NULL : data->delta))
        return NO_ROOM;
    XXH3_64bits_update(data->job->hash, event->data, event->length);
    count(data, same ? &data->pages_same : &data->pages_delta);
    return SHORTENED;
}

static void add_new(LpmDataPump *data, const struct lpm_stream_event *event,
                    const struct lpm_page_note *note)
{
    enum shortcut result = add_short(data, event, note);

    if (result == NO_ROOM) {
        send_batch(data);
        result = add_short(data, event, note);
    }
    if (result != SHORTENED)
        add_event(data, event);
}

/* Up to post-copy. */
static void send_event(LpmDataPump *data, const struct lpm_stream_event *event)
{
    struct lpm_page_note note;
    enum lpm_page_had had = lpm_page_tags_note(data->tags, data->parser, event, &note);

    if (had == LPM_PAGE_UNCHANGED) {
        lpm_session_unreserve(data->pump.session, LPM_CHANNEL_DATA, event->length);
        count(data, &data->pages_unchanged);
        return;
    }
    if (data->keeper)
        lpm_page_keeper_put(data->keeper, data->parser, event);
    if (had == LPM_PAGE_KEPT) {
        count(data, &data->pages_kept);
        add_kept(data, event, note.slot);
    } else {
        add_new(data, event, &note);
    }
    if (note.in_ring)
        lpm_page_ring_push(data->page_ring, event->data + event->header_length, note.place,
                           &note.tag);
    lpm_data_hash(data, event->data, event->length);
}

/* ---- post-copy ---- */

/* The word to run is in the batch, which has not gone: the target may ask for pages as soon as it
 * has it, and a request that finds no queue would be forgotten. */
static void begin_postcopy(LpmDataPump *data)
{
    LpmPostcopy *postcopy = lpm_postcopy_new(data->parser);

    pthread_mutex_lock(&data->lock);
    data->postcopy = postcopy;
    pthread_mutex_unlock(&data->lock);
    send_batch(data);
    lpm_encode_crew_drain(data->encode);
    lpm_encode_crew_hurry(data->encode, FALSE);
    lpm_session_set_drain(data->pump.session, LPM_CHANNEL_DATA, 0);
    lpm_flight_init(&data->flight);
    if (!postcopy)
        lpm_log(LPM_LOG_INFO, &data->pump.log,
                "pages in post-copy are carried in the order of QEMU's stream");
}

static void put_event(LpmDataPump *data, const struct lpm_stream_event *event)
{
    g_autoptr(GError) error = NULL;
    gint64 more = 0;

    if (!lpm_postcopy_put(data->postcopy, event, &more, &error))
        lpm_session_fail(data->pump.session, error->code, error->message);
    if (more > 0)
        lpm_session_charge(data->pump.session, LPM_CHANNEL_DATA, (gsize)more);
    else if (more < 0)
        lpm_session_unreserve(data->pump.session, LPM_CHANNEL_DATA, (gsize)-more);
}

static void emit(gpointer opaque, const struct lpm_stream_event *event)
{
    LpmDataPump *data = opaque;

    add_event(data, event);
    lpm_data_hash(data, event->data, event->length);
    data->emitted += event->length;
}

/* The item takes more or less room in the channel's window than what it was made of. */
static void settle(LpmDataPump *data, const struct lpm_page_item *item)
{
    if (data->emitted > item->cost)
        lpm_session_charge(data->pump.session, LPM_CHANNEL_DATA, data->emitted - item->cost);
    else if (data->emitted < item->cost)
        lpm_session_unreserve(data->pump.session, LPM_CHANNEL_DATA, item->cost - data->emitted);
    if (!item->wanted_us)
        return;
    pthread_mutex_lock(&data->lock);
    lpm_latency_add(&data->handed_over, lpm_monotonic_us() - item->wanted_us);
    pthread_mutex_unlock(&data->lock);
}

/* Sends one frame of what waits, of about `room` bytes (with `urgent`: of what was asked for).
 * FALSE: there was nothing. */
static gboolean send_waiting(LpmDataPump *data, gboolean urgent, gsize room)
{
    gsize total = 0;

    while (total < room) {
        data->emitted = 0;
        struct lpm_page_item *item = lpm_postcopy_take(data->postcopy, urgent, emit, data);

        if (!item)
            break;
        settle(data, item);
        total += data->emitted;
        lpm_page_item_free(item);
    }
    send_batch(data);
    if (total)
        lpm_flight_sent(&data->flight, data->pump.session, lpm_monotonic_us());
    return total > 0;
}

/* Sends what may go now. TRUE: more could go once the link is idle. */
static gboolean send_postcopy(LpmDataPump *data)
{
    LpmPageQueue *queue = lpm_postcopy_queue(data->postcopy);
    LpmSession *session = data->pump.session;
    struct lpm_page_queue_state state;

    lpm_flight_look(&data->flight, session, lpm_monotonic_us());
    while (lpm_flight_room(&data->flight, session, TRUE) &&
           send_waiting(data, TRUE, LPM_FLIGHT_FRAME_MAX))
        continue;
    gsize room = lpm_flight_room(&data->flight, session, FALSE);

    if (room && lpm_ring_idle(data->ring))
        send_waiting(data, FALSE, room);
    lpm_page_queue_get(queue, &state);
    lpm_session_set_extra(session, LPM_CHANNEL_DATA, state.wanted ? POSTCOPY_EXTRA : 0);
    return state.ready && lpm_flight_room(&data->flight, session, FALSE);
}

/* ---- the cutter ---- */

/* Time to give the batch away. The processors stand still from the END of `ram` on: the rest is
 * little, and small batches are compressed side by side and arrive one by one. */
static gboolean is_full(LpmDataPump *data)
{
    enum lpm_stream_phase phase = lpm_stream_parser_info(data->parser)->phase;
    gboolean hurry = phase == LPM_STREAM_PHASE_COMPLETING || phase == LPM_STREAM_PHASE_DEVICES;

    if (hurry != data->hurry)
        lpm_encode_crew_hurry(data->encode, hurry);
    data->hurry = hurry;
    return lpm_batch_full(data->job->batch) ||
           lpm_batch_original_bytes(data->job->batch) >= (hurry ? CUT_LEAST : data->cut_bytes);
}

static void encode_slot(LpmDataPump *data, const struct lpm_ring_slot *slot)
{
    gsize done = 0;

    lpm_page_tags_take(data->tags, data->parser);
    while (done < slot->length) {
        gboolean ran = lpm_stream_parser_info(data->parser)->postcopy_run;
        struct lpm_stream_event event;

        done +=
            lpm_stream_parser_step(data->parser, slot->data + done, slot->length - done, &event);
        if (data->postcopy) {
            put_event(data, &event);
            continue;
        }
        send_event(data, &event);
        if (!ran && lpm_stream_parser_info(data->parser)->postcopy_run)
            begin_postcopy(data);
        else if (is_full(data))
            send_batch(data);
    }
    if (lpm_stream_parser_info(data->parser)->postcopy_resumed)
        lpm_session_set_limit(data->pump.session, LPM_CHANNEL_DATA, RESUMED_WINDOW);
    lpm_data_note_progress(data);
}

/* QEMU has closed its socket; what waits goes as before, within the limits. FALSE: the session is
 * over. */
static gboolean end_postcopy(LpmDataPump *data)
{
    struct lpm_page_queue_state state;

    lpm_postcopy_end(data->postcopy);
    for (;;) {
        gboolean holding = send_postcopy(data);

        lpm_page_queue_get(lpm_postcopy_queue(data->postcopy), &state);
        if (!state.ready)
            return TRUE;
        if (!lpm_ring_wait(data->ring, holding))
            return FALSE;
    }
}

static void encode_end(LpmDataPump *data)
{
    struct lpm_stream_event event;

    lpm_stream_parser_flush(data->parser, &event);
    if (data->postcopy) {
        put_event(data, &event);
        if (!end_postcopy(data))
            return;
    } else {
        send_event(data, &event);
        send_batch(data);
    }
    lpm_encode_crew_drain(data->encode);
    lpm_pump_end_reading(&data->pump, data->read_failure);
}

static gpointer run_cutter(gpointer opaque)
{
    LpmDataPump *data = opaque;
    struct lpm_ring_slot *slot;

    for (;;) {
        gboolean holding =
            data->postcopy ? send_postcopy(data) : !lpm_batch_empty(data->job->batch);

        switch (lpm_ring_take(data->ring, holding, &slot)) {
        case LPM_RING_SLOT:
            encode_slot(data, slot);
            lpm_ring_release(data->ring);
            continue;
        case LPM_RING_FLUSH:
            if (!data->postcopy)
                send_batch(data);
            continue;
        case LPM_RING_CLOSED:
            return NULL;
        case LPM_RING_END:
            break;
        }
        break;
    }
    encode_end(data);
    return NULL;
}

/* ---- return path ---- */

/* The target asks for pages: those that wait go first. TRUE: it says that it has all. */
static gboolean note_requests(LpmDataPump *data, const LpmFrame *frame)
{
    pthread_mutex_lock(&data->lock);
    LpmPostcopy *postcopy = data->postcopy;

    pthread_mutex_unlock(&data->lock);
    gboolean asked = FALSE, complete = FALSE;

    for (gsize done = 0; done < frame->length;) {
        struct lpm_return_event event;

        done += lpm_return_parser_step(data->requests, frame->body + done, frame->length - done,
                                       &event);
        complete = complete || event.type == LPM_RETURN_SHUT;
        if (event.type == LPM_RETURN_RESUME_ACK)
            lpm_switchover_note(data->switchover, LPM_OUTCOME_POSTCOPY);
        if (!postcopy ||
            (event.type != LPM_RETURN_REQ_PAGES_ID && event.type != LPM_RETURN_REQ_PAGES))
            continue;
        lpm_page_queue_demand(lpm_postcopy_queue(postcopy), event.name[0] ? event.name : NULL,
                              event.start, event.count, lpm_monotonic_us());
        asked = TRUE;
    }
    if (asked)
        lpm_ring_nudge(data->ring);
    return complete;
}

/* A QEMU in post-copy that has been told that the target has everything cannot be taken back any
 * more: that is the end of its migration, which lpmd lets it see. */
static void await_end(LpmDataPump *data)
{
    struct lpm_switchover_state state;

    lpm_switchover_get(data->switchover, &state);
    if (data->pump.hold_end && state.outcome == LPM_OUTCOME_POSTCOPY)
        lpm_endpoint_await_end(data->pump.endpoint);
}

static enum lpm_delivery deliver_answers(gpointer opaque, int fd, const LpmFrame *frame,
                                         GError **error)
{
    if (frame->type == LPM_FRAME_KEPT)
        return lpm_page_tags_offer(((LpmDataPump *)opaque)->tags, frame, error)
                   ? LPM_DELIVERY_DONE
                   : LPM_DELIVERY_DAMAGED;
    if (!lpm_frame_verify(frame, error))
        return LPM_DELIVERY_DAMAGED;
    if (note_requests(opaque, frame))
        await_end(opaque);
    return lpm_pump_deliver_raw(NULL, fd, frame, error);
}

static gpointer run_return_writer(gpointer opaque)
{
    static const struct lpm_pump_writer writer = {.deliver = deliver_answers};
    LpmDataPump *data = opaque;

    lpm_pump_write(&data->pump, &writer, data);
    return NULL;
}

void lpm_data_source_start(LpmDataPump *data, const struct lpm_data_config *config)
{
    data->ring = lpm_ring_new();
    lpm_session_set_drain(data->pump.session, LPM_CHANNEL_DATA, DRAIN_US);
    data->encode = lpm_encode_crew_new(data->pump.session, data->ring, config->method,
                                       config->level, config->threads);
    data->job = lpm_encode_crew_open(data->encode);
    data->cut_bytes = LPM_BATCH_ORIGINAL_BYTES;
    data->forward = g_thread_new("data-reader", run_reader, data);
    data->cutter = g_thread_new("data-cutter", run_cutter, data);
    data->backward = g_thread_new("return-writer", run_return_writer, data);
}
