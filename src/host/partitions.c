/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What partitions there are and what they consist of. */
#include "host/host-internal.h"

#include "base/error.h"
#include "host/xml.h"

#include <libvirt/virterror.h>
#include <string.h>

static const char *state_name(int state)
{
    switch (state) {
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED:
        return "Running";
    case VIR_DOMAIN_PAUSED:
        return "Paused";
    case VIR_DOMAIN_SHUTDOWN:
        return "Shutting Down";
    case VIR_DOMAIN_SHUTOFF:
        return "Not Activated";
    case VIR_DOMAIN_CRASHED:
        return "Crashed";
    case VIR_DOMAIN_PMSUSPENDED:
        return "Suspended";
    default:
        return "Unknown";
    }
}

/* One line of the list; NULL when the partition vanished meanwhile. */
static json_t *summary(virDomainPtr domain)
{
    char uuid[VIR_UUID_STRING_BUFLEN];
    virDomainInfo info;
    unsigned int id = virDomainGetID(domain);

    if (virDomainGetInfo(domain, &info) < 0 || virDomainGetUUIDString(domain, uuid) < 0)
        return NULL;
    return json_pack(
        "{s:s, s:s, s:o, s:s, s:I, s:i, s:b}", "name", virDomainGetName(domain), "uuid", uuid, "id",
        id == (unsigned int)-1 ? json_null() : json_integer((json_int_t)id), "state",
        state_name(info.state), "memory_bytes", (json_int_t)info.memory * 1024, "vcpus",
        (int)info.nrVirtCpu, "persistent", virDomainIsPersistent(domain) == 1);
}

json_t *lpm_host_each(virConnectPtr connection, json_t *(*describe)(virDomainPtr domain),
                      GError **error)
{
    virDomainPtr *domains = NULL;
    int count = virConnectListAllDomains(connection, &domains, 0);

    if (count < 0) {
        lpm_host_fail(error, "listing partitions");
        return NULL;
    }
    json_t *list = json_array();
    for (int i = 0; i < count; i++) {
        json_t *entry = describe(domains[i]);
        if (entry)
            json_array_append_new(list, entry);
        virDomainFree(domains[i]);
    }
    free(domains);
    return list;
}

json_t *lpm_host_partitions(struct lpm_host *host, GError **error)
{
    lpm_auto_connect connection = lpm_host_control(host, error);

    return connection ? lpm_host_each(connection, summary, error) : NULL;
}

static const struct lpm_xml_member system_members[] = {
    {"os_type", "os/type", LPM_XML_TEXT},
    {"arch", "os/type/@arch", LPM_XML_TEXT},
    {"machine", "os/type/@machine", LPM_XML_TEXT},
    {"hypervisor", "@type", LPM_XML_TEXT},
    {"hugepages", "memoryBacking/hugepages", LPM_XML_FLAG},
    {NULL, NULL, LPM_XML_TEXT},
};
static const struct lpm_xml_member disk_members[] = {
    {"target", "target/@dev", LPM_XML_TEXT},
    {"bus", "target/@bus", LPM_XML_TEXT},
    {"type", "@type", LPM_XML_TEXT},
    {"device", "@device", LPM_XML_TEXT},
    {"source", "source/@file|source/@dev|source/@name|source/@volume|source/@dir", LPM_XML_TEXT},
    {"protocol", "source/@protocol", LPM_XML_TEXT},
    {"readonly", "readonly", LPM_XML_FLAG},
    {NULL, NULL, LPM_XML_TEXT},
};
static const struct lpm_xml_member adapter_members[] = {
    {"mac", "mac/@address", LPM_XML_TEXT},
    {"model", "model/@type", LPM_XML_TEXT},
    {"type", "@type", LPM_XML_TEXT},
    {"source", "source/@bridge|source/@network|source/@dev", LPM_XML_TEXT},
    {NULL, NULL, LPM_XML_TEXT},
};

/* An empty drive has no source: readers find the member all the same. */
static json_t *with_sources(json_t *list)
{
    json_t *entry;
    size_t i;

    json_array_foreach (list, i, entry) {
        if (!json_object_get(entry, "source"))
            json_object_set_new(entry, "source", json_string(""));
    }
    return list;
}

/* Adds what only the XML tells. */
static gboolean add_details(json_t *entry, const char *text, GError **error)
{
    g_autoptr(LpmXml) xml = lpm_xml_parse(text, error);

    if (!xml)
        return FALSE;
    json_t *system = lpm_xml_object(xml, NULL, system_members);
    json_object_update(entry, system);
    json_decref(system);
    json_object_set_new(entry, "disks",
                        with_sources(lpm_xml_list(xml, "devices/disk", disk_members)));
    json_object_set_new(entry, "adapters",
                        with_sources(lpm_xml_list(xml, "devices/interface", adapter_members)));
    return TRUE;
}

json_t *lpm_host_partition(struct lpm_host *host, const char *name, GError **error)
{
    lpm_auto_connect connection = lpm_host_control(host, error);
    lpm_auto_domain domain = connection ? lpm_host_lookup(connection, name) : NULL;
    json_t *entry = NULL;

    if (!connection)
        return NULL;
    if (domain)
        entry = summary(domain);
    if (!entry) {
        lpm_fail(error, LPM_E_PARTITION_NOT_FOUND, "no partition '%s' on %s", name,
                 host->config->name);
        return NULL;
    }
    char *xml = virDomainGetXMLDesc(domain, 0);
    if (!xml || !add_details(entry, xml, error)) {
        if (!xml)
            lpm_host_fail(error, "describing the partition");
        g_clear_pointer(&entry, json_decref);
    }
    free(xml);
    return entry;
}

/* libvirt's reasons tell a target that still loads from one that has everything: while it loads it
 * is paused for `migration`; when Finish has seen the load complete, a migration that asked for
 * PAUSED leaves `user`. */
static enum lpm_partition_state paused_state(int reason)
{
    switch (reason) {
    case VIR_DOMAIN_PAUSED_MIGRATION:
        return LPM_PARTITION_MIGRATING;
    case VIR_DOMAIN_PAUSED_USER:
        return LPM_PARTITION_LOADED;
    case VIR_DOMAIN_PAUSED_POSTCOPY:
        return LPM_PARTITION_POST_COPY;
    case VIR_DOMAIN_PAUSED_POSTCOPY_FAILED:
        return LPM_PARTITION_POST_COPY_FAILED;
    default:
        return LPM_PARTITION_PAUSED;
    }
}

static enum lpm_partition_state running_state(int reason)
{
    switch (reason) {
    case VIR_DOMAIN_RUNNING_POSTCOPY:
        return LPM_PARTITION_POST_COPY;
    case VIR_DOMAIN_RUNNING_POSTCOPY_FAILED:
        return LPM_PARTITION_POST_COPY_FAILED;
    default:
        return LPM_PARTITION_RUNNING;
    }
}

gboolean lpm_host_state(struct lpm_host *host, const char *uuid, enum lpm_partition_state *state,
                        GError **error)
{
    lpm_auto_connect connection = NULL;
    lpm_auto_domain domain = NULL;
    int value = 0, reason = 0;

    if (!lpm_host_find(host, uuid, &connection, &domain, error))
        return FALSE;
    if (!domain) {
        *state = LPM_PARTITION_ABSENT;
        return TRUE;
    }
    if (virDomainGetState(domain, &value, &reason, 0) < 0)
        return lpm_host_fail(error, "asking the partition's state");
    switch (value) {
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED:
        *state = running_state(reason);
        break;
    case VIR_DOMAIN_SHUTOFF:
        *state = LPM_PARTITION_DEFINED;
        break;
    case VIR_DOMAIN_PAUSED:
        *state = paused_state(reason);
        break;
    default:
        *state = LPM_PARTITION_OTHER;
    }
    return TRUE;
}

const char *lpm_partition_state_name(enum lpm_partition_state state)
{
    static const char *const names[] = {
        [LPM_PARTITION_ABSENT] = "absent",
        [LPM_PARTITION_DEFINED] = "defined",
        [LPM_PARTITION_RUNNING] = "running",
        [LPM_PARTITION_MIGRATING] = "paused (migrating)",
        [LPM_PARTITION_LOADED] = "paused (loaded or by a user)",
        [LPM_PARTITION_POST_COPY] = "in post-copy",
        [LPM_PARTITION_POST_COPY_FAILED] = "in a post-copy whose connection broke",
        [LPM_PARTITION_PAUSED] = "paused",
        [LPM_PARTITION_OTHER] = "neither running nor paused",
    };
    return names[state];
}

gboolean lpm_host_name_used(struct lpm_host *host, const char *name, const char *uuid,
                            gboolean *used, GError **error)
{
    lpm_auto_connect connection = NULL;
    lpm_auto_domain domain = NULL;

    if (!lpm_host_find(host, uuid, &connection, &domain, error))
        return FALSE;
    if (!domain)
        domain = virDomainLookupByName(connection, name);
    *used = domain != NULL;
    return TRUE;
}
