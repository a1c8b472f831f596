/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Every migration begins with the checks of `lpm validate`: what was found an hour ago may have
 * changed since, and an error costs least before anything was made on the target. */
#include "base/error.h"
#include "daemon/source-internal.h"
#include "daemon/validate/validate.h"

#include <string.h>

static const char *text(const json_t *finding, const char *name)
{
    const char *value = json_string_value(json_object_get(finding, name));

    return value ? value : "";
}

/* What goes on all the same is in the log, each by itself: above all what was forced. */
static void log_findings(LpmMigration *migration, const json_t *findings)
{
    const json_t *finding;
    size_t i;

    json_array_foreach (findings, i, finding) {
        gboolean error = strcmp(text(finding, "severity"), "error") == 0;
        gboolean forced = json_is_true(json_object_get(finding, "forced"));

        lpm_migration_log(migration, error ? LPM_LOG_ERROR : LPM_LOG_WARNING,
                          forced ? "forced" : "validate", "%s: %s", text(finding, "code"),
                          text(finding, "cause"));
    }
}

/* With the adapter map, which the call of libvirt uses: in memory, and in the journal for when it
 * has ended. */
static gboolean keep_results(LpmMigration *migration, const json_t *report, GError **error)
{
    json_t *findings = lpm_validate_findings(report);

    log_findings(migration, findings);
    g_mutex_lock(&migration->lock);
    g_clear_pointer(&migration->findings, json_decref);
    migration->findings = findings;
    g_clear_pointer(&migration->adapters, json_decref);
    migration->adapters = json_incref(json_object_get(report, "adapters"));
    g_mutex_unlock(&migration->lock);
    json_t *doc = lpm_source_parameters(migration);
    gboolean ok = lpm_journal_migration_doc(migration->daemon->journal, migration->id, doc, error);
    json_decref(doc);
    return ok;
}

gboolean lpm_source_prove(LpmMigration *migration, GError **error)
{
    const struct lpm_validate_options options = {
        .for_migration = TRUE,
        .force = migration->force,
        .map = migration->map,
        .sample_link = !lpm_forecast_knows_link(migration->daemon, migration->peer)};
    json_t *report =
        lpm_validate(migration->daemon, migration->uuid, migration->peer, &options, error);

    lpm_source_forecast_link(migration, lpm_validate_link_rate(report),
                             lpm_validate_retained(report));
    if (!report)
        return FALSE;
    gboolean ok = keep_results(migration, report, error) && lpm_validate_passed(report, error);
    json_decref(report);
    return ok;
}
