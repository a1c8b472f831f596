/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* No disk's data stays in the source's memory (R2.2): what its kernel still holds would be lost to
 * the target. */
#include "daemon/validate/checks.h"

#include <string.h>

void lpm_judge_caches(struct lpm_judgement *judgement)
{
    const json_t *disk;
    gboolean any = FALSE;
    size_t i;

    if (lpm_is_off(judgement->model)) { /* its QEMU wrote everything back when it ended */
        lpm_does_not_apply(judgement);
        return;
    }
    json_array_foreach (json_object_get(judgement->model, "disks"), i, disk) {
        const char *cache = lpm_fact(disk, "cache");

        /* QEMU's network drivers do not go through the host's page cache. */
        if (lpm_fact_true(disk, "readonly") || strcmp(lpm_fact(disk, "type"), "network") == 0)
            continue;
        any = TRUE;
        if (strcmp(cache, "none") != 0 && strcmp(cache, "directsync") != 0)
            lpm_find(judgement, LPM_E_DISK_CACHE, "%s has cache mode '%s'",
                     lpm_fact(disk, "target"), *cache ? cache : "default (writeback)");
    }
    if (!any)
        lpm_does_not_apply(judgement);
}
