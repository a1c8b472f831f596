/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Both hosts may carry another migration (R3.12). */
#include "daemon/migration.h"
#include "daemon/validate/checks.h"

json_t *lpm_gather_limits(struct lpm_validation *validation, GError **error G_GNUC_UNUSED)
{
    return json_pack("{s:o}", "limits",
                     lpm_migrations_limits(validation->daemon->migrations, validation->side,
                                           validation->peer, lpm_fact(validation->model, "uuid")));
}

/* The first that is reached: the others would say the same again. */
static void judge_limits(struct lpm_judgement *judgement, const json_t *facts, const char *host)
{
    const json_t *limit;
    size_t i;

    json_array_foreach (json_object_get(facts, "limits"), i, limit) {
        gint64 active = lpm_fact_int(limit, "active"), most = lpm_fact_int(limit, "most");

        if (active < most)
            continue;
        lpm_find(judgement, LPM_E_TOO_MANY,
                 "%s carries %" G_GINT64_FORMAT " migrations of at most %" G_GINT64_FORMAT " (%s)",
                 host, active, most, lpm_fact(limit, "limit"));
        return;
    }
}

void lpm_judge_limits(struct lpm_judgement *judgement)
{
    judge_limits(judgement, judgement->source, judgement->source_name);
    judge_limits(judgement, judgement->target, judgement->target_name);
}
