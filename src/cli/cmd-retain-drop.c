/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/text.h"

static enum cli_exit run(struct cli *cli, GError **error)
{
    const char *partition = cli_argument(cli, 0);
    gboolean all = cli_flag(cli, "all");

    if (!partition == !all) {
        cli_usage(cli, error, "name a partition, or say --all");
        return CLI_USAGE;
    }
    g_autofree char *path =
        all ? g_strdup("/v1/retained") : cli_path("/v1/retained/", partition, NULL);
    json_t *answer = cli_call(cli, "DELETE", path, NULL, error);

    if (!answer)
        return CLI_INTERNAL;
    if (cli->json)
        cli_json(cli, answer, FALSE);
    else
        cli_say(cli, "Dropped %d.\n", (int)field_int(answer, "dropped"));
    json_decref(answer);
    return CLI_OK;
}

const struct cli_command cmd_retain_drop = {
    .name = "retain drop",
    .summary = "Drop what is kept of a partition that left this host",
    .description =
        "Removes a retained image, or all of them. Nothing depends on one: a partition that comes "
        "back without is copied whole.",
    .arguments =
        (const struct cli_argument[]){
            {"PARTITION", "the partition, by name or UUID", TRUE, CLI_WORDS_NONE},
            {.name = NULL},
        },
    .options =
        (const struct cli_option[]){
            {.name = "all", .help = "every image"},
            {.name = NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"web will not come back", "lpm retain drop web"},
            {"make room", "lpm retain drop --all"},
            {.line = NULL},
        },
    .run = run,
};
