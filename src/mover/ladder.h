/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Which method and level the next batch is compressed with: less where batches wait for a
 * processor, more where they wait for the link. Pure; belongs to one thread at a time.
 */
#ifndef LPM_MOVER_LADDER_H
#define LPM_MOVER_LADDER_H

#include "codec/compressor.h"

struct lpm_ladder {
    const struct lpm_compressor *fixed; /* not NULL: always this */
    int fixed_level;
    guint step;
    int trend;    /* -1, 0, 1: where the last looks pointed */
    guint seen;   /* how many of them in a row */
    guint64 hold; /* looks until what was made before the last step is gone */
};

/* What is seen when a batch is about to be compressed. */
struct lpm_ladder_look {
    guint threads;       /* that compress */
    guint waiting;       /* batches that no thread has begun, beside this one */
    guint64 link_frames; /* compressed, waiting for the link */
    guint busy_percent;  /* of the threads' time, lately */
    guint link_percent;  /* of the time that the link was busy, lately */
    guint share_percent; /* what is left of the bytes, lately; 0: not known */
    guint64 link_speed;  /* bytes per second in the time in which it was busy; 0: not known */
    gboolean hurry;      /* the partition stands still: what is left should arrive soon */
};

struct lpm_ladder_choice {
    const struct lpm_compressor *method;
    int level;
};

/* `method` NULL: by what is seen. Otherwise always `method` at `level`. */
void lpm_ladder_init(struct lpm_ladder *ladder, const struct lpm_compressor *method, int level);
struct lpm_ladder_choice lpm_ladder_choose(struct lpm_ladder *ladder,
                                           const struct lpm_ladder_look *look);

#endif
