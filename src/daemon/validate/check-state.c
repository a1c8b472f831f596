/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The partition runs or is powered off, and is not in a migration (R2.10). */
#include "daemon/migration.h"
#include "daemon/validate/checks.h"

#include <string.h>

json_t *lpm_gather_state(struct lpm_validation *validation, GError **error G_GNUC_UNUSED)
{
    g_autoptr(LpmMigration) migration =
        lpm_migrations_by_uuid(validation->daemon->migrations, lpm_fact(validation->model, "uuid"));
    gboolean other = migration && !validation->for_migration;

    return json_pack("{s:s, s:s?}", "state", lpm_fact(validation->model, "state"), "migration",
                     other ? migration->id : NULL);
}

void lpm_judge_state(struct lpm_judgement *judgement)
{
    const char *state = lpm_fact(judgement->source, "state");
    const char *migration = lpm_fact(judgement->source, "migration");
    gboolean off = lpm_is_off(judgement->model) && lpm_fact_true(judgement->model, "persistent");

    if (*migration)
        lpm_find(judgement, LPM_E_ALREADY_MIGRATING, "migration %s has not ended", migration);
    else if (strcmp(state, "running") != 0 && !off)
        lpm_find(judgement, LPM_E_PARTITION_NOT_RUNNING, "partition '%s' is %s",
                 lpm_fact(judgement->model, "name"), state);
}
