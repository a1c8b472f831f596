/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Disks keep their paths (R2.13), of what check-disks.c has found. */
#include "daemon/validate/checks.h"

/* One that works now does not tell how many there were: fewer than on the source is what counts. A
 * target that reaches a multipath disk by one plain path has that one. */
void lpm_judge_paths(struct lpm_judgement *judgement)
{
    const json_t *seen = lpm_disks_seen(judgement->targets);
    const json_t *own = lpm_disks_seen(judgement->sources);
    const json_t *disk;
    gboolean any = FALSE;
    size_t i;

    json_array_foreach (own, i, disk) {
        const json_t *there = json_array_get(seen, i), *theirs = json_object_get(there, "paths");
        const json_t *ours = json_object_get(disk, "paths");
        gint64 have = lpm_fact_int(ours, "usable");
        gint64 get = theirs ? lpm_fact_int(theirs, "usable") : 1;

        if (!ours)
            continue;
        any = TRUE;
        /* One that is not there at all is the business of `disks`. */
        if (get < have && !*lpm_fact(there, "cause"))
            lpm_find_loss(judgement, LPM_E_PATHS_LOST,
                          "%s: %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT
                          " paths of %s are usable on %s, and %" G_GINT64_FORMAT
                          " of %" G_GINT64_FORMAT " on %s",
                          lpm_fact(disk, "target"), have, lpm_fact_int(ours, "all"),
                          lpm_fact(disk, "at"), judgement->source_name, get,
                          theirs ? lpm_fact_int(theirs, "all") : 1, judgement->target_name);
    }
    if (!any)
        lpm_does_not_apply(judgement);
}
