/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/migration.h"
#include "cli/table.h"
#include "cli/text.h"

#include "base/error.h"

#include <string.h>

#define PRIORITY_MAX 100 /* and its negative */

static void print_queue(struct cli *cli, const json_t *answer)
{
    static const char *const header[] = {">POSITION", "MIGRATION", "PARTITION", "HOST",
                                         ">PRIORITY", "WAITS FOR", NULL};
    const json_t *queue = json_object_get(answer, "queue"), *entry;
    g_autoptr(CliTable) table = cli_table_new(header);
    size_t i;

    if (cli->json) {
        cli_json(cli, answer, FALSE);
        return;
    }
    if (!json_array_size(queue)) {
        cli_say(cli, "No migration waits.\n");
        return;
    }
    json_array_foreach (queue, i, entry) {
        const json_t *place = json_object_get(entry, "queue");
        json_int_t priority = json_integer_value(json_object_get(place, "priority"));

        cli_table_add(table, g_strdup_printf("%zu", i + 1));
        cli_table_add(table, field_text(entry, "id"));
        cli_table_add(table, field_text(entry, "partition"));
        cli_table_add(table, migration_direction(entry));
        cli_table_add(table, g_strdup_printf("%" JSON_INTEGER_FORMAT, priority));
        cli_table_add(table, field_text(place, "waits_for"));
    }
    cli_table_print(table, cli->out);
}

/* What the options ask for; NULL without an error: nothing, only to be shown. */
static json_t *make_body(struct cli *cli, GError **error)
{
    gboolean first = cli_flag(cli, "first"), last = cli_flag(cli, "last");
    const char *priority = cli_option(cli, "priority");
    json_t *body = json_object();
    gint64 number = 0;

    if (first && last)
        cli_usage(cli, error, "--first and --last exclude each other");
    else if (priority &&
             !g_ascii_string_to_signed(priority, 10, -PRIORITY_MAX, PRIORITY_MAX, &number, NULL))
        cli_usage(cli, error, "--priority '%s' is no whole number from -%d to %d", priority,
                  PRIORITY_MAX, PRIORITY_MAX);
    else if ((first || last || priority) && !cli_argument(cli, 0))
        cli_usage(cli, error, "which migration? Name its partition or its id");
    else if (!first && !last && !priority && cli_argument(cli, 0) && !cli_flag(cli, "drop"))
        cli_usage(cli, error, "what is to be done with it? --first, --last, --priority or --drop");
    else if (first || last || priority) {
        if (first || last)
            json_object_set_new(body, "place", json_string(first ? "first" : "last"));
        if (priority)
            json_object_set_new(body, "priority", json_integer((json_int_t)number));
        return body;
    }
    json_decref(body);
    return NULL;
}

/* The id of the one that is meant, which must wait. */
static char *find(struct cli *cli, GError **error)
{
    g_autofree char *what = text_clean(cli_argument(cli, 0));
    json_t *migration = migration_find(cli, cli_argument(cli, 0), TRUE, error);
    gboolean waits = migration && strcmp(field_raw(migration, "state"), "queued") == 0;
    char *id = waits ? g_strdup(field_raw(migration, "id")) : NULL;

    json_decref(migration);
    if (!id && !*error)
        lpm_fail(error, LPM_E_NOT_QUEUED, "no migration of '%s' waits", what);
    return id;
}

static enum cli_exit act(struct cli *cli, const char *id, json_t *body, GError **error)
{
    gboolean drop = cli_flag(cli, "drop");
    g_autofree char *path =
        drop ? cli_path("/v1/migrations/", id, "/stop") : cli_path("/v1/queue/", id, NULL);
    json_t *answer = cli_call(cli, "POST", path, body, error);

    if (!answer)
        return CLI_INTERNAL;
    if (!drop)
        print_queue(cli, answer);
    else if (cli->json)
        cli_json(cli, answer, FALSE);
    else
        cli_say(cli, "Dropped: the partition stays as it is.\n");
    json_decref(answer);
    return CLI_OK;
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    g_autoptr(GError) failure = NULL;
    json_t *body = make_body(cli, &failure);
    g_autofree char *id = NULL;

    if (!failure && cli_flag(cli, "drop") && (body || !cli_argument(cli, 0)))
        cli_usage(cli, &failure, "--drop stands alone, with the migration that is meant");
    if (!failure && cli_argument(cli, 0))
        id = find(cli, &failure);
    if (failure) {
        json_decref(body);
        g_propagate_error(error, g_steal_pointer(&failure));
        return CLI_USAGE;
    }
    if (id)
        return act(cli, id, body, error);
    json_t *answer = cli_call(cli, "GET", "/v1/queue", NULL, error);
    if (!answer)
        return CLI_INTERNAL;
    print_queue(cli, answer);
    json_decref(answer);
    return CLI_OK;
}

const struct cli_command cmd_queue = {
    .name = "queue",
    .summary = "Show or change the order of migrations that wait",
    .description =
        "A migration that was asked for while as many were under way as lpmd.conf allows, here or "
        "on the target, waits. The one with the greatest priority goes first, then the oldest; "
        "one whose target is full does not hold up the others. It begins by itself, with all "
        "checks, and the queue outlives a restart of lpmd. Without an argument the queue is shown.",
    .arguments =
        (const struct cli_argument[]){
            {"PARTITION", "the partition whose migration waits, or the id of the migration", TRUE,
             CLI_WORDS_PARTITIONS},
            {.name = NULL},
        },
    .options =
        (const struct cli_option[]){
            {.name = "first", .help = "before all others"},
            {.name = "last", .help = "behind all others"},
            {.name = "priority",
             .argument = "N",
             .help = "from -100 to 100; 0 unless 'lpm migrate' has said otherwise"},
            {.name = "drop", .help = "out of the queue: it is not migrated"},
            {.name = NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"what waits, and for what", "lpm queue"},
            {"web before the others", "lpm queue web --first"},
            {.line = NULL},
        },
    .run = run,
};
