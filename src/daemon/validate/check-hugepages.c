/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The target has the huge pages (R2.6), of what check-memory.c has found. */
#include "daemon/validate/checks.h"

gboolean lpm_on_hugepages(const json_t *model)
{
    return json_array_size(json_object_get(model, "hugepages")) > 0;
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

    if (!lpm_on_hugepages(judgement->model)) {
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
