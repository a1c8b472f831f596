/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/demand-meter.h"

#include <pthread.h>
#include <string.h>

struct lpm_demand_meter {
    /* immutable */
    GPtrArray *names; /* of the blocks, owned */

    pthread_mutex_t lock;
    /* guarded by lock */
    GHashTable *asked; /* gint64 when, by block and offset; removed when it is given */
    gint last_named;
    struct lpm_demand_facts facts;
};

LpmDemandMeter *lpm_demand_meter_new(const LpmStreamParser *parser)
{
    LpmDemandMeter *meter = g_new0(LpmDemandMeter, 1);
    const struct lpm_stream_block *block;

    meter->names = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; (block = lpm_stream_parser_block(parser, i)); i++)
        g_ptr_array_add(meter->names, g_strdup(block->name));
    meter->asked = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    meter->last_named = -1;
    pthread_mutex_init(&meter->lock, NULL);
    return meter;
}

void lpm_demand_meter_free(LpmDemandMeter *meter)
{
    if (!meter)
        return;
    g_ptr_array_unref(meter->names);
    g_hash_table_unref(meter->asked);
    pthread_mutex_destroy(&meter->lock);
    g_free(meter);
}

/* Blocks are 4096 at most, and pages have 1024 bytes at least. */
static gint64 key_of(guint block, guint64 offset)
{
    return (gint64)((guint64)block << 52 | (offset >> 10 & ((1ULL << 52) - 1)));
}

static gint find_block(const LpmDemandMeter *meter, const char *name)
{
    for (guint i = 0; i < meter->names->len; i++)
        if (strcmp(meter->names->pdata[i], name) == 0)
            return (gint)i;
    return -1;
}

void lpm_demand_meter_asked(LpmDemandMeter *meter, const char *name, guint64 start, gint64 now_us)
{
    pthread_mutex_lock(&meter->lock);
    if (name)
        meter->last_named = find_block(meter, name);
    meter->facts.requests++;
    if (meter->last_named >= 0 && g_hash_table_size(meter->asked) < LPM_DEMAND_METER_MAX) {
        gint64 key = key_of((guint)meter->last_named, start);

        if (!g_hash_table_contains(meter->asked, &key))
            g_hash_table_insert(meter->asked, g_memdup2(&key, sizeof(key)),
                                g_memdup2(&now_us, sizeof(now_us)));
    }
    pthread_mutex_unlock(&meter->lock);
}

void lpm_demand_meter_given(LpmDemandMeter *meter, guint block, guint64 offset, gint64 now_us)
{
    gint64 key = key_of(block, offset);

    pthread_mutex_lock(&meter->lock);
    const gint64 *asked_us = g_hash_table_lookup(meter->asked, &key);

    if (asked_us) {
        lpm_latency_add(&meter->facts.latency, now_us - *asked_us);
        g_hash_table_remove(meter->asked, &key);
    }
    pthread_mutex_unlock(&meter->lock);
}

void lpm_demand_meter_get(LpmDemandMeter *meter, struct lpm_demand_facts *facts)
{
    pthread_mutex_lock(&meter->lock);
    *facts = meter->facts;
    pthread_mutex_unlock(&meter->lock);
}
