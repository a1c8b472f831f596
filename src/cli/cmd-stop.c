/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/failure.h"
#include "cli/migration.h"
#include "cli/text.h"
#include "cli/watch.h"

#include "base/error.h"

#include <string.h>

/* What came of it. The migration may have reached its end on its own before the stop did. */
static enum cli_exit conclude(struct cli *cli, const json_t *migration, GError **error)
{
    g_autofree char *partition = field_text(migration, "partition");
    const char *state = field_raw(migration, "state");

    if (strcmp(state, "done") == 0) {
        lpm_fail(error, LPM_E_PAST_DECISION,
                 "the migration of '%s' was done before it could be "
                 "stopped",
                 partition);
        return CLI_REFUSED;
    }
    if (strcmp(state, "in-doubt") == 0)
        return migration_conclude(cli, migration);
    if (cli->json)
        cli_json(cli, migration, FALSE);
    if (strcmp(state, "failed") == 0) {
        if (!cli->json && json_is_object(json_object_get(migration, "error")))
            failure_print(cli->err, json_object_get(migration, "error"));
        return CLI_WARNING;
    }
    cli_say(cli, "Stopped: %s stays on its source.\n", partition);
    return CLI_OK;
}

static enum cli_exit wait_for_end(struct cli *cli, const char *id, GError **error)
{
    g_autoptr(GError) failure = NULL;
    gboolean detached;
    json_t *migration = watch_migration(cli, id, FALSE, &detached, &failure);
    enum cli_exit code = CLI_DETACHED;

    if (failure)
        g_propagate_error(error, g_steal_pointer(&failure));
    else if (!detached)
        code = conclude(cli, migration, error);
    else
        fputs("lpm: no longer waiting; the stop goes on\n", cli->err);
    json_decref(migration);
    return code;
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    g_autofree char *what = text_clean(cli_argument(cli, 0));
    g_autoptr(GError) failure = NULL;
    json_t *migration = migration_find(cli, cli_argument(cli, 0), TRUE, &failure);
    g_autofree char *id = g_strdup(field_raw(migration, "id"));
    g_autofree char *path = cli_path("/v1/migrations/", id, "/stop");
    gboolean active = migration && migration_is_active(migration);
    enum cli_exit code = CLI_OK;

    json_decref(migration);
    if (failure) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return CLI_INTERNAL;
    }
    if (!active) {
        lpm_fail(error, LPM_E_NOT_MIGRATING, "'%s' does not migrate now", what);
        return CLI_REFUSED;
    }
    json_t *answer = cli_call(cli, "POST", path, NULL, error);
    if (!answer)
        return CLI_INTERNAL;
    if (!cli_flag(cli, "no-wait"))
        code = wait_for_end(cli, id, error);
    else if (cli->json)
        cli_json(cli, answer, FALSE);
    else
        cli_say(cli, "The migration of %s is being stopped.\n", what);
    json_decref(answer);
    return code;
}

const struct cli_command cmd_stop = {
    .name = "stop",
    .summary = "Stop a migration; the partition stays on its source",
    .description = "Stops the migration of a partition and waits until everything is as it was "
                   "before. Until the "
                   "hand-over is decided that is always possible; afterwards it is refused (exit "
                   "code 4), and the "
                   "partition runs on the target in a moment.",
    .arguments =
        (const struct cli_argument[]){
            {"PARTITION", "the partition that migrates, or the id of the migration", FALSE,
             CLI_WORDS_PARTITIONS},
            {.name = NULL},
        },
    .options =
        (const struct cli_option[]){
            {.name = "no-wait", .help = "return as soon as lpmd has taken the stop"},
            {.name = NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"leave web where it is", "lpm stop web"},
            {.line = NULL},
        },
    .run = run,
};
