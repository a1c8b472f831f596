/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* No disk is reserved for one host (R2.2), of what check-disks.c has found. */
#include "daemon/validate/checks.h"

static gboolean is_exclusive(const json_t *reservation)
{
    gint64 number = lpm_fact_int(reservation, "number");

    return number == 1 || number == 3; /* 5 to 8 are of all registrants */
}

void lpm_judge_reservations(struct lpm_judgement *judgement)
{
    const json_t *seen = lpm_disks_seen(judgement->targets);
    const json_t *own = lpm_disks_seen(judgement->sources);
    const json_t *disk;
    gboolean any = FALSE;
    size_t i;

    json_array_foreach (own, i, disk) {
        const json_t *held = json_object_get(json_array_get(seen, i), "reservation");

        held = held ? held : json_object_get(disk, "reservation");
        any = any || json_object_get(disk, "keys");
        if (held && is_exclusive(held))
            lpm_find(judgement, LPM_E_DISK_RESERVED, "%s: %s is reserved (%s, key %s)",
                     lpm_fact(disk, "target"), lpm_fact(disk, "at"), lpm_fact(held, "type"),
                     lpm_fact(held, "key"));
    }
    if (!any)
        lpm_does_not_apply(judgement);
}
