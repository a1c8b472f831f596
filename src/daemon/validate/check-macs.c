/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The MAC addresses are free on the target (R2.9): in definitions, which check-names.c has found,
 * and on the network, of which the bridges' tables tell (check-networks.c). */
#include "daemon/validate/checks.h"

#include <string.h>

static gboolean has_mac(const json_t *partition, const char *mac)
{
    const json_t *entry;
    size_t i;

    json_array_foreach (json_object_get(partition, "macs"), i, entry) {
        const char *text = json_string_value(entry);
        if (text && g_ascii_strcasecmp(text, mac) == 0)
            return TRUE;
    }
    return FALSE;
}

/* A namesake is told of by the check above, once; its addresses would say the same again. */
static gboolean is_namesake(const struct lpm_judgement *judgement, const json_t *partition)
{
    return strcmp(lpm_fact(partition, "name"), lpm_fact(judgement->model, "name")) == 0 ||
           strcmp(lpm_fact(partition, "uuid"), lpm_fact(judgement->model, "uuid")) == 0;
}

/* Who else sends with the partition's address shows behind another port than the partition: on the
 * target than the source's bridge, from which its frames come; here than its own tap. What its
 * frames leave behind themselves is behind those. */
static void judge_port(struct lpm_judgement *judgement, const json_t *adapter,
                       const json_t *here_at, const json_t *there_at, size_t segment)
{
    const json_t *here = json_array_get(json_object_get(here_at, "segments"), segment);
    const json_t *there = json_array_get(json_object_get(there_at, "segments"), segment);
    const char *port = lpm_fact(there, "port"), *way = lpm_fact(there, "port_of_source");
    const char *own = lpm_fact(here, "port"), *tap = lpm_fact(adapter, "tap");
    const char *mac = lpm_fact(adapter, "mac");

    if (*port && *way && strcmp(port, way) != 0)
        lpm_find(judgement, LPM_E_MAC_ELSEWHERE,
                 "frames with %s as their sender reach %s of %s through %s, and those of %s "
                 "through %s",
                 mac, lpm_fact(there_at, "interface"), judgement->target_name, port,
                 judgement->source_name, way);
    else if (*own && *tap && strcmp(own, tap) != 0)
        lpm_find(judgement, LPM_E_MAC_ELSEWHERE,
                 "frames with %s as their sender reach %s of %s through %s, and the partition's "
                 "come through %s",
                 mac, lpm_fact(here_at, "interface"), judgement->source_name, own, tap);
}

static const json_t *adapter_facts(const json_t *of_all, size_t number)
{
    return json_array_get(json_object_get(json_object_get(of_all, "networks"), "adapters"), number);
}

/* On each VLAN that it is on. */
static void judge_ports(struct lpm_judgement *judgement, const json_t *adapter, size_t number)
{
    const json_t *here = adapter_facts(judgement->sources, number);
    const json_t *there = adapter_facts(judgement->targets, number);
    size_t count = json_array_size(json_object_get(here, "segments"));

    for (size_t i = 0; i < count; i++)
        judge_port(judgement, adapter, here, there, i);
}

void lpm_judge_macs(struct lpm_judgement *judgement)
{
    const json_t *adapters = json_object_get(judgement->model, "adapters"), *adapter, *other;
    const json_t *names = json_object_get(judgement->targets, "names");
    size_t i, k;

    json_array_foreach (adapters, i, adapter) {
        const char *mac = lpm_fact(adapter, "mac");

        judge_ports(judgement, adapter, i);
        json_array_foreach (json_object_get(names, "partitions"), k, other) {
            if (*mac && !is_namesake(judgement, other) && has_mac(other, mac))
                lpm_find(judgement, LPM_E_MAC_IN_USE, "%s is an address of partition '%s' on %s",
                         mac, lpm_fact(other, "name"), judgement->target_name);
        }
    }
    if (!json_array_size(adapters))
        lpm_does_not_apply(judgement);
}
