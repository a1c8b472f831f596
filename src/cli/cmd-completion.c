/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/text.h"

#include <string.h>

/* A shell that waits longer than this for its words seems to hang. */
#define TIMEOUT_S 2

static const struct {
    enum cli_words words;
    const char *path, *list, *member;
} sources[] = {
    {CLI_WORDS_PARTITIONS, "/v1/partitions", "partitions", "name"},
    {CLI_WORDS_HOSTS, "/v1/host/peers", "peers", "name"},
    {CLI_WORDS_MIGRATIONS, "/v1/migrations", "migrations", "id"},
    {CLI_WORDS_MOVERS, "/v1/movers", "movers", "migration"},
};

/* One name per line; a name that would need cleaning cannot be typed either and is left out. */
static void print_names(struct cli *cli, const json_t *items, const char *member)
{
    size_t index;
    json_t *item;

    json_array_foreach (items, index, item) {
        const char *name = field_raw(item, member);
        g_autofree char *clean = text_clean(name);
        if (*name && strcmp(clean, name) == 0)
            fprintf(cli->out, "%s\n", name);
    }
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    const char *what = cli_argument(cli, 0);

    if (strcmp(what, "bash") == 0) {
        help_print_bash_completion(cli->out);
        return CLI_OK;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(sources); i++) {
        if (strcmp(what, help_words_name(sources[i].words)) != 0)
            continue;
        CliClient *client = cli_client(cli, error);
        if (!client)
            return CLI_USAGE;
        client_set_timeout(client, TIMEOUT_S);
        json_t *answer = client_call(client, "GET", sources[i].path, NULL, error);
        if (answer && cli->json)
            cli_json(cli, answer, FALSE);
        else if (answer)
            print_names(cli, json_object_get(answer, sources[i].list), sources[i].member);
        json_decref(answer);
        return CLI_OK;
    }
    cli_usage(cli, error, "there is no completion for '%s'; there is one for bash", what);
    return CLI_USAGE;
}

const struct cli_command cmd_completion = {
    .name = "completion",
    .summary = "Write the completion for a shell",
    .description = "Writes a script that makes the shell complete commands, options and the names "
                   "of partitions, "
                   "hosts and migrations. Packages install it; without one, load it as shown.\n\n"
                   "The script itself asks for names with 'lpm completion partitions', 'hosts', "
                   "'migrations' or "
                   "'movers', one name per line.",
    .arguments =
        (const struct cli_argument[]){
            {"SHELL", "bash", FALSE, CLI_WORDS_SHELLS},
            {.name = NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"for this shell only", "source <(lpm completion bash)"},
            {"for all users", "lpm completion bash > /usr/share/bash-completion/completions/lpm"},
            {.line = NULL},
        },
    .run = run,
};
