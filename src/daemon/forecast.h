/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The forecast of a migration: how long it will take, for how long the partition will be suspended,
 * what it will send, and whether pre-copy comes to an end. A pure model (docs/forecast.md): what
 * was measured and what earlier migrations taught goes in, ranges come out. No function here asks
 * anything of a host, blocks, or keeps state; any thread.
 */
#ifndef LPM_DAEMON_FORECAST_H
#define LPM_DAEMON_FORECAST_H

#include "daemon/migration.h"

#include <glib.h>
#include <jansson.h>

/* A figure, and what it may be at least and at most. */
struct lpm_range {
    double low, expected, high;
};

/* What earlier migrations taught, or the defaults of docs/forecast.md (forecast-history.h). Times
 * in microseconds, rates in bytes of QEMU's stream per second. */
struct lpm_lessons {
    struct lpm_range before_us; /* from the start to the first byte of the stream */
    struct lpm_range after_us;  /* from the resumption to the end */
    struct lpm_range added_us;  /* the hand-over, within the suspension */
    struct lpm_range freeze;    /* the suspension before it, as a part of what QEMU was allowed */
    struct lpm_range switch_us; /* suspension of a switch to post-copy */
    /* before_us, after_us and engine are of a host that has nothing else to do: lpm_load_slows()
     * was taken out. */
    struct lpm_range engine;    /* rate of QEMU and the movers when nothing caps it */
    struct lpm_range ratio;     /* bytes of the stream per byte on the link when nothing caps it */
    struct lpm_range unchanged; /* part of what the target keeps that need not go again */
    struct lpm_range full;      /* part of the resident memory that goes as full pages */
    struct lpm_range again;     /* part of the pages written that goes again */
    double dirty_rate;          /* the partition's, as QEMU saw it; -1: not known */
    double link_rate;           /* of the link to that host, sampled last; 0: not known */
    guint of_partition, of_pair, of_all; /* migrations that were learnt from */
};

/* What is known before the copy begins. */
struct lpm_forecast_input {
    guint64 memory_bytes;
    guint64 resident_bytes; /* of the memory, in QEMU's resident set; 0: not known */
    double link_rate;       /* bytes/s that passed the movers' link; 0: not sampled */
    double dirty_rate;      /* bytes/s, distinct pages of one second; -1: not sampled */
    guint64 bandwidth;      /* cap on the wire in bytes/s; 0: none */
    gboolean fixed_method;  /* compression is not chosen by what waits */
    guint64 retained_bytes; /* of its pages, kept by the target from an earlier visit */
    guint max_suspend_ms;
    gboolean limit_asked; /* the operator named max_suspend_ms for this migration */
    enum lpm_post_copy post_copy;
    guint post_copy_rounds; /* of lpmd.conf */
    double load;            /* tasks that want a processor, for each processor; 0: not known */
    double sampling_us;     /* what the samples for it delay it by */
    struct lpm_lessons lessons;
};

enum lpm_converges { LPM_CONVERGES_YES, LPM_CONVERGES_UNSURE, LPM_CONVERGES_NO };

struct lpm_forecast {
    /* Not finite where the copy has no end (post-copy apart). */
    struct lpm_range total_us, suspended_us, rounds, stream_bytes, link_bytes;
    struct lpm_range rate; /* of the stream, bytes/s */
    enum lpm_converges converges;
    guint limit_ms; /* for QEMU: what max_suspend_ms leaves beside the hand-over, if it was asked */
};

/* What `ratio` becomes when a cap holds the link back, so that the movers have time to pack
 * tighter: `gain` times as much is saved. The reverse with 1 / gain. Pure. */
#define LPM_CAP_GAIN 1.3
double lpm_ratio_under_cap(double ratio, double gain);

/* How many times longer what needs a processor takes at that load (at least 1). Pure. */
double lpm_load_slows(double load);

void lpm_forecast_make(const struct lpm_forecast_input *input, struct lpm_forecast *forecast);

/* TRUE unless even the best case takes longer than max_suspend_ms, or has no end at all. *why (may
 * be NULL): the figures, for people; a new string, set when FALSE. */
gboolean lpm_forecast_holds(const struct lpm_forecast_input *input,
                            const struct lpm_forecast *forecast, char **why);

/* {made_ms, total_ms, suspended_us, rounds, stream_bytes, link_bytes: {low, expected, high}, each
 * null where there is no end; converges: "yes", "unsure" or "no"; limit_ms; inputs: {...}}. A new
 * reference. `made_ms`: when, since 1970. */
json_t *lpm_forecast_json(const struct lpm_forecast_input *input,
                          const struct lpm_forecast *forecast, gint64 made_ms);

#endif
