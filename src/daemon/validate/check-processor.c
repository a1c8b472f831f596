/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The partition's processor and machine are ones that the target's hypervisor can be (R2.8, R2.1):
 * asked of libvirt and QEMU on both hosts, since what a host says it cannot do does not count
 * against the target when the source cannot do it either and the partition runs nevertheless.
 *
 * A partition with the host's own processor (host-passthrough, maximum) is given whatever is there,
 * which libvirt does not compare; so the source's own processor is compared on the target.
 */
#include "daemon/validate/checks.h"
#include "host/inspect.h"

#include <string.h>

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

/* ---- processor ---- */

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

void lpm_processor_note_host(struct lpm_daemon *daemon, json_t *model)
{
    json_t *own, *cpu;

    if (!is_passthrough(model) || is_emulated(model))
        return;
    own = lpm_host_abilities(daemon->host, model, NULL);
    cpu = json_object_get(own, "cpu_xml");
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
        lpm_find(judgement, LPM_E_CPU_DIFFERS,
                 "the partition has %s's own processor, and %s has more than that: it could not "
                 "come back after a restart there",
                 judgement->source_name, judgement->target_name);
}

void lpm_judge_processor(struct lpm_judgement *judgement)
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
