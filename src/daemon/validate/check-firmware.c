/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Firmware variables and an emulated TPM of a running partition. The content of both goes with the
 * partition, but the target's libvirt makes the file for the variables from a template before, and
 * starts a program for the TPM. Of one that is powered off the files are moved themselves
 * (check-definition.c), and only the program is asked for.
 */
#include "daemon/validate/checks.h"
#include "host/inspect.h"

#include <string.h>
#include <unistd.h>

static gboolean emulates_tpm(const json_t *model)
{
    const json_t *tpm;
    size_t i;

    json_array_foreach (json_object_get(model, "tpms"), i, tpm) {
        if (strcmp(lpm_fact(tpm, "backend"), "emulator") == 0)
            return TRUE;
    }
    return FALSE;
}

json_t *lpm_gather_firmware(struct lpm_validation *validation, GError **error)
{
    const json_t *model = validation->model;
    const char *nvram = lpm_fact(model, "nvram"), *template = lpm_fact(model, "nvram_template");
    json_t *facts = json_object();

    if (*nvram) {
        g_autofree char *folder = g_path_get_dirname(nvram);

        json_object_set_new(facts, "nvram", json_boolean(access(nvram, F_OK) == 0));
        json_object_set_new(facts, "folder", json_boolean(access(folder, F_OK) == 0));
        json_object_set_new(facts, "template", json_boolean(access(template, R_OK) == 0));
    }
    if (emulates_tpm(model) && validation->side == LPM_SIDE_TARGET) {
        json_t *abilities = lpm_host_abilities(validation->daemon->host, model, error);
        if (!abilities) {
            json_decref(facts);
            return NULL;
        }
        json_object_set(facts, "tpm", json_object_get(abilities, "tpm_emulator"));
        json_decref(abilities);
    }
    return facts;
}

/* An older or foreign file of that name is overwritten by what arrives, which is right for what a
 * migration left and wrong for another partition's. */
static void judge_nvram(struct lpm_judgement *judgement, const char *nvram)
{
    const json_t *there = judgement->target, *other;
    const json_t *names = json_object_get(judgement->targets, "names");
    const char *template = lpm_fact(judgement->model, "nvram_template");
    size_t i;

    if (!lpm_is_off(judgement->model) && !lpm_fact_true(there, "nvram")) {
        if (!lpm_fact_true(there, "folder"))
            lpm_find(judgement, LPM_E_NVRAM_PLACE, "%s has no folder for %s",
                     judgement->target_name, nvram);
        else if (*template && !lpm_fact_true(there, "template"))
            lpm_find(judgement, LPM_E_NVRAM_PLACE, "%s has neither %s nor its template %s",
                     judgement->target_name, nvram, template);
    }
    json_array_foreach (json_object_get(names, "partitions"), i, other) {
        if (strcmp(lpm_fact(other, "nvram"), nvram) == 0 &&
            strcmp(lpm_fact(other, "uuid"), lpm_fact(judgement->model, "uuid")) != 0)
            lpm_find(judgement, LPM_E_NVRAM_PLACE, "%s is of partition '%s' on %s", nvram,
                     lpm_fact(other, "name"), judgement->target_name);
    }
}

void lpm_judge_firmware(struct lpm_judgement *judgement)
{
    const char *nvram = lpm_fact(judgement->model, "nvram");
    gboolean tpm = emulates_tpm(judgement->model);

    if (*nvram)
        judge_nvram(judgement, nvram);
    if (tpm && !lpm_fact_true(judgement->target, "tpm"))
        lpm_find(judgement, LPM_E_TPM_MISSING, "libvirt on %s has no program for an emulated TPM",
                 judgement->target_name);
    if (!*nvram && !tpm)
        lpm_does_not_apply(judgement);
}
