/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/node-demands.h"

#include "base/cpu-list.h"

#include <string.h>

#define DEMANDS_MAX 64
#define BYTES_MAX (G_GINT64_CONSTANT(1) << 50) /* sums of as many as there may be stay in range */
#define PROMISED_MAX 1024

static gint64 number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static const char *word(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

/* ---- what a partition asks for ---- */

static void add_demand(json_t *demands, const char *nodes, gint64 page_size, gint64 bytes)
{
    json_t *demand;
    size_t i;

    bytes = CLAMP(bytes, 0, BYTES_MAX);
    json_array_foreach (demands, i, demand) {
        if (strcmp(word(demand, "nodes"), nodes) == 0 && number(demand, "page_size") == page_size) {
            json_object_set_new(demand, "bytes", json_integer(number(demand, "bytes") + bytes));
            return;
        }
    }
    if (json_array_size(demands) < DEMANDS_MAX)
        json_array_append_new(demands,
                              json_pack("{s:s, s:I, s:I}", "nodes", nodes, "page_size",
                                        (json_int_t)page_size, "bytes", (json_int_t)bytes));
}

/* The page size of a cell of the guest: of the entry that names it, else of one that names none. */
static gint64 page_size_of(const json_t *model, guint cell)
{
    const json_t *page;
    gint64 general = 0;
    size_t i;

    json_array_foreach (json_object_get(model, "hugepages"), i, page) {
        const char *cells = word(page, "nodeset");
        gint64 size = MAX(number(page, "size"), 1);
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
    const char *mode = word(binding, "mode");

    return *word(binding, "nodeset") &&
           (!*mode || strcmp(mode, "strict") == 0 || strcmp(mode, "restrictive") == 0);
}

json_t *lpm_node_demands(const json_t *model)
{
    const json_t *all = json_object_get(model, "memory_binding"), *cell;
    const json_t *cells = json_object_get(model, "cells");
    json_t *demands = json_array();
    size_t i;

    json_array_foreach (cells, i, cell) {
        const json_t *binding = *word(cell, "nodeset") ? cell : all;

        if (is_strict(binding))
            add_demand(demands, word(binding, "nodeset"),
                       page_size_of(model, (guint)number(cell, "id")), number(cell, "bytes"));
    }
    if (!json_array_size(cells) && is_strict(all))
        add_demand(demands, word(all, "nodeset"), page_size_of(model, 0),
                   number(model, "memory_bytes"));
    return demands;
}

json_t *lpm_node_demands_left(const json_t *demands, gint64 need, gint64 taken, gboolean started)
{
    double share = need > 0 ? 1 - (double)CLAMP(taken, 0, need) / (double)need : 1;
    const json_t *demand;
    json_t *left = json_array();
    size_t i;

    json_array_foreach (demands, i, demand) {
        gint64 bytes = CLAMP(number(demand, "bytes"), 0, BYTES_MAX);

        if (number(demand, "page_size"))
            bytes = started ? 0 : bytes;
        else
            bytes = (gint64)((double)bytes * share);
        add_demand(left, word(demand, "nodes"), number(demand, "page_size"), bytes);
    }
    return left;
}

/* ---- what the nodes have ---- */

/* Free in huge pages of that size; of the default size, which is not known, in any. */
static gint64 free_in_pages(const json_t *node, gint64 size)
{
    const json_t *page;
    gint64 sum = 0;
    size_t i;

    json_array_foreach (json_object_get(node, "hugepages"), i, page) {
        if (size == 1 || number(page, "size") == size)
            sum += number(page, "size") * number(page, "free");
    }
    return sum;
}

static const json_t *node_of(const json_t *nodes, guint wanted)
{
    const json_t *node;
    size_t i;

    json_array_foreach (nodes, i, node) {
        if (number(node, "node") == (gint64)wanted)
            return node;
    }
    return NULL;
}

/* FALSE: one of them is not there, or is of a kernel without nodes, which has no figures. */
static gboolean available(const json_t *nodes, const cpu_set_t *set, gint64 page_size,
                          gint64 *bytes)
{
    *bytes = 0;
    for (guint i = 0; i < CPU_SETSIZE; i++) {
        const json_t *node = CPU_ISSET(i, set) ? node_of(nodes, i) : NULL;

        if (!CPU_ISSET(i, set))
            continue;
        if (!node || !json_object_get(node, "total_bytes"))
            return FALSE;
        *bytes += page_size ? free_in_pages(node, page_size) : number(node, "available_bytes");
    }
    return TRUE;
}

static gboolean same_pages(gint64 a, gint64 b)
{
    return a == b || (a && b && (a == 1 || b == 1));
}

/* What of a promise must come from the nodes in `set`: what its other nodes do not have. */
static gint64 must_give(const json_t *promise, const json_t *nodes, const cpu_set_t *set)
{
    gint64 bytes = CLAMP(number(promise, "bytes"), 0, BYTES_MAX), elsewhere;
    cpu_set_t bound, both, others;

    if (!lpm_cpu_list_parse(word(promise, "nodes"), &bound))
        return 0;
    CPU_AND(&both, &bound, set);
    CPU_XOR(&others, &bound, &both);
    if (CPU_COUNT(&both) == 0 ||
        !available(nodes, &others, number(promise, "page_size"), &elsewhere))
        return 0;
    return MAX(bytes - elsewhere, 0);
}

/* All of them; those bound alike share what their other nodes have. */
static gint64 promised_of(const json_t *promised, const json_t *nodes, const cpu_set_t *set,
                          gint64 page_size)
{
    json_t *sums = json_array();
    const json_t *partition, *demand;
    gint64 sum = 0;
    size_t i, k;

    json_array_foreach (promised, i, partition) {
        json_array_foreach (json_object_get(partition, "memory_nodes"), k, demand) {
            if (i < PROMISED_MAX && k < DEMANDS_MAX &&
                same_pages(page_size, number(demand, "page_size")))
                add_demand(sums, word(demand, "nodes"), number(demand, "page_size"),
                           number(demand, "bytes"));
        }
    }
    json_array_foreach (sums, i, demand)
        sum += must_give(demand, nodes, set);
    json_decref(sums);
    return sum;
}

char *lpm_node_shortage(const json_t *demand, const json_t *nodes, const json_t *promised,
                        const char *host)
{
    gint64 page_size = number(demand, "page_size"), bytes = number(demand, "bytes"), have;
    cpu_set_t set;

    if (!lpm_cpu_list_parse(word(demand, "nodes"), &set) ||
        !available(nodes, &set, page_size, &have))
        return NULL;
    gint64 given = promised_of(promised, nodes, &set, page_size);
    if (have - given >= bytes)
        return NULL;
    GString *text = g_string_new(NULL);
    g_string_printf(text,
                    "memory nodes %s of %s have %" G_GINT64_FORMAT " MiB%s, required are "
                    "%" G_GINT64_FORMAT " MiB",
                    word(demand, "nodes"), host, MAX(have - given, 0) >> 20,
                    page_size ? " free in huge pages of the size" : " that are available",
                    bytes >> 20);
    if (given > 0)
        g_string_append_printf(
            text, ": %" G_GINT64_FORMAT " MiB more are promised to partitions on their way there",
            MIN(given, have) >> 20);
    return g_string_free(text, FALSE);
}
