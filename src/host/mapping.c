/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/mapping.h"

#include "base/error.h"
#include "host/xml.h"

#include <libxml/parser.h>
#include <string.h>

static const char *member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

/* ---- sources in one word ---- */

struct network_source {
    char *host, *port; /* NULL: as they are */
    char *name;
};

static void clear(struct network_source *source)
{
    g_free(source->host);
    g_free(source->port);
    g_free(source->name);
}

/* "//[fd00::1]:3260/iqn...:san/2", "//10.0.0.1/pool/image", "export". */
static gboolean parse_network(const char *text, struct network_source *out, GError **error)
{
    const char *name = text;

    memset(out, 0, sizeof(*out));
    if (g_str_has_prefix(text, "//")) {
        const char *host = text + 2, *slash = strchr(host, '/');
        const char *end = slash;
        const char *close = *host == '[' ? strchr(host, ']') : NULL;
        const char *colon = slash
                                ? memchr(close && close < slash ? close : host, ':',
                                         (size_t)(slash - (close && close < slash ? close : host)))
                                : NULL;

        if (!slash || slash == host)
            return lpm_fail(error, LPM_E_MAP_WRONG, "'%s' is not of the form //HOST[:PORT]/NAME",
                            text);
        if (colon) {
            out->port = g_strndup(colon + 1, (gsize)(slash - colon - 1));
            end = colon;
        }
        out->host = close && close < slash ? g_strndup(host + 1, (gsize)(close - host - 1))
                                           : g_strndup(host, (gsize)(end - host));
        name = slash + 1;
    }
    out->name = g_strdup(name);
    if (*name &&
        (!out->port || (*out->port && strspn(out->port, "0123456789") == strlen(out->port))))
        return TRUE;
    clear(out);
    return lpm_fail(error, LPM_E_MAP_WRONG, "'%s' names no disk, or no port", text);
}

static gboolean is_network(const json_t *disk)
{
    return strcmp(member(disk, "type"), "network") == 0;
}

static gboolean is_volume(const json_t *disk)
{
    return strcmp(member(disk, "type"), "volume") == 0;
}

char *lpm_disk_source(const json_t *disk)
{
    if (is_volume(disk))
        return g_strdup_printf("%s/%s", member(disk, "pool"), member(disk, "volume"));
    return g_strdup(is_network(disk) ? member(disk, "name") : member(disk, "path"));
}

char *lpm_disk_full_source(const json_t *disk)
{
    const char *host = member(disk, "address"), *port = member(disk, "port");
    gboolean six = strchr(host, ':') != NULL;

    if (!is_network(disk) || !*host)
        return lpm_disk_source(disk);
    return g_strdup_printf("//%s%s%s%s%s/%s", six ? "[" : "", host, six ? "]" : "",
                           *port ? ":" : "", port, member(disk, "name"));
}

const char *lpm_adapter_source(const json_t *adapter)
{
    const char *network = member(adapter, "network"), *bridge = member(adapter, "bridge");

    return *network ? network : *bridge ? bridge : member(adapter, "device");
}

static gboolean set_network(json_t *disk, const char *source, GError **error)
{
    struct network_source parts;

    if (!parse_network(source, &parts, error))
        return FALSE;
    json_object_set_new(disk, "name", json_string(parts.name));
    if (parts.host) {
        json_object_set_new(disk, "address", json_string(parts.host));
        json_object_del(disk, "socket");
    }
    if (parts.port)
        json_object_set_new(disk, "port", json_string(parts.port));
    if (parts.host)
        json_object_set_new(
            disk, "hosts",
            json_pack("[{s:s, s:O*}]", "name", parts.host, "port", json_object_get(disk, "port")));
    clear(&parts);
    return TRUE;
}

/* The volume's name may hold a slash, the pool's does not. */
static gboolean split_volume(const char *source, char **pool, const char **volume, GError **error)
{
    const char *slash = strchr(source, '/');

    if (!slash || slash == source || !slash[1])
        return lpm_fail(error, LPM_E_MAP_WRONG, "'%s' is not of the form POOL/VOLUME", source);
    *pool = g_strndup(source, (gsize)(slash - source));
    *volume = slash + 1;
    return TRUE;
}

static gboolean check_path(const char *source, GError **error)
{
    return *source == '/' ||
           lpm_fail(error, LPM_E_MAP_WRONG, "'%s' is not a path from the root", source);
}

gboolean lpm_disk_set_source(json_t *disk, const char *source, GError **error)
{
    g_autofree char *pool = NULL;
    const char *volume;

    if (!g_utf8_validate(source, -1, NULL))
        return lpm_fail(error, LPM_E_MAP_WRONG, "the source of %s is not UTF-8",
                        member(disk, "target"));
    if (is_network(disk))
        return set_network(disk, source, error);
    if (is_volume(disk)) {
        if (!split_volume(source, &pool, &volume, error))
            return FALSE;
        json_object_set_new(disk, "pool", json_string(pool));
        json_object_set_new(disk, "volume", json_string(volume));
        return TRUE;
    }
    if (!*member(disk, "path"))
        return lpm_fail(error, LPM_E_MAP_WRONG, "%s is empty or has no source that can be mapped",
                        member(disk, "target"));
    if (!check_path(source, error))
        return FALSE;
    json_object_set_new(disk, "path", json_string(source));
    return TRUE;
}

gboolean lpm_adapter_set_source(json_t *adapter, const char *source, GError **error)
{
    static const char *const names[] = {"network", "bridge", "device"};

    if (!*source || !g_utf8_validate(source, -1, NULL) || strpbrk(source, "/ \t\n"))
        return lpm_fail(error, LPM_E_MAP_WRONG, "'%s' is no name of a bridge or network", source);
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        if (*member(adapter, names[i])) {
            json_object_set_new(adapter, names[i], json_string(source));
            if (i == 0)
                json_object_del(adapter, "bridge"); /* another host's, behind that network */
            return TRUE;
        }
    }
    return lpm_fail(error, LPM_E_MAP_WRONG, "%s is on no bridge, network or device",
                    member(adapter, "mac"));
}

/* ---- descriptions ---- */

static xmlNode *child(xmlNode *node, const char *name)
{
    for (xmlNode *at = node->children; at; at = at->next) {
        if (at->type == XML_ELEMENT_NODE && strcmp((const char *)at->name, name) == 0)
            return at;
    }
    return NULL;
}

static void set(xmlNode *node, const char *name, const char *value)
{
    xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

static void unset(xmlNode *node, const char *name)
{
    xmlAttr *attribute = xmlHasProp(node, (const xmlChar *)name);

    if (attribute)
        xmlRemoveProp(attribute);
}

static gboolean has(xmlNode *node, const char *name)
{
    return xmlHasProp(node, (const xmlChar *)name) != NULL;
}

/* One server is named: the others are of where the disk was. */
static void drop_after(xmlNode *node, const char *name)
{
    for (xmlNode *next = node ? node->next : NULL, *after; next; next = after) {
        after = next->next;
        if (next->type == XML_ELEMENT_NODE && xmlStrEqual(next->name, (const xmlChar *)name)) {
            xmlUnlinkNode(next);
            xmlFreeNode(next);
        }
    }
}

static gboolean set_network_node(xmlNode *source, const char *text, GError **error)
{
    struct network_source parts;
    xmlNode *host = child(source, "host");

    if (!parse_network(text, &parts, error))
        return FALSE;
    set(source, "name", parts.name);
    if (parts.host) {
        if (!host)
            host = xmlNewChild(source, NULL, (const xmlChar *)"host", NULL);
        set(host, "name", parts.host);
        unset(host, "transport");
        unset(host, "socket");
    }
    if (parts.port && host)
        set(host, "port", parts.port);
    if (parts.host)
        drop_after(host, "host");
    clear(&parts);
    return TRUE;
}

static gboolean map_disk(xmlNode *disk, const char *to, GError **error)
{
    static const char *const paths[] = {"file", "dev", "dir"};
    xmlNode *source = child(disk, "source");
    g_autofree char *pool = NULL;
    const char *volume;

    if (!source)
        return lpm_fail(error, LPM_E_MAP_WRONG, "a disk without source cannot be mapped to %s", to);
    if (has(source, "protocol"))
        return set_network_node(source, to, error);
    if (has(source, "pool")) {
        if (!split_volume(to, &pool, &volume, error))
            return FALSE;
        set(source, "pool", pool);
        set(source, "volume", volume);
        return TRUE;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
        if (has(source, paths[i])) {
            if (!check_path(to, error))
                return FALSE;
            set(source, paths[i], to);
            return TRUE;
        }
    }
    return lpm_fail(error, LPM_E_MAP_WRONG, "a disk of this kind cannot be mapped to %s", to);
}

/* Of an adapter on a network of libvirt's a running partition's description also has the bridge
 * behind it, which is this host's: the target's libvirt looks that up itself. */
static gboolean map_adapter(xmlNode *adapter, const char *to, GError **error)
{
    xmlNode *source = child(adapter, "source");

    if (source && has(source, "network")) {
        set(adapter, "type", "network");
        set(source, "network", to);
        unset(source, "bridge");
        unset(source, "portid");
        return TRUE;
    }
    if (source && has(source, "bridge")) {
        set(source, "bridge", to);
        return TRUE;
    }
    if (source && has(source, "dev")) {
        set(source, "dev", to);
        return TRUE;
    }
    return lpm_fail(error, LPM_E_MAP_WRONG, "an adapter of this kind cannot be mapped to %s", to);
}

/* The device that an entry means: by the target of a disk, by the address of an adapter. */
static xmlNode *find(xmlNode *devices, const char *element, const char *name_at,
                     const char *attribute, const char *value)
{
    for (xmlNode *at = devices ? devices->children : NULL; at; at = at->next) {
        xmlNode *named =
            at->type == XML_ELEMENT_NODE && strcmp((const char *)at->name, element) == 0
                ? child(at, name_at)
                : NULL;
        xmlChar *text = named ? xmlGetProp(named, (const xmlChar *)attribute) : NULL;
        gboolean same = text && g_ascii_strcasecmp((const char *)text, value) == 0;

        xmlFree(text);
        if (same)
            return at;
    }
    return NULL;
}

static gboolean map_one(xmlNode *devices, const json_t *entry, GError **error)
{
    gboolean disk = strcmp(member(entry, "kind"), "disk") == 0;
    const char *to = member(entry, "target"), *name = member(entry, "adapter");

    if (!*to || strcmp(to, member(entry, "source")) == 0)
        return TRUE;
    xmlNode *device = disk ? find(devices, "disk", "target", "dev", name)
                           : find(devices, "interface", "mac", "address", name);
    if (!device)
        return TRUE;
    if (disk ? map_disk(device, to, error) : map_adapter(device, to, error))
        return TRUE;
    g_prefix_error(error, "%s: ", name);
    return FALSE;
}

char *lpm_map_description(const char *text, const json_t *adapters, GError **error)
{
    xmlDoc *doc = xmlReadMemory(text, (int)strlen(text), "libvirt.xml", NULL,
                                XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
    xmlChar *written = NULL;
    gboolean ok = TRUE;
    const json_t *entry;
    int size = 0;
    size_t i;

    if (!root) {
        xmlFreeDoc(doc);
        lpm_fail(error, LPM_E_LIBVIRT, "a description of libvirt's is no XML");
        return NULL;
    }
    json_array_foreach (adapters, i, entry)
        ok = ok && map_one(child(root, "devices"), entry, error);
    if (ok)
        xmlDocDumpMemory(doc, &written, &size);
    char *result = g_strdup((const char *)written);
    xmlFree(written);
    xmlFreeDoc(doc);
    return result;
}

gboolean lpm_map_is_needed(const json_t *adapters)
{
    const json_t *entry;
    size_t i;

    json_array_foreach (adapters, i, entry) {
        if (*member(entry, "target") &&
            strcmp(member(entry, "target"), member(entry, "source")) != 0)
            return TRUE;
    }
    return FALSE;
}
