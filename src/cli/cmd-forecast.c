/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/forecast.h"
#include "cli/migrate-limits.h"
#include "cli/text.h"

static enum cli_exit show_history(struct cli *cli, GError **error)
{
    const char *partition = cli_argument(cli, 0);
    g_autofree char *path = partition ? cli_path("/v1/forecasts?partition=", partition, NULL)
                                      : g_strdup("/v1/forecasts");
    json_t *answer = cli_call(cli, "GET", path, NULL, error);

    if (!answer)
        return CLI_INTERNAL;
    if (cli->json)
        cli_json(cli, answer, FALSE);
    else
        forecast_print_history(cli->out, answer);
    json_decref(answer);
    return CLI_OK;
}

static void print(const struct cli *cli, const json_t *report)
{
    g_autofree char *partition = field_text(report, "partition");
    g_autofree char *source = field_text(report, "source");
    g_autofree char *target = field_text(report, "target");
    gint64 errors = field_int(report, "errors");

    fprintf(cli->out, "Partition %s, from %s to %s\n", partition, source, target);
    forecast_print(cli->out, json_object_get(report, "forecast"));
    if (errors > 0)
        fprintf(cli->out,
                "\nAs it is, the migration is not possible: 'lpm validate %s --to %s' tells why.\n",
                partition, target);
}

static enum cli_exit show_now(struct cli *cli, const char *to, GError **error)
{
    json_t *body = json_pack("{s:s, s:s}", "partition", cli_argument(cli, 0), "to", to);

    if (!body) {
        cli_usage(cli, error, "the name of the partition or of the host is not UTF-8");
        return CLI_USAGE;
    }
    if (!limits_add(cli, body, error)) {
        json_decref(body);
        return CLI_USAGE;
    }
    json_t *answer = cli_call(cli, "POST", "/v1/validations", body, error);
    const json_t *report = json_array_get(json_object_get(answer, "validations"), 0);

    if (!answer)
        return CLI_INTERNAL;
    if (cli->json)
        cli_json(cli, json_object_get(report, "forecast"), FALSE);
    else
        print(cli, report);
    json_decref(answer);
    return CLI_OK;
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    const char *to = cli_option(cli, "to");

    if (cli_flag(cli, "history") && !to)
        return show_history(cli, error);
    if (cli_flag(cli, "history"))
        cli_usage(cli, error, "--history is of all hosts: leave --to out");
    else if (!to || !cli_argument(cli, 0))
        cli_usage(cli, error, "name a partition and a host with --to, or give --history");
    else
        return show_now(cli, to, error);
    return CLI_USAGE;
}

const struct cli_command cmd_forecast = {
    .name = "forecast",
    .summary = "Tell what a migration would take, or how good earlier forecasts were",
    .description =
        "Samples for a second how fast the partition writes to its memory and what the link to the "
        "other host carries, and tells what to expect of a migration: how long it takes, for how "
        "long the partition is suspended, what goes over the link, and whether pre-copy comes to "
        "an end by itself. Each figure has a range: what is likely, and what it may be at least "
        "and at most. Nothing is moved.\n\n"
        "A forecast is made of every migration too, and stored with it. --history holds them "
        "against what came: 'wrong by' is the error of the total time as a part of it, 'factor' "
        "how many times too long or too short the suspension was expected (1 is right).",
    .arguments =
        (const struct cli_argument[]){
            {"PARTITION", "the partition, by name or UUID", TRUE, CLI_WORDS_PARTITIONS},
            {.name = NULL},
        },
    .options =
        (const struct cli_option[]){
            {.name = "to",
             .argument = "HOST",
             .help = "the paired host to move it to",
             .words = CLI_WORDS_HOSTS},
            LIMITS_OPTIONS,
            {.name = "history",
             .help = "the forecasts of earlier migrations and what came of them"},
            {.name = NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"what would it take to move web to beta?", "lpm forecast web --to beta"},
            {"and with half a gigabit per second?", "lpm forecast web --to beta --bandwidth 60M"},
            {"how good were the forecasts?", "lpm forecast --history"},
            {.line = NULL},
        },
    .run = run,
};
