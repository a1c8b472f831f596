/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The half of a session that the threads of its links call: what goes out next, what came in. */
#include "base/clock.h"
#include "base/error.h"
#include "transport/session-internal.h"

#include <string.h>

gboolean lpm_session_link_begin(struct lpm_link_thread *thread, LpmFrame **hello)
{
    LpmSession *session = thread->session;
    struct lpm_hello words = {.side = session->config.side,
                              .window = session->config.window,
                              .links = session->config.links};

    memcpy(words.session, session->config.id, sizeof(words.session));
    pthread_mutex_lock(&session->lock);
    gboolean go_on = !session->stopped;

    if (go_on) {
        pthread_getcpuclockid(pthread_self(), &thread->cpu_clock);
        lpm_session_join_locked(thread);
        for (guint i = 1; i < LPM_CHANNEL_COUNT; i++)
            words.next[i] = session->inbox[i].expected;
        lpm_session_changed_locked(session);
    }
    pthread_mutex_unlock(&session->lock);
    *hello = go_on ? lpm_frame_hello(&words) : NULL;
    return go_on;
}

void lpm_session_link_append(struct lpm_link_thread *thread, const LpmFrame *frame)
{
    guint8 header[LPM_FRAME_HEADER_BYTES];

    lpm_frame_encode_header(frame, header);
    g_byte_array_append(thread->out, header, sizeof(header));
    g_byte_array_append(thread->out, frame->body, frame->length);
}

/* Lock held. The same, counted against the session's rate. */
static void append_frame(LpmSession *session, struct lpm_link_thread *thread, const LpmFrame *frame)
{
    lpm_session_link_append(thread, frame);
    lpm_pace_charge(&session->pace, sizeof(*frame) + frame->length);
    session->tx_packets++;
}

/* Lock held. Appends ACK of the channels whose delivered number the other side does not know. */
static void append_acks(LpmSession *session, struct lpm_link_thread *thread)
{
    guint64 next[LPM_CHANNEL_COUNT] = {0};
    guint mask = 0;

    for (guint i = 1; i < LPM_CHANNEL_COUNT; i++) {
        struct lpm_inbox *inbox = &session->inbox[i];

        if (inbox->acked == inbox->delivered)
            continue;
        mask |= 1u << i;
        next[i] = inbox->acked = inbox->delivered;
    }
    if (!mask)
        return;
    g_autoptr(LpmFrame) ack = lpm_frame_ack(mask, next);

    append_frame(session, thread, ack);
}

/* Lock held. FALSE: what is unsent waits for the session's rate. */
static gboolean may_send(LpmSession *session, struct lpm_link_thread *thread, guint channel)
{
    gint64 ready = lpm_pace_ready_us(&session->pace, lpm_monotonic_us());

    if (ready && session->outbox[channel].unsent)
        thread->paced_us = ready;
    return !ready;
}

/* Lock held. */
static void append_channel(LpmSession *session, struct lpm_link_thread *thread, guint channel,
                           gsize limit)
{
    const LpmFrame *frame;

    while (thread->out->len < limit && may_send(session, thread, channel) &&
           (frame = lpm_outbox_take(&session->outbox[channel], thread->number))) {
        append_frame(session, thread, frame);
        if (!session->outbox[channel].unsent && session->config.drained)
            session->config.drained(session->config.user, (enum lpm_channel)channel);
    }
}

enum lpm_fill lpm_session_link_fill(struct lpm_link_thread *thread, gsize limit)
{
    LpmSession *session = thread->session;
    enum lpm_fill result = LPM_FILL_GO_ON;

    pthread_mutex_lock(&session->lock);
    thread->kicked = thread->idle = FALSE;
    if (lpm_session_over_locked(session) || !thread->live) {
        result = LPM_FILL_END;
    } else if (thread->hello_received && lpm_session_trusted_locked(thread, lpm_monotonic_us())) {
        append_acks(session, thread);
        append_channel(session, thread, LPM_CHANNEL_RPC, limit);
        append_channel(session, thread, LPM_CHANNEL_DATA, limit);
        thread->idle = thread->out->len < limit && !thread->paced_us;
    }
    pthread_mutex_unlock(&session->lock);
    return result;
}

/* Lock held. */
static gboolean on_hello(struct lpm_link_thread *thread, const LpmFrame *frame, GError **error)
{
    LpmSession *session = thread->session;
    struct lpm_hello hello;

    if (!lpm_frame_parse_hello(frame, &hello, error))
        return FALSE;
    if (thread->hello_received || hello.side == session->config.side ||
        memcmp(hello.session, session->config.id, sizeof(hello.session)) != 0)
        return lpm_fail(error, LPM_E_PROTOCOL, "the other mover's greeting is not of this session");
    guint links = MIN(session->config.links, hello.links);

    for (guint i = 1; i < LPM_CHANNEL_COUNT; i++)
        if (!lpm_outbox_has(&session->outbox[i], hello.next[i], links == 1, error))
            return FALSE;
    if (hello.window < LPM_BACKLOG_MIN)
        return lpm_fail(error, LPM_E_PROTOCOL,
                        "the other mover offers a window of %" G_GUINT64_FORMAT " bytes",
                        hello.window);
    session->peer_window = hello.window;
    session->links_most = links;
    lpm_session_make_room_locked(session, links, thread);
    thread->hello_received = TRUE;
    session->links++;
    lpm_session_slot_locked(thread)->came++;
    lpm_session_changed_locked(session);
    return TRUE;
}

/* Lock held. */
static void look_at_drain(LpmSession *session, struct lpm_outbox *outbox)
{
    guint64 window = MIN(session->config.window, session->peer_window);
    gboolean full = outbox->stalls != outbox->stalls_seen;

    outbox->stalls_seen = outbox->stalls;
    outbox->stalled |= full;
    lpm_drain_round_trip(&outbox->drain, (gint64)session->round_trip_us);
    if (lpm_drain_look(&outbox->drain, outbox->original_acked, outbox->stalled, window,
                       lpm_monotonic_us()))
        outbox->stalled = FALSE;
}

/* Lock held. */
static gboolean on_ack(LpmSession *session, const LpmFrame *frame, GError **error)
{
    guint64 next[LPM_CHANNEL_COUNT];
    guint mask;

    if (!lpm_frame_parse_ack(frame, &mask, next, error))
        return FALSE;
    for (guint i = 1; i < LPM_CHANNEL_COUNT; i++) {
        if (!(mask & 1u << i))
            continue;
        if (!lpm_outbox_ack(&session->outbox[i], next[i], error))
            return FALSE;
        look_at_drain(session, &session->outbox[i]);
        pthread_cond_broadcast(&session->room[i]);
        if (session->config.acknowledged)
            session->config.acknowledged(session->config.user, (enum lpm_channel)i);
        if (!session->outbox[i].head && (session->outbox[i].closed || session->outbox[i].reset))
            lpm_session_changed_locked(session); /* this direction may be complete now */
    }
    return TRUE;
}

/* Lock held. */
static gboolean on_ping(struct lpm_link_thread *thread, const LpmFrame *frame, GError **error)
{
    guint64 value;

    if (!lpm_frame_parse_ping(frame, &value, error))
        return FALSE;
    if (frame->type == LPM_FRAME_PING) {
        g_autoptr(LpmFrame) pong = lpm_frame_ping(LPM_FRAME_PONG, value);

        lpm_session_link_append(thread, pong);
        thread->session->tx_packets++;
    } else {
        thread->session->round_trip_us = (guint64)lpm_monotonic_us() - value;
        lpm_session_slot_locked(thread)->round_trip_us = thread->session->round_trip_us;
    }
    return TRUE;
}

/* Lock held. */
static gboolean on_fail(LpmSession *session, const LpmFrame *frame, GError **error)
{
    g_autofree char *cause = NULL, *text = NULL;
    int code;

    if (!lpm_frame_parse_fail(frame, &code, &cause, error))
        return FALSE;
    text = g_strdup_printf("the other mover: %s", cause);
    session->failed_by_peer = !session->failed;
    lpm_session_fail_locked(session, code, text);
    return lpm_fail(error, (enum lpm_error_code)code, "%s", text);
}

/* Lock held. */
static gboolean handle(struct lpm_link_thread *thread, LpmFrame *frame, GError **error)
{
    LpmSession *session = thread->session;
    g_autoptr(LpmFrame) owned = frame;
    guint channel = frame->channel;

    if (!thread->hello_received && frame->type != LPM_FRAME_HELLO && frame->type != LPM_FRAME_FAIL)
        return lpm_fail(error, LPM_E_PROTOCOL, "the other mover does not greet first");
    switch (frame->type) {
    case LPM_FRAME_HELLO:
        return on_hello(thread, frame, error);
    case LPM_FRAME_ACK:
        return on_ack(session, frame, error);
    case LPM_FRAME_PING:
    case LPM_FRAME_PONG:
        return on_ping(thread, frame, error);
    case LPM_FRAME_FAIL:
        return on_fail(session, frame, error);
    default:
        break;
    }
    gboolean first = !session->inbox[channel].opened;

    if (!lpm_inbox_put(&session->inbox[channel], g_steal_pointer(&owned), session->config.window,
                       error))
        return FALSE;
    pthread_cond_broadcast(&session->arrival[channel]);
    if (first)
        lpm_session_changed_locked(session);
    return TRUE;
}

gboolean lpm_session_link_frame(struct lpm_link_thread *thread, LpmFrame *frame, GError **error)
{
    LpmSession *session = thread->session;
    g_autoptr(GError) reason = NULL;
    gboolean ok = TRUE;

    pthread_mutex_lock(&session->lock);
    if (!thread->live || lpm_session_over_locked(session)) {
        lpm_frame_free(frame); /* what such a link still brings comes again on another */
    } else {
        session->rx_packets++;
        ok = handle(thread, frame, &reason);
        if (!ok) {
            session->rx_bad += !session->failed;
            lpm_session_fail_locked(session, lpm_error_number(reason), reason->message);
            g_propagate_error(error, g_steal_pointer(&reason));
        }
    }
    pthread_mutex_unlock(&session->lock);
    return ok;
}

void lpm_session_link_breach(struct lpm_link_thread *thread, const GError *error)
{
    LpmSession *session = thread->session;

    pthread_mutex_lock(&session->lock);
    if (thread->live) {
        session->rx_bad++;
        lpm_session_fail_locked(session, lpm_error_number(error), error->message);
    }
    pthread_mutex_unlock(&session->lock);
}

void lpm_session_link_append_fail(struct lpm_link_thread *thread)
{
    LpmSession *session = thread->session;

    pthread_mutex_lock(&session->lock);
    g_autoptr(LpmFrame) fail = lpm_frame_fail(session->failed, session->failed_cause);

    pthread_mutex_unlock(&session->lock);
    lpm_session_link_append(thread, fail);
}

gboolean lpm_session_link_failed(struct lpm_link_thread *thread)
{
    LpmSession *session = thread->session;

    pthread_mutex_lock(&session->lock);
    gboolean failed = session->failed && !session->failed_by_peer && thread->live;

    pthread_mutex_unlock(&session->lock);
    return failed;
}

gboolean lpm_session_link_wanted(struct lpm_link_thread *thread)
{
    LpmSession *session = thread->session;

    pthread_mutex_lock(&session->lock);
    gboolean wanted = !session->stopped && thread->live;

    thread->kicked = FALSE;
    pthread_mutex_unlock(&session->lock);
    return wanted;
}

void lpm_session_link_count(struct lpm_link_thread *thread, gsize received, gsize sent,
                            gsize queued)
{
    LpmSession *session = thread->session;

    pthread_mutex_lock(&session->lock);
    session->rx_bytes += received;
    session->tx_bytes += sent;
    if (thread->live) {
        lpm_session_slot_locked(thread)->received += received;
        lpm_session_slot_locked(thread)->sent += sent;
    }
    if (received)
        thread->last_heard_us = thread->heard_us;
    thread->queued = queued;
    pthread_mutex_unlock(&session->lock);
}

void lpm_session_link_end(struct lpm_link_thread *thread, const char *cause)
{
    LpmSession *session = thread->session;

    pthread_mutex_lock(&session->lock);
    /* A handshake that fails beside links that work is nothing to tell. */
    if (cause && (thread->live || !lpm_session_live_locked(session))) {
        g_free(session->link_cause);
        session->link_cause = g_strdup(cause);
        session->tx_errors += thread->broke_sending ? 1 : 0;
        session->rx_errors += thread->broke_sending ? 0 : 1;
    }
    lpm_session_leave_locked(thread);
    session->link_ended_us = lpm_monotonic_us();
    thread->finished = TRUE;
    lpm_session_changed_locked(session);
    pthread_mutex_unlock(&session->lock);
}
