/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Each virtual network adapter reaches the same Ethernet from the target (R2.4), proved by frames
 * that go from bridge to bridge both ways, as large as the partition's own (host/probe.h).
 */
#include "daemon/validate/checks.h"
#include "host/bridge.h"
#include "host/inspect.h"
#include "host/ovs.h"
#include "host/probe.h"

#include <string.h>

#define PROBE_LIMIT_MS 1500
#define ETHERNET_MTU 1500
#define INTERFACE_MAX 15 /* characters of a name, by the kernel */
#define SEGMENTS_MAX 16  /* of a trunk; the rest is said not to have been looked at */
#define VLAN_MAX 4094

static gboolean is(const json_t *object, const char *name, const char *value)
{
    return strcmp(lpm_fact(object, name), value) == 0;
}

/* ---- where an adapter is on this host ---- */

/* What an adapter's frames go through here. */
struct place {
    char *interface;   /* "": none */
    const char *local; /* why it is on this host only, or NULL; of `network` */
    gboolean ovs;      /* a port of Open vSwitch */
    json_t *vlans;     /* numbers, of which 0 stands for frames without a tag; never empty */
    json_t *network;   /* libvirt's, as this host has it; NULL if it is on none */
};

static gboolean is_on_network(const json_t *adapter)
{
    return is(adapter, "type", "network") ||
           (is(adapter, "type", "bridge") && *lpm_fact(adapter, "network"));
}

/* The name of libvirt's network is looked up on each host. */
static void find_interface(struct lpm_daemon *daemon, const json_t *adapter, struct place *place)
{
    if (is_on_network(adapter)) {
        place->network = lpm_host_network(daemon->host, lpm_fact(adapter, "network"),
                                          lpm_fact(adapter, "portgroup"), NULL);
        const char *forward = lpm_fact(place->network, "forward");
        place->interface = g_strdup(lpm_fact(place->network, "bridge"));
        if (*forward && strcmp(forward, "bridge") != 0)
            place->local = forward;
    } else if (is(adapter, "type", "bridge")) {
        place->interface = g_strdup(lpm_fact(adapter, "bridge"));
    } else if (is(adapter, "type", "direct")) {
        place->interface = g_strdup(lpm_fact(adapter, "device"));
    } else {
        place->interface = g_strdup("");
        place->local = lpm_fact(adapter, "type");
    }
}

/* An adapter's own VLANs count before those of its network; of a partition that runs libvirt tells
 * the one that was taken, which the source knows to be the network's (`vlans_of_network`). */
static void find_place(struct lpm_daemon *daemon, const json_t *adapter, struct place *place)
{
    const char *port = lpm_fact(adapter, "port");

    find_interface(daemon, adapter, place);
    json_t *own = json_object_get(adapter, "vlans");
    json_t *given = json_object_get(place->network, "vlans");
    gboolean has_own = json_array_size(own) && !lpm_fact_true(adapter, "vlans_of_network");
    json_t *chosen = has_own || !json_array_size(given) ? own : given;

    place->vlans = json_array_size(chosen) ? json_incref(chosen) : json_pack("[i]", 0);
    place->ovs = strcmp(*port ? port : lpm_fact(place->network, "port"), "openvswitch") == 0;
}

static void clear_place(struct place *place)
{
    g_free(place->interface);
    json_decref(place->vlans);
    json_decref(place->network);
}

void lpm_networks_note(struct lpm_daemon *daemon, json_t *model)
{
    json_t *adapter;
    size_t i;

    json_array_foreach (json_object_get(model, "adapters"), i, adapter) {
        struct place place = {0};
        find_place(daemon, adapter, &place);
        guint own = lpm_interface_mtu(place.interface);
        gint64 mtu = lpm_fact_int(adapter, "mtu");

        /* What a guest takes without being told otherwise. */
        if (!mtu)
            mtu = own ? MIN(own, ETHERNET_MTU) : ETHERNET_MTU;
        json_object_set_new(adapter, "probe_mtu", json_integer(mtu));
        if (place.network &&
            json_equal(json_object_get(adapter, "vlans"), json_object_get(place.network, "vlans")))
            json_object_set_new(adapter, "vlans_of_network", json_true());
        clear_place(&place);
    }
}

/* ---- the probes ---- */

/* One adapter, and of it one VLAN. */
struct look {
    struct lpm_validation *validation;
    const json_t *adapter;
    guint8 number;
    json_t *facts;
    struct place place;
    struct lpm_ovs_bridge ovs;
};

struct segment {
    const struct look *look;
    guint8 number;
    guint vlan;
    json_t *facts;
};

/* Calls `function` for `count` items of `size` bytes each, all at once. */
static void for_all(GFunc function, gpointer items, gsize size, gsize count)
{
    GThreadPool *pool = g_thread_pool_new(function, NULL, LPM_DEVICES_MAX, FALSE, NULL);

    for (gsize i = 0; i < count; i++)
        g_thread_pool_push(pool, (char *)items + i * size, NULL);
    g_thread_pool_free(pool, FALSE, TRUE);
}

/* Behind which ports the partition's address and, on the target, the source were seen: after the
 * probe, in which the source has sent frames. */
static void look_at_ports(struct segment *segment)
{
    const struct look *look = segment->look;
    const char *addresses[] = {lpm_fact(look->adapter, "mac"), lpm_fact(segment->facts, "from")};
    const char *const names[] = {"port", "port_of_source"};
    gsize count = look->validation->side == LPM_SIDE_TARGET ? 2 : 1;

    for (gsize i = 0; i < count; i++) {
        g_autofree char *port = look->place.ovs
                                    ? lpm_ovs_port_of(&look->ovs, segment->vlan, addresses[i])
                                    : lpm_bridge_port_of(look->place.interface, addresses[i]);
        if (port)
            json_object_set_new(segment->facts, names[i], json_string(port));
    }
}

static void probe(struct segment *segment, const char *interface)
{
    const struct look *look = segment->look;
    struct lpm_validation *validation = look->validation;
    struct lpm_probe probe = {
        .interface = interface,
        .adapter = look->number,
        .segment = segment->number,
        .target = validation->side == LPM_SIDE_TARGET,
        .over = validation->side == LPM_SIDE_SOURCE ? &validation->answered : NULL,
        .mtu = (guint)CLAMP(lpm_fact_int(look->adapter, "probe_mtu"), 64, 65000),
        .limit_ms = PROBE_LIMIT_MS};

    memcpy(probe.nonce, validation->nonce, sizeof(probe.nonce));
    json_t *answer = lpm_probe_run(&probe);
    json_object_update(segment->facts, answer);
    json_decref(answer);
}

/* Through a port as the partition's is: the bridge's own may be down, or on another VLAN. */
static void probe_by_port(struct segment *segment)
{
    const struct look *look = segment->look;
    g_autoptr(GError) error = NULL;
    guint mtu = (guint)CLAMP(lpm_fact_int(look->adapter, "probe_mtu"), 64, 65000);
    g_autofree char *port = lpm_ovs_add_port(look->place.interface, segment->vlan, mtu, &error);

    if (!port) {
        json_object_set_new(segment->facts, "cause", json_string(error->message));
        return;
    }
    probe(segment, port);
    lpm_ovs_remove_port(port);
}

static void look_at_segment(gpointer data, gpointer user G_GNUC_UNUSED)
{
    struct segment *segment = data;
    const struct look *look = segment->look;

    segment->facts = json_pack("{s:i}", "vlan", (int)segment->vlan);
    if (look->place.ovs && segment->vlan <= VLAN_MAX)
        probe_by_port(segment);
    else if (!segment->vlan)
        probe(segment, look->place.interface);
    else
        return; /* judged by the absence of an answer */
    look_at_ports(segment);
}

static json_t *look_at_segments(const struct look *look)
{
    gsize count = MIN(json_array_size(look->place.vlans), SEGMENTS_MAX);
    struct segment segments[SEGMENTS_MAX] = {0};
    json_t *list = json_array();

    for (gsize i = 0; i < count; i++)
        segments[i] = (struct segment){
            .look = look,
            .number = (guint8)i,
            .vlan = (guint)json_integer_value(json_array_get(look->place.vlans, i))};
    for_all(look_at_segment, segments, sizeof(*segments), count);
    for (gsize i = 0; i < count; i++)
        json_array_append_new(list, segments[i].facts);
    return list;
}

static gboolean is_there(struct look *look)
{
    const struct place *place = &look->place;

    if (!*place->interface || strlen(place->interface) > INTERFACE_MAX)
        return FALSE;
    if (!place->ovs)
        return lpm_interface_mtu(place->interface) != 0;
    lpm_ovs_look(place->interface, &look->ovs);
    return look->ovs.found;
}

static void look_at(gpointer data, gpointer user G_GNUC_UNUSED)
{
    struct look *look = data;
    struct place *place = &look->place;

    find_place(look->validation->daemon, look->adapter, place);
    gboolean found = is_there(look);
    look->facts = json_pack(
        "{s:s, s:s, s:s, s:b, s:b, s:b, s:i, s:i, s:s, s:s}", "mac", lpm_fact(look->adapter, "mac"),
        "network", lpm_fact(look->adapter, "network"), "interface", place->interface, "ovs",
        place->ovs, "ruled", look->ovs.ruled, "found", found, "mtu",
        (int)lpm_interface_mtu(place->interface), "vlans", (int)json_array_size(place->vlans),
        "local", place->local ? place->local : "", "cause", look->ovs.cause);
    if (found && !look->ovs.ruled)
        json_object_set_new(look->facts, "segments", look_at_segments(look));
    clear_place(place);
}

/* {adapters: [what the probe saw]} in the order of the model's, all at once. Of each {mac, network,
 * interface, ovs, ruled, found, mtu, vlans (how many), local, cause, segments: [{vlan, ...}]}, the
 * last of host/probe.h with {port, port_of_source}. */
json_t *lpm_gather_networks(struct lpm_validation *validation, GError **error G_GNUC_UNUSED)
{
    const json_t *adapters = json_object_get(validation->model, "adapters"), *adapter;
    json_t *list = json_array();
    gsize count = MIN(json_array_size(adapters), LPM_DEVICES_MAX);
    g_autofree struct look *looks = g_new0(struct look, count + 1);
    size_t i;

    json_array_foreach (adapters, i, adapter) {
        if (i >= count)
            break;
        looks[i] = (struct look){.validation = validation, .adapter = adapter, .number = (guint8)i};
    }
    for_all(look_at, looks, sizeof(*looks), count);
    for (i = 0; i < count; i++)
        json_array_append_new(list, looks[i].facts);
    return json_pack("{s:o}", "adapters", list);
}

/* ---- judging ---- */

/* One VLAN of one adapter as both hosts saw it. */
struct both {
    const json_t *adapter; /* of the model */
    const json_t *here_at, *there_at;
    const json_t *here, *there; /* the segment; NULL if that host has none of the number */
    char name[64];              /* "52:54:...", "52:54:... on VLAN 42" */
};

/* In each direction: `seen` where the frames arrive, `heard` what the other end says of it. */
static gboolean passed(const json_t *to, const json_t *from, const char *seen, const char *heard)
{
    return lpm_fact_true(to, seen) || lpm_fact_true(from, heard);
}

static gboolean could_not_send(struct lpm_judgement *judgement, const struct both *both,
                               gboolean target)
{
    const json_t *facts = target ? both->there : both->here;
    const json_t *at = target ? both->there_at : both->here_at;
    const char *cause = lpm_fact(facts, "cause");

    if (!*cause || lpm_fact_int(facts, "sent"))
        return FALSE;
    lpm_find(judgement, LPM_E_NETWORK_UNPROVED, "%s: %s cannot send on %s: %s", both->name,
             target ? judgement->target_name : judgement->source_name, lpm_fact(at, "interface"),
             cause);
    return TRUE;
}

static void judge_frames(struct lpm_judgement *judgement, const struct both *both)
{
    const json_t *here = both->here, *there = both->there;
    const json_t *here_at = both->here_at, *there_at = both->there_at;
    gboolean out = passed(there, here, "seen_small", "heard_small");
    gboolean back = passed(here, there, "seen_small", "heard_small");
    gboolean full = passed(there, here, "seen_full", "heard_full") &&
                    passed(here, there, "seen_full", "heard_full");

    if (could_not_send(judgement, both, FALSE) || could_not_send(judgement, both, TRUE))
        return;
    if (!out || !back)
        lpm_find(judgement, LPM_E_NETWORK_DIFFERS,
                 "%s: frames from %s of %s do not arrive at %s of %s%s", both->name,
                 lpm_fact(out ? there_at : here_at, "interface"),
                 out ? judgement->target_name : judgement->source_name,
                 lpm_fact(out ? here_at : there_at, "interface"),
                 out ? judgement->source_name : judgement->target_name,
                 out || back ? "" : ", nor the other way round");
    else if (!full)
        lpm_find(judgement, LPM_E_MTU_HOLE,
                 "%s: small frames pass, frames of %" G_GINT64_FORMAT
                 " bytes do not (MTU of %s: %" G_GINT64_FORMAT " on %s, %" G_GINT64_FORMAT
                 " on %s)",
                 both->name, lpm_fact_int(both->adapter, "probe_mtu"),
                 lpm_fact(there_at, "interface"), lpm_fact_int(here_at, "mtu"),
                 judgement->source_name, lpm_fact_int(there_at, "mtu"), judgement->target_name);
}

/* A tag that is not Open vSwitch's to put on: nothing was sent. */
static gboolean was_probed(const json_t *segment)
{
    return json_object_get(segment, "seen_small") || json_object_get(segment, "cause");
}

static void judge_segment(struct lpm_judgement *judgement, struct both *both)
{
    gint64 vlan = lpm_fact_int(both->here, "vlan");

    g_strlcpy(both->name, lpm_fact(both->adapter, "mac"), sizeof(both->name));
    if (vlan)
        g_snprintf(both->name, sizeof(both->name), "%s on VLAN %" G_GINT64_FORMAT,
                   lpm_fact(both->adapter, "mac"), vlan);
    if (!both->there)
        lpm_find(judgement, LPM_E_NETWORK_DIFFERS, "%s: on %s its network has fewer VLANs",
                 both->name, judgement->target_name);
    else if (!was_probed(both->here) || !was_probed(both->there))
        lpm_find(judgement, LPM_E_NETWORK_UNPROVED, "%s: no frames were sent there", both->name);
    else
        judge_frames(judgement, both);
}

static void judge_segments(struct lpm_judgement *judgement, struct both *both)
{
    const json_t *segments = json_object_get(both->here_at, "segments");
    gint64 count = lpm_fact_int(both->here_at, "vlans");
    size_t i;

    json_array_foreach (segments, i, both->here) {
        both->there = json_array_get(json_object_get(both->there_at, "segments"), i);
        judge_segment(judgement, both);
    }
    if (count > (gint64)json_array_size(segments))
        lpm_find(judgement, LPM_E_NETWORK_UNPROVED,
                 "%s is on %" G_GINT64_FORMAT " VLANs, of which the first %zu were looked at",
                 lpm_fact(both->adapter, "mac"), count, json_array_size(segments));
}

static void judge_missing(struct lpm_judgement *judgement, const struct both *both)
{
    const json_t *there = both->there_at;
    const char *mac = lpm_fact(both->adapter, "mac"), *network = lpm_fact(there, "network");
    const char *interface = lpm_fact(there, "interface"), *cause = lpm_fact(there, "cause");

    if (!*interface)
        interface = lpm_fact(both->here_at, "interface");
    lpm_find(judgement, LPM_E_BRIDGE_MISSING, "%s: %s has no %s '%s'%s%s", mac,
             judgement->target_name,
             *network                      ? "libvirt network"
             : lpm_fact_true(there, "ovs") ? "Open vSwitch bridge"
                                           : "bridge",
             *network ? network : interface, *cause ? ": " : "", cause);
}

static void judge_adapter(struct lpm_judgement *judgement, struct both *both)
{
    const json_t *here = both->here_at, *there = both->there_at;
    const char *mac = lpm_fact(both->adapter, "mac"), *local = lpm_fact(here, "local");
    gboolean ruled = lpm_fact_true(here, "ruled");

    local = *local ? local : lpm_fact(there, "local");
    if (is(both->adapter, "type", "hostdev") || is(both->adapter, "type", "vhostuser") ||
        is(both->adapter, "type", "vdpa") || is(both->adapter, "team", "transient"))
        return; /* check-devices.c */
    if (*local)
        lpm_find(judgement, LPM_E_NETWORK_LOCAL, "%s is on a network of one host ('%s')", mac,
                 local);
    else if (!lpm_fact_true(there, "found"))
        judge_missing(judgement, both);
    else if (!lpm_fact_true(here, "found"))
        lpm_find(judgement, LPM_E_NETWORK_UNPROVED, "%s: %s has no interface '%s'", mac,
                 judgement->source_name, lpm_fact(here, "interface"));
    else if (ruled || lpm_fact_true(there, "ruled"))
        lpm_find(judgement, LPM_E_NETWORK_UNPROVED,
                 "%s: flows rule %s of %s, which need not let frames of a probe pass", mac,
                 lpm_fact(ruled ? here : there, "interface"),
                 ruled ? judgement->source_name : judgement->target_name);
    else
        judge_segments(judgement, both);
}

void lpm_judge_networks(struct lpm_judgement *judgement)
{
    const json_t *adapters = json_object_get(judgement->model, "adapters");
    const json_t *here = json_object_get(judgement->source, "adapters");
    const json_t *there = json_object_get(judgement->target, "adapters");
    struct both both = {0};
    size_t i;

    json_array_foreach (adapters, i, both.adapter) {
        both.here_at = json_array_get(here, i);
        both.there_at = json_array_get(there, i);
        judge_adapter(judgement, &both);
    }
    if (!json_array_size(adapters))
        lpm_does_not_apply(judgement);
}
