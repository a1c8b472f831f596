/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* A partition's description, reduced to what checks look at. */
#include "host/host-internal.h"
#include "host/inspect.h"
#include "host/pci.h"
#include "host/xml.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

static const struct lpm_xml_member root_members[] = {
    {"vcpus", "vcpu", LPM_XML_INT},
    {"arch", "os/type/@arch", LPM_XML_TEXT},
    {"machine", "os/type/@machine", LPM_XML_TEXT},
    {"hypervisor", "@type", LPM_XML_TEXT},
    {"emulator", "devices/emulator", LPM_XML_TEXT},
    {"cpu_mode", "cpu/@mode", LPM_XML_TEXT},
    {"cpu_model", "cpu/model", LPM_XML_TEXT},
    {"nvram", "os/nvram", LPM_XML_TEXT},
    {"nvram_template", "os/nvram/@template", LPM_XML_TEXT},
    {"memory_kib", "memory", LPM_XML_INT},
    {NULL, NULL, LPM_XML_TEXT},
};

static const struct lpm_xml_member disk_members[] = {
    {"target", "target/@dev", LPM_XML_TEXT},
    {"bus", "target/@bus", LPM_XML_TEXT},
    {"type", "@type", LPM_XML_TEXT},
    {"device", "@device", LPM_XML_TEXT},
    {"format", "driver/@type", LPM_XML_TEXT},
    {"cache", "driver/@cache", LPM_XML_TEXT},
    {"readonly", "readonly", LPM_XML_FLAG},
    {"shareable", "shareable", LPM_XML_FLAG},
    {"path", "source/@file|source/@dev|source/@dir", LPM_XML_TEXT},
    {"pool", "source/@pool", LPM_XML_TEXT},
    {"volume", "source/@volume", LPM_XML_TEXT},
    {"protocol", "source/@protocol", LPM_XML_TEXT},
    {"name", "source/@name", LPM_XML_TEXT},
    {"address", "source/host/@name", LPM_XML_TEXT},
    {"port", "source/host/@port", LPM_XML_TEXT},
    {"socket", "source/host/@socket", LPM_XML_TEXT},
    {"initiator", "source/initiator/iqn/@name", LPM_XML_TEXT},
    {"auth", "source/auth|auth", LPM_XML_FLAG},
    {"user", "source/auth/@username|auth/@username", LPM_XML_TEXT},
    {"secret_uuid", "source/auth/secret/@uuid|auth/secret/@uuid", LPM_XML_TEXT},
    {"secret_usage", "source/auth/secret/@usage|auth/secret/@usage", LPM_XML_TEXT},
    {"query", "source/@query", LPM_XML_TEXT},
    {"cookies", "source/cookies", LPM_XML_FLAG},
    {"verify", "source/ssl/@verify", LPM_XML_TEXT},
    {"config", "source/config/@file", LPM_XML_TEXT},
    {"snapshot", "source/snapshot/@name", LPM_XML_TEXT},
    {"reservations", "source/reservations", LPM_XML_FLAG},
    {NULL, NULL, LPM_XML_TEXT},
};

static const struct lpm_xml_member adapter_members[] = {
    {"mac", "mac/@address", LPM_XML_TEXT},        {"type", "@type", LPM_XML_TEXT},
    {"model", "model/@type", LPM_XML_TEXT},       {"bridge", "source/@bridge", LPM_XML_TEXT},
    {"network", "source/@network", LPM_XML_TEXT}, {"device", "source/@dev", LPM_XML_TEXT},
    {"mode", "source/@mode", LPM_XML_TEXT},       {"path", "source/@path", LPM_XML_TEXT},
    {"tap", "target/@dev", LPM_XML_TEXT},         {"mtu", "mtu/@size", LPM_XML_INT},
    {"port", "virtualport/@type", LPM_XML_TEXT},  {"portgroup", "source/@portgroup", LPM_XML_TEXT},
    {"team", "teaming/@type", LPM_XML_TEXT},      {"partner", "teaming/@persistent", LPM_XML_TEXT},
    {"alias", "alias/@name", LPM_XML_TEXT},       {NULL, NULL, LPM_XML_TEXT},
};

/* Devices that only some partitions have; each list has the same few members. */
static const struct lpm_xml_member device_members[] = {
    {"type", "@type|@model|model/@type", LPM_XML_TEXT},
    {"mode", "@mode", LPM_XML_TEXT},
    {"role", "@role", LPM_XML_TEXT},
    {"name", "@name|alias/@name|target/@name", LPM_XML_TEXT},
    {"driver", "driver/@type", LPM_XML_TEXT},
    {"backend", "backend/@type", LPM_XML_TEXT},
    {"path", "source/@path|source/@dir|backend/device/@path|backend/source/@path", LPM_XML_TEXT},
    {"source_mode", "source/@mode", LPM_XML_TEXT},
    {"listen", "listen/@address|@listen", LPM_XML_TEXT},
    {"listen_type", "listen/@type", LPM_XML_TEXT},
    {"listen_network", "listen/@network", LPM_XML_TEXT},
    {"socket", "listen/@socket|@socket", LPM_XML_TEXT},
    {"target", "target/@name", LPM_XML_TEXT},
    {"state", "target/@state", LPM_XML_TEXT},
    {"team", "teaming/@type", LPM_XML_TEXT},
    {"partner", "teaming/@persistent", LPM_XML_TEXT},
    {"log", "log/@file", LPM_XML_TEXT},
    {NULL, NULL, LPM_XML_TEXT},
};

static const struct {
    const char *member, *path;
} device_lists[] = {
    {"hostdevs", "devices/hostdev"},
    {"filesystems", "devices/filesystem"},
    {"shmems", "devices/shmem"},
    {"graphics", "devices/graphics"},
    {"consoles", "devices/serial|devices/parallel"},
    {"channels", "devices/channel"},
    {"tpms", "devices/tpm"},
    {"smartcards", "devices/smartcard"},
    {"redirdevs", "devices/redirdev"},
};

static const struct lpm_xml_member page_members[] = {
    {"nodeset", "@nodeset", LPM_XML_TEXT},
    {"size", "@size", LPM_XML_INT},
    {"unit", "@unit", LPM_XML_TEXT},
    {NULL, NULL, LPM_XML_TEXT},
};

/* What the machine starts from: files that QEMU opens on the target too. */
static json_t *os_files(LpmXml *xml)
{
    static const char *const roles[] = {"kernel", "initrd", "dtb", "loader"};
    json_t *list = json_array();

    for (gsize i = 0; i < G_N_ELEMENTS(roles); i++) {
        g_autofree char *at = g_strdup_printf("os/%s", roles[i]);
        g_autofree char *path = lpm_xml_text(xml, NULL, at);

        if (*path)
            json_array_append_new(list, json_pack("{s:s, s:s}", "role", roles[i], "path", path));
    }
    return list;
}

/* A size of the description in bytes; KiB unless it says otherwise. `unit` may be NULL. */
static json_int_t in_bytes(json_int_t size, const char *unit)
{
    static const struct {
        const char *unit;
        json_int_t bytes;
    } units[] = {{"KiB", 1 << 10}, {"K", 1 << 10}, {"MiB", 1 << 20}, {"M", 1 << 20},
                 {"GiB", 1 << 30}, {"G", 1 << 30}, {"b", 1},         {"bytes", 1}};

    for (gsize k = 0; unit && k < G_N_ELEMENTS(units); k++) {
        if (strcmp(units[k].unit, unit) == 0)
            return size * units[k].bytes;
    }
    return size << 10;
}

static json_t *hugepages(LpmXml *xml)
{
    json_t *list = lpm_xml_list(xml, "memoryBacking/hugepages/page", page_members), *page;
    size_t i;

    if (!json_array_size(list) && lpm_xml_has(xml, NULL, "memoryBacking/hugepages"))
        json_array_append_new(list, json_pack("{s:i}", "size", 0)); /* the host's default size */
    json_array_foreach (list, i, page) {
        const char *unit = json_string_value(json_object_get(page, "unit"));
        json_int_t size = json_integer_value(json_object_get(page, "size"));

        json_object_set_new(page, "size", json_integer(in_bytes(size, unit)));
        json_object_del(page, "unit");
    }
    return list;
}

static const struct lpm_xml_member backing_members[] = {
    {"path", "@file", LPM_XML_TEXT},
    {NULL, NULL, LPM_XML_TEXT},
};

/* The image files that a disk's own is laid over, as far as the description names them. */
static void add_backing(LpmXml *xml, json_t *disks)
{
    json_t *disk;
    size_t i;

    json_array_foreach (disks, i, disk) {
        g_autofree char *path =
            g_strdup_printf("devices/disk[%zu]//backingStore/source[@file]", i + 1);
        json_object_set_new(disk, "backing", lpm_xml_list(xml, path, backing_members));
    }
}

/* Where a passed-through device is on this host, of those that a list has one: "0000:65:00.1". */
static void add_places(LpmXml *xml, json_t *devices, const char *element)
{
    static const char *const parts[] = {"domain", "bus", "slot", "function"};
    json_t *device;
    size_t i;

    json_array_foreach (devices, i, device) {
        gint64 numbers[G_N_ELEMENTS(parts)];

        for (gsize k = 0; k < G_N_ELEMENTS(parts); k++) {
            g_autofree char *path =
                g_strdup_printf("devices/%s[%zu]/source/address/@%s", element, i + 1, parts[k]);
            numbers[k] = lpm_xml_int(xml, NULL, path, k == 0 ? 0 : -1);
        }
        if (numbers[1] < 0 || numbers[2] < 0 || numbers[3] < 0)
            continue;
        g_autofree char *address = lpm_pci_address((guint)numbers[0], (guint)numbers[1],
                                                   (guint)numbers[2], (guint)numbers[3]);
        json_object_set_new(device, "address", json_string(address));
    }
}

/* Of an adapter on one VLAN, or of a trunk, the numbers: [42]. */
static void add_vlans(LpmXml *xml, json_t *adapters)
{
    json_t *adapter;
    size_t i;

    json_array_foreach (adapters, i, adapter) {
        g_autofree char *path = g_strdup_printf("devices/interface[%zu]/vlan/tag/@id", i + 1);
        json_object_set_new(adapter, "vlans", lpm_xml_ints(xml, path));
    }
}

/* Which processors of the host each part of the partition may use: [{kind, number?, cpus}]. */
static json_t *pins(LpmXml *xml)
{
    static const struct {
        const char *kind, *path;
        struct lpm_xml_member members[3];
    } kinds[] = {
        {"the partition", "vcpu[@cpuset]", {{"cpus", "@cpuset", LPM_XML_TEXT}}},
        {"processor",
         "cputune/vcpupin",
         {{"number", "@vcpu", LPM_XML_INT}, {"cpus", "@cpuset", LPM_XML_TEXT}}},
        {"the emulator", "cputune/emulatorpin", {{"cpus", "@cpuset", LPM_XML_TEXT}}},
        {"I/O thread",
         "cputune/iothreadpin",
         {{"number", "@iothread", LPM_XML_INT}, {"cpus", "@cpuset", LPM_XML_TEXT}}},
    };
    json_t *list = json_array(), *pin;
    size_t i;

    for (gsize k = 0; k < G_N_ELEMENTS(kinds); k++) {
        json_t *found = lpm_xml_list(xml, kinds[k].path, kinds[k].members);

        json_array_foreach (found, i, pin)
            json_object_set_new(pin, "kind", json_string(kinds[k].kind));
        json_array_extend(list, found);
        json_decref(found);
    }
    return list;
}

/* The guest's memory nodes, each with what it is bound to: [{id, bytes, mode?, nodeset?}]. */
static json_t *cells(LpmXml *xml)
{
    static const struct lpm_xml_member members[] = {{"id", "@id", LPM_XML_INT},
                                                    {"bytes", "@memory", LPM_XML_INT},
                                                    {"unit", "@unit", LPM_XML_TEXT},
                                                    {NULL, NULL, LPM_XML_TEXT}};
    json_t *list = lpm_xml_list(xml, "cpu/numa/cell", members), *cell;
    size_t i;

    json_array_foreach (list, i, cell) {
        json_int_t size = json_integer_value(json_object_get(cell, "bytes"));
        const char *unit = json_string_value(json_object_get(cell, "unit"));
        g_autofree char *node =
            g_strdup_printf("numatune/memnode[@cellid='%lld']",
                            (long long)json_integer_value(json_object_get(cell, "id")));
        g_autofree char *mode_at = g_strconcat(node, "/@mode", NULL);
        g_autofree char *nodes_at = g_strconcat(node, "/@nodeset", NULL);
        g_autofree char *mode = lpm_xml_text(xml, NULL, mode_at);
        g_autofree char *nodes = lpm_xml_text(xml, NULL, nodes_at);

        json_object_set_new(cell, "bytes", json_integer(in_bytes(size, unit)));
        json_object_set_new(cell, "mode", json_string(mode));
        json_object_set_new(cell, "nodeset", json_string(nodes));
        json_object_del(cell, "unit");
    }
    return list;
}

static json_t *memory_binding(LpmXml *xml)
{
    g_autofree char *mode = lpm_xml_text(xml, NULL, "numatune/memory/@mode");
    g_autofree char *nodes = lpm_xml_text(xml, NULL, "numatune/memory/@nodeset");

    return json_pack("{s:s, s:s}", "mode", mode, "nodeset", nodes);
}

static const struct lpm_xml_member host_members[] = {
    {"name", "@name", LPM_XML_TEXT},
    {"port", "@port", LPM_XML_TEXT},
    {NULL, NULL, LPM_XML_TEXT},
};

/* All servers of a network disk; the first one is its `address` and `port`, too. */
static void add_hosts(LpmXml *xml, json_t *disks)
{
    json_t *disk;
    size_t i;

    json_array_foreach (disks, i, disk) {
        g_autofree char *path = g_strdup_printf("devices/disk[%zu]/source/host[@name]", i + 1);
        json_t *hosts = lpm_xml_list(xml, path, host_members);

        if (json_array_size(hosts) > 0)
            json_object_set(disk, "hosts", hosts);
        json_decref(hosts);
    }
}

static void add_description(LpmXml *xml, json_t *model)
{
    g_autofree char *cpu = lpm_xml_source(xml, "cpu");
    json_t *root = lpm_xml_object(xml, NULL, root_members);
    json_int_t kib = json_integer_value(json_object_get(root, "memory_kib"));

    json_object_update(model, root);
    json_decref(root);
    json_object_set_new(model, "memory_bytes", json_integer(kib * 1024));
    json_object_del(model, "memory_kib");
    if (*cpu)
        json_object_set_new(model, "cpu_xml", json_string(cpu));
    json_object_set_new(model, "os_files", os_files(xml));
    json_object_set_new(model, "hugepages", hugepages(xml));
    json_object_set_new(model, "pins", pins(xml));
    json_object_set_new(model, "cells", cells(xml));
    json_object_set_new(model, "memory_binding", memory_binding(xml));
    json_object_set_new(model, "disks", lpm_xml_list(xml, "devices/disk", disk_members));
    add_backing(xml, json_object_get(model, "disks"));
    add_hosts(xml, json_object_get(model, "disks"));
    json_object_set_new(model, "adapters", lpm_xml_list(xml, "devices/interface", adapter_members));
    add_vlans(xml, json_object_get(model, "adapters"));
    add_places(xml, json_object_get(model, "adapters"), "interface");
    for (gsize i = 0; i < G_N_ELEMENTS(device_lists); i++)
        json_object_set_new(model, device_lists[i].member,
                            lpm_xml_list(xml, device_lists[i].path, device_members));
    add_places(xml, json_object_get(model, "hostdevs"), "hostdev");
}

static const char *state_word(int state)
{
    switch (state) {
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED:
        return "running";
    case VIR_DOMAIN_PAUSED:
        return "paused";
    case VIR_DOMAIN_SHUTDOWN:
        return "shutting down";
    case VIR_DOMAIN_SHUTOFF:
        return "not activated";
    case VIR_DOMAIN_CRASHED:
        return "crashed";
    case VIR_DOMAIN_PMSUSPENDED:
        return "suspended by its guest";
    default:
        return "in an unknown state";
    }
}

/* A panicked guest whose on_crash is `preserve` is paused, or crashed, for that reason. */
static void add_state(virDomainPtr domain, json_t *model)
{
    int state = 0, reason = 0;
    virDomainJobInfo job = {0};

    virDomainGetState(domain, &state, &reason, 0);
    const char *word = state_word(state);
    if (state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_CRASHED)
        word = "crashed";
    json_object_set_new(model, "state", json_string(word));
    json_object_set_new(
        model, "io_error",
        json_boolean(state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_IOERROR));
    json_object_set_new(model, "job",
                        json_boolean(virDomainGetJobInfo(domain, &job) == 0 &&
                                     job.type != VIR_DOMAIN_JOB_NONE &&
                                     job.type != VIR_DOMAIN_JOB_COMPLETED));
    json_object_set_new(model, "snapshots", json_integer(virDomainSnapshotNum(domain, 0)));
    json_object_set_new(model, "checkpoints",
                        json_integer(virDomainListAllCheckpoints(domain, NULL, 0)));
}

static void add_block_jobs(virDomainPtr domain, json_t *model)
{
    json_t *jobs = json_array(), *disk;
    size_t i;

    json_array_foreach (json_object_get(model, "disks"), i, disk) {
        const char *target = json_string_value(json_object_get(disk, "target"));
        virDomainBlockJobInfo info;

        if (target && virDomainGetBlockJobInfo(domain, target, &info, 0) == 1)
            json_array_append_new(jobs, json_string(target));
    }
    json_object_set_new(model, "block_jobs", jobs);
}

/* What the definition says of the processor, which counts when the partition is started anew; "" of
 * one that has none. A new string. */
static char *next_cpu_mode(virDomainPtr domain, LpmXml *now)
{
    if (virDomainIsPersistent(domain) != 1)
        return g_strdup("");
    if (virDomainIsActive(domain) != 1)
        return lpm_xml_text(now, NULL, "cpu/@mode");
    char *text = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE);
    g_autoptr(LpmXml) next = text ? lpm_xml_parse(text, NULL) : NULL;

    free(text);
    return next ? lpm_xml_text(next, NULL, "cpu/@mode") : g_strdup("");
}

static json_t *describe(virDomainPtr domain, GError **error)
{
    char uuid[VIR_UUID_STRING_BUFLEN] = "";
    unsigned int id = virDomainGetID(domain);
    char *text = virDomainGetXMLDesc(domain, 0);

    if (!text) {
        lpm_host_fail(error, "describing the partition");
        return NULL;
    }
    g_autoptr(LpmXml) xml = lpm_xml_parse(text, error);
    free(text);
    if (!xml)
        return NULL;
    virDomainGetUUIDString(domain, uuid);
    g_autofree char *next = next_cpu_mode(domain, xml);
    json_t *model =
        json_pack("{s:s, s:s, s:o, s:b, s:s}", "name", virDomainGetName(domain), "uuid", uuid, "id",
                  id == (unsigned int)-1 ? json_null() : json_integer((json_int_t)id), "persistent",
                  virDomainIsPersistent(domain) == 1, "next_cpu_mode", next);
    add_description(xml, model);
    add_state(domain, model);
    if (id != (unsigned int)-1)
        add_block_jobs(domain, model);
    return model;
}

json_t *lpm_host_model(struct lpm_host *host, const char *name, GError **error)
{
    lpm_auto_connect connection = lpm_host_connect(host, error);
    lpm_auto_domain domain = connection ? lpm_host_lookup(connection, name) : NULL;

    if (!connection)
        return NULL;
    if (!domain) {
        lpm_fail(error, LPM_E_PARTITION_NOT_FOUND, "no partition '%s' on %s", name,
                 host->config->name);
        return NULL;
    }
    return describe(domain, error);
}
