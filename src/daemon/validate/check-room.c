/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The target has the memory, huge pages and processors that the partition's current configuration
 * needs (R2.6, R2.7): what is there now, less what is promised to others (reservations.h).
 */
#include "daemon/reservations.h"
#include "daemon/validate/checks.h"

#include <string.h>

json_t *lpm_gather_room(struct lpm_validation *validation, GError **error)
{
    return lpm_reservations_room(validation->daemon, lpm_fact(validation->model, "uuid"), error);
}

static gboolean on_hugepages(const json_t *model)
{
    return json_array_size(json_object_get(model, "hugepages")) > 0;
}

void lpm_judge_memory(struct lpm_judgement *judgement)
{
    gint64 need = lpm_reservations_need(lpm_fact_int(judgement->model, "memory_bytes"),
                                        on_hugepages(judgement->model));
    g_autofree char *shortage =
        lpm_reservations_shortage(judgement->target, need, judgement->target_name);

    if (shortage)
        lpm_find(judgement, LPM_E_MEMORY_SHORT, "%s", shortage);
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
    const json_t *room = json_object_get(judgement->targets, "memory");
    gint64 have = free_in(room, size) - lpm_fact_int(room, "promised_huge_bytes");
    if (have >= need)
        return;
    g_autofree char *needed = lpm_mib(need), *had = lpm_mib(MAX(have, 0));
    lpm_find(judgement, LPM_E_HUGEPAGES_SHORT,
             "%s has %s free in huge pages of %" G_GINT64_FORMAT " KiB, required are %s",
             judgement->target_name, had, size / 1024, needed);
}

void lpm_judge_vcpus(struct lpm_judgement *judgement)
{
    gint64 vcpus = lpm_fact_int(judgement->model, "vcpus");
    gint64 most = lpm_fact_int(json_object_get(judgement->targets, "machine"), "vcpus_max");
    const json_t *room = json_object_get(judgement->targets, "memory");
    gint64 cpus = lpm_fact_int(room, "cpus");
    gint64 promised = MAX(lpm_fact_int(room, "promised_vcpus"), 0);
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
    else if (cpus && promised && vcpus + promised > cpus)
        lpm_find(judgement, LPM_E_PROCESSORS_CROWDED,
                 "the partition has %" G_GINT64_FORMAT " processors and others on their way to %s "
                 "%" G_GINT64_FORMAT ", of its %" G_GINT64_FORMAT,
                 vcpus, judgement->target_name, promised, cpus);
}
