/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/ladder.h"

/* From the least work to the most; `cost`: processor time for the same bytes, in proportion;
 * `share`: percent of the bytes left, of a partition's memory. A step that costs more than the next
 * one and gains less is not here (zstd below -3 beside lz4). */
static const struct {
    const struct lpm_compressor *method;
    int level;
    guint cost, share;
} steps[] = {
    {&lpm_compressor_none, 0, 1, 100},  {&lpm_compressor_lz4, 0, 16, 49},
    {&lpm_compressor_zstd, -3, 20, 42}, {&lpm_compressor_zstd, -1, 23, 39},
    {&lpm_compressor_zstd, 1, 30, 35},  {&lpm_compressor_zstd, 3, 50, 33},
};

/* Where it begins, and where it goes while nothing waits. */
#define HOME 3u
/* In a hurry no batch may take long. */
#define HURRY_MOST 3u
/* Frames that wait for the link: one that each thread may just have made is no backlog. */
#define BACKLOG(threads) (MIN(threads, 5u) + 1)
/* A step up must leave some of the threads' time. */
#define BUSY_MOST 90u
/* Looks that point the same way before a step. */
#define PATIENCE 3u
/* A step down must not make the link the bottleneck. */
#define LINK_MOST 100u
/* Below HOME it costs others of the link more than it saves here, unless the link is a fast one. */
#define FAST_LINK (150u * 1000 * 1000)

void lpm_ladder_init(struct lpm_ladder *ladder, const struct lpm_compressor *method, int level)
{
    *ladder = (struct lpm_ladder){.fixed = method, .fixed_level = level, .step = HOME};
}

static gboolean may_rise(const struct lpm_ladder *ladder, const struct lpm_ladder_look *look)
{
    return ladder->step + 1 < G_N_ELEMENTS(steps) &&
           look->busy_percent * steps[ladder->step + 1].cost <=
               BUSY_MOST * steps[ladder->step].cost;
}

static gboolean may_fall(const struct lpm_ladder *ladder, const struct lpm_ladder_look *look)
{
    if (!ladder->step || (ladder->step <= HOME && look->link_speed < FAST_LINK))
        return FALSE;
    guint here = steps[ladder->step].share, below = steps[ladder->step - 1].share;

    /* What is not compressed at all has the share 100, whatever the content. */
    if (ladder->step == 1 && look->share_percent)
        here = look->share_percent;
    return look->link_percent * below <= LINK_MOST * here;
}

static int direction(const struct lpm_ladder *ladder, const struct lpm_ladder_look *look)
{
    gboolean link = look->link_frames >= BACKLOG(look->threads);

    if (look->waiting)
        return !link && may_fall(ladder, look) ? -1 : 0;
    if (!link && ladder->step > HOME)
        return -1;
    return (link || ladder->step < HOME) && may_rise(ladder, look) ? 1 : 0;
}

struct lpm_ladder_choice lpm_ladder_choose(struct lpm_ladder *ladder,
                                           const struct lpm_ladder_look *look)
{
    if (ladder->fixed)
        return (struct lpm_ladder_choice){ladder->fixed, ladder->fixed_level};
    int trend = ladder->hold ? 0 : direction(ladder, look);

    ladder->hold -= ladder->hold ? 1 : 0;
    ladder->seen = trend == ladder->trend ? ladder->seen + 1 : 1;
    ladder->trend = trend;
    if (trend && ladder->seen >= PATIENCE) {
        ladder->step = (guint)((int)ladder->step + trend);
        ladder->seen = 0;
        ladder->hold = look->link_frames + look->waiting;
    }
    guint step = look->hurry ? MIN(ladder->step, HURRY_MOST) : ladder->step;

    return (struct lpm_ladder_choice){steps[step].method, steps[step].level};
}
