/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/growth.h"

/* Looks that must agree, and that another link is given to show what it is good for: a second. */
#define AGREE 2
/* Of its time a thread is on a processor when it has no other choice; what is missing to 100 is the
 * reading of acknowledgements and the looks of others at the lock. */
#define THREAD_FULL_PERCENT 85
/* Of one processor, so that another thread has where to run. */
#define IDLE_PERCENT 50
/* A path on which one loss costs TCP longer than a moment: half of a window of 1 MiB is made up for
 * in some hundred round trips. Below, one connection fills what there is. */
#define LONG_PATH_US 20000
#define TCP_FULL_PERCENT 90
/* Less than this is no use. */
#define GAIN_PERCENT 10

void lpm_growth_init(struct lpm_growth *growth, guint most)
{
    *growth = (struct lpm_growth){.most = MAX(most, 1), .wanted = 1};
}

static gboolean processor_bound(const struct lpm_growth_look *look)
{
    return look->cpu_us * 100 >= look->span_us * look->links * THREAD_FULL_PERCENT &&
           look->idle_us * 100 >= look->span_us * IDLE_PERCENT;
}

static gboolean path_bound(const struct lpm_growth_look *look)
{
    return look->round_trip_us >= LONG_PATH_US &&
           look->tcp_busy_us * 100 >= look->span_us * TCP_FULL_PERCENT &&
           look->cpu_us * 100 < look->span_us * look->links * THREAD_FULL_PERCENT;
}

/* TRUE while the last link that came has yet to show its use. */
static gboolean on_trial(struct lpm_growth *growth, double speed)
{
    if (growth->before <= 0)
        return FALSE;
    if (++growth->tried < AGREE)
        return TRUE;
    growth->still = speed * 100 < growth->before * (100 + GAIN_PERCENT);
    growth->before = 0;
    return FALSE;
}

guint lpm_growth_look(struct lpm_growth *growth, const struct lpm_growth_look *look)
{
    double speed = (double)look->bytes * G_USEC_PER_SEC / (double)MAX(look->span_us, 1);
    gboolean held_up = look->waiting && (processor_bound(look) || path_bound(look));

    /* One that is missing is asked for already; what is seen meanwhile says nothing. */
    if (look->links < growth->wanted) {
        growth->held_up = growth->tried = 0;
        return growth->wanted;
    }
    if (on_trial(growth, speed))
        return growth->wanted;
    growth->held_up = held_up ? growth->held_up + 1 : 0;
    if (growth->held_up < AGREE || growth->still || growth->wanted >= growth->most)
        return growth->wanted;
    growth->held_up = growth->tried = 0;
    growth->before = speed;
    return ++growth->wanted;
}
