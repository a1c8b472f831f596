/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Each virtual network adapter reaches the same Ethernet from the target (R2.4), proved by frames
 * that go from bridge to bridge both ways, as large as the partition's own (host/probe.h).
 */
#include "daemon/validate/checks.h"
#include "host/bridge.h"
#include "host/inspect.h"
#include "host/probe.h"

#include <string.h>

#define PROBE_LIMIT_MS 1500
#define ETHERNET_MTU 1500
#define INTERFACE_MAX 15 /* characters of a name, by the kernel */

static gboolean is(const json_t *object, const char *name, const char *value)
{
    return strcmp(lpm_fact(object, name), value) == 0;
}

/* The interface whose Ethernet the adapter is on; "" if there is none, with *facts saying why. The
 * name of libvirt's network is looked up on each host. A new string. */
static char *interface_of(struct lpm_daemon *daemon, const json_t *adapter, json_t *facts)
{
    if (is(adapter, "type", "bridge") && !*lpm_fact(adapter, "network"))
        return g_strdup(lpm_fact(adapter, "bridge"));
    if (is(adapter, "type", "direct"))
        return g_strdup(lpm_fact(adapter, "device"));
    if (!is(adapter, "type", "network") && !is(adapter, "type", "bridge")) {
        json_object_set_new(facts, "local", json_string(lpm_fact(adapter, "type")));
        return g_strdup("");
    }
    json_t *network = lpm_host_network(daemon->host, lpm_fact(adapter, "network"), NULL);
    const char *forward = lpm_fact(network, "forward");
    char *bridge = g_strdup(lpm_fact(network, "bridge"));
    if (*forward && strcmp(forward, "bridge") != 0)
        json_object_set_new(facts, "local", json_string(forward));
    json_decref(network);
    return bridge;
}

void lpm_networks_note(struct lpm_daemon *daemon, json_t *model)
{
    json_t *adapter;
    size_t i;

    json_array_foreach (json_object_get(model, "adapters"), i, adapter) {
        json_t *facts = json_object();
        g_autofree char *interface = interface_of(daemon, adapter, facts);
        guint own = lpm_interface_mtu(interface);
        gint64 mtu = lpm_fact_int(adapter, "mtu");

        /* What a guest takes without being told otherwise. */
        if (!mtu)
            mtu = own ? MIN(own, ETHERNET_MTU) : ETHERNET_MTU;
        g_autofree char *address = lpm_interface_address(interface);
        json_object_set_new(adapter, "probe_mtu", json_integer(mtu));
        json_object_set_new(adapter, "bridge_address", json_string(address));
        json_decref(facts);
    }
}

struct look {
    struct lpm_validation *validation;
    const json_t *adapter;
    guint8 number;
    json_t *facts;
};

/* Behind which ports the partition's address and, on the target, the source's bridge were seen:
 * after the probe, with which the source's bridge has sent frames. */
static void look_at_ports(const struct lpm_validation *validation, const json_t *adapter,
                          const char *interface, json_t *facts)
{
    g_autofree char *own = lpm_bridge_port_of(interface, lpm_fact(adapter, "mac"));
    g_autofree char *source = lpm_bridge_port_of(interface, lpm_fact(adapter, "bridge_address"));

    if (own)
        json_object_set_new(facts, "port", json_string(own));
    if (source && validation->side == LPM_SIDE_TARGET)
        json_object_set_new(facts, "port_of_source", json_string(source));
}

static void look_at(gpointer data, gpointer user G_GNUC_UNUSED)
{
    struct look *look = data;
    struct lpm_validation *validation = look->validation;
    json_t *facts = json_object();
    g_autofree char *interface = interface_of(validation->daemon, look->adapter, facts);
    struct lpm_probe probe = {
        .interface = interface,
        .adapter = look->number,
        .target = validation->side == LPM_SIDE_TARGET,
        .over = validation->side == LPM_SIDE_SOURCE ? &validation->answered : NULL,
        .mtu = (guint)CLAMP(lpm_fact_int(look->adapter, "probe_mtu"), 64, 65000),
        .limit_ms = PROBE_LIMIT_MS};

    memcpy(probe.nonce, validation->nonce, sizeof(probe.nonce));
    if (*interface && strlen(interface) <= INTERFACE_MAX) {
        json_t *answer = lpm_probe_run(&probe);
        json_object_update(facts, answer);
        json_decref(answer);
        look_at_ports(validation, look->adapter, interface, facts);
    }
    json_object_set_new(facts, "mac", json_string(lpm_fact(look->adapter, "mac")));
    json_object_set_new(facts, "network", json_string(lpm_fact(look->adapter, "network")));
    look->facts = facts;
}

/* {adapters: [what the probe saw]} in the order of the model's, all at once. */
json_t *lpm_gather_networks(struct lpm_validation *validation, GError **error G_GNUC_UNUSED)
{
    const json_t *adapters = json_object_get(validation->model, "adapters"), *adapter;
    json_t *list = json_array();
    gsize count = MIN(json_array_size(adapters), LPM_DEVICES_MAX);
    g_autofree struct look *looks = g_new0(struct look, count + 1);
    GThreadPool *pool = g_thread_pool_new(look_at, NULL, LPM_DEVICES_MAX, FALSE, NULL);
    size_t i;

    json_array_foreach (adapters, i, adapter) {
        if (i >= count)
            break;
        looks[i] = (struct look){.validation = validation, .adapter = adapter, .number = (guint8)i};
        g_thread_pool_push(pool, &looks[i], NULL);
    }
    g_thread_pool_free(pool, FALSE, TRUE);
    for (i = 0; i < count; i++)
        json_array_append_new(list, looks[i].facts);
    return json_pack("{s:o}", "adapters", list);
}

/* ---- judging ---- */

/* In each direction: `seen` where the frames arrive, `heard` what the other end says of it. */
static gboolean passed(const json_t *to, const json_t *from, const char *seen, const char *heard)
{
    return lpm_fact_true(to, seen) || lpm_fact_true(from, heard);
}

static void judge_frames(struct lpm_judgement *judgement, const json_t *adapter, const json_t *here,
                         const json_t *there)
{
    const char *mac = lpm_fact(adapter, "mac"), *cause = lpm_fact(there, "cause");
    gboolean out = passed(there, here, "seen_small", "heard_small");
    gboolean back = passed(here, there, "seen_small", "heard_small");
    gboolean full = passed(there, here, "seen_full", "heard_full") &&
                    passed(here, there, "seen_full", "heard_full");

    if (*lpm_fact(here, "cause") && !lpm_fact_int(here, "sent"))
        lpm_find(judgement, LPM_E_NETWORK_UNPROVED, "%s: %s cannot send on %s: %s", mac,
                 judgement->source_name, lpm_fact(here, "interface"), lpm_fact(here, "cause"));
    else if (*cause && !lpm_fact_int(there, "sent"))
        lpm_find(judgement, LPM_E_NETWORK_UNPROVED, "%s: %s cannot send on %s: %s", mac,
                 judgement->target_name, lpm_fact(there, "interface"), cause);
    else if (!out || !back)
        lpm_find(judgement, LPM_E_NETWORK_DIFFERS,
                 "%s: frames from %s of %s do not arrive at %s of %s%s", mac,
                 lpm_fact(out ? there : here, "interface"),
                 out ? judgement->target_name : judgement->source_name,
                 lpm_fact(out ? here : there, "interface"),
                 out ? judgement->source_name : judgement->target_name,
                 out || back ? "" : ", nor the other way round");
    else if (!full)
        lpm_find(judgement, LPM_E_MTU_HOLE,
                 "%s: small frames pass, frames of %" G_GINT64_FORMAT
                 " bytes do not (MTU of %s: %" G_GINT64_FORMAT " on %s, %" G_GINT64_FORMAT
                 " on %s)",
                 mac, lpm_fact_int(adapter, "probe_mtu"), lpm_fact(there, "interface"),
                 lpm_fact_int(here, "mtu"), judgement->source_name, lpm_fact_int(there, "mtu"),
                 judgement->target_name);
}

static void judge_adapter(struct lpm_judgement *judgement, const json_t *adapter,
                          const json_t *here, const json_t *there)
{
    const char *mac = lpm_fact(adapter, "mac"), *local = lpm_fact(here, "local");
    const char *network = lpm_fact(there, "network");
    const char *interface = lpm_fact(here, "interface");

    local = *local ? local : lpm_fact(there, "local");
    if (is(adapter, "type", "hostdev") || is(adapter, "type", "vhostuser") ||
        is(adapter, "type", "vdpa"))
        return; /* check-devices.c */
    if (*local)
        lpm_find(judgement, LPM_E_NETWORK_LOCAL, "%s is on a network of one host ('%s')", mac,
                 local);
    else if (!lpm_fact_true(there, "found"))
        lpm_find(judgement, LPM_E_BRIDGE_MISSING, "%s: %s has no %s '%s'", mac,
                 judgement->target_name, *network ? "libvirt network" : "bridge",
                 *network                        ? network
                 : *lpm_fact(there, "interface") ? lpm_fact(there, "interface")
                                                 : interface);
    else if (!lpm_fact_true(here, "found"))
        lpm_find(judgement, LPM_E_NETWORK_UNPROVED, "%s: %s has no interface '%s'", mac,
                 judgement->source_name, interface);
    else if (json_object_get(adapter, "vlan"))
        lpm_find(judgement, LPM_E_NETWORK_UNPROVED,
                 "%s is on VLAN %" G_GINT64_FORMAT ", on which no frames were sent", mac,
                 lpm_fact_int(adapter, "vlan"));
    else
        judge_frames(judgement, adapter, here, there);
}

void lpm_judge_networks(struct lpm_judgement *judgement)
{
    const json_t *adapters = json_object_get(judgement->model, "adapters"), *adapter;
    const json_t *here = json_object_get(judgement->source, "adapters");
    const json_t *there = json_object_get(judgement->target, "adapters");
    size_t i;

    json_array_foreach (adapters, i, adapter)
        judge_adapter(judgement, adapter, json_array_get(here, i), json_array_get(there, i));
    if (!json_array_size(adapters))
        lpm_does_not_apply(judgement);
}
