/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The target's measure of post-copy: how long it takes from QEMU's request for a page to the
 * moment when the page has been given to QEMU. That is what a processor of the partition waits, but
 * for QEMU's own part. Any thread.
 */
#ifndef LPM_MOVER_DEMAND_METER_H
#define LPM_MOVER_DEMAND_METER_H

#include "mover/latency.h"
#include "stream/stream-parser.h"

/* Requests that wait for their page; more are not measured. */
#define LPM_DEMAND_METER_MAX 65536u

typedef struct lpm_demand_meter LpmDemandMeter;

/* With the blocks that `parser` knows. */
LpmDemandMeter *lpm_demand_meter_new(const LpmStreamParser *parser);
void lpm_demand_meter_free(LpmDemandMeter *meter);

/* A request passed; `name` NULL: the block is that of the last one. */
void lpm_demand_meter_asked(LpmDemandMeter *meter, const char *name, guint64 start, gint64 now_us);
/* The page was given to QEMU. */
void lpm_demand_meter_given(LpmDemandMeter *meter, guint block, guint64 offset, gint64 now_us);

struct lpm_demand_facts {
    guint64 requests;
    struct lpm_latency latency;
};
void lpm_demand_meter_get(LpmDemandMeter *meter, struct lpm_demand_facts *facts);

#endif
