/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "base/clock.h"
#include "base/error.h"
#include "daemon/identity.h"
#include "daemon/journal.h"
#include "daemon/routes.h"
#include "host/host.h"

#include "lpm-version.h"

/* A libvirtd that is down leaves the versions null: the host can still be asked about itself. */
static json_t *describe_hypervisor(struct lpm_daemon *daemon)
{
    g_autoptr(GError) error = NULL;
    json_t *known = daemon->host ? lpm_host_versions(daemon->host, &error) : NULL;

    return known ? known : json_pack("{s:n, s:n}", "libvirt", "qemu");
}

static json_t *get_host(struct lpm_request *request, GError **error)
{
    struct lpm_daemon *daemon = request->daemon;
    const LpmConfig *config = daemon->config;
    int active = lpm_journal_active_count(daemon->journal, NULL, error);

    if (active < 0)
        return NULL;
    return json_pack("{s:s, s:s, s:i, s:s, s:i, s:i, s:i, s:o, s:I, s:i}", "name", config->name,
                     "version", LPM_VERSION, "protocol", LPM_API_PROTOCOL, "fingerprint",
                     daemon->identity->fingerprint, "control_port", (int)config->control_port,
                     "data_port", (int)config->data_port, "links",
                     (int)lpm_config_links(config, NULL), "hypervisor", describe_hypervisor(daemon),
                     "uptime_ms", (json_int_t)((lpm_monotonic_us() - daemon->started_us) / 1000),
                     "migrations_active", active);
}

static json_t *get_log(struct lpm_request *request, GError **error)
{
    json_t *entries =
        lpm_journal_log_list(request->daemon->journal, lpm_request_query(request, "partition"),
                             lpm_request_query(request, "migration"), 0, error);

    return entries ? json_pack("{s:o}", "entries", entries) : NULL;
}

/* Must stay without any work: its time is half of what is measured. */
static json_t *get_clock(struct lpm_request *request, GError **error)
{
    (void)request;
    (void)error;
    return json_pack("{s:I}", "time_us", (json_int_t)lpm_wall_us());
}

const struct lpm_route lpm_routes_host[] = {
    {.method = "GET", .path = "/v1/host", .scope = LPM_SCOPE_LOCAL, .handler = get_host},
    {.method = "GET",
     .path = "/v1/log",
     .scope = LPM_SCOPE_LOCAL,
     .query = "partition migration",
     .handler = get_log},
    {.method = "GET", .path = "/v1/peer/host", .scope = LPM_SCOPE_PEER, .handler = get_host},
    {.method = "GET", .path = "/v1/peer/clock", .scope = LPM_SCOPE_PEER, .handler = get_clock},
    {.method = NULL},
};
