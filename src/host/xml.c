/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/xml.h"

#include "base/error.h"

#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <string.h>

struct lpm_xml {
    xmlDoc *doc;
    xmlXPathContext *context;
};

LpmXml *lpm_xml_parse(const char *text, GError **error)
{
    LpmXml *xml = g_new0(LpmXml, 1);

    xml->doc = xmlReadMemory(text, (int)strlen(text), "libvirt.xml", NULL,
                             XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    xml->context = xml->doc ? xmlXPathNewContext(xml->doc) : NULL;
    if (!xml->context || !xmlDocGetRootElement(xml->doc)) {
        lpm_fail(error, LPM_E_LIBVIRT, "a description of libvirt's is no XML");
        lpm_xml_free(xml);
        return NULL;
    }
    return xml;
}

void lpm_xml_free(LpmXml *xml)
{
    if (!xml)
        return;
    xmlXPathFreeContext(xml->context);
    xmlFreeDoc(xml->doc);
    g_free(xml);
}

/* The nodes at `path`; free it. NULL if there are none. */
static xmlXPathObject *nodes_at(LpmXml *xml, xmlNode *node, const char *path)
{
    xml->context->node = node ? node : xmlDocGetRootElement(xml->doc);
    xmlXPathObject *found = xmlXPathEvalExpression((const xmlChar *)path, xml->context);

    if (found && found->type == XPATH_NODESET && found->nodesetval && found->nodesetval->nodeNr)
        return found;
    xmlXPathFreeObject(found);
    return NULL;
}

char *lpm_xml_text(LpmXml *xml, xmlNode *node, const char *path)
{
    xmlXPathObject *found = nodes_at(xml, node, path);
    char *text = NULL;

    if (found) {
        xmlChar *content = xmlNodeGetContent(found->nodesetval->nodeTab[0]);
        text = g_strdup((const char *)content);
        xmlFree(content);
    }
    xmlXPathFreeObject(found);
    return text ? text : g_strdup("");
}

gint64 lpm_xml_int(LpmXml *xml, xmlNode *node, const char *path, gint64 none)
{
    g_autofree char *text = lpm_xml_text(xml, node, path);
    char *end;
    gint64 value = g_ascii_strtoll(text, &end, 0);

    return end == text ? none : value;
}

json_t *lpm_xml_ints(LpmXml *xml, const char *path)
{
    xmlXPathObject *found = nodes_at(xml, NULL, path);
    json_t *list = json_array();

    for (int i = 0; found && i < found->nodesetval->nodeNr; i++) {
        xmlChar *text = xmlNodeGetContent(found->nodesetval->nodeTab[i]);
        json_array_append_new(list, json_integer(g_ascii_strtoll((const char *)text, NULL, 0)));
        xmlFree(text);
    }
    xmlXPathFreeObject(found);
    return list;
}

gboolean lpm_xml_has(LpmXml *xml, xmlNode *node, const char *path)
{
    xmlXPathObject *found = nodes_at(xml, node, path);
    gboolean has = found != NULL;

    xmlXPathFreeObject(found);
    return has;
}

char *lpm_xml_source(LpmXml *xml, const char *path)
{
    xmlXPathObject *found = nodes_at(xml, NULL, path);
    xmlBuffer *buffer = xmlBufferCreate();

    if (found)
        xmlNodeDump(buffer, xml->doc, found->nodesetval->nodeTab[0], 0, 0);
    char *text = g_strdup((const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    xmlXPathFreeObject(found);
    return text ? text : g_strdup("");
}

static void add_member(LpmXml *xml, xmlNode *node, const struct lpm_xml_member *member,
                       json_t *object)
{
    g_auto(GStrv) paths = g_strsplit(member->paths, "|", -1);

    for (char **path = paths; *path; path++) {
        if (member->type == LPM_XML_FLAG) {
            gboolean has = lpm_xml_has(xml, node, *path);

            json_object_set_new(object, member->name, json_boolean(has));
            if (has)
                return;
            continue;
        }
        g_autofree char *text = lpm_xml_text(xml, node, *path);
        if (!*text)
            continue;
        json_object_set_new(object, member->name,
                            member->type == LPM_XML_INT
                                ? json_integer(g_ascii_strtoll(text, NULL, 0))
                                : json_string(text));
        return;
    }
}

json_t *lpm_xml_object(LpmXml *xml, xmlNode *node, const struct lpm_xml_member *members)
{
    json_t *object = json_object();

    for (const struct lpm_xml_member *member = members; member->name; member++)
        add_member(xml, node, member, object);
    return object;
}

json_t *lpm_xml_list(LpmXml *xml, const char *path, const struct lpm_xml_member *members)
{
    xmlXPathObject *found = nodes_at(xml, NULL, path);
    json_t *list = json_array();

    for (int i = 0; found && i < found->nodesetval->nodeNr; i++)
        json_array_append_new(list, lpm_xml_object(xml, found->nodesetval->nodeTab[i], members));
    xmlXPathFreeObject(found);
    return list;
}
