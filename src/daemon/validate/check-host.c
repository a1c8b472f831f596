/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The hosts themselves: versions (R2.1), clocks (R2.12), power (R2.10), limits (R3.12). */
#include "base/log.h"
#include "daemon/migration.h"
#include "daemon/peer-client.h"
#include "daemon/validate/checks.h"
#include "host/host.h"

#include "lpm-version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>

/* ---- versions ---- */

json_t *lpm_gather_versions(struct lpm_validation *validation, GError **error)
{
    json_t *versions = lpm_host_versions(validation->daemon->host, error);

    if (versions) {
        json_object_set_new(versions, "openlpm", json_string(LPM_VERSION));
        json_object_set_new(versions, "protocol", json_integer(LPM_API_PROTOCOL));
        json_object_set_new(versions, "socket_dir",
                            json_string(validation->daemon->config->socket_dir));
    }
    return versions;
}

/* "9.0.0" as one number; 0 if it is none. */
static long number_of(const char *version)
{
    long major = 0, minor = 0, micro = 0;

    if (sscanf(version, "%4ld.%4ld.%4ld", &major, &minor, &micro) < 1)
        return 0;
    return (major * 1000 + minor) * 1000 + micro;
}

void lpm_judge_versions(struct lpm_judgement *judgement)
{
    static const char *const names[] = {"qemu", "libvirt"};
    gint64 protocol = lpm_fact_int(judgement->target, "protocol");
    const char *here = lpm_fact(judgement->source, "socket_dir");
    const char *there = lpm_fact(judgement->target, "socket_dir");

    if (protocol != LPM_API_PROTOCOL)
        lpm_find(judgement, LPM_E_PEER_ANSWER,
                 "%s speaks protocol %" G_GINT64_FORMAT ", this host %d", judgement->target_name,
                 protocol, LPM_API_PROTOCOL);
    if (strcmp(here, there) != 0)
        lpm_find(judgement, LPM_E_BAD_REQUEST,
                 "socket_dir is %s on %s and %s on %s: both must be the same", here,
                 judgement->source_name, there, judgement->target_name);
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        const char *ours = lpm_fact(judgement->source, names[i]);
        const char *theirs = lpm_fact(judgement->target, names[i]);

        if (number_of(theirs) && number_of(ours) && number_of(theirs) < number_of(ours))
            lpm_find(judgement, LPM_E_HYPERVISOR_OLDER, "%s is %s on %s and %s on %s", names[i],
                     ours, judgement->source_name, theirs, judgement->target_name);
    }
}

/* ---- clocks ---- */

#define CLOCK_TOLERANCE_US 500000

/* The kernel's own word on whether something keeps its clock: a fact for who reads the report. Two
 * clocks that agree are good enough, kept or not. */
static gboolean is_kept(void)
{
    struct timex state = {0};

    return adjtimex(&state) >= 0 && !(state.status & STA_UNSYNC);
}

json_t *lpm_gather_clocks(struct lpm_validation *validation, GError **error)
{
    struct lpm_peer_clock clock;
    json_t *facts = json_pack("{s:b}", "kept", is_kept());

    if (validation->side == LPM_SIDE_TARGET)
        return facts;
    if (!lpm_peer_clock(validation->daemon->peers, validation->peer, 5, &clock, error)) {
        json_decref(facts);
        return NULL;
    }
    json_object_set_new(facts, "offset_us", json_integer(clock.offset_us));
    json_object_set_new(facts, "error_us", json_integer(clock.error_us));
    return facts;
}

void lpm_judge_clocks(struct lpm_judgement *judgement)
{
    gint64 offset = lpm_fact_int(judgement->source, "offset_us");
    gint64 error = lpm_fact_int(judgement->source, "error_us");

    if (llabs(offset) - error > CLOCK_TOLERANCE_US)
        lpm_find(judgement, LPM_E_CLOCKS_DIFFER,
                 "%s's clock is %" G_GINT64_FORMAT " ms %s, known to +/- %" G_GINT64_FORMAT " us",
                 judgement->target_name, (gint64)llabs(offset) / 1000,
                 offset > 0 ? "ahead" : "behind", error);
}

/* ---- power ---- */

static char *supply(const char *name, const char *file)
{
    g_autofree char *path = g_build_filename("/sys/class/power_supply", name, file, NULL);
    char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? g_strchomp(text) : g_strdup("");
}

/* On battery: a battery that discharges, and no mains that is connected. A host without either is
 * on mains. */
json_t *lpm_gather_power(struct lpm_validation *validation G_GNUC_UNUSED,
                         GError **error G_GNUC_UNUSED)
{
    GDir *folder = g_dir_open("/sys/class/power_supply", 0, NULL);
    gboolean discharging = FALSE, mains = FALSE;
    const char *name;

    while (folder && (name = g_dir_read_name(folder))) {
        g_autofree char *type = supply(name, "type"), *status = supply(name, "status");
        g_autofree char *online = supply(name, "online"), *scope = supply(name, "scope");

        if (strcmp(scope, "Device") == 0)
            continue; /* a mouse's */
        if (strcmp(type, "Mains") == 0 || strcmp(type, "USB") == 0)
            mains = mains || strcmp(online, "1") == 0;
        else if (strcmp(status, "Discharging") == 0)
            discharging = TRUE;
    }
    if (folder)
        g_dir_close(folder);
    return json_pack("{s:b}", "on_battery", discharging && !mains);
}

void lpm_judge_power(struct lpm_judgement *judgement)
{
    if (lpm_fact_true(judgement->target, "on_battery"))
        lpm_find(judgement, LPM_E_ON_BATTERY, "%s runs on battery", judgement->target_name);
}

/* ---- limits ---- */

json_t *lpm_gather_limits(struct lpm_validation *validation, GError **error G_GNUC_UNUSED)
{
    return json_pack("{s:o}", "limits",
                     lpm_migrations_limits(validation->daemon->migrations, validation->side,
                                           validation->peer, lpm_fact(validation->model, "uuid")));
}

/* The first that is reached: the others would say the same again. */
static void judge_limits(struct lpm_judgement *judgement, const json_t *facts, const char *host)
{
    const json_t *limit;
    size_t i;

    json_array_foreach (json_object_get(facts, "limits"), i, limit) {
        gint64 active = lpm_fact_int(limit, "active"), most = lpm_fact_int(limit, "most");

        if (active < most)
            continue;
        lpm_find(judgement, LPM_E_TOO_MANY,
                 "%s carries %" G_GINT64_FORMAT " migrations of at most %" G_GINT64_FORMAT " (%s)",
                 host, active, most, lpm_fact(limit, "limit"));
        return;
    }
}

void lpm_judge_limits(struct lpm_judgement *judgement)
{
    judge_limits(judgement, judgement->source, judgement->source_name);
    judge_limits(judgement, judgement->target, judgement->target_name);
}
