/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The hosts' clocks agree (R2.12). */
#include "daemon/peer-client.h"
#include "daemon/validate/checks.h"

#include <stdlib.h>
#include <sys/timex.h>

#define CLOCK_TOLERANCE_US 500000

/* The kernel's own word on whether something keeps its clock: a fact for who reads the report. Two
 * clocks that agree are good enough, kept or not. */
static gboolean is_kept(void)
{
    struct timex state = {0};

    return adjtimex(&state) >= 0 && !(state.status & STA_UNSYNC);
}

json_t *lpm_gather_clocks(struct lpm_validation *validation, GError **error)
{
    struct lpm_peer_clock clock;
    json_t *facts = json_pack("{s:b}", "kept", is_kept());

    if (validation->side == LPM_SIDE_TARGET)
        return facts;
    if (!lpm_peer_clock(validation->daemon->peers, validation->peer, 5, &clock, error)) {
        json_decref(facts);
        return NULL;
    }
    json_object_set_new(facts, "offset_us", json_integer(clock.offset_us));
    json_object_set_new(facts, "error_us", json_integer(clock.error_us));
    return facts;
}

void lpm_judge_clocks(struct lpm_judgement *judgement)
{
    gint64 offset = lpm_fact_int(judgement->source, "offset_us");
    gint64 error = lpm_fact_int(judgement->source, "error_us");

    if (llabs(offset) - error > CLOCK_TOLERANCE_US)
        lpm_find(judgement, LPM_E_CLOCKS_DIFFER,
                 "%s's clock is %" G_GINT64_FORMAT " ms %s, known to +/- %" G_GINT64_FORMAT " us",
                 judgement->target_name, (gint64)llabs(offset) / 1000,
                 offset > 0 ? "ahead" : "behind", error);
}
