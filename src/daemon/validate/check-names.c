/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Name and UUID are free on the target (R2.9). libvirt replaces an inactive definition of the same
 * name and UUID without a word, so those count too. */
#include "daemon/migration.h"
#include "daemon/validate/checks.h"
#include "host/inspect.h"

#include <string.h>

/* The copy that is being made of this very partition is no namesake. */
static void drop_copy(struct lpm_validation *validation, json_t *partitions)
{
    const char *uuid = lpm_fact(validation->model, "uuid");
    g_autoptr(LpmMigration) migration =
        lpm_migrations_by_uuid(validation->daemon->migrations, uuid);
    size_t i = json_array_size(partitions);

    while (migration && i-- > 0) {
        const json_t *entry = json_array_get(partitions, i);
        if (strcmp(lpm_fact(entry, "uuid"), uuid) == 0 && lpm_fact_true(entry, "active"))
            json_array_remove(partitions, i);
    }
}

json_t *lpm_gather_names(struct lpm_validation *validation, GError **error)
{
    /* The source has the partition itself, of course. */
    json_t *found = validation->side == LPM_SIDE_TARGET
                        ? lpm_host_definitions(validation->daemon->host, error)
                        : json_array();

    if (!found)
        return NULL;
    drop_copy(validation, found);
    return json_pack("{s:o}", "partitions", found);
}

void lpm_judge_names(struct lpm_judgement *judgement)
{
    const char *name = lpm_fact(judgement->model, "name");
    const char *uuid = lpm_fact(judgement->model, "uuid");
    const json_t *other;
    size_t i;

    json_array_foreach (json_object_get(judgement->target, "partitions"), i, other) {
        gboolean same_name = strcmp(lpm_fact(other, "name"), name) == 0;
        gboolean same_uuid = strcmp(lpm_fact(other, "uuid"), uuid) == 0;

        if (same_name || same_uuid)
            lpm_find(judgement, LPM_E_NAME_IN_USE,
                     "%s has a%s partition '%s' (UUID %s), which has the %s of '%s'",
                     judgement->target_name,
                     lpm_fact_true(other, "active") ? " running" : "n inactive",
                     lpm_fact(other, "name"), lpm_fact(other, "uuid"),
                     same_name && same_uuid ? "name and UUID"
                     : same_name            ? "name"
                                            : "UUID",
                     name);
    }
}
