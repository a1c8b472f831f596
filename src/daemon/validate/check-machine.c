/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The target's hypervisor knows the machine (R2.8). */
#include "daemon/validate/checks.h"
#include "host/inspect.h"

json_t *lpm_gather_machine(struct lpm_validation *validation, GError **error)
{
    return lpm_host_abilities(validation->daemon->host, validation->model, error);
}

void lpm_judge_machine(struct lpm_judgement *judgement)
{
    if (!lpm_fact_true(judgement->target, "known"))
        lpm_find(judgement, LPM_E_MACHINE_UNKNOWN, "%s cannot be a %s of type %s for %s: %s",
                 judgement->target_name, lpm_fact(judgement->model, "hypervisor"),
                 lpm_fact(judgement->model, "machine"), lpm_fact(judgement->model, "arch"),
                 lpm_fact(judgement->target, "cause"));
}
