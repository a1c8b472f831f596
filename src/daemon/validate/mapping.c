/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/validate/mapping.h"

#include "daemon/validate/checks.h"
#include "host/mapping.h"

#include <string.h>

/* The two kinds differ in where the model has them, what names them, and how roles are found. */
struct kind {
    const char *word;      /* of an entry of the map of adapters */
    const char *list;      /* of the model */
    const char *map;       /* member of an operator's map */
    const char *name;      /* what names an entry of the list */
    const char *described; /* for people */
    gboolean storage;
};
static const struct kind kinds[] = {
    {"disk", "disks", "disks", "target", "disk", TRUE},
    {"network", "adapters", "networks", "mac", "network adapter with the MAC address", FALSE},
};

static char *source_of(const struct kind *kind, const json_t *entry)
{
    return kind->storage ? lpm_disk_source(entry) : g_strdup(lpm_adapter_source(entry));
}

static gboolean set_source(const struct kind *kind, json_t *entry, const char *to, GError **error)
{
    return kind->storage ? lpm_disk_set_source(entry, to, error)
                         : lpm_adapter_set_source(entry, to, error);
}

static GHashTable *roles_of(const struct kind *kind, const LpmConfig *config)
{
    return kind->storage ? config->storage : config->networks;
}

/* ---- the source ---- */

static json_t *find(json_t *list, const char *member, const char *name)
{
    json_t *entry;
    size_t i;

    json_array_foreach (list, i, entry) {
        if (g_ascii_strcasecmp(lpm_fact(entry, member), name) == 0)
            return entry;
    }
    return NULL;
}

/* Tried on a copy, so that what cannot be is said before anything is asked of the target. */
static gboolean note_explicit(const struct kind *kind, const json_t *map, json_t *model,
                              GError **error)
{
    json_t *wanted = json_object_get(map, kind->map), *to;
    const char *name;

    if (wanted && !json_is_object(wanted))
        return lpm_fail(error, LPM_E_MAP_WRONG, "'%s' of the map is no object", kind->map);
    json_object_foreach (wanted, name, to) {
        json_t *entry = find(json_object_get(model, kind->list), kind->name, name);

        if (!entry)
            return lpm_fail(error, LPM_E_MAP_WRONG, "partition '%s' has no %s '%s'",
                            lpm_fact(model, "name"), kind->described, name);
        if (json_object_get(entry, "map"))
            return lpm_fail(error, LPM_E_MAP_WRONG, "'%s' is mapped twice", name);
        json_t *trial = json_deep_copy(entry);
        const char *text = json_string_value(to);
        gboolean ok = set_source(kind, trial, text ? text : "", error);
        json_decref(trial);
        if (!ok) {
            g_prefix_error(error, "%s: ", name);
            return FALSE;
        }
        json_object_set_new(entry, "map", json_pack("{s:O}", "to", to));
    }
    return TRUE;
}

static gboolean check_members(const json_t *map, GError **error)
{
    const char *name;
    json_t *value;

    json_object_foreach ((json_t *)map, name, value) {
        if (strcmp(name, "disks") != 0 && strcmp(name, "networks") != 0)
            return lpm_fail(error, LPM_E_MAP_WRONG, "a map has disks and networks, and no '%s'",
                            name);
    }
    return TRUE;
}

/* How much of `source` the role's value covers; 0: none. A prefix ends where a part of a path does,
 * or with a character that is no part of a name; "/images" is no prefix of "/images2". */
static gsize covers(const struct kind *kind, const char *value, const char *source,
                    const char **rest)
{
    gsize length = strlen(value);

    *rest = source + MIN(length, strlen(source));
    if (!kind->storage)
        return strcmp(value, source) == 0 ? length : 0;
    if (!length || strncmp(source, value, length) != 0)
        return 0;
    char last = value[length - 1], next = source[length];
    return !g_ascii_isalnum(last) || !next || next == '/' || next == ':' ? length : 0;
}

static gint compare_text(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The roles whose value covers most of it; several may name the same thing. */
static void note_roles(const struct kind *kind, GHashTable *roles, json_t *entry)
{
    g_autofree char *source = source_of(kind, entry);
    g_autofree char *full = kind->storage ? lpm_disk_full_source(entry) : NULL;
    const char *rest = "", *left;
    g_autoptr(GPtrArray) best = g_ptr_array_new();
    GHashTableIter iter;
    gpointer role, value;
    gsize most = 1;

    g_hash_table_iter_init(&iter, roles);
    while (g_hash_table_iter_next(&iter, &role, &value)) {
        /* Of a network disk a value may name the portal too. */
        gboolean portal = full && g_str_has_prefix(value, "//");
        gsize length = covers(kind, value, portal ? full : source, &left);

        if (length > most)
            g_ptr_array_set_size(best, 0);
        if (length < most)
            continue;
        g_ptr_array_add(best, role);
        rest = left;
        most = MAX(most, length);
    }
    if (!best->len)
        return;
    g_ptr_array_sort(best, compare_text);
    json_t *names = json_array();
    for (guint i = 0; i < best->len; i++)
        json_array_append_new(names, json_string(best->pdata[i]));
    json_object_set_new(entry, "map", json_pack("{s:o, s:s}", "roles", names, "rest", rest));
}

gboolean lpm_mapping_note(const LpmConfig *config, const json_t *map, json_t *model, GError **error)
{
    if (!check_members(map, error))
        return FALSE;
    for (gsize k = 0; k < G_N_ELEMENTS(kinds); k++) {
        GHashTable *roles = roles_of(&kinds[k], config);
        json_t *entry;
        size_t i;

        if (!note_explicit(&kinds[k], map, model, error))
            return FALSE;
        json_array_foreach (json_object_get(model, kinds[k].list), i, entry) {
            if (roles && !json_object_get(entry, "map"))
                note_roles(&kinds[k], roles, entry);
        }
    }
    return TRUE;
}

/* ---- the target ---- */

/* What this host has for the roles, and under which: "" if it knows none of them. Several roles
 * with different names here are an error: nobody can say which is meant. A new string. */
static char *name_of_roles(GHashTable *roles, const json_t *noted, const char **by, GError **error)
{
    const char *found = NULL, *rest = lpm_fact(noted, "rest");
    const json_t *role;
    size_t i;

    json_array_foreach (json_object_get(noted, "roles"), i, role) {
        const char *name = json_string_value(role);
        const char *value = name && roles ? g_hash_table_lookup(roles, name) : NULL;

        if (!value)
            continue;
        if (found && strcmp(found, value) != 0) {
            lpm_fail(error, LPM_E_MAP_AMBIGUOUS, "by its roles it is '%s' (%s) and '%s' (%s) there",
                     found, *by, value, name);
            return NULL;
        }
        found = value;
        *by = *by ? *by : name;
    }
    return found ? g_strconcat(found, rest, NULL) : g_strdup("");
}

static json_t *resolve_one(const struct kind *kind, GHashTable *roles, json_t *entry)
{
    const json_t *noted = json_object_get(entry, "map");
    const char *to = lpm_fact(noted, "to"), *role = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *named = *to ? g_strdup(to) : name_of_roles(roles, noted, &role, &error);
    g_autofree char *path = g_strdup(lpm_fact(entry, "path"));

    if (named && *named && set_source(kind, entry, named, &error) && *path && kind->storage)
        json_object_set_new(entry, "path_there", json_string(path));
    g_autofree char *now = named && *named ? g_strdup(named) : source_of(kind, entry);
    g_autofree char *by = role ? g_strdup_printf("role %s", role) : g_strdup("name");
    json_t *line = json_pack("{s:s, s:s, s:s, s:s}", "kind", kind->word, "adapter",
                             lpm_fact(entry, kind->name), "target", now, "by", *to ? "map" : by);
    if (error)
        json_object_set_new(line, "error", lpm_error_to_json(error, NULL));
    return line;
}

json_t *lpm_mapping_resolve(const LpmConfig *config, json_t *model)
{
    json_t *lines = json_array();

    for (gsize k = 0; k < G_N_ELEMENTS(kinds); k++) {
        json_t *entry;
        size_t i;

        json_array_foreach (json_object_get(model, kinds[k].list), i, entry) {
            if (i < LPM_DEVICES_MAX)
                json_array_append_new(lines,
                                      resolve_one(&kinds[k], roles_of(&kinds[k], config), entry));
        }
    }
    return json_pack("{s:o}", "adapters", lines);
}

json_t *lpm_mapping_table(const json_t *model, const json_t *told)
{
    json_t *table = json_array();

    for (gsize k = 0; k < G_N_ELEMENTS(kinds); k++) {
        const json_t *entry;
        size_t i;

        json_array_foreach (json_object_get(model, kinds[k].list), i, entry) {
            const char *name = lpm_fact(entry, kinds[k].name);
            g_autofree char *source = source_of(&kinds[k], entry);
            json_t *line = find(json_object_get(told, "adapters"), "adapter", name);
            const char *target = lpm_fact(line, "target"), *by = lpm_fact(line, "by");

            json_array_append_new(table,
                                  json_pack("{s:s, s:s, s:s, s:s, s:s}", "kind", kinds[k].word,
                                            "adapter", name, "source", source, "target",
                                            *target ? target : source, "by", *by ? by : "name"));
        }
    }
    return table;
}
