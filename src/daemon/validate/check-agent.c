/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The guest agent answers, where there is one (R2.10). */
#include "daemon/validate/checks.h"

#include <string.h>

/* The guest agent has a channel and is not at its other end: what asks the guest will get no
 * answer. A partition without such a channel never had one. */
void lpm_judge_agent(struct lpm_judgement *judgement)
{
    const json_t *channel;
    gboolean any = FALSE;
    size_t i;

    json_array_foreach (json_object_get(judgement->model, "channels"), i, channel) {
        if (strcmp(lpm_fact(channel, "target"), "org.qemu.guest_agent.0") != 0)
            continue;
        any = TRUE;
        if (strcmp(lpm_fact(channel, "state"), "connected") != 0 &&
            strcmp(lpm_fact(judgement->model, "state"), "running") == 0)
            lpm_find(judgement, LPM_E_AGENT_SILENT,
                     "nothing in the guest has opened the channel org.qemu.guest_agent.0");
    }
    if (!any || lpm_is_off(judgement->model))
        lpm_does_not_apply(judgement);
}
