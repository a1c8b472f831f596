/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The processors and memory nodes that the partition is bound to are on the target, and its memory
 * fits into those nodes (R2.7). Bindings go along as they are, and the target's hypervisor is
 * started by them: it fails late, or what should have had a node of its own shares one.
 */
#include "base/cpu-list.h"
#include "daemon/validate/checks.h"
#include "host/nodes.h"

#include <string.h>

#define DEMANDS_MAX 64

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

/* Memory that must come from certain nodes: of those bound alike the sum. */
struct demand {
    const char *nodes;
    gint64 page_size; /* 0: ordinary memory; 1: huge pages of the host's default size */
    gint64 bytes;
};

struct demands {
    struct demand list[DEMANDS_MAX];
    gsize count;
};

static void add_demand(struct demands *demands, const char *nodes, gint64 page_size, gint64 bytes)
{
    gsize i = 0;

    while (i < demands->count &&
           (strcmp(demands->list[i].nodes, nodes) != 0 || demands->list[i].page_size != page_size))
        i++;
    if (i == DEMANDS_MAX)
        return;
    if (i == demands->count)
        demands->list[demands->count++] = (struct demand){.nodes = nodes, .page_size = page_size};
    demands->list[i].bytes += bytes;
}

/* The page size of a cell of the guest: of the entry that names it, else of one that names none. */
static gint64 page_size_of(const json_t *model, guint cell)
{
    const json_t *page;
    gint64 general = 0;
    size_t i;

    json_array_foreach (json_object_get(model, "hugepages"), i, page) {
        const char *cells = lpm_fact(page, "nodeset");
        gint64 size = MAX(lpm_fact_int(page, "size"), 1);
        cpu_set_t set;

        if (!*cells)
            general = size;
        else if (lpm_cpu_list_parse(cells, &set) && cell < CPU_SETSIZE && CPU_ISSET(cell, &set))
            return size;
    }
    return general;
}

static gboolean is_strict(const json_t *binding)
{
    const char *mode = lpm_fact(binding, "mode");

    return *lpm_fact(binding, "nodeset") &&
           (!*mode || strcmp(mode, "strict") == 0 || strcmp(mode, "restrictive") == 0);
}

static void collect_demands(const json_t *model, struct demands *demands)
{
    const json_t *all = json_object_get(model, "memory_binding"), *cell;
    const json_t *cells = json_object_get(model, "cells");
    size_t i;

    json_array_foreach (cells, i, cell) {
        const json_t *binding = *lpm_fact(cell, "nodeset") ? cell : all;
        guint id = (guint)lpm_fact_int(cell, "id");

        if (is_strict(binding))
            add_demand(demands, lpm_fact(binding, "nodeset"), page_size_of(model, id),
                       lpm_fact_int(cell, "bytes"));
    }
    if (!json_array_size(cells) && is_strict(all))
        add_demand(demands, lpm_fact(all, "nodeset"), page_size_of(model, 0),
                   lpm_fact_int(model, "memory_bytes"));
}

/* Free in huge pages of that size; of the default size, which is not known, in any. */
static gint64 free_in_pages(const json_t *node, gint64 size)
{
    const json_t *page;
    gint64 sum = 0;
    size_t i;

    json_array_foreach (json_object_get(node, "hugepages"), i, page) {
        if (size == 1 || lpm_fact_int(page, "size") == size)
            sum += lpm_fact_int(page, "size") * lpm_fact_int(page, "free");
    }
    return sum;
}

static void judge_demand(struct lpm_judgement *judgement, const struct demand *demand)
{
    gint64 have = 0;
    cpu_set_t set;

    if (!lpm_cpu_list_parse(demand->nodes, &set))
        return;
    for (guint i = 0; i < CPU_SETSIZE; i++) {
        const json_t *node = CPU_ISSET(i, &set) ? node_of(judgement, i) : NULL;

        if (!node && CPU_ISSET(i, &set))
            return; /* told of already */
        if (node && !json_object_get(node, "total_bytes"))
            return; /* a kernel without nodes has no figures either */
        have += !node               ? 0
                : demand->page_size ? free_in_pages(node, demand->page_size)
                                    : lpm_fact_int(node, "available_bytes");
    }
    if (have >= demand->bytes)
        return;
    g_autofree char *needed = lpm_mib(demand->bytes), *had = lpm_mib(have);
    lpm_find(judgement, LPM_E_NODE_SHORT, "memory nodes %s of %s have %s%s, required are %s",
             demand->nodes, judgement->target_name, had,
             demand->page_size ? " free in huge pages of the size" : " that are available", needed);
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
    const json_t *pins = json_object_get(model, "pins"), *pin, *cell;
    const json_t *binding = json_object_get(model, "memory_binding");
    struct demands demands = {.count = 0};
    gboolean bound = *lpm_fact(binding, "nodeset") != '\0';
    size_t i;

    json_array_foreach (pins, i, pin)
        judge_pin(judgement, pin);
    judge_nodes(judgement, binding);
    json_array_foreach (json_object_get(model, "cells"), i, cell) {
        bound = bound || *lpm_fact(cell, "nodeset");
        judge_nodes(judgement, cell);
    }
    collect_demands(model, &demands);
    for (i = 0; i < demands.count; i++)
        judge_demand(judgement, &demands.list[i]);
    if (!json_array_size(pins) && !bound)
        lpm_does_not_apply(judgement);
}
