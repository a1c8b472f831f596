/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* docs/api.yaml and the tables of routes name the same methods, paths, body members and query
 * arguments. The document is read by its indentation: no more of YAML is needed, and a line that
 * does not keep to it is missed and so fails the comparison. */
#include "hosts.h"

#include "daemon/migration.h"
#include "daemon/routes.h"

#include <stdlib.h>
#include <string.h>

static gint compare(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static char *join_sorted(GPtrArray *list)
{
    g_ptr_array_sort(list, compare);
    g_ptr_array_add(list, NULL);
    return g_strjoinv("\n", (char **)list->pdata);
}

/* "POST /v1/migrations", "POST /v1/migrations body bandwidth", "GET /v1/log query partition". */
static void add_route(GPtrArray *list, const struct lpm_route *route)
{
    g_auto(GStrv) members = g_strsplit(route->body ? route->body : "", " ", -1);
    g_auto(GStrv) arguments = g_strsplit(route->query ? route->query : "", " ", -1);

    g_ptr_array_add(list, g_strdup_printf("%s %s", route->method, route->path));
    for (char **member = members; *member && **member; member++)
        g_ptr_array_add(list, g_strdup_printf("%s %s body %.*s", route->method, route->path,
                                              (int)strcspn(*member, ":"), *member));
    for (char **argument = arguments; *argument && **argument; argument++)
        g_ptr_array_add(list,
                        g_strdup_printf("%s %s query %s", route->method, route->path, *argument));
}

static char *of_routes(void)
{
    const struct lpm_route *tables[] = {
        lpm_routes_host,      lpm_routes_peers,  lpm_migrations_routes(), lpm_routes_validate,
        lpm_routes_forecasts, lpm_routes_retain, lpm_routes_queue};
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);

    for (gsize i = 0; i < G_N_ELEMENTS(tables); i++) {
        for (const struct lpm_route *route = tables[i]; route->method; route++)
            add_route(list, route);
    }
    return join_sorted(list);
}

static gsize indentation(const char *line)
{
    return strspn(line, " ");
}

/* The lines under `paths:`, one after the other. */
struct reader {
    GPtrArray *list;
    char *path, *method;
    gboolean body;
};

static void read_line(struct reader *reader, const char *line)
{
    gsize depth = indentation(line);
    g_autofree char *word = g_strndup(line + depth, strcspn(line + depth, ":"));
    static const char argument[] = "- {name: ";

    if (depth == 2) {
        g_free(reader->path);
        reader->path = g_strdup(word);
    } else if (depth == 4 && strcmp(word, "parameters") != 0) {
        g_free(reader->method);
        reader->method = g_ascii_strup(word, -1);
        reader->body = FALSE;
        g_ptr_array_add(reader->list, g_strdup_printf("%s %s", reader->method, reader->path));
    } else if (depth == 6) {
        reader->body = strcmp(word, "requestBody") == 0;
    } else if (depth == 16 && reader->body) {
        g_ptr_array_add(reader->list,
                        g_strdup_printf("%s %s body %s", reader->method, reader->path, word));
    } else if (depth == 8 && g_str_has_prefix(line + depth, argument)) {
        const char *name = line + depth + sizeof(argument) - 1;

        g_ptr_array_add(reader->list, g_strdup_printf("%s %s query %.*s", reader->method,
                                                      reader->path, (int)strcspn(name, ","), name));
    }
}

static char *of_document(void)
{
    const char *path = getenv("LPM_API_DOCUMENT");
    g_autofree char *text = NULL;
    struct reader reader = {.list = g_ptr_array_new_with_free_func(g_free)};
    gboolean inside = FALSE;

    assert_non_null(path);
    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        if (**line && indentation(*line) == 0)
            inside = strcmp(*line, "paths:") == 0;
        else if (inside && **line)
            read_line(&reader, *line);
    }
    char *joined = join_sorted(reader.list);
    g_ptr_array_unref(reader.list);
    g_free(reader.path);
    g_free(reader.method);
    return joined;
}

static void test_document_names_the_routes(void **state)
{
    g_autofree char *routes = of_routes(), *document = of_document();

    (void)state;
    assert_non_null(strstr(routes, "POST /v1/host/peers body code"));
    assert_string_equal(routes, document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_document_names_the_routes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
