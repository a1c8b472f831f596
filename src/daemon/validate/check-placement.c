/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The processors and memory nodes that the partition is bound to are on the target, and its memory
 * fits into those nodes (R2.7). Bindings go along as they are, and the target's hypervisor is
 * started by them: it fails late, or what should have had a node of its own shares one.
 */
#include "base/cpu-list.h"
#include "daemon/node-demands.h"
#include "daemon/validate/checks.h"
#include "host/nodes.h"

#include <string.h>

json_t *lpm_gather_placement(struct lpm_validation *validation G_GNUC_UNUSED,
                             GError **error G_GNUC_UNUSED)
{
    return lpm_host_nodes();
}

/* ---- processors ---- */

static void judge_pin(struct lpm_judgement *judgement, const json_t *pin)
{
    const char *wanted = lpm_fact(pin, "cpus"), *there = lpm_fact(judgement->target, "cpus");
    cpu_set_t want, have, both;
    gint64 number = lpm_fact_int(pin, "number");
    g_autofree char *who =
        json_object_get(pin, "number")
            ? g_strdup_printf("%s %" G_GINT64_FORMAT, lpm_fact(pin, "kind"), number)
            : g_strdup(lpm_fact(pin, "kind"));

    if (!lpm_cpu_list_parse(wanted, &want) || !lpm_cpu_list_parse(there, &have))
        return;
    CPU_AND(&both, &want, &have);
    if (CPU_EQUAL(&both, &want))
        return;
    gboolean none = CPU_COUNT(&both) == 0;
    lpm_find(judgement, none ? LPM_E_PINNED_AWAY : LPM_E_PINNED_PARTLY,
             "%s is pinned to processors %s, of which %s has %s (its own are %s)", who, wanted,
             judgement->target_name, none ? "none" : "only some", there);
}

/* ---- memory ---- */

static const json_t *node_of(const struct lpm_judgement *judgement, guint number)
{
    const json_t *node;
    size_t i;

    json_array_foreach (json_object_get(judgement->target, "nodes"), i, node) {
        if (lpm_fact_int(node, "node") == (gint64)number)
            return node;
    }
    return NULL;
}

static void judge_demand(struct lpm_judgement *judgement, const json_t *demand)
{
    const json_t *room = json_object_get(judgement->targets, "memory");
    g_autofree char *shortage =
        lpm_node_shortage(demand, json_object_get(judgement->target, "nodes"),
                          json_object_get(room, "promised"), judgement->target_name);

    if (shortage)
        lpm_find(judgement, LPM_E_NODE_SHORT, "%s", shortage);
}

static void judge_nodes(struct lpm_judgement *judgement, const json_t *binding)
{
    const char *wanted = lpm_fact(binding, "nodeset");
    cpu_set_t set;

    if (!*wanted || !lpm_cpu_list_parse(wanted, &set))
        return;
    for (guint i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &set) && !node_of(judgement, i)) {
            lpm_find(judgement, LPM_E_PINNED_AWAY,
                     "memory is bound to nodes %s, of which %s has no %u", wanted,
                     judgement->target_name, i);
            return;
        }
    }
}

void lpm_judge_placement(struct lpm_judgement *judgement)
{
    const json_t *model = judgement->model;
    const json_t *pins = json_object_get(model, "pins"), *pin, *cell, *demand;
    const json_t *binding = json_object_get(model, "memory_binding");
    json_t *demands = lpm_node_demands(model);
    gboolean bound = *lpm_fact(binding, "nodeset") != '\0';
    size_t i;

    json_array_foreach (pins, i, pin)
        judge_pin(judgement, pin);
    judge_nodes(judgement, binding);
    json_array_foreach (json_object_get(model, "cells"), i, cell) {
        bound = bound || *lpm_fact(cell, "nodeset");
        judge_nodes(judgement, cell);
    }
    json_array_foreach (demands, i, demand)
        judge_demand(judgement, demand);
    json_decref(demands);
    if (!json_array_size(pins) && !bound)
        lpm_does_not_apply(judgement);
}
