/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The target has the memory, huge pages and processors that the partition's current configuration
 * needs (R2.6, R2.7): what is there now, less what partitions that are on their way there will
 * take.
 */
#include "daemon/migration.h"
#include "daemon/validate/checks.h"
#include "host/inspect.h"

#include <string.h>

/* What QEMU takes beside the guest's memory: its own code and buffers, and the video memory. */
#define OVERHEAD_BYTES (G_GINT64_CONSTANT(64) << 20)

/* Memory of partitions that are being copied to this host; what has arrived already is counted
 * twice, on the careful side. */
static gint64 promised(struct lpm_validation *validation)
{
    g_autoptr(GPtrArray) active = lpm_migrations_active(validation->daemon->migrations);
    const char *own = lpm_fact(validation->model, "uuid");
    gint64 sum = 0;

    for (guint i = 0; i < active->len; i++) {
        const LpmMigration *migration = active->pdata[i];

        if (migration->side == LPM_SIDE_TARGET && strcmp(migration->uuid, own) != 0)
            sum += (gint64)migration->memory_bytes;
    }
    return sum;
}

json_t *lpm_gather_room(struct lpm_validation *validation, GError **error)
{
    json_t *room = lpm_host_room(validation->daemon->host, error);

    if (room)
        json_object_set_new(room, "promised_bytes", json_integer(promised(validation)));
    return room;
}

static gboolean on_hugepages(const json_t *model)
{
    return json_array_size(json_object_get(model, "hugepages")) > 0;
}

void lpm_judge_memory(struct lpm_judgement *judgement)
{
    gint64 need = OVERHEAD_BYTES;
    gint64 have = lpm_fact_int(judgement->target, "available_bytes") -
                  lpm_fact_int(judgement->target, "promised_bytes");

    if (!on_hugepages(judgement->model))
        need += lpm_fact_int(judgement->model, "memory_bytes");
    if (have >= need)
        return;
    g_autofree char *needed = lpm_mib(need), *had = lpm_mib(MAX(have, 0));
    lpm_find(judgement, LPM_E_MEMORY_SHORT, "%s has %s, required are %s", judgement->target_name,
             had, needed);
}

/* Free bytes in huge pages of `size`; of any size beyond the smallest if it is 0. */
static gint64 free_in(const json_t *room, gint64 size)
{
    const json_t *page;
    gint64 sum = 0;
    size_t i;

    json_array_foreach (json_object_get(room, "hugepages"), i, page) {
        gint64 its = lpm_fact_int(page, "size");
        if (size ? its == size : its > 65536)
            sum += its * lpm_fact_int(page, "free");
    }
    return sum;
}

void lpm_judge_hugepages(struct lpm_judgement *judgement)
{
    const json_t *page = json_array_get(json_object_get(judgement->model, "hugepages"), 0);
    gint64 size = lpm_fact_int(page, "size");
    gint64 need = lpm_fact_int(judgement->model, "memory_bytes");

    if (!on_hugepages(judgement->model)) {
        lpm_does_not_apply(judgement);
        return;
    }
    gint64 have =
        free_in(judgement->targets ? json_object_get(judgement->targets, "memory") : NULL, size);
    if (have >= need)
        return;
    g_autofree char *needed = lpm_mib(need), *had = lpm_mib(have);
    lpm_find(judgement, LPM_E_HUGEPAGES_SHORT,
             "%s has %s free in huge pages of %" G_GINT64_FORMAT " KiB, required are %s",
             judgement->target_name, had, size / 1024, needed);
}

void lpm_judge_vcpus(struct lpm_judgement *judgement)
{
    gint64 vcpus = lpm_fact_int(judgement->model, "vcpus");
    gint64 most = lpm_fact_int(json_object_get(judgement->targets, "machine"), "vcpus_max");
    gint64 cpus = lpm_fact_int(json_object_get(judgement->targets, "memory"), "cpus");
    gint64 own = lpm_fact_int(json_object_get(judgement->sources, "memory"), "cpus");

    if (most && vcpus > most)
        lpm_find(judgement, LPM_E_PROCESSORS_SHORT,
                 "the partition has %" G_GINT64_FORMAT " processors, a machine of its type on %s "
                 "can have %" G_GINT64_FORMAT,
                 vcpus, judgement->target_name, most);
    else if (cpus && vcpus > cpus && own > cpus)
        lpm_find(judgement, LPM_E_PROCESSORS_CROWDED,
                 "the partition has %" G_GINT64_FORMAT " processors, %s has %" G_GINT64_FORMAT,
                 vcpus, judgement->target_name, cpus);
}
