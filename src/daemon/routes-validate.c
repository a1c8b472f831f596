/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* API paths of validation. */
#include "base/error.h"
#include "daemon/peers.h"
#include "daemon/routes.h"
#include "daemon/validate/validate.h"

#include <string.h>

/* Hosts that are asked at once when none is named. */
#define HOSTS_AT_ONCE 8

struct asking {
    struct lpm_daemon *daemon;
    const char *partition;
    const struct lpm_validate_options *options;
    GMutex lock;
    json_t *reports; /* under lock */
    GError *error;   /* under lock: the first that leaves no report */
};

static void ask(gpointer peer_pointer, gpointer user)
{
    const LpmPeer *peer = peer_pointer;
    struct asking *asking = user;
    g_autoptr(GError) error = NULL;
    json_t *report =
        lpm_validate(asking->daemon, asking->partition, peer->name, asking->options, &error);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&asking->lock);

    if (report)
        json_array_append_new(asking->reports, report);
    else if (!asking->error)
        asking->error = g_steal_pointer(&error);
}

static json_t *ask_all(struct lpm_daemon *daemon, const char *partition,
                       const struct lpm_validate_options *options, GError **error)
{
    g_autoptr(GPtrArray) peers = lpm_peers_list(daemon->peers);
    struct asking asking = {
        .daemon = daemon, .partition = partition, .options = options, .reports = json_array()};
    GThreadPool *pool = g_thread_pool_new(ask, &asking, HOSTS_AT_ONCE, FALSE, NULL);

    g_mutex_init(&asking.lock);
    for (guint i = 0; i < peers->len; i++)
        g_thread_pool_push(pool, peers->pdata[i], NULL);
    g_thread_pool_free(pool, FALSE, TRUE);
    g_mutex_clear(&asking.lock);
    if (asking.error) {
        json_decref(asking.reports);
        g_propagate_error(error, asking.error);
        return NULL;
    }
    return lpm_validate_rank(asking.reports);
}

/* The limits of the migration to be forecast, as POST /v1/migrations takes them. */
static gboolean read_limits(struct lpm_request *request, struct lpm_forecast_query *forecast,
                            GError **error)
{
    json_int_t bandwidth = json_integer_value(json_object_get(request->body, "bandwidth"));
    json_int_t suspend = json_integer_value(json_object_get(request->body, "max_suspend_ms"));
    const char *post_copy = json_string_value(json_object_get(request->body, "post_copy"));

    if (bandwidth < 0 || suspend < 0 || suspend > 2000000)
        return lpm_fail(error, LPM_E_BAD_REQUEST,
                        "bandwidth %" JSON_INTEGER_FORMAT " or max_suspend_ms %" JSON_INTEGER_FORMAT
                        " is out of range (bytes/s from 0; milliseconds from 1 to 2000000)",
                        bandwidth, suspend);
    if (!lpm_post_copy_from_name(post_copy ? post_copy : request->daemon->config->post_copy,
                                 &forecast->post_copy))
        return lpm_fail(error, LPM_E_BAD_REQUEST, "post_copy is '%s': never, auto or now",
                        post_copy);
    forecast->bandwidth = (guint64)bandwidth;
    forecast->max_suspend_ms = (guint)suspend;
    return TRUE;
}

static json_t *validate(struct lpm_request *request, GError **error)
{
    const char *partition = json_string_value(json_object_get(request->body, "partition"));
    const char *to = json_string_value(json_object_get(request->body, "to"));
    struct lpm_forecast_query forecast = {0};
    const struct lpm_validate_options options = {
        .force = json_is_true(json_object_get(request->body, "force")),
        .map = json_object_get(request->body, "map"),
        .forecast = json_is_false(json_object_get(request->body, "forecast")) ? NULL : &forecast};
    json_t *reports;

    if (!read_limits(request, &forecast, error))
        return NULL;
    if (options.map && !to) {
        lpm_fail(error, LPM_E_BAD_REQUEST, "a map is of one host's names: name that host");
        return NULL;
    }
    if (to) {
        json_t *report = lpm_validate(request->daemon, partition, to, &options, error);
        reports = report ? json_pack("[o]", report) : NULL;
    } else {
        reports = ask_all(request->daemon, partition, &options, error);
    }
    return reports ? json_pack("{s:o}", "validations", reports) : NULL;
}

static json_t *validate_for_peer(struct lpm_request *request, GError **error)
{
    return lpm_validate_for_peer(request->daemon, request->peer, request->body, error);
}

static json_t *read_blocks_for_peer(struct lpm_request *request, GError **error)
{
    return lpm_validate_blocks_for_peer(request->daemon, request->body, error);
}

const struct lpm_route lpm_routes_validate[] = {
    {.method = "POST",
     .path = "/v1/validations",
     .scope = LPM_SCOPE_LOCAL,
     .body = "partition:s to:s? force:b? map:o? forecast:b? bandwidth:i? max_suspend_ms:i? "
             "post_copy:s?",
     .handler = validate},
    {.method = "POST",
     .path = "/v1/peer/validate",
     .scope = LPM_SCOPE_PEER,
     .body = LPM_VALIDATE_PEER_BODY,
     .handler = validate_for_peer},
    {.method = "POST",
     .path = "/v1/peer/validate/blocks",
     .scope = LPM_SCOPE_PEER,
     .body = "model:o nonce:s blocks:a",
     .handler = read_blocks_for_peer},
    {.method = NULL},
};
