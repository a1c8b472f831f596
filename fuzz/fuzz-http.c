/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Requests as they come from the network, without it: the first byte chooses scope and method, what
 * follows up to a line feed is the target as a client sent it, the rest the body. They go through
 * lpmd's own tables of routes. A handler that needs a hypervisor or a network is replaced by one
 * that only reads; what a route declares must hold before any handler runs, and every answer must
 * be one that an operator can use.
 */
#include "base/error.h"
#include "base/log.h"
#include "daemon/http.h"
#include "daemon/identity.h"
#include "daemon/journal.h"
#include "daemon/migration.h"
#include "daemon/pairing-code.h"
#include "daemon/peers.h"
#include "daemon/routes.h"
#include "require.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUTES_MAX 64

/* Those whose handlers need nothing but the journal, the peers' table and the configuration, or
 * refuse for want of them: these run as they are. */
static const char *const real[] = {
    "GET /v1/host",
    "GET /v1/log",
    "GET /v1/peer/host",
    "GET /v1/peer/clock",
    "DELETE /v1/host/peers/{name}",
    "POST /v1/migrations",
    "POST /v1/peer/migrations",
    "GET /v1/peer/migrations/{id}",
};

static const char *const methods[] = {"GET", "POST", "DELETE", "PUT"};

static struct lpm_identity identity = {.fingerprint = (char *)"none"};
static struct lpm_daemon fuzzed;
static struct lpm_route routes[ROUTES_MAX], *last = routes;
static char *folder;

static void remove_folder(void)
{
    static const char *const names[] = {"lpmd.conf", "lpmd.db", "lpmd.db-wal", "lpmd.db-shm"};

    lpm_http_free(fuzzed.http);
    lpm_peers_free(fuzzed.peers);
    lpm_journal_close(fuzzed.journal);
    lpm_config_free(fuzzed.config);
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(folder, names[i], NULL);
        g_unlink(path);
    }
    g_rmdir(folder);
    g_free(folder);
}

/* ---- what must hold when a handler runs ---- */

static gboolean has_type(char type, const json_t *value)
{
    switch (type) {
    case 's':
        return json_is_string(value) && g_utf8_validate(json_string_value(value), -1, NULL) &&
               strlen(json_string_value(value)) == json_string_length(value);
    case 'i':
        return json_is_integer(value);
    case 'n':
        return json_is_number(value);
    case 'b':
        return json_is_boolean(value);
    case 'a':
        return json_is_array(value);
    default:
        return json_is_object(value);
    }
}

/* The body has what was declared and nothing else. */
static void check_body(const struct lpm_route *route, const json_t *body)
{
    g_auto(GStrv) members = g_strsplit(route->body ? route->body : "", " ", -1);
    gsize found = 0;

    REQUIRE(json_is_object(body));
    for (char **member = members; *member && **member; member++) {
        g_auto(GStrv) parts = g_strsplit(*member, ":", 2);
        const json_t *value = json_object_get(body, parts[0]);

        REQUIRE(value || parts[1][1] == '?');
        REQUIRE(!value || has_type(parts[1][0], value));
        found += value != NULL;
    }
    REQUIRE(found == json_object_size(body));
}

static void check_texts(const struct lpm_request *request, const struct lpm_route *route)
{
    g_auto(GStrv) parts = g_strsplit(route->path, "/", -1);
    g_auto(GStrv) arguments = g_strsplit(route->query ? route->query : "", " ", -1);

    for (char **part = parts; *part; part++) {
        if (**part != '{')
            continue;
        (*part)[strlen(*part) - 1] = '\0';
        const char *value = lpm_request_param(request, *part + 1);
        REQUIRE(value && *value && g_utf8_validate(value, -1, NULL));
    }
    for (char **argument = arguments; *argument && **argument; argument++) {
        const char *value = lpm_request_query(request, *argument);
        REQUIRE(!value || g_utf8_validate(value, -1, NULL));
    }
}

static const struct lpm_route *route_of(const struct lpm_request *request);

static json_t *read_only(struct lpm_request *request, GError **error G_GNUC_UNUSED)
{
    const struct lpm_route *route = route_of(request);

    check_body(route, request->body);
    check_texts(request, route);
    return json_pack("{s:O}", "read", request->body);
}

static gboolean is_real(const struct lpm_route *route)
{
    g_autofree char *name = g_strdup_printf("%s %s", route->method, route->path);

    for (gsize i = 0; i < G_N_ELEMENTS(real); i++) {
        if (strcmp(real[i], name) == 0)
            return TRUE;
    }
    return FALSE;
}

/* The first that fits, as in http-dispatch.c; a part in braces fits anything. */
static const struct lpm_route *route_of(const struct lpm_request *request)
{
    g_auto(GStrv) parts = g_strsplit(request->path, "/", -1);

    for (const struct lpm_route *route = routes; route < last; route++) {
        g_auto(GStrv) wanted = g_strsplit(route->path, "/", -1);
        gsize i = 0;

        if (route->scope != request->scope || strcmp(route->method, request->method) != 0)
            continue;
        while (wanted[i] && parts[i] && (wanted[i][0] == '{' || !strcmp(wanted[i], parts[i])))
            i++;
        if (!wanted[i] && !parts[i])
            return route;
    }
    abort();
}

/* ---- the host ---- */

static void add(const struct lpm_route *table)
{
    for (; table->method; table++) {
        REQUIRE(last < routes + ROUTES_MAX - 1);
        *last = *table;
        if (!is_real(table))
            last->handler = read_only;
        last++;
    }
}

/* Something for the journal's questions to find. */
static void fill_journal(void)
{
    json_auto_t *doc = json_object();
    const LpmMigrationRow row = {.id = (char *)"0123456789ab",
                                 .role = (char *)"source",
                                 .partition = (char *)"tiny",
                                 .uuid = (char *)"00000000-0000-4000-8000-000000000001",
                                 .peer = (char *)"b",
                                 .state = (char *)"copying",
                                 .started_ms = 1,
                                 .doc = doc};

    REQUIRE(lpm_journal_migration_insert(fuzzed.journal, &row, NULL));
    REQUIRE(lpm_journal_decide(fuzzed.journal, row.id, LPM_DECIDED_ENDING, NULL, NULL, NULL));
}

static void make_host(void)
{
    folder = g_dir_make_tmp("lpm-fuzz-XXXXXX", NULL);
    REQUIRE(folder);
    g_autofree char *path = g_build_filename(folder, "lpmd.db", NULL);
    g_autofree char *settings = g_build_filename(folder, "lpmd.conf", NULL);

    lpm_log_init("fuzz", LPM_LOG_ERROR);
    REQUIRE(g_file_set_contents(settings, "[host]\nname=a\n", -1, NULL));
    fuzzed.config = lpm_config_load(settings, NULL);
    REQUIRE(fuzzed.config);
    /* No body can name this one, so what libvirt would be asked next is never reached. */
    g_free(fuzzed.config->socket_dir);
    fuzzed.config->socket_dir = g_strdup("\xff");
    fuzzed.identity = &identity;
    fuzzed.journal = lpm_journal_open(path, NULL);
    REQUIRE(fuzzed.journal);
    fill_journal();
    fuzzed.peers = lpm_peers_new(fuzzed.journal, &identity, NULL);
    REQUIRE(fuzzed.peers);
    fuzzed.http = lpm_http_new(&fuzzed);
    add(lpm_routes_host);
    add(lpm_routes_peers);
    add(lpm_migrations_routes());
    add(lpm_routes_validate);
    lpm_http_add_routes(fuzzed.http, routes);
    atexit(remove_folder);
}

/* ---- one input ---- */

/* An answer that fails tells code, cause and remedy, and never that nobody knows why. */
static void check_answer(const json_t *answer, unsigned status)
{
    const json_t *error = json_object_get(answer, "error");
    char *text = json_dumps(answer, JSON_COMPACT);

    REQUIRE(json_is_object(answer) && text);
    free(text);
    REQUIRE(status >= 200 && status < 500);
    REQUIRE((status >= 400) == (error != NULL));
    if (!error)
        return;
    REQUIRE(*json_string_value(json_object_get(error, "code")));
    REQUIRE(*json_string_value(json_object_get(error, "cause")));
    REQUIRE(*json_string_value(json_object_get(error, "remedy")));
}

/* What else is made of a body: the other host's error, and an invite's code. */
static void try_texts(const char *body, gsize length)
{
    json_auto_t *object = json_loadb(body, length, 0, NULL);
    g_autofree char *code = g_strndup(body, length);
    uint8_t secret[LPM_CODE_SECRET_BYTES];

    if (object) {
        g_autoptr(GError) error = lpm_error_from_json(object);
        REQUIRE(error && error->message);
    }
    lpm_code_parse(code, secret, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!folder)
        make_host();
    if (size < 2)
        return 0;
    const char *start = (const char *)data + 1, *end = (const char *)data + size;
    const char *line = memchr(start, '\n', size - 1);
    g_autofree char *target = g_strndup(start, (gsize)((line ? line : end) - start));
    const char *body = line ? line + 1 : end;
    g_auto(GStrv) parts = g_strsplit(target, "?", 2);
    enum lpm_scope scope = data[0] & 1 ? LPM_SCOPE_PEER : LPM_SCOPE_LOCAL;
    unsigned status = 0;

    json_auto_t *answer =
        lpm_http_dispatch(fuzzed.http, scope, scope == LPM_SCOPE_PEER ? "b" : NULL,
                          methods[data[0] / 2 % G_N_ELEMENTS(methods)], parts[0] ? parts[0] : "",
                          parts[0] ? parts[1] : NULL, body, (gsize)(end - body), &status);
    check_answer(answer, status);
    try_texts(body, (gsize)(end - body));
    return 0;
}
