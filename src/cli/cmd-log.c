/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/text.h"

#include <string.h>

static char *make_path(const struct cli *cli)
{
    const char *partition = cli_argument(cli, 0), *migration = cli_option(cli, "migration");
    GString *path = g_string_new("/v1/log");

    if (partition) {
        g_autofree char *query = cli_path("?partition=", partition, NULL);
        g_string_append(path, query);
    }
    if (migration) {
        g_autofree char *query =
            cli_path(partition ? "&migration=" : "?migration=", migration, NULL);
        g_string_append(path, query);
    }
    return g_string_free(path, FALSE);
}

static void print_entry(FILE *out, const json_t *entry)
{
    g_autofree char *time = text_instant_us(field_int(entry, "time_us"), TRUE);
    g_autofree char *host = field_text(entry, "host");
    g_autofree char *level = field_text(entry, "level");
    g_autofree char *partition = field_text(entry, "partition");
    g_autofree char *migration = field_text(entry, "migration");
    g_autofree char *event = field_text(entry, "event");
    g_autofree char *text = field_text(entry, "text");

    fprintf(out, "%s %s %s", time, *host ? host : "-", *level ? level : "-");
    if (*partition)
        fprintf(out, " %s", partition);
    if (*migration)
        fprintf(out, " [%s]", migration);
    if (*event)
        fprintf(out, " %s:", event);
    fprintf(out, " %s\n", text);
}

/* The newest `most` entries, in a new document. */
static json_t *tail_of(const json_t *answer, size_t most)
{
    const json_t *entries = json_object_get(answer, "entries");
    size_t count = json_array_size(entries);
    json_t *tail = json_array();

    for (size_t i = count > most ? count - most : 0; i < count; i++)
        json_array_append(tail, json_array_get(entries, i));
    return json_pack("{s:o}", "entries", tail);
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    g_autofree char *path = make_path(cli);
    const char *tail = cli_option(cli, "tail");
    guint64 most = G_MAXSIZE;

    if (tail && !g_ascii_string_to_unsigned(tail, 10, 1, G_MAXINT, &most, NULL)) {
        cli_usage(cli, error, "--tail '%s' is no whole number from 1", tail);
        return CLI_USAGE;
    }
    json_t *answer = cli_call(cli, "GET", path, NULL, error);
    if (!answer)
        return CLI_INTERNAL;
    json_t *document = tail_of(answer, (size_t)most);
    const json_t *entries = json_object_get(document, "entries");
    size_t index;
    json_t *entry;
    if (cli->json) {
        cli_json(cli, document, FALSE);
    } else {
        json_array_foreach (entries, index, entry) {
            print_entry(cli->out, entry);
        }
        if (json_array_size(entries) == 0)
            cli_say(cli, "The log has nothing on that.\n");
    }
    json_decref(document);
    json_decref(answer);
    return CLI_OK;
}

const struct cli_command cmd_log = {
    .name = "log",
    .summary = "Show what happened to partitions and migrations",
    .description =
        "Shows this host's log of migrations, oldest first: the time (of this host's clock), "
        "the host, the level, the partition, the migration and what happened.",
    .arguments =
        (const struct cli_argument[]){
            {"PARTITION", "only this partition", TRUE, CLI_WORDS_PARTITIONS},
            {.name = NULL},
        },
    .options =
        (const struct cli_option[]){
            {.name = "migration",
             .argument = "ID",
             .help = "only this migration",
             .words = CLI_WORDS_MIGRATIONS},
            {.name = "tail",
             .letter = 'n',
             .argument = "COUNT",
             .help = "only the newest COUNT entries"},
            {.name = NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"all of it", "lpm log"},
            {"the newest twenty about web", "lpm log web --tail 20"},
            {.line = NULL},
        },
    .run = run,
};
