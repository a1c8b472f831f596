/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Of a partition that is powered off the definition is moved, with firmware variables and the state
 * of its TPM. What of that cannot be read here, or has no place there, is found before.
 */
#include "daemon/bundle.h"
#include "daemon/validate/checks.h"

#include <string.h>
#include <unistd.h>

/* The manifest is what would be sent; nothing is written. */
static json_t *gather_source(struct lpm_validation *validation, GError **error)
{
    struct lpm_daemon *daemon = validation->daemon;
    g_autoptr(LpmDefinition) definition =
        lpm_host_definition(daemon->host, lpm_fact(validation->model, "uuid"), error);
    json_t *files = definition ? lpm_bundle_fill(daemon->config, definition, NULL, error) : NULL;

    return files ? json_pack("{s:b, s:s, s:o}", "saved", definition->saved, "nvram",
                             definition->nvram ? definition->nvram : "", "files", files)
                 : NULL;
}

json_t *lpm_gather_definition(struct lpm_validation *validation, GError **error)
{
    const LpmConfig *config = validation->daemon->config;

    if (!lpm_is_off(validation->model))
        return json_object();
    if (validation->side == LPM_SIDE_SOURCE)
        return gather_source(validation, error);
    return json_pack("{s:s, s:s}", "nvram_dir", config->nvram_dir, "tpm_dir", config->tpm_dir);
}

static void judge_nvram(struct lpm_judgement *judgement, const char *path)
{
    const char *folder = lpm_fact(judgement->target, "nvram_dir");
    g_autofree char *own = g_path_get_dirname(path);

    if (strcmp(own, folder) != 0)
        lpm_find(judgement, LPM_E_DEFINITION_FILES,
                 "the firmware's variables are in %s, and nvram_dir of %s is %s", path,
                 judgement->target_name, folder);
}

void lpm_judge_definition(struct lpm_judgement *judgement)
{
    const json_t *file;
    size_t i;

    if (!lpm_is_off(judgement->model)) {
        lpm_does_not_apply(judgement);
        return;
    }
    if (lpm_fact_true(judgement->source, "saved"))
        lpm_find(judgement, LPM_E_SAVED_STATE, "partition '%s' has a managed save image",
                 lpm_fact(judgement->model, "name"));
    json_array_foreach (json_object_get(judgement->source, "files"), i, file) {
        if (strcmp(lpm_fact(file, "role"), "nvram") == 0)
            judge_nvram(judgement, lpm_fact(judgement->source, "nvram"));
    }
}
