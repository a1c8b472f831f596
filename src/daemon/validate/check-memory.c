/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The target has the memory that the partition's current configuration needs (R2.7): what is there
 * now, less what is promised to others (reservations.h). */
#include "daemon/reservations.h"
#include "daemon/validate/checks.h"

json_t *lpm_gather_room(struct lpm_validation *validation, GError **error)
{
    return lpm_reservations_room(validation->daemon, lpm_fact(validation->model, "uuid"), error);
}

void lpm_judge_memory(struct lpm_judgement *judgement)
{
    gint64 need = lpm_reservations_need(lpm_fact_int(judgement->model, "memory_bytes"),
                                        lpm_on_hugepages(judgement->model));
    g_autofree char *shortage =
        lpm_reservations_shortage(judgement->target, need, judgement->target_name);

    if (shortage)
        lpm_find(judgement, LPM_E_MEMORY_SHORT, "%s", shortage);
}
