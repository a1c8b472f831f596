/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The partition's processor and machine are ones that the target's hypervisor can be (R2.8, R2.1):
 * asked of libvirt and QEMU on both hosts, since what a host says it cannot do does not count
 * against the target when the source cannot do it either and the partition runs nevertheless.
 *
 * A partition with the host's own processor (host-passthrough, maximum) is given whatever is there,
 * which libvirt does not compare; so the source's own processor is compared on the target. One that
 * is defined with the host's (host-model) is fixed while it runs and is made anew when it is
 * started anew: what the target makes of that mode is compared on the source, for the way back.
 *
 * On Power libvirt compares nothing; there the compatibility mode is a generation (POWER9), which a
 * host of that or a later one can be.
 */
#include "daemon/validate/checks.h"
#include "host/inspect.h"

#include <string.h>

/* Under emulation `maximum` is what QEMU can do, whatever the host is. */
static gboolean is_emulated(const json_t *model)
{
    return strcmp(lpm_fact(model, "hypervisor"), "qemu") == 0;
}

static gboolean is_passthrough(const json_t *model)
{
    const char *mode = lpm_fact(model, "cpu_mode");

    return strcmp(mode, "host-passthrough") == 0 || strcmp(mode, "maximum") == 0;
}

/* Mode host-model, in its definition: what it will be when it is started anew. */
static gboolean is_made_anew(const json_t *model)
{
    return strcmp(lpm_fact(model, "next_cpu_mode"), "host-model") == 0;
}

void lpm_processor_note_host(struct lpm_daemon *daemon, json_t *model)
{
    if (!is_passthrough(model) || is_emulated(model))
        return;
    json_t *own = lpm_host_abilities(daemon->host, model, NULL);
    json_t *cpu = json_object_get(own, "cpu_xml");
    if (cpu)
        json_object_set(model, "host_cpu_xml", cpu);
    json_decref(own);
}

json_t *lpm_gather_processor(struct lpm_validation *validation, GError **error)
{
    const json_t *model = validation->model;
    const char *cpu =
        is_passthrough(model) ? lpm_fact(model, "host_cpu_xml") : lpm_fact(model, "cpu_xml");

    if (!*cpu || (is_passthrough(model) && is_emulated(model)))
        return json_pack("{s:s}", "result", "none");
    return lpm_host_compare_cpu(validation->daemon->host, model, cpu, error);
}

/* What the target makes of host-model is asked of the source, by libvirt there, as it will be when
 * the partition comes back. */
void lpm_processor_settle(struct lpm_validation *validation, json_t *sources, const json_t *targets)
{
    const char *cpu = lpm_fact(json_object_get(targets, "machine"), "host_model_xml");

    if (!*cpu || !is_made_anew(validation->model))
        return;
    json_t *compared = lpm_host_compare_cpu(validation->daemon->host, validation->model, cpu, NULL);
    if (compared)
        json_object_set_new(json_object_get(sources, "processor"), "way_back", compared);
}

static gboolean is(const json_t *facts, const char *result)
{
    return strcmp(lpm_fact(facts, "result"), result) == 0;
}

/* A guest that has the host's own processor may know it by its microcode too. */
static void judge_microcode(struct lpm_judgement *judgement)
{
    const char *here = lpm_fact(json_object_get(judgement->sources, "machine"), "microcode");
    const char *there = lpm_fact(json_object_get(judgement->targets, "machine"), "microcode");

    if (*here && *there && strcmp(here, there) != 0)
        lpm_find(judgement, LPM_E_CPU_DIFFERS, "microcode %s on %s, %s on %s", here,
                 judgement->source_name, there, judgement->target_name);
}

static void judge_passthrough(struct lpm_judgement *judgement)
{
    if (is(judgement->target, "incompatible"))
        lpm_find(judgement, LPM_E_CPU_INCOMPATIBLE,
                 "the partition has %s's own processor, and %s lacks some of it: %s",
                 judgement->source_name, judgement->target_name,
                 lpm_fact(judgement->target, "cause"));
    else if (is(judgement->target, "superset") && !is(judgement->source, "superset"))
        lpm_find(judgement, LPM_E_WAY_BACK,
                 "the partition has its host's own processor, and %s's has more than %s's",
                 judgement->target_name, judgement->source_name);
}

static void judge_way_back(struct lpm_judgement *judgement)
{
    const json_t *way_back = json_object_get(judgement->source, "way_back");

    if (is_made_anew(judgement->model) && is(way_back, "incompatible"))
        lpm_find(judgement, LPM_E_WAY_BACK,
                 "it is defined with the processor of its host (host-model): started anew on %s it "
                 "could not come back to %s: %s",
                 judgement->target_name, judgement->source_name, lpm_fact(way_back, "cause"));
}

/* ---- Power ---- */

/* "POWER9_v2.0", "power9" -> 9; 0: no such name. */
static gint64 generation(const char *name)
{
    return g_ascii_strncasecmp(name, "power", 5) == 0 ? g_ascii_strtoll(name + 5, NULL, 10) : 0;
}

/* By its name: of emulation, which has no processor of a host beneath. */
static gboolean has_model(const json_t *machine, const char *name)
{
    const json_t *entry;
    size_t i;

    json_array_foreach (json_object_get(machine, "cpu_models"), i, entry) {
        if (g_ascii_strcasecmp(lpm_fact(entry, "name"), name) == 0)
            return TRUE;
    }
    return FALSE;
}

/* Without a mode the partition has the host's generation, now and when it is started anew. */
static void judge_power(struct lpm_judgement *judgement)
{
    const json_t *machine = json_object_get(judgement->targets, "machine");
    const json_t *own_machine = json_object_get(judgement->sources, "machine");
    const char *mode = lpm_fact(judgement->model, "cpu_model");
    gint64 here = generation(lpm_fact(own_machine, "cpu_model"));
    gint64 there = generation(lpm_fact(machine, "cpu_model"));
    gint64 needed = *mode ? generation(mode) : here;

    if (is_emulated(judgement->model)) {
        if (*mode && lpm_fact_true(machine, "known") && !has_model(machine, mode))
            lpm_find(judgement, LPM_E_CPU_INCOMPATIBLE, "%s cannot be a %s", judgement->target_name,
                     mode);
        return;
    }
    if (needed && there && there < needed)
        lpm_find(judgement, LPM_E_CPU_INCOMPATIBLE,
                 "the partition runs as POWER%" G_GINT64_FORMAT
                 ", and %s is a POWER%" G_GINT64_FORMAT,
                 needed, judgement->target_name, there);
    else if (!*mode && here && there > here)
        lpm_find(judgement, LPM_E_WAY_BACK,
                 "it has no compatibility mode, and %s is a POWER%" G_GINT64_FORMAT
                 ": started anew there it could not come back to a POWER%" G_GINT64_FORMAT,
                 judgement->target_name, there, here);
}

static void judge_same_kind(struct lpm_judgement *judgement)
{
    if (is(judgement->source, "none")) {
        lpm_does_not_apply(judgement);
    } else if (is(judgement->target, "unknown") && !is(judgement->source, "unknown")) {
        /* A machine type or emulator that is not there is told of by the check of machines. */
        const json_t *machine = json_object_get(judgement->targets, "machine");

        if (lpm_fact_true(machine, "known"))
            lpm_find(judgement, LPM_E_CPU_DIFFERS, "%s cannot compare processors: %s",
                     judgement->target_name, lpm_fact(judgement->target, "cause"));
    } else if (is_passthrough(judgement->model)) {
        judge_passthrough(judgement);
        judge_microcode(judgement);
    } else if (is(judgement->target, "incompatible") &&
               (!is(judgement->source, "incompatible") ||
                strcmp(lpm_fact(judgement->target, "cause"),
                       lpm_fact(judgement->source, "cause")) != 0)) {
        lpm_find(judgement, LPM_E_CPU_INCOMPATIBLE, "%s: %s", judgement->target_name,
                 lpm_fact(judgement->target, "cause"));
    }
}

void lpm_judge_processor(struct lpm_judgement *judgement)
{
    if (lpm_is_power(lpm_fact(judgement->model, "arch"))) {
        judge_power(judgement);
        return;
    }
    judge_same_kind(judgement);
    judge_way_back(judgement);
}
