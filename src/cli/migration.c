/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/migration.h"

#include "base/error.h"
#include "cli/failure.h"
#include "cli/map.h"
#include "cli/report.h"
#include "cli/text.h"

#include <string.h>

gboolean migration_is_active(const json_t *migration)
{
    const char *state = field_raw(migration, "state");

    return field_int(migration, "ended_ms") < 0 && strcmp(state, "done") != 0 &&
           strcmp(state, "failed") != 0 && strcmp(state, "stopped") != 0;
}

char *migration_direction(const json_t *migration)
{
    g_autofree char *peer = field_text(migration, "peer");

    return g_strdup_printf(
        "%s %s", strcmp(field_raw(migration, "role"), "target") == 0 ? "from" : "to", peer);
}

/* A new reference to the one of `migrations` that is meant, or NULL. */
static json_t *choose(const json_t *migrations, const char *partition, gboolean active)
{
    json_t *chosen = NULL, *migration;
    size_t index;

    json_array_foreach (migrations, index, migration) {
        if (strcmp(field_raw(migration, "partition"), partition) != 0)
            continue;
        if (!chosen || (active && migration_is_active(migration) && !migration_is_active(chosen)))
            chosen = migration;
    }
    return json_incref(chosen);
}

static gboolean is_missing(const GError *error)
{
    return g_error_matches(error, LPM_ERROR, LPM_E_MIGRATION_NOT_FOUND) ||
           g_error_matches(error, LPM_ERROR, LPM_E_PARTITION_NOT_FOUND) ||
           g_error_matches(error, LPM_ERROR, LPM_E_NOT_FOUND) ||
           g_error_matches(error, LPM_ERROR, LPM_E_BAD_REQUEST);
}

/* lpmd's answer, or NULL without an error if it says that there is no such thing. */
static json_t *get_if_there(struct cli *cli, const char *path, GError **error)
{
    g_autoptr(GError) failure = NULL;
    json_t *answer = cli_call(cli, "GET", path, NULL, &failure);

    if (!answer && !is_missing(failure))
        g_propagate_error(error, g_steal_pointer(&failure));
    return answer;
}

json_t *migration_find(struct cli *cli, const char *what, gboolean active, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autofree char *list = cli_path("/v1/migrations?partition=", what, NULL);
    g_autofree char *by_id = cli_path("/v1/migrations/", what, NULL);
    g_autofree char *partition = cli_path("/v1/partitions/", what, NULL);

    json_t *answer = get_if_there(cli, list, &failure);
    json_t *migration = choose(json_object_get(answer, "migrations"), what, active);
    json_decref(answer);
    if (!migration && !failure)
        migration = get_if_there(cli, by_id, &failure);
    if (!migration && !failure) {
        /* Known, and never migrated; or lpmd says which partition is not there. */
        json_decref(cli_call(cli, "GET", partition, NULL, &failure));
    }
    if (failure)
        g_propagate_error(error, g_steal_pointer(&failure));
    return migration;
}

/* For an end that lpmd gave no error object for. */
static json_t *error_of_state(const json_t *migration)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *partition = field_text(migration, "partition");
    const char *state = field_raw(migration, "state");

    if (strcmp(state, "stopped") == 0)
        lpm_fail(&error, LPM_E_STOPPED, "the migration of '%s' was stopped", partition);
    else if (strcmp(state, "in-doubt") == 0)
        lpm_fail(&error, LPM_E_IN_DOUBT, "the migration of '%s' is in doubt", partition);
    else
        lpm_fail(&error, LPM_E_INTERNAL, "the migration of '%s' failed", partition);
    return lpm_error_to_json(error, NULL);
}

/* Warnings that did not stop it, and more errors than one: each with its remedy. TRUE if the
 * migration's own error was among them. */
static gboolean print_findings(const struct cli *cli, const json_t *migration)
{
    const json_t *findings = json_object_get(migration, "findings");
    const char *code = field_raw(json_object_get(migration, "error"), "code");
    gboolean told = FALSE;
    json_t *finding;
    size_t i;

    json_array_foreach (findings, i, finding) {
        gboolean error = strcmp(field_raw(finding, "severity"), "error") == 0;

        if (!error && cli->quiet)
            continue;
        failure_print(cli->err, finding);
        told = told || (error && strcmp(field_raw(finding, "code"), code) == 0);
    }
    return told;
}

enum cli_exit migration_conclude(struct cli *cli, const json_t *migration)
{
    const json_t *report = json_object_get(migration, "report");
    json_t *error = json_object_get(migration, "error");
    enum cli_exit code = cli_exit_of_migration(migration);

    if (cli->json) {
        cli_json(cli, migration, FALSE);
        return code;
    }
    if (json_is_object(report) && !cli->quiet)
        report_print(cli->out, report);
    if (json_is_object(report) && !cli->quiet &&
        map_changes(json_object_get(migration, "adapters")))
        map_print(cli, json_object_get(migration, "adapters"));
    fflush(cli->out);
    if (print_findings(cli, migration))
        return code;
    if (json_is_object(error)) {
        json_incref(error);
    } else if (code != CLI_OK && code != CLI_WARNING) {
        error = error_of_state(migration);
    } else {
        if (code == CLI_WARNING)
            fputs("lpm: warning: the stream differs between the hosts; see the report\n", cli->err);
        return code;
    }
    failure_print(cli->err, error);
    json_decref(error);
    return code;
}
