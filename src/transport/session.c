/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "base/clock.h"
#include "base/error.h"
#include "transport/session-internal.h"

#include <string.h>
#include <unistd.h>

LpmSession *lpm_session_new(const struct lpm_session_config *config)
{
    LpmSession *session = g_new0(LpmSession, 1);

    /* The first error makes GLib's registry of errors: before there are threads that could do it at
     * the same time, of which a sanitizer cannot see that GLib allows it. */
    g_error_free(g_error_new_literal(lpm_error_quark(), 0, ""));
    session->config = *config;
    if (!session->config.ops)
        session->config.ops = &lpm_link_tls;
    session->identity = lpm_hex(config->id, sizeof(config->id));
    session->peer_window = config->window;
    session->config.links = CLAMP(config->links, 1, LPM_LINKS_MOST);
    session->links_most = session->config.links;
    session->links_wanted = 1;
    session->threads = g_ptr_array_new();
    pthread_mutex_init(&session->lock, NULL);
    for (guint i = 0; i < LPM_CHANNEL_COUNT; i++) {
        lpm_inbox_init(&session->inbox[i]);
        pthread_cond_init(&session->room[i], NULL);
        pthread_cond_init(&session->arrival[i], NULL);
    }
    return session;
}

void lpm_session_kick_locked(struct lpm_link_thread *thread)
{
    guint64 one = 1;

    thread->idle = FALSE;
    if (thread->kicked)
        return;
    thread->kicked = TRUE;
    if (write(thread->wake_fd, &one, sizeof(one)) < 0)
        thread->kicked =
            FALSE; /* cannot happen to an eventfd that is read; the poll is timed anyway */
}

void lpm_session_changed_locked(LpmSession *session)
{
    if (session->config.changed)
        session->config.changed(session->config.user);
}

/* Lock held. */
static void wake_everybody(LpmSession *session)
{
    for (guint i = 0; i < LPM_CHANNEL_COUNT; i++) {
        pthread_cond_broadcast(&session->room[i]);
        pthread_cond_broadcast(&session->arrival[i]);
        if (session->config.drained)
            session->config.drained(session->config.user, (enum lpm_channel)i);
    }
    for (guint i = 0; i < session->threads->len; i++)
        lpm_session_kick_locked(session->threads->pdata[i]);
    lpm_session_changed_locked(session);
}

void lpm_session_fail_locked(LpmSession *session, int code, const char *cause)
{
    if (session->failed)
        return;
    session->failed = code;
    session->failed_cause = g_strdup(cause);
    wake_everybody(session);
}

void lpm_session_fail(LpmSession *session, int code, const char *cause)
{
    pthread_mutex_lock(&session->lock);
    lpm_session_fail_locked(session, code, cause);
    pthread_mutex_unlock(&session->lock);
}

gboolean lpm_session_over_locked(const LpmSession *session)
{
    return session->stopped || session->failed;
}

gboolean lpm_session_over(LpmSession *session)
{
    pthread_mutex_lock(&session->lock);
    gboolean result = lpm_session_over_locked(session);

    pthread_mutex_unlock(&session->lock);
    return result;
}

void lpm_session_stop(LpmSession *session)
{
    pthread_mutex_lock(&session->lock);
    session->stopped = TRUE;
    wake_everybody(session);
    pthread_mutex_unlock(&session->lock);
    lpm_session_reap(session, TRUE);
}

void lpm_session_free(LpmSession *session)
{
    if (!session)
        return;
    lpm_session_stop(session);
    for (guint i = 0; i < LPM_CHANNEL_COUNT; i++) {
        lpm_outbox_clear(&session->outbox[i]);
        lpm_inbox_clear(&session->inbox[i]);
        pthread_cond_destroy(&session->room[i]);
        pthread_cond_destroy(&session->arrival[i]);
    }
    g_ptr_array_unref(session->threads);
    pthread_mutex_destroy(&session->lock);
    explicit_bzero(&session->config, sizeof(session->config));
    g_free(session->identity);
    g_free(session->failed_cause);
    g_free(session->link_cause);
    g_free(session);
}

/* ---- the owner's threads ---- */

/* Most that may be reserved. Lock held. */
static guint64 limit_locked(const LpmSession *session, const struct lpm_outbox *outbox)
{
    guint64 window = MIN(session->config.window, session->peer_window);

    window = lpm_drain_limit(&outbox->drain, window) + outbox->extra;
    return outbox->limit ? MIN(window, outbox->limit) : window;
}

gsize lpm_session_reserve(LpmSession *session, enum lpm_channel channel, gsize most)
{
    struct lpm_outbox *outbox = &session->outbox[channel];
    gsize got = 0;

    pthread_mutex_lock(&session->lock);
    while (!lpm_session_over_locked(session)) {
        guint64 window = limit_locked(session, outbox);

        /* Half of the frames: the rest is for those that are cut from one reservation. */
        if (outbox->used < window && outbox->frames < LPM_CHANNEL_FRAMES_MAX / 2) {
            got = (gsize)MIN(most, window - outbox->used);
            outbox->used += got;
            break;
        }
        outbox->stalls++;
        pthread_cond_wait(&session->room[channel], &session->lock);
    }
    pthread_mutex_unlock(&session->lock);
    return got;
}

void lpm_session_unreserve(LpmSession *session, enum lpm_channel channel, gsize bytes)
{
    pthread_mutex_lock(&session->lock);
    session->outbox[channel].used -= bytes;
    pthread_cond_broadcast(&session->room[channel]);
    pthread_mutex_unlock(&session->lock);
}

void lpm_session_charge(LpmSession *session, enum lpm_channel channel, gsize bytes)
{
    pthread_mutex_lock(&session->lock);
    session->outbox[channel].used += bytes;
    pthread_mutex_unlock(&session->lock);
}

void lpm_session_set_extra(LpmSession *session, enum lpm_channel channel, guint64 bytes)
{
    pthread_mutex_lock(&session->lock);
    session->outbox[channel].extra = bytes;
    pthread_cond_broadcast(&session->room[channel]);
    pthread_mutex_unlock(&session->lock);
}

void lpm_session_set_limit(LpmSession *session, enum lpm_channel channel, guint64 bytes)
{
    pthread_mutex_lock(&session->lock);
    session->outbox[channel].limit = bytes;
    pthread_mutex_unlock(&session->lock);
}

void lpm_session_set_drain(LpmSession *session, enum lpm_channel channel, gint64 us)
{
    pthread_mutex_lock(&session->lock);
    lpm_drain_set(&session->outbox[channel].drain, us, session->config.window);
    pthread_cond_broadcast(&session->room[channel]);
    pthread_mutex_unlock(&session->lock);
}

void lpm_session_set_rate(LpmSession *session, guint64 bytes_per_second)
{
    pthread_mutex_lock(&session->lock);
    lpm_pace_set(&session->pace, bytes_per_second, lpm_monotonic_us());
    for (guint i = 0; i < session->threads->len; i++)
        lpm_session_kick_locked(session->threads->pdata[i]);
    pthread_mutex_unlock(&session->lock);
}

void lpm_session_get_flow(LpmSession *session, enum lpm_channel channel,
                          struct lpm_session_flow *flow)
{
    const struct lpm_outbox *outbox = &session->outbox[channel];

    pthread_mutex_lock(&session->lock);
    flow->pushed = outbox->original;
    flow->acknowledged = outbox->original_acked;
    flow->window = MIN(session->config.window, session->peer_window);
    flow->limit = limit_locked(session, outbox);
    flow->waiting = outbox->waiting;
    pthread_mutex_unlock(&session->lock);
}

/* Lock held. */
static void push_locked(LpmSession *session, LpmFrame *frame)
{
    lpm_outbox_push(&session->outbox[frame->channel], frame);
    lpm_session_offer_locked(session);
}

void lpm_session_push(LpmSession *session, LpmFrame *frame)
{
    pthread_mutex_lock(&session->lock);
    struct lpm_outbox *outbox = &session->outbox[frame->channel];

    if (outbox->reset || (outbox->closed && frame->type == LPM_FRAME_KEPT)) {
        outbox->used -= frame->original;
        pthread_cond_broadcast(&session->room[frame->channel]);
        lpm_frame_free(frame);
    } else {
        push_locked(session, frame);
    }
    pthread_mutex_unlock(&session->lock);
}

void lpm_session_mark(LpmSession *session, enum lpm_channel channel, enum lpm_frame_type type)
{
    struct lpm_outbox *outbox = &session->outbox[channel];
    gboolean *flag = type == LPM_FRAME_OPEN    ? &outbox->opened
                     : type == LPM_FRAME_CLOSE ? &outbox->closed
                                               : &outbox->reset;

    pthread_mutex_lock(&session->lock);
    if (!*flag && !outbox->reset) {
        *flag = TRUE;
        push_locked(session, lpm_frame_new_raw(type, channel, NULL, 0));
        lpm_session_changed_locked(session);
    }
    pthread_mutex_unlock(&session->lock);
}

LpmFrame *lpm_session_take(LpmSession *session, enum lpm_channel channel)
{
    LpmFrame *frame = NULL;

    pthread_mutex_lock(&session->lock);
    while (!lpm_session_over_locked(session) && !(frame = lpm_inbox_take(&session->inbox[channel])))
        pthread_cond_wait(&session->arrival[channel], &session->lock);
    pthread_mutex_unlock(&session->lock);
    return frame;
}

void lpm_session_delivered(LpmSession *session, LpmFrame *frame)
{
    gboolean mark = frame->type != LPM_FRAME_DATA;

    pthread_mutex_lock(&session->lock);
    lpm_inbox_delivered(&session->inbox[frame->channel], frame);
    lpm_session_offer_locked(session);
    if (mark)
        lpm_session_changed_locked(session);
    pthread_mutex_unlock(&session->lock);
}

/* ---- observation ---- */

static void channel_state(const LpmSession *session, guint i, struct lpm_session_channel *state)
{
    const struct lpm_outbox *outbox = &session->outbox[i];
    const struct lpm_inbox *inbox = &session->inbox[i];

    state->peer_opened = inbox->opened;
    state->sent_all = (outbox->closed || outbox->reset) && !outbox->head;
    state->received_all = (inbox->closed || inbox->ended) && inbox->delivered == inbox->expected;
    state->unacknowledged = outbox->used;
    state->sent = outbox->original;
    state->sent_encoded = outbox->encoded;
    state->sent_acked = outbox->original_acked;
    state->received = inbox->original;
    state->received_encoded = inbox->encoded;
}

static void link_state(const struct lpm_link_slot *slot, guint i, struct lpm_session_state *state)
{
    struct lpm_session_link *link = &state->link[i];

    if (!slot->came)
        return;
    state->places = i + 1;
    link->reconnects = slot->came - 1;
    state->reconnects += link->reconnects;
    link->sent = slot->sent;
    link->received = slot->received;
    link->round_trip_us = slot->round_trip_us;
    lpm_session_look_at_link(slot, link);
}

void lpm_session_get_state(LpmSession *session, struct lpm_session_state *state)
{
    gboolean complete = TRUE;

    memset(state, 0, sizeof(*state));
    pthread_mutex_lock(&session->lock);
    for (guint i = 1; i < LPM_CHANNEL_COUNT; i++) {
        channel_state(session, i, &state->channels[i]);
        complete &= state->channels[i].sent_all && state->channels[i].received_all;
        state->receive.duplicates += session->inbox[i].duplicates;
        state->receive.no_buffers += session->outbox[i].stalls;
    }
    for (guint i = 0; i < LPM_LINKS_MOST; i++)
        link_state(&session->slots[i], i, state);
    state->link_up = lpm_session_up_locked(session);
    state->needs_link = lpm_session_needs_link_locked(session, complete);
    state->outages = session->outages;
    state->links_most = session->links_most;
    state->links = session->links;
    state->link_ended_us = session->link_ended_us;
    state->link_cause = g_strdup(session->link_cause);
    state->failed = session->failed;
    state->failed_cause = g_strdup(session->failed_cause);
    state->round_trip_us = session->round_trip_us;
    state->transmit.packets = session->tx_packets;
    state->transmit.bytes = session->tx_bytes;
    state->transmit.errors = session->tx_errors;
    state->receive.errors = session->rx_errors;
    state->receive.packets = session->rx_packets;
    state->receive.bytes = session->rx_bytes;
    state->receive.bad_packets = session->rx_bad;
    pthread_mutex_unlock(&session->lock);
}

void lpm_session_state_clear(struct lpm_session_state *state)
{
    g_clear_pointer(&state->link_cause, g_free);
    g_clear_pointer(&state->failed_cause, g_free);
}
