/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/inspect.h"

#include "base/error.h"
#include "host/host-internal.h"
#include "host/xml.h"

#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

static const char *member(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static const char *last_message(void)
{
    virErrorPtr last = virGetLastError();

    return last && last->message ? last->message : "unknown cause";
}

gboolean lpm_is_power(const char *arch)
{
    return arch && g_str_has_prefix(arch, "ppc64");
}

/* ---- definitions ---- */

static json_t *macs_of(virDomainPtr domain, char **nvram)
{
    static const struct lpm_xml_member mac[] = {{"mac", "@address", LPM_XML_TEXT},
                                                {NULL, NULL, LPM_XML_TEXT}};
    char *text = virDomainGetXMLDesc(domain, 0);
    g_autoptr(LpmXml) xml = text ? lpm_xml_parse(text, NULL) : NULL;
    json_t *list = json_array(), *entry;
    json_t *found = xml ? lpm_xml_list(xml, "devices/interface/mac", mac) : json_array();
    size_t i;

    *nvram = xml ? lpm_xml_text(xml, NULL, "os/nvram") : g_strdup("");
    free(text);
    json_array_foreach (found, i, entry)
        json_array_append(list, json_object_get(entry, "mac"));
    json_decref(found);
    return list;
}

static json_t *definition(virDomainPtr domain)
{
    char uuid[VIR_UUID_STRING_BUFLEN] = "";

    g_autofree char *nvram = NULL;
    json_t *macs = macs_of(domain, &nvram);

    virDomainGetUUIDString(domain, uuid);
    return json_pack("{s:s, s:s, s:b, s:o, s:s}", "name", virDomainGetName(domain), "uuid", uuid,
                     "active", virDomainIsActive(domain) == 1, "macs", macs, "nvram", nvram);
}

json_t *lpm_host_definitions(struct lpm_host *host, GError **error)
{
    lpm_auto_connect connection = lpm_host_connect(host, error);

    return connection ? lpm_host_each(connection, definition, error) : NULL;
}

/* ---- what QEMU can be ---- */

/* What this host makes of mode host-model, as a processor of its own; "" if it has no such. */
static char *host_model(LpmXml *xml)
{
    g_autofree char *mode = lpm_xml_source(xml, "cpu/mode[@name='host-model'][@supported='yes']");
    const char *begin = strchr(mode, '>'), *end = g_strrstr(mode, "</mode>");

    if (!begin || !end || begin >= end)
        return g_strdup("");
    return g_strdup_printf("<cpu mode='custom' match='exact'>%.*s</cpu>", (int)(end - begin - 1),
                           begin + 1);
}

/* The names of processors that a partition can be given by name. */
static json_t *custom_models(LpmXml *xml)
{
    static const struct lpm_xml_member members[] = {{"name", ".", LPM_XML_TEXT},
                                                    {NULL, NULL, LPM_XML_TEXT}};

    return lpm_xml_list(xml, "cpu/mode[@name='custom']/model[not(@usable='no')]", members);
}

json_t *lpm_host_abilities(struct lpm_host *host, const json_t *model, GError **error)
{
    lpm_auto_connect connection = lpm_host_connect(host, error);

    if (!connection)
        return NULL;
    char *text = virConnectGetDomainCapabilities(connection, member(model, "emulator"),
                                                 member(model, "arch"), member(model, "machine"),
                                                 member(model, "hypervisor"), 0);
    if (!text)
        return json_pack("{s:b, s:s}", "known", FALSE, "cause", last_message());
    g_autoptr(LpmXml) xml = lpm_xml_parse(text, error);
    free(text);
    if (!xml)
        return NULL;
    g_autofree char *emulator = lpm_xml_text(xml, NULL, "path");
    char *capabilities = virConnectGetCapabilities(connection);
    g_autoptr(LpmXml) host_xml = capabilities ? lpm_xml_parse(capabilities, NULL) : NULL;
    g_autofree char *cpu = host_xml ? lpm_xml_source(host_xml, "host/cpu") : g_strdup("");
    g_autofree char *microcode =
        host_xml ? lpm_xml_text(host_xml, NULL, "host/cpu/microcode/@version") : g_strdup("");

    free(capabilities);
    gboolean tpm =
        lpm_xml_has(xml, NULL, "devices/tpm/enum[@name='backendModel']/value[.='emulator']");
    g_autofree char *as_model = host_model(xml);
    g_autofree char *own = host_xml ? lpm_xml_text(host_xml, NULL, "host/cpu/model") : g_strdup("");
    return json_pack("{s:b, s:s, s:I, s:s, s:s, s:b, s:s, s:s, s:o}", "known", TRUE, "emulator",
                     emulator, "vcpus_max", (json_int_t)lpm_xml_int(xml, NULL, "vcpu/@max", 0),
                     "cpu_xml", cpu, "microcode", microcode, "tpm_emulator", tpm, "host_model_xml",
                     as_model, "cpu_model", own, "cpu_models",
                     lpm_is_power(member(model, "arch")) ? custom_models(xml) : json_array());
}

json_t *lpm_host_compare_cpu(struct lpm_host *host, const json_t *model, const char *cpu_xml,
                             GError **error)
{
    lpm_auto_connect connection = lpm_host_connect(host, error);

    if (!connection)
        return NULL;
    /* With the flag an incompatible processor is an error whose text names what is missing. */
    int result = virConnectCompareHypervisorCPU(
        connection, member(model, "emulator"), member(model, "arch"), member(model, "machine"),
        member(model, "hypervisor"), cpu_xml, VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE);
    if (result == VIR_CPU_COMPARE_IDENTICAL)
        return json_pack("{s:s}", "result", "identical");
    if (result == VIR_CPU_COMPARE_SUPERSET)
        return json_pack("{s:s}", "result", "superset");
    virErrorPtr last = virGetLastError();
    gboolean incompatible =
        result == VIR_CPU_COMPARE_INCOMPATIBLE || (last && last->code == VIR_ERR_CPU_INCOMPATIBLE);
    return json_pack("{s:s, s:s}", "result", incompatible ? "incompatible" : "unknown", "cause",
                     last_message());
}

/* ---- room ---- */

static json_t *free_pages(virConnectPtr connection)
{
    char *text = virConnectGetCapabilities(connection);
    g_autoptr(LpmXml) xml = text ? lpm_xml_parse(text, NULL) : NULL;
    static const struct lpm_xml_member members[] = {{"size", "@size", LPM_XML_INT},
                                                    {NULL, NULL, LPM_XML_TEXT}};
    json_t *list = xml ? lpm_xml_list(xml, "host/cpu/pages", members) : json_array();
    json_t *page;
    size_t i;

    free(text);
    json_array_foreach (list, i, page) {
        json_int_t kib = json_integer_value(json_object_get(page, "size"));
        unsigned int size = (unsigned int)kib;
        unsigned long long counts[64] = {0};
        /* Up to 64 cells, from the first; a host without NUMA has one. */
        int cells = virNodeGetFreePages(connection, 1, &size, 0, G_N_ELEMENTS(counts), counts, 0);
        unsigned long long sum = 0;

        for (int c = 0; c < cells && c < (int)G_N_ELEMENTS(counts); c++)
            sum += counts[c];
        json_object_set_new(page, "size", json_integer(kib * 1024));
        json_object_set_new(page, "free", json_integer((json_int_t)sum));
    }
    return list;
}

/* What can be had without swapping; the kernel's own figure, which libvirt does not pass on. */
static gint64 available_bytes(void)
{
    g_autofree char *text = NULL;
    gint64 kib = 0;

    if (g_file_get_contents("/proc/meminfo", &text, NULL, NULL)) {
        const char *line = strstr(text, "MemAvailable:");
        kib = line ? g_ascii_strtoll(line + strlen("MemAvailable:"), NULL, 10) : 0;
    }
    return kib * 1024;
}

json_t *lpm_host_room(struct lpm_host *host, GError **error)
{
    lpm_auto_connect connection = lpm_host_connect(host, error);
    virNodeInfo info;

    if (!connection)
        return NULL;
    if (virNodeGetInfo(connection, &info) < 0) {
        lpm_host_fail(error, "asking for the host's memory");
        return NULL;
    }
    return json_pack("{s:I, s:I, s:i, s:o}", "total_bytes", (json_int_t)info.memory * 1024,
                     "available_bytes", (json_int_t)available_bytes(), "cpus", (int)info.cpus,
                     "hugepages", free_pages(connection));
}

/* ---- networks and volumes ---- */

/* The number of the group of ports that an adapter is in, as XPath counts; 0: none. */
static size_t portgroup_number(LpmXml *xml, const char *name)
{
    static const struct lpm_xml_member members[] = {{"name", "@name", LPM_XML_TEXT},
                                                    {"default", "@default", LPM_XML_TEXT},
                                                    {NULL, NULL, LPM_XML_TEXT}};
    json_t *groups = lpm_xml_list(xml, "portgroup", members), *group;
    size_t i, found = 0;

    json_array_foreach (groups, i, group) {
        const char *is_default = member(group, "default");

        if (*name ? g_strcmp0(member(group, "name"), name) == 0 : g_strcmp0(is_default, "yes") == 0)
            found = i + 1;
    }
    json_decref(groups);
    return found;
}

/* What the group of ports has, and else the network: as libvirt does. */
static json_t *network_facts(LpmXml *xml, const char *portgroup, gboolean active)
{
    size_t group = portgroup_number(xml, portgroup);
    g_autofree char *bridge = lpm_xml_text(xml, NULL, "bridge/@name");
    g_autofree char *forward = lpm_xml_text(xml, NULL, "forward/@mode");
    g_autofree char *group_tags = g_strdup_printf("portgroup[%zu]/vlan/tag/@id", group);
    g_autofree char *group_port = g_strdup_printf("portgroup[%zu]/virtualport/@type", group);
    g_autofree char *port = lpm_xml_text(
        xml, NULL, lpm_xml_has(xml, NULL, group_port) ? group_port : "virtualport/@type");
    json_t *vlans = lpm_xml_ints(xml, group_tags);

    if (!json_array_size(vlans)) {
        json_decref(vlans);
        vlans = lpm_xml_ints(xml, "vlan/tag/@id");
    }
    return json_pack("{s:s, s:s, s:b, s:s, s:o}", "bridge", bridge, "forward",
                     *forward ? forward : "isolated", "active", active, "port", port, "vlans",
                     vlans);
}

json_t *lpm_host_network(struct lpm_host *host, const char *name, const char *portgroup,
                         GError **error)
{
    lpm_auto_connect connection = lpm_host_connect(host, error);

    if (!connection)
        return NULL;
    virNetworkPtr network = virNetworkLookupByName(connection, name);
    if (!network)
        return json_object();
    char *text = virNetworkGetXMLDesc(network, 0);
    gboolean active = virNetworkIsActive(network) == 1;
    virNetworkFree(network);
    g_autoptr(LpmXml) xml = text ? lpm_xml_parse(text, error) : NULL;
    free(text);
    return xml ? network_facts(xml, portgroup, active) : json_object();
}

char *lpm_host_volume_path(struct lpm_host *host, const char *pool_name, const char *volume_name)
{
    lpm_auto_connect connection = lpm_host_connect(host, NULL);
    virStoragePoolPtr pool = connection ? virStoragePoolLookupByName(connection, pool_name) : NULL;
    virStorageVolPtr volume = pool ? virStorageVolLookupByName(pool, volume_name) : NULL;
    char *found = volume ? virStorageVolGetPath(volume) : NULL;
    char *path = g_strdup(found);

    free(found);
    if (volume)
        virStorageVolFree(volume);
    if (pool)
        virStoragePoolFree(pool);
    return path;
}
