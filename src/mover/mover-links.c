/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* How many links the source asks for: what is seen of them, of TCP and of the host's processors,
 * for growth.h. */
#include "base/clock.h"
#include "mover/mover.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPAN_US 500000

/* The time that the processors we may use were idle, since the host started; -1: not known. */
static gint64 idle_us(int stat_fd)
{
    g_autofree char *text = g_malloc0(64 << 10); /* a line of up to 200 for 300 processors */
    ssize_t n = stat_fd < 0 ? -1 : pread(stat_fd, text, (64 << 10) - 1, 0);
    char *rest = NULL;
    cpu_set_t ours;
    gint64 ticks = 0;

    if (n <= 0 || sched_getaffinity(0, sizeof(ours), &ours) < 0)
        return -1;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        long long idle, wait;
        unsigned number;

        if (sscanf(line, "cpu%u %*u %*u %*u %lld %lld", &number, &idle, &wait) == 3 &&
            number < CPU_SETSIZE && CPU_ISSET(number, &ours))
            ticks += idle + wait;
    }
    return ticks * G_USEC_PER_SEC / sysconf(_SC_CLK_TCK);
}

static guint processors(void)
{
    cpu_set_t ours;

    return sched_getaffinity(0, sizeof(ours), &ours) < 0 ? 1 : (guint)CPU_COUNT(&ours);
}

void lpm_mover_links_start(LpmMover *mover, const LpmMoverStart *start)
{
    struct lpm_link_watch *watch = &mover->links;

    watch->grows = mover->side == LPM_SIDE_SOURCE && start->grow && start->links > 1;
    lpm_growth_init(&watch->growth, MIN(start->links, processors()));
    if (mover->side == LPM_SIDE_SOURCE && !start->grow)
        lpm_session_set_links(mover->session, start->links);
}

/* Sums and means of the links that are up. */
static guint sum_up(const struct lpm_session_state *state, struct lpm_growth_look *now)
{
    guint up = 0;

    for (guint i = 0; i < state->places; i++) {
        const struct lpm_session_link *link = &state->link[i];

        now->cpu_us += link->cpu_us;
        if (!link->up)
            continue;
        now->tcp_busy_us += link->tcp_busy_us;
        if (!up || link->tcp_least_round_trip_us < now->round_trip_us)
            now->round_trip_us = link->tcp_least_round_trip_us;
        up++;
    }
    now->tcp_busy_us /= MAX(up, 1);
    return up;
}

void lpm_mover_links_look(LpmMover *mover)
{
    struct lpm_link_watch *watch = &mover->links;
    gint64 now_us = lpm_monotonic_us();
    struct lpm_session_state state;
    struct lpm_session_flow flow;

    if (!watch->grows)
        return;
    lpm_session_get_flow(mover->session, LPM_CHANNEL_DATA, &flow);
    watch->waited &= flow.waiting > 0;
    if (now_us - watch->at_us < SPAN_US)
        return;
    struct lpm_growth_look now = {.span_us = now_us - watch->at_us,
                                  .waiting = watch->waited,
                                  .idle_us = idle_us(mover->stat_fd)};

    lpm_session_get_state(mover->session, &state);
    now.links = sum_up(&state, &now);
    now.bytes = state.transmit.bytes;
    lpm_session_state_clear(&state);
    struct lpm_growth_look look = now;

    look.cpu_us -= watch->seen.cpu_us;
    look.tcp_busy_us -= watch->seen.tcp_busy_us;
    look.bytes -= watch->seen.bytes;
    look.idle_us =
        now.idle_us < 0 || watch->seen.idle_us < 0 ? -1 : now.idle_us - watch->seen.idle_us;
    if (watch->at_us)
        lpm_session_set_links(mover->session, lpm_growth_look(&watch->growth, &look));
    watch->seen = now;
    watch->at_us = now_us;
    watch->waited = TRUE;
}
