/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* API paths of the queue. One that waits is dropped as any migration is stopped. */
#include "base/error.h"
#include "daemon/http.h"
#include "daemon/queue.h"
#include "daemon/routes.h"

#include <string.h>

static json_t *describe_all(struct lpm_daemon *daemon)
{
    g_autoptr(GPtrArray) list = lpm_queue_list(daemon->migrations);
    json_t *entries = json_array();

    for (guint i = 0; i < list->len; i++)
        json_array_append_new(entries, lpm_migration_to_json(list->pdata[i]));
    return json_pack("{s:o}", "queue", entries);
}

static json_t *show(struct lpm_request *request, GError **error G_GNUC_UNUSED)
{
    return describe_all(request->daemon);
}

static gboolean read_place(const json_t *body, enum lpm_queue_place *place, GError **error)
{
    const char *text = json_string_value(json_object_get(body, "place"));

    *place = !text ? LPM_PLACE_SAME : strcmp(text, "first") == 0 ? LPM_PLACE_FIRST : LPM_PLACE_LAST;
    if (text && strcmp(text, "first") != 0 && strcmp(text, "last") != 0)
        return lpm_fail(error, LPM_E_BAD_REQUEST, "place is '%s': first or last", text);
    return TRUE;
}

static json_t *move(struct lpm_request *request, GError **error)
{
    const char *id = lpm_request_param(request, "id");
    const json_t *wanted = json_object_get(request->body, "priority");
    gint priority = 0;
    enum lpm_queue_place place;

    if (!read_place(request->body, &place, error) ||
        (wanted && !lpm_priority_from_json(wanted, &priority, error)))
        return NULL;
    g_autoptr(LpmMigration) migration = lpm_migrations_get(request->daemon->migrations, id);
    if (!migration) {
        lpm_fail(error, LPM_E_NOT_QUEUED, "no migration %s waits or is under way", id);
        return NULL;
    }
    if (!lpm_queue_move(migration, wanted ? &priority : NULL, place, error))
        return NULL;
    return describe_all(request->daemon);
}

const struct lpm_route lpm_routes_queue[] = {
    {.method = "GET", .path = "/v1/queue", .scope = LPM_SCOPE_LOCAL, .handler = show},
    {.method = "POST",
     .path = "/v1/queue/{id}",
     .scope = LPM_SCOPE_LOCAL,
     .body = "priority:i? place:s?",
     .handler = move},
    {.method = NULL},
};
