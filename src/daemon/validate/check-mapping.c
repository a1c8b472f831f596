/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What has another name on the target has one there (R2.13), as mapping.c has found. */
#include "daemon/validate/checks.h"

#include <string.h>

json_t *lpm_gather_mapping(struct lpm_validation *validation, GError **error G_GNUC_UNUSED)
{
    return validation->mapping ? json_deep_copy(validation->mapping) : json_object();
}

/* Whether what was found under those names does is for the other checks to say. */
void lpm_judge_mapping(struct lpm_judgement *judgement)
{
    const json_t *entry;
    gboolean any = FALSE;
    size_t i;

    json_array_foreach (json_object_get(judgement->target, "adapters"), i, entry) {
        json_t *error = json_object_get(entry, "error");

        any = any || error || strcmp(lpm_fact(entry, "by"), "name") != 0;
        if (!error)
            continue;
        g_autoptr(GError) reason = lpm_error_from_json(error);
        lpm_find(judgement, (enum lpm_error_code)reason->code, "%s on %s: %s",
                 lpm_fact(entry, "adapter"), judgement->target_name, reason->message);
    }
    if (!any)
        lpm_does_not_apply(judgement);
}
