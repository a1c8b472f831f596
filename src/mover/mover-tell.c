/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What lpmd is told: the difference between the facts and what it was told last. */
#include "base/clock.h"
#include "base/fdio.h"
#include "mover/mover.h"

#include <string.h>
#include <unistd.h>

/* A link that broke is asked for again after this, so that two sides that cannot agree do not spin.
 */
#define NEED_LINK_AFTER_US (200 * 1000)

void lpm_mover_send(LpmMover *mover, const LpmMoverEvent *event)
{
    g_autoptr(GError) error = NULL;

    if (mover->control_fd < 0 || lpm_mover_event_send(mover->control_fd, event, &error))
        return;
    lpm_log(LPM_LOG_INFO, &mover->log, "lpmd is gone, waiting for another: %s", error->message);
    lpm_fd_clear(&mover->control_fd);
}

static void tell_link(LpmMover *mover, const struct lpm_session_state *state)
{
    struct lpm_told *told = &mover->told;
    LpmMoverEvent event = {.type = LPM_MOVER_LINK, .reconnects = state->reconnects};

    gboolean went = told->link_up && (!state->link_up || told->outages != state->outages);
    gboolean never_came = !told->link_up && !state->link_up && state->link_cause &&
                          told->link_ended_us != state->link_ended_us;

    /* Down, also if it is up again by now: lpmd should know that it was away. */
    if (went || never_came) {
        event.cause = state->link_cause;
        lpm_mover_send(mover, &event);
    }
    if (state->link_up && (!told->link_up || told->links != state->links)) {
        event.link_up = TRUE;
        event.cause = NULL;
        lpm_mover_send(mover, &event);
    }
    told->link_up = state->link_up;
    told->links = state->links;
    told->outages = state->outages;
    told->link_ended_us = state->link_ended_us;
}

static void tell_need(LpmMover *mover, enum lpm_mover_need need, gboolean wanted)
{
    LpmMoverEvent event = {.type = LPM_MOVER_NEED, .need = need};

    if (wanted && !mover->told.need[need])
        lpm_mover_send(mover, &event);
    mover->told.need[need] = wanted;
}

static void tell_channel(LpmMover *mover, enum lpm_channel channel)
{
    g_autofree char *cause = NULL;
    enum lpm_channel_state state = lpm_endpoint_state(mover->endpoint[channel], &cause);
    lpm_autofd lent = -1;

    if (state == mover->told.channel[channel])
        return;
    /* What is only ending is open still, for an lpmd that was not there when it opened. */
    if (mover->start.hold_ends && mover->told.channel[channel] == LPM_CHANNEL_NONE &&
        state != LPM_CHANNEL_CLOSED)
        lent = lpm_endpoint_lend(mover->endpoint[channel]);
    LpmMoverEvent event = {.type = LPM_MOVER_CHANNEL,
                           .channel = channel,
                           .state = lent < 0 ? state : LPM_CHANNEL_OPEN,
                           .fd = lent,
                           .cause = lent < 0 ? cause : NULL};

    lpm_mover_send(mover, &event);
    mover->told.channel[channel] = event.state;
    if (state == event.state)
        return;
    event = (LpmMoverEvent){
        .type = LPM_MOVER_CHANNEL, .channel = channel, .state = state, .fd = -1, .cause = cause};
    lpm_mover_send(mover, &event);
    mover->told.channel[channel] = state;
}

static void tell_finish(LpmMover *mover)
{
    struct lpm_rpc_finish finish;

    lpm_rpc_pump_finish(mover->rpc, &finish);
    LpmMoverEvent event = {
        .type = LPM_MOVER_FINISH_HELD, .status = finish.status, .cancelled = finish.cancelled};

    if (finish.state == LPM_FINISH_HELD && mover->told.finish != LPM_FINISH_HELD)
        lpm_mover_send(mover, &event);
    mover->told.finish = finish.state;
}

static void tell_postcopy(LpmMover *mover)
{
    struct lpm_switchover_state state;
    struct lpm_told *told = &mover->told;

    lpm_switchover_get(mover->switchover, &state);
    LpmMoverEvent event = {.type = LPM_MOVER_POSTCOPY, .waiting = state.waiting, .fd = -1};

    /* Allowed now the copy would be the partition, with its start still on its way: not told yet.
     */
    if (state.incomplete)
        return;
    if (state.outcome == LPM_OUTCOME_POSTCOPY &&
        (told->outcome != state.outcome || told->run_waiting != state.waiting)) {
        event.memory = lpm_data_pump_describe_memory(mover->data);
        lpm_mover_send(mover, &event);
        lpm_mover_event_clear(&event);
    }
    told->outcome = state.outcome;
    told->run_waiting = state.waiting;
}

static void tell_bitmaps(LpmMover *mover)
{
    struct lpm_told *told = &mover->told;
    gboolean seen = lpm_bitmap_gate_seen(mover->gate);
    LpmMoverEvent event = {.type = LPM_MOVER_BITMAPS,
                           .waiting = lpm_bitmap_gate_waiting(mover->gate)};

    if (seen && (!told->bitmaps_seen || told->bitmaps_waiting != event.waiting))
        lpm_mover_send(mover, &event);
    told->bitmaps_seen = seen;
    told->bitmaps_waiting = event.waiting;
}

static gboolean complete(LpmMover *mover, const struct lpm_session_state *state)
{
    for (guint i = 1; i < LPM_CHANNEL_COUNT; i++)
        if (!state->channels[i].sent_all || !state->channels[i].received_all ||
            lpm_endpoint_state(mover->endpoint[i], NULL) != LPM_CHANNEL_CLOSED)
            return FALSE;
    return TRUE;
}

/* A session that failed is of no use to the programs: their sockets end. */
static void tell_end(LpmMover *mover, const struct lpm_session_state *state)
{
    LpmMoverEvent failed = {
        .type = LPM_MOVER_FAILED, .code = state->failed, .cause = state->failed_cause};
    LpmMoverEvent ended = {.type = LPM_MOVER_ENDED};

    if (state->failed && !mover->told.failed) {
        lpm_log(LPM_LOG_ERROR, &mover->log, "the session failed: LPM-%d: %s", state->failed,
                state->failed_cause);
        for (guint i = 1; i < LPM_CHANNEL_COUNT; i++)
            lpm_endpoint_cancel(mover->endpoint[i], state->failed_cause);
        lpm_switchover_cancel(mover->switchover);
        lpm_bitmap_gate_cancel(mover->gate);
        lpm_rpc_pump_cancel(mover->rpc);
        lpm_data_pump_cancel(mover->data);
        mover->told.failed = TRUE;
        lpm_mover_send(mover, &failed);
    }
    if (!state->failed && !mover->told.ended && complete(mover, state)) {
        mover->told.ended = TRUE;
        lpm_mover_send(mover, &ended);
    }
}

void lpm_mover_tell(LpmMover *mover)
{
    struct lpm_session_state state;

    if (!mover->started)
        return;
    lpm_session_get_state(mover->session, &state);
    gboolean rested = lpm_monotonic_us() - state.link_ended_us >= NEED_LINK_AFTER_US;
    gboolean target = mover->side == LPM_SIDE_TARGET && !state.failed;

    tell_link(mover, &state);
    tell_need(mover, LPM_NEED_LINK, state.needs_link && (!state.link_ended_us || rested));
    tell_need(mover, LPM_NEED_RPC,
              target && state.channels[LPM_CHANNEL_RPC].peer_opened &&
                  lpm_endpoint_state(mover->endpoint[LPM_CHANNEL_RPC], NULL) == LPM_CHANNEL_NONE);
    tell_need(mover, LPM_NEED_DATA,
              target && state.channels[LPM_CHANNEL_DATA].peer_opened &&
                  lpm_endpoint_state(mover->endpoint[LPM_CHANNEL_DATA], NULL) == LPM_CHANNEL_NONE);
    tell_channel(mover, LPM_CHANNEL_RPC);
    tell_channel(mover, LPM_CHANNEL_DATA);
    tell_finish(mover);
    tell_postcopy(mover);
    tell_bitmaps(mover);
    tell_end(mover, &state);
    lpm_session_state_clear(&state);
}

void lpm_mover_greet(LpmMover *mover)
{
    LpmMoverEvent hello = {
        .type = LPM_MOVER_HELLO, .started = mover->started, .side = mover->side, .pid = getpid()};
    struct lpm_rpc_finish finish = {0};

    memset(&mover->told, 0, sizeof(mover->told));
    if (mover->started) {
        lpm_rpc_pump_finish(mover->rpc, &finish);
        memcpy(hello.session, mover->start.session, sizeof(hello.session));
        hello.finish = finish.state;
    }
    lpm_mover_send(mover, &hello);
    lpm_mover_tell(mover);
}
