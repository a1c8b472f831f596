/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Retained images: seen and dropped. */
#include "daemon/retain-watch.h"
#include "daemon/retain.h"
#include "daemon/routes.h"

static json_t *get_retained(struct lpm_request *request, GError **error)
{
    (void)error;
    return lpm_retain_list(request->daemon);
}

static json_t *dropped(int count)
{
    return count < 0 ? NULL : json_pack("{s:i}", "dropped", count);
}

static json_t *delete_all(struct lpm_request *request, GError **error)
{
    return dropped(lpm_retain_drop(request->daemon, NULL, error));
}

static json_t *delete_one(struct lpm_request *request, GError **error)
{
    return dropped(lpm_retain_drop(request->daemon, lpm_request_param(request, "name"), error));
}

static json_t *peer_asks(struct lpm_request *request, GError **error)
{
    gboolean destroyed;

    if (!lpm_retain_destroyed(request->daemon, lpm_request_param(request, "id"), request->peer,
                              &destroyed, error))
        return NULL;
    return json_pack("{s:b}", "destroyed", destroyed);
}

const struct lpm_route lpm_routes_retain[] = {
    {.method = "GET", .path = "/v1/retained", .scope = LPM_SCOPE_LOCAL, .handler = get_retained},
    {.method = "DELETE", .path = "/v1/retained", .scope = LPM_SCOPE_LOCAL, .handler = delete_all},
    {.method = "DELETE",
     .path = "/v1/retained/{name}",
     .scope = LPM_SCOPE_LOCAL,
     .handler = delete_one},
    {.method = "GET",
     .path = "/v1/peer/retained/{id}",
     .scope = LPM_SCOPE_PEER,
     .handler = peer_asks},
    {.method = NULL},
};
