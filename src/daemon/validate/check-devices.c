/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * No device is bound to the source (R2.5). A passed-through adapter may stay only as the fast path
 * of a team (`<teaming type='transient'>`), which libvirt unplugs by itself. Beside them, displays
 * and consoles whose other end is an address, a file or a socket of this host.
 */
#include "base/fdio.h"
#include "daemon/validate/checks.h"
#include "host/pci.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- bound devices: the description tells ---- */

static gboolean is_fast_path(const json_t *device)
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
        if (is_fast_path(device))
            judge_standby(judgement, device);
        else
            lpm_find(judgement, LPM_E_DEVICE_BOUND, "a passed-through device (%s) is attached",
                     lpm_fact(device, "type"));
    }
    json_array_foreach (json_object_get(judgement->model, "adapters"), i, device) {
        const char *type = lpm_fact(device, "type");

        if (is_fast_path(device))
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

/* ---- fast paths ---- */

/* Of both lists in their order: [{address, found, virtual_function, iommu}]. */
json_t *lpm_gather_fast_paths(struct lpm_validation *validation, GError **error G_GNUC_UNUSED)
{
    static const char *const lists[] = {"hostdevs", "adapters"};
    json_t *found = json_array();
    const json_t *device;
    size_t i;

    for (gsize k = 0; k < G_N_ELEMENTS(lists); k++) {
        json_array_foreach (json_object_get(validation->model, lists[k]), i, device) {
            if (i < LPM_DEVICES_MAX && is_fast_path(device) && *lpm_fact(device, "address"))
                json_array_append_new(found,
                                      lpm_pci_look(LPM_PCI_DEVICES, lpm_fact(device, "address")));
        }
    }
    return json_pack("{s:o}", "devices", found);
}

/* A warning, since of one that runs libvirt does not tell whether it comes from a network of
 * devices, of which the target has others. */
void lpm_judge_fast_paths(struct lpm_judgement *judgement)
{
    const json_t *devices = json_object_get(judgement->target, "devices"), *device;
    size_t i;

    json_array_foreach (devices, i, device) {
        const char *address = lpm_fact(device, "address"), *name = judgement->target_name;

        if (!lpm_fact_true(device, "found"))
            lpm_find(judgement, LPM_E_FAST_PATH, "%s has no PCI device %s", name, address);
        else if (!lpm_fact_true(device, "virtual_function"))
            lpm_find(judgement, LPM_E_FAST_PATH, "%s of %s is no virtual function", address, name);
        else if (!lpm_fact_true(device, "iommu"))
            lpm_find(judgement, LPM_E_FAST_PATH, "%s of %s is behind no IOMMU", address, name);
    }
    if (!json_array_size(devices))
        lpm_does_not_apply(judgement);
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

/* ---- displays and consoles ---- */

/* Has this host the address? A socket can be bound to it then, and only then. */
static gboolean has_address(const char *text)
{
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    const struct sockaddr *address = NULL;
    socklen_t length = 0;

    if (inet_pton(AF_INET, text, &four.sin_addr) == 1) {
        address = (const struct sockaddr *)&four;
        length = sizeof(four);
    } else if (inet_pton(AF_INET6, text, &six.sin6_addr) == 1) {
        address = (const struct sockaddr *)&six;
        length = sizeof(six);
    } else {
        return TRUE; /* a name: resolved by libvirt, there as here */
    }
    lpm_autofd fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && bind(fd, address, length) == 0;
}

static gboolean has_folder_of(const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path);

    return access(folder, W_OK | X_OK) == 0;
}

static json_t *look_at_display(const json_t *display)
{
    const char *listen = lpm_fact(display, "listen");
    gboolean fixed = *listen && strcmp(lpm_fact(display, "listen_type"), "network") != 0;

    return json_pack("{s:s, s:s, s:b}", "type", lpm_fact(display, "type"), "listen", listen,
                     "possible", !fixed || has_address(listen));
}

/* A console into a file, onto a device or a listening socket needs the place; its log too. */
static json_t *look_at_console(const json_t *console)
{
    const char *type = lpm_fact(console, "type"), *path = lpm_fact(console, "path");
    const char *log = lpm_fact(console, "log"), *missing = "";

    if ((strcmp(type, "file") == 0 || strcmp(type, "unix") == 0) && *path && !has_folder_of(path))
        missing = path;
    else if ((strcmp(type, "dev") == 0 || strcmp(type, "pipe") == 0) && access(path, F_OK) != 0)
        missing = path;
    if (*log && !has_folder_of(log))
        missing = log;
    return json_pack("{s:s, s:s}", "type", type, "missing", missing);
}

json_t *lpm_gather_consoles(struct lpm_validation *validation, GError **error G_GNUC_UNUSED)
{
    json_t *displays = json_array(), *consoles = json_array();
    const json_t *entry;
    size_t i;

    json_array_foreach (json_object_get(validation->model, "graphics"), i, entry)
        json_array_append_new(displays, look_at_display(entry));
    json_array_foreach (json_object_get(validation->model, "consoles"), i, entry)
        json_array_append_new(consoles, look_at_console(entry));
    return json_pack("{s:o, s:o}", "displays", displays, "consoles", consoles);
}

void lpm_judge_consoles(struct lpm_judgement *judgement)
{
    const json_t *displays = json_object_get(judgement->target, "displays"), *entry;
    const json_t *consoles = json_object_get(judgement->target, "consoles");
    size_t i;

    json_array_foreach (displays, i, entry) {
        if (!lpm_fact_true(entry, "possible"))
            lpm_find(judgement, LPM_E_LISTEN_ADDRESS,
                     "the %s display listens on %s, which %s is not", lpm_fact(entry, "type"),
                     lpm_fact(entry, "listen"), judgement->target_name);
    }
    json_array_foreach (consoles, i, entry) {
        if (*lpm_fact(entry, "missing"))
            lpm_find(judgement, LPM_E_CONSOLE_LOCAL, "a console (%s) needs %s on %s",
                     lpm_fact(entry, "type"), lpm_fact(entry, "missing"), judgement->target_name);
    }
    if (!json_array_size(displays) && !json_array_size(consoles))
        lpm_does_not_apply(judgement);
}
