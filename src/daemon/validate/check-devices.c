/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * No device is bound to the source (R2.5): the description tells. A passed-through adapter may stay
 * only as the fast path of a team (`<teaming type='transient'>`), which libvirt unplugs by itself.
 */
#include "daemon/validate/checks.h"

#include <string.h>

gboolean lpm_is_fast_path(const json_t *device)
{
    return strcmp(lpm_fact(device, "team"), "transient") == 0;
}

/* QEMU unplugs a fast path as its standby bids it: one without goes nowhere. */
static void judge_standby(struct lpm_judgement *judgement, const json_t *device)
{
    const char *partner = lpm_fact(device, "partner");
    const json_t *adapter;
    size_t i;

    json_array_foreach (json_object_get(judgement->model, "adapters"), i, adapter) {
        if (strcmp(lpm_fact(adapter, "alias"), partner) == 0 &&
            strcmp(lpm_fact(adapter, "team"), "persistent") == 0)
            return;
    }
    lpm_find(judgement, LPM_E_DEVICE_BOUND,
             "the standby '%s' of a passed-through device (%s) is no virtual adapter of it",
             partner, lpm_fact(device, "address"));
}

static void judge_hostdevs(struct lpm_judgement *judgement)
{
    const json_t *device;
    size_t i;

    json_array_foreach (json_object_get(judgement->model, "hostdevs"), i, device) {
        if (lpm_is_fast_path(device))
            judge_standby(judgement, device);
        else
            lpm_find(judgement, LPM_E_DEVICE_BOUND, "a passed-through device (%s) is attached",
                     lpm_fact(device, "type"));
    }
    json_array_foreach (json_object_get(judgement->model, "adapters"), i, device) {
        const char *type = lpm_fact(device, "type");

        if (lpm_is_fast_path(device))
            judge_standby(judgement, device);
        else if (strcmp(type, "hostdev") == 0)
            lpm_find(judgement, LPM_E_DEVICE_BOUND,
                     "network adapter %s is a passed-through one without a team",
                     lpm_fact(device, "mac"));
        else if (strcmp(type, "vhostuser") == 0 || strcmp(type, "vdpa") == 0)
            lpm_find(judgement, LPM_E_DEVICE_BOUND,
                     "network adapter %s is served by a program of this host (%s)",
                     lpm_fact(device, "mac"), type);
    }
    json_array_foreach (json_object_get(judgement->model, "disks"), i, device) {
        if (strcmp(lpm_fact(device, "type"), "vhostuser") == 0)
            lpm_find(judgement, LPM_E_DEVICE_BOUND, "disk %s is served by a program of this host",
                     lpm_fact(device, "target"));
    }
}

/* virtiofsd's state cannot be moved by the libvirt this is made for; 9p's never. */
static void judge_file_systems(struct lpm_judgement *judgement)
{
    const json_t *device;
    size_t i;

    json_array_foreach (json_object_get(judgement->model, "filesystems"), i, device) {
        const char *driver = lpm_fact(device, "driver");

        lpm_find(judgement, LPM_E_DEVICE_BOUND, "folder %s of this host is shared into it (%s)",
                 lpm_fact(device, "path"), *driver ? driver : "9p");
    }
}

/* USB over the network: the channel is there on the target, and nobody is at its other end. */
static void judge_redirections(struct lpm_judgement *judgement)
{
    size_t count = json_array_size(json_object_get(judgement->model, "redirdevs"));

    if (count)
        lpm_find(judgement, LPM_E_DEVICE_CUT,
                 "it has %zu channels over which a client may have lent it USB devices", count);
}

void lpm_judge_devices(struct lpm_judgement *judgement)
{
    const json_t *device;
    size_t i;

    judge_hostdevs(judgement);
    judge_file_systems(judgement);
    judge_redirections(judgement);
    /* With role `master` its content goes with the partition. */
    json_array_foreach (json_object_get(judgement->model, "shmems"), i, device) {
        if (strcmp(lpm_fact(device, "role"), "master") != 0)
            lpm_find(judgement, LPM_E_DEVICE_BOUND,
                     "memory '%s' is shared with a program of this host", lpm_fact(device, "name"));
    }
    json_array_foreach (json_object_get(judgement->model, "smartcards"), i, device) {
        if (g_str_has_prefix(lpm_fact(device, "mode"), "host"))
            lpm_find(judgement, LPM_E_DEVICE_BOUND, "a smart card of this host is attached");
    }
    json_array_foreach (json_object_get(judgement->model, "tpms"), i, device) {
        if (strcmp(lpm_fact(device, "backend"), "passthrough") == 0)
            lpm_find(judgement, LPM_E_DEVICE_BOUND, "the host's own TPM %s is attached",
                     lpm_fact(device, "path"));
    }
}
