/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Requests without their transport: finding the route, checking what it declares, the answer. */
#include "base/error.h"
#include "daemon/http-private.h"

#include <string.h>

/* What the route and the request agreed on. Strings are decoded. */
struct lpm_http_match {
    GHashTable *params;
    GHashTable *query;
};

static void match_clear(struct lpm_http_match *match)
{
    g_clear_pointer(&match->params, g_hash_table_unref);
    g_clear_pointer(&match->query, g_hash_table_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LpmHttpMatch, match_clear)

const char *lpm_request_param(const struct lpm_request *request, const char *name)
{
    return g_hash_table_lookup(request->match->params, name);
}

const char *lpm_request_query(const struct lpm_request *request, const char *name)
{
    return g_hash_table_lookup(request->match->query, name);
}

/* TRUE if the path has the pattern's form; then *params holds its parts. */
static gboolean match_path(const char *pattern, char **parts, GHashTable **params)
{
    g_auto(GStrv) wanted = g_strsplit(pattern, "/", -1);
    g_autoptr(GHashTable) found = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

    if (g_strv_length(wanted) != g_strv_length(parts))
        return FALSE;
    for (guint i = 0; wanted[i]; i++) {
        gsize length = strlen(wanted[i]);

        if (wanted[i][0] != '{') {
            if (strcmp(wanted[i], parts[i]) != 0)
                return FALSE;
            continue;
        }
        /* NULL: not percent-encoding, not UTF-8, or a NUL in it. */
        char *value = g_uri_unescape_string(parts[i], NULL);
        if (!value || !*value || !g_utf8_validate(value, -1, NULL)) {
            g_free(value);
            return FALSE;
        }
        g_hash_table_replace(found, g_strndup(wanted[i] + 1, length - 2), value);
    }
    *params = g_steal_pointer(&found);
    return TRUE;
}

/* The route of the request, or NULL with NOT_FOUND or METHOD_NOT_ALLOWED. */
static const struct lpm_route *find_route(struct lpm_http *http, enum lpm_scope scope,
                                          const char *method, const char *path, GHashTable **params,
                                          GError **error)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", 16);
    g_autoptr(GString) methods = g_string_new(NULL);

    for (guint i = 0; i < http->tables->len; i++) {
        for (const struct lpm_route *route = http->tables->pdata[i]; route->method; route++) {
            g_autoptr(GHashTable) found = NULL;

            if (route->scope != scope || !match_path(route->path, parts, &found))
                continue;
            if (strcmp(route->method, method) == 0) {
                *params = g_steal_pointer(&found);
                return route;
            }
            g_string_append_printf(methods, "%s%s", methods->len ? ", " : "", route->method);
        }
    }
    if (methods->len)
        lpm_fail(error, LPM_E_METHOD_NOT_ALLOWED, "%s does not take %s, only %s", path, method,
                 methods->str);
    else
        lpm_fail(error, LPM_E_NOT_FOUND, "there is no path '%s'", path);
    return NULL;
}

static gboolean parse_query(const struct lpm_route *route, const char *query, GHashTable **result,
                            GError **error)
{
    g_autoptr(GError) reason = NULL;
    g_autoptr(GHashTable) found =
        g_uri_parse_params(query ? query : "", -1, "&", G_URI_PARAMS_WWW_FORM, &reason);
    g_auto(GStrv) allowed = g_strsplit(route->query ? route->query : "", " ", -1);
    GHashTableIter iter;
    gpointer name;

    if (!found)
        return lpm_fail(error, LPM_E_BAD_REQUEST, "the query '%s' is malformed: %s", query,
                        reason->message);
    g_hash_table_iter_init(&iter, found);
    while (g_hash_table_iter_next(&iter, &name, NULL)) {
        if (!g_strv_contains((const char *const *)allowed, name))
            return lpm_fail(error, LPM_E_BAD_REQUEST, "%s takes no argument '%s'", route->path,
                            (const char *)name);
    }
    *result = g_steal_pointer(&found);
    return TRUE;
}

static gboolean type_fits(char type, const json_t *value, const char **word)
{
    switch (type) {
    case 's':
        *word = "a string";
        return json_is_string(value);
    case 'i':
        *word = "a whole number";
        return json_is_integer(value);
    case 'n':
        *word = "a number";
        return json_is_number(value);
    case 'b':
        *word = "true or false";
        return json_is_boolean(value);
    case 'a':
        *word = "an array";
        return json_is_array(value);
    default:
        *word = "an object";
        return json_is_object(value);
    }
}

/* Counts the members found of one declaration in *found. */
static gboolean check_member(const char *declaration, const json_t *body, gsize *found,
                             GError **error)
{
    const char *colon = strchr(declaration, ':');
    g_autofree char *name = g_strndup(declaration, (gsize)(colon - declaration));
    const json_t *value = json_object_get(body, name);
    const char *word;

    if (!value)
        return colon[2] == '?' ? TRUE
                               : lpm_fail(error, LPM_E_BAD_REQUEST, "member '%s' is missing", name);
    if (!type_fits(colon[1], value, &word))
        return lpm_fail(error, LPM_E_BAD_REQUEST, "member '%s' is not %s", name, word);
    (*found)++;
    return TRUE;
}

static gboolean is_declared(char **declarations, const char *name)
{
    gsize length = strlen(name);

    for (char **declaration = declarations; *declaration; declaration++) {
        if (strncmp(*declaration, name, length) == 0 && (*declaration)[length] == ':')
            return TRUE;
    }
    return FALSE;
}

static json_t *parse_body(const struct lpm_route *route, const char *text, gsize length,
                          GError **error)
{
    g_auto(GStrv) declarations = g_strsplit(route->body ? route->body : "", " ", -1);
    json_error_t reason;
    json_auto_t *body =
        length ? json_loadb(text, length, JSON_REJECT_DUPLICATES, &reason) : json_object();
    gsize found = 0;
    const char *name;
    json_t *value;

    if (!body) {
        lpm_fail(error, LPM_E_BAD_REQUEST, "the body is not JSON: %s at line %d", reason.text,
                 reason.line);
        return NULL;
    }
    if (!json_is_object(body)) {
        lpm_fail(error, LPM_E_BAD_REQUEST, "the body is not a JSON object");
        return NULL;
    }
    for (char **declaration = declarations; *declaration && **declaration; declaration++) {
        if (!check_member(*declaration, body, &found, error))
            return NULL;
    }
    if (found == json_object_size(body))
        return g_steal_pointer(&body);
    json_object_foreach (body, name, value) {
        if (!is_declared(declarations, name)) {
            lpm_fail(error, LPM_E_BAD_REQUEST, "%s %s takes no member '%s'", route->method,
                     route->path, name);
            break;
        }
    }
    return NULL;
}

json_t *lpm_http_error_answer(const GError *error, unsigned *status)
{
    *status = lpm_error_info(lpm_error_number(error))->http_status;
    return json_pack("{s:o}", "error", lpm_error_to_json(error, NULL));
}

static json_t *answer(struct lpm_http *http, struct lpm_request *request, const char *query,
                      const char *body, gsize length, GError **error)
{
    g_auto(LpmHttpMatch) match = {0};
    const struct lpm_route *route =
        find_route(http, request->scope, request->method, request->path, &match.params, error);

    if (!route || !parse_query(route, query, &match.query, error))
        return NULL;
    json_auto_t *parsed = parse_body(route, body, length, error);
    if (!parsed)
        return NULL;
    request->body = parsed;
    request->match = &match;
    return route->handler(request, error);
}

json_t *lpm_http_dispatch(struct lpm_http *http, enum lpm_scope scope, const char *peer,
                          const char *method, const char *path, const char *query, const char *body,
                          gsize body_length, unsigned *status)
{
    g_autoptr(GError) error = NULL;
    struct lpm_request request = {
        .daemon = http->daemon,
        .scope = scope,
        .method = method,
        .path = path,
        .peer = peer,
        .status = 200,
    };
    json_t *object = answer(http, &request, query, body, body_length, &error);

    if (object) {
        *status = request.status;
        return object;
    }
    if (!error)
        lpm_fail(&error, LPM_E_INTERNAL, "%s %s failed without saying why", method, path);
    object = lpm_http_error_answer(error, status);
    lpm_log(*status >= 500 ? LPM_LOG_WARNING : LPM_LOG_DEBUG, NULL, "%s %s%s%s: LPM-%04d %s",
            method, path, peer ? " of " : "", peer ? peer : "", lpm_error_number(error),
            error->message);
    return object;
}
