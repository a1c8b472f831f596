/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* libvirt's descriptions by XPath. A document belongs to one thread at a time. */
#ifndef LPM_HOST_XML_H
#define LPM_HOST_XML_H

#include <glib.h>
#include <jansson.h>
#include <libxml/tree.h>

typedef struct lpm_xml LpmXml;

/* Parses; NULL with LPM_E_LIBVIRT if `text` is no XML. Nothing outside of it is loaded. */
LpmXml *lpm_xml_parse(const char *text, GError **error);
void lpm_xml_free(LpmXml *xml);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmXml, lpm_xml_free)

/* In the following `node` NULL means the root element, and `path` begins below it. */

/* The first node's text or attribute, "" if there is none. A new string. */
char *lpm_xml_text(LpmXml *xml, xmlNode *node, const char *path);
/* The same as an integer, `none` if there is no such node or it holds no number. */
gint64 lpm_xml_int(LpmXml *xml, xmlNode *node, const char *path, gint64 none);
/* The integers at all nodes of `path`, from the root on, as an array; what is no number is 0. */
json_t *lpm_xml_ints(LpmXml *xml, const char *path);
gboolean lpm_xml_has(LpmXml *xml, xmlNode *node, const char *path);
/* The node's own XML, "" if there is none. A new string. */
char *lpm_xml_source(LpmXml *xml, const char *path);

/* One member of an object: its name, then the paths to look at, the first that is not empty. A
 * table of them ends in a name of NULL. */
struct lpm_xml_member {
    const char *name;
    const char *paths; /* '|' between them */
    enum { LPM_XML_TEXT, LPM_XML_INT, LPM_XML_FLAG } type;
};
/* An object of those members that are there (a flag always is). */
json_t *lpm_xml_object(LpmXml *xml, xmlNode *node, const struct lpm_xml_member *members);
/* One object per node at `path`. */
json_t *lpm_xml_list(LpmXml *xml, const char *path, const struct lpm_xml_member *members);

#endif
