/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The target has the processors (R2.7), of what check-memory.c and check-machine.c have found. */
#include "daemon/validate/checks.h"

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
