/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/migration.h"
#include "cli/text.h"

#include "base/error.h"

#include <string.h>

#define THREADS_MAX 32

/* The options as the body of the call. */
static gboolean fill_body(struct cli *cli, json_t *body, GError **error)
{
    const char *threads = cli_option(cli, "threads"), *bandwidth = cli_option(cli, "bandwidth");
    gint64 bytes = 0;
    guint64 count = 0;

    if (!threads && !bandwidth)
        return cli_usage(cli, error, "nothing to set: give --threads or --bandwidth");
    if (threads && strcmp(threads, "auto") != 0 &&
        !g_ascii_string_to_unsigned(threads, 10, 1, THREADS_MAX, &count, NULL))
        return cli_usage(cli, error, "--threads '%s' is no number from 1 to %d, nor 'auto'",
                         threads, THREADS_MAX);
    if (bandwidth && strcmp(bandwidth, "none") != 0 &&
        (!text_parse_bytes(bandwidth, &bytes) || bytes == 0))
        return cli_usage(cli, error,
                         "--bandwidth '%s' is no rate: give bytes per second, such as 100M or 1G, "
                         "or 'none'",
                         bandwidth);
    if (threads)
        json_object_set_new(body, "threads", json_integer((json_int_t)count));
    if (bandwidth)
        json_object_set_new(body, "bandwidth", json_integer(bytes));
    return TRUE;
}

/* What the mover has now. */
static void say(struct cli *cli, const json_t *mover)
{
    gint64 rate = field_int(json_object_get(mover, "pipeline"), "bandwidth");
    gint64 threads = field_int(json_object_get(mover, "pipeline"), "threads");
    g_autofree char *partition = field_text(mover, "partition");
    g_autofree char *text = rate > 0 ? text_rate(rate) : NULL;

    cli_say(cli, "The mover of %s (%s) has %" G_GINT64_FORMAT " thread%s%s%s.\n", partition,
            field_raw(mover, "side"), threads, threads == 1 ? "" : "s",
            text ? " and may send " : "", text ? text : "");
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    g_autoptr(GError) failure = NULL;
    json_auto_t *body = json_object();

    if (!fill_body(cli, body, error))
        return CLI_USAGE;
    json_auto_t *migration = migration_find(cli, cli_argument(cli, 0), TRUE, &failure);
    g_autofree char *path = cli_path("/v1/movers/", field_raw(migration, "id"), "");

    if (failure) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return CLI_INTERNAL;
    }
    json_auto_t *answer = cli_call(cli, "POST", path, body, error);

    if (!answer)
        return CLI_INTERNAL;
    if (cli->json)
        cli_json(cli, answer, FALSE);
    else
        say(cli, answer);
    return CLI_OK;
}

const struct cli_command cmd_mover_set = {
    .name = "mover set",
    .summary = "Change what a mover at work may use",
    .description =
        "Changes, while the migration runs, how many threads of this host's mover compress (at the "
        "source) or decompress (at the target), and how many bytes per second the source's mover "
        "may send. Each host has its own mover: threads are set on each.",
    .arguments =
        (const struct cli_argument[]){
            {"ID", "the migration, or its partition", FALSE, CLI_WORDS_MOVERS},
            {.name = NULL},
        },
    .options =
        (const struct cli_option[]){
            {.name = "threads",
             .argument = "N",
             .help = "how many, 1 to 32; 'auto': one for each processor"},
            {.name = "bandwidth",
             .argument = "RATE",
             .help = "bytes per second on the wire, such as 100M; 'none': no limit; at the source"},
            {.name = NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"more processors for it", "lpm mover set web --threads 8"},
            {"leave some of the link to others", "lpm mover set web --bandwidth 50M"},
            {.line = NULL},
        },
    .run = run,
};
