/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What partitions there are and what they consist of. */
#include "host/host-internal.h"

#include "base/error.h"

#include <libvirt/virterror.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <string.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlXPathContext, xmlXPathFreeContext)

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

json_t *lpm_host_partitions(struct lpm_host *host, GError **error)
{
    lpm_auto_connect connection = lpm_host_control(host, error);
    virDomainPtr *domains = NULL;

    if (!connection)
        return NULL;
    int count = virConnectListAllDomains(connection, &domains, 0);
    if (count < 0) {
        lpm_host_fail(error, "listing partitions");
        return NULL;
    }
    json_t *list = json_array();
    for (int i = 0; i < count; i++) {
        json_t *entry = summary(domains[i]);
        if (entry)
            json_array_append_new(list, entry);
        virDomainFree(domains[i]);
    }
    free(domains);
    return list;
}

/* The first node's text or attribute at `path` below `node`, "" if there is none. */
static char *xpath_text(xmlXPathContext *context, xmlNode *node, const char *path)
{
    char *text = NULL;

    context->node = node;
    xmlXPathObject *found = xmlXPathEvalExpression((const xmlChar *)path, context);
    if (found && found->type == XPATH_NODESET && found->nodesetval && found->nodesetval->nodeNr) {
        xmlChar *content = xmlNodeGetContent(found->nodesetval->nodeTab[0]);
        text = g_strdup((const char *)content);
        xmlFree(content);
    }
    xmlXPathFreeObject(found);
    return text ? text : g_strdup("");
}

/* Adds `name`: the text at the first of `paths` ('|'-separated) that is not empty. */
static void put_text(json_t *object, const char *name, xmlXPathContext *context, xmlNode *node,
                     const char *paths)
{
    g_auto(GStrv) list = g_strsplit(paths, "|", -1);

    for (char **path = list; *path; path++) {
        g_autofree char *text = xpath_text(context, node, *path);
        if (*text || !path[1]) {
            json_object_set_new(object, name, json_string(text));
            return;
        }
    }
}

/* Adds `name`: what the boolean expression at `node` says. */
static void put_flag(json_t *object, const char *name, xmlXPathContext *context, xmlNode *node,
                     const char *expression)
{
    context->node = node;
    xmlXPathObject *flag = xmlXPathEvalExpression((const xmlChar *)expression, context);
    json_object_set_new(object, name, json_boolean(flag && flag->boolval));
    xmlXPathFreeObject(flag);
}

static json_t *describe_disk(xmlXPathContext *context, xmlNode *node)
{
    json_t *disk = json_object();
    g_autofree char *protocol = xpath_text(context, node, "source/@protocol");

    put_text(disk, "target", context, node, "target/@dev");
    put_text(disk, "bus", context, node, "target/@bus");
    put_text(disk, "type", context, node, "@type");
    put_text(disk, "device", context, node, "@device");
    put_text(disk, "source", context, node,
             "source/@file|source/@dev|source/@name|source/@volume|source/@dir");
    if (*protocol)
        json_object_set_new(disk, "protocol", json_string(protocol));
    put_flag(disk, "readonly", context, node, "boolean(readonly)");
    return disk;
}

static json_t *describe_adapter(xmlXPathContext *context, xmlNode *node)
{
    json_t *adapter = json_object();

    put_text(adapter, "mac", context, node, "mac/@address");
    put_text(adapter, "model", context, node, "model/@type");
    put_text(adapter, "type", context, node, "@type");
    put_text(adapter, "source", context, node, "source/@bridge|source/@network|source/@dev");
    return adapter;
}

static json_t *describe_all(xmlXPathContext *context, const char *path,
                            json_t *(*describe)(xmlXPathContext *, xmlNode *))
{
    json_t *list = json_array();

    context->node = xmlDocGetRootElement(context->doc);
    xmlXPathObject *found = xmlXPathEvalExpression((const xmlChar *)path, context);
    for (int i = 0; found && found->nodesetval && i < found->nodesetval->nodeNr; i++)
        json_array_append_new(list, describe(context, found->nodesetval->nodeTab[i]));
    xmlXPathFreeObject(found);
    return list;
}

/* Adds what only the XML tells. */
static gboolean add_details(json_t *entry, const char *xml, GError **error)
{
    g_autoptr(xmlDoc) doc = xmlReadMemory(xml, (int)strlen(xml), "partition.xml", NULL,
                                          XML_PARSE_NONET | XML_PARSE_NOERROR);
    g_autoptr(xmlXPathContext) context = doc ? xmlXPathNewContext(doc) : NULL;

    if (!context)
        return lpm_fail(error, LPM_E_LIBVIRT, "libvirt's description of the partition is no XML");
    xmlNode *root = xmlDocGetRootElement(doc);
    put_text(entry, "os_type", context, root, "os/type");
    put_text(entry, "arch", context, root, "os/type/@arch");
    put_text(entry, "machine", context, root, "os/type/@machine");
    put_text(entry, "hypervisor", context, root, "@type");
    put_flag(entry, "hugepages", context, root, "boolean(memoryBacking/hugepages)");
    json_object_set_new(entry, "disks", describe_all(context, "devices/disk", describe_disk));
    json_object_set_new(entry, "adapters",
                        describe_all(context, "devices/interface", describe_adapter));
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
