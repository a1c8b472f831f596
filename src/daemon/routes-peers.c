/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "base/error.h"
#include "daemon/identity.h"
#include "daemon/journal.h"
#include "daemon/pairing.h"
#include "daemon/peer-client.h"
#include "daemon/routes.h"

/* How long `host list` waits for a peer that is down, and unpairing tells the other side. */
#define PROBE_S 2
#define TELL_S 5
#define PROBES_AT_ONCE 16

static json_t *post_invites(struct lpm_request *request, GError **error)
{
    struct lpm_daemon *daemon = request->daemon;
    int64_t expires_ms;
    g_autofree char *code = lpm_pairing_invite(daemon->pairing, &expires_ms, error);

    if (!code)
        return NULL;
    lpm_event_log(daemon, LPM_LOG_INFO, NULL, NULL, "invited",
                  "an invite was made, valid %d minutes", LPM_INVITE_LIFE_S / 60);
    return json_pack("{s:s, s:I, s:s, s:i}", "code", code, "expires_ms", (json_int_t)expires_ms,
                     "fingerprint", daemon->identity->fingerprint, "data_port",
                     (int)daemon->config->data_port);
}

/* ---- list ---- */

/* One peer being asked; owned by its task until the pool is freed. */
struct probe {
    struct lpm_peers *peers;
    const LpmPeer *peer;
    gboolean up;
    struct lpm_peer_clock clock;
};

static void run_probe(gpointer data, gpointer unused)
{
    struct probe *probe = data;
    g_autoptr(GError) error = NULL;

    (void)unused;
    probe->up = lpm_peer_clock(probe->peers, probe->peer->name, PROBE_S, &probe->clock, &error);
    if (!probe->up)
        lpm_log(LPM_LOG_DEBUG, NULL, "probe: %s", error->message);
}

static json_t *show(const struct probe *probe)
{
    const LpmPeer *peer = probe->peer;
    json_t *object = json_pack("{s:s, s:s, s:i, s:i, s:s, s:s, s:I}", "name", peer->name, "address",
                               peer->address, "control_port", (int)peer->control_port, "data_port",
                               (int)peer->data_port, "fingerprint", peer->fingerprint, "state",
                               probe->up ? "up" : "down", "paired_ms", (json_int_t)peer->paired_ms);
    const struct lpm_peer_clock *clock = &probe->clock;

    json_object_set_new(object, "round_trip_us",
                        probe->up ? json_integer(clock->round_trip_us) : json_null());
    json_object_set_new(object, "clock_offset_us",
                        probe->up ? json_integer(clock->offset_us) : json_null());
    json_object_set_new(object, "clock_error_us",
                        probe->up ? json_integer(clock->error_us) : json_null());
    return object;
}

/* Asks all at once: many peers that are down take as long as one. */
static void run_probes(struct probe *probes, guint count)
{
    GThreadPool *pool = g_thread_pool_new(run_probe, NULL, PROBES_AT_ONCE, FALSE, NULL);

    for (guint i = 0; i < count; i++)
        g_thread_pool_push(pool, &probes[i], NULL);
    g_thread_pool_free(pool, FALSE, TRUE);
}

static json_t *get_peers(struct lpm_request *request, GError **error)
{
    struct lpm_peers *peers = request->daemon->peers;
    g_autoptr(GPtrArray) list = lpm_peers_list(peers);
    g_autofree struct probe *probes = g_new0(struct probe, list->len);
    json_t *shown = json_array();

    (void)error;
    for (guint i = 0; i < list->len; i++)
        probes[i] = (struct probe){.peers = peers, .peer = list->pdata[i]};
    run_probes(probes, list->len);
    for (guint i = 0; i < list->len; i++)
        json_array_append_new(shown, show(&probes[i]));
    return json_pack("{s:o}", "peers", shown);
}

/* ---- pair and unpair ---- */

static json_t *post_peers(struct lpm_request *request, GError **error)
{
    struct lpm_daemon *daemon = request->daemon;
    const json_t *body = request->body, *port = json_object_get(body, "data_port");
    json_int_t data_port = port ? json_integer_value(port) : daemon->config->data_port;

    if (data_port < 1 || data_port > 65535) {
        lpm_fail(error, LPM_E_BAD_REQUEST, "data_port %" JSON_INTEGER_FORMAT " is not a port",
                 data_port);
        return NULL;
    }
    g_autoptr(LpmPeer) peer =
        lpm_pairing_join(daemon->pairing, json_string_value(json_object_get(body, "name")),
                         json_string_value(json_object_get(body, "address")), (guint)data_port,
                         json_string_value(json_object_get(body, "code")), error);
    if (!peer)
        return NULL;
    struct probe probe = {.peers = daemon->peers, .peer = peer};
    run_probe(&probe, NULL);
    return show(&probe);
}

/* A peer is not unpaired while a migration with it could need its word. */
static gboolean check_idle(struct lpm_daemon *daemon, const char *name, GError **error)
{
    int active = lpm_journal_active_count(daemon->journal, name, error);

    if (active > 0)
        return lpm_fail(error, LPM_E_PEER_BUSY, "%d migration%s with '%s' not ended", active,
                        active == 1 ? " has" : "s have", name);
    return active == 0;
}

static gboolean forget(struct lpm_daemon *daemon, const LpmPeer *peer, const char *why,
                       GError **error)
{
    if (!lpm_peers_remove(daemon->peers, peer->name, error))
        return FALSE;
    lpm_event_log(daemon, LPM_LOG_INFO, NULL, NULL, "unpaired", "%s is no longer paired (%s)",
                  peer->name, why);
    return TRUE;
}

static json_t *delete_peer(struct lpm_request *request, GError **error)
{
    struct lpm_daemon *daemon = request->daemon;
    const char *name = lpm_request_param(request, "name");
    g_autoptr(LpmPeer) peer = lpm_peers_get(daemon->peers, name, error);
    g_autoptr(GError) reason = NULL;

    if (!peer || !check_idle(daemon, name, error))
        return NULL;
    json_auto_t *told = lpm_peer_call(daemon->peers, name, "DELETE", "/v1/peer/pairing", NULL,
                                      TELL_S, NULL, &reason);
    if (!told)
        lpm_event_log(daemon, LPM_LOG_WARNING, NULL, NULL, "unpair-untold",
                      "%s could not be told that it is unpaired: %s", name, reason->message);
    if (!forget(daemon, peer, "an operator removed it", error))
        return NULL;
    lpm_http_drop_peer(daemon->http, peer->fingerprint);
    return json_pack("{s:s, s:b}", "removed", name, "told", told != NULL);
}

/* The other side was unpaired from this host. Its connections are left to close by themselves, for
 * the answer goes over one of them; any further request on them is refused. */
static json_t *delete_pairing(struct lpm_request *request, GError **error)
{
    struct lpm_daemon *daemon = request->daemon;
    g_autoptr(LpmPeer) peer = lpm_peers_get(daemon->peers, request->peer, error);

    if (!peer || !check_idle(daemon, peer->name, error) ||
        !forget(daemon, peer, "it removed this host", error))
        return NULL;
    return json_pack("{s:s}", "removed", daemon->config->name);
}

const struct lpm_route lpm_routes_peers[] = {
    {.method = "POST",
     .path = "/v1/host/invites",
     .scope = LPM_SCOPE_LOCAL,
     .handler = post_invites},
    {.method = "GET", .path = "/v1/host/peers", .scope = LPM_SCOPE_LOCAL, .handler = get_peers},
    {.method = "POST",
     .path = "/v1/host/peers",
     .scope = LPM_SCOPE_LOCAL,
     .body = "name:s? address:s data_port:i? code:s",
     .handler = post_peers},
    {.method = "DELETE",
     .path = "/v1/host/peers/{name}",
     .scope = LPM_SCOPE_LOCAL,
     .handler = delete_peer},
    {.method = "DELETE",
     .path = "/v1/peer/pairing",
     .scope = LPM_SCOPE_PEER,
     .handler = delete_pairing},
    {.method = NULL},
};
