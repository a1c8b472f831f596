/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/drawing.h"
#include "cli/failure.h"
#include "cli/migration.h"
#include "cli/report.h"
#include "cli/table.h"
#include "cli/text.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

/* More rows than a screen has help nobody: the whole line is in --json and --svg. */
#define ROWS_MAX 40

static void add_number(CliTable *table, gint64 value)
{
    cli_table_add(table, value < 0 ? NULL : g_strdup_printf("%" G_GINT64_FORMAT, value));
}

static void add_row(CliTable *table, const json_t *sample, gint64 begin_us)
{
    gint64 level_known = json_is_integer(json_object_get(sample, "level"));

    add_number(table, field_int(sample, "round"));
    cli_table_add(table, text_duration_us(MAX(field_int(sample, "at_us") - begin_us, 0)));
    cli_table_add(table, text_bytes(field_int(sample, "memory_left")));
    cli_table_add(table, text_bytes(field_int(sample, "stream_bytes")));
    cli_table_add(table, text_bytes(field_int(sample, "wire_bytes")));
    cli_table_add(table, text_rate(field_int(sample, "dirty_rate")));
    /* A level may be negative, which is a level and not a number that is missing. */
    cli_table_add(table, level_known ? g_strdup_printf("%" G_GINT64_FORMAT,
                                                       (gint64)json_integer_value(
                                                           json_object_get(sample, "level")))
                                     : NULL);
    add_number(table, field_int(sample, "threads"));
    add_number(table, field_int(sample, "streams"));
}

/* Where each round ended, or every n-th sample when there are too many rounds. */
static void print_line(FILE *out, const json_t *migration, const json_t *samples)
{
    static const char *const header[] = {">ROUND",   ">AFTER", ">LEFT",    ">STREAM",  ">SENT",
                                         ">DIRTIED", ">LEVEL", ">THREADS", ">STREAMS", NULL};
    g_autoptr(CliTable) table = cli_table_new(header);
    gint64 begin = field_int(migration, "started_ms") * 1000;
    size_t count = json_array_size(samples), rounds = 0, every = 1;

    for (size_t i = 0; i < count; i++) {
        if (i + 1 == count || field_int(json_array_get(samples, i), "round") !=
                                  field_int(json_array_get(samples, i + 1), "round"))
            rounds++;
    }
    if (count > ROWS_MAX && (rounds > ROWS_MAX || rounds < ROWS_MAX / 4))
        every = (count + ROWS_MAX - 1) / ROWS_MAX;
    for (size_t i = 0; i < count; i++) {
        gboolean shown = count <= ROWS_MAX || i + 1 == count;
        if (every > 1)
            shown = shown || i % every == 0;
        else
            shown = shown || field_int(json_array_get(samples, i), "round") !=
                                 field_int(json_array_get(samples, i + 1), "round");
        if (shown)
            add_row(table, json_array_get(samples, i), begin);
    }
    cli_table_print(table, out);
}

static void print(struct cli *cli, const json_t *timeline)
{
    const json_t *migration = json_object_get(timeline, "migration");
    const json_t *samples = json_object_get(timeline, "samples");
    const json_t *report = json_object_get(migration, "report");
    const json_t *error = json_object_get(migration, "error");

    if (json_is_object(report)) {
        report_print(cli->out, report);
    } else {
        g_autofree char *partition = field_text(migration, "partition");
        g_autofree char *direction = migration_direction(migration);
        g_autofree char *state = field_text(migration, "state");
        fprintf(cli->out, "Migration of %s %s: %s\n", partition, direction, state);
        report_line(cli->out, "id", field_text(migration, "id"));
        report_line(cli->out, "phases", report_phases(json_object_get(migration, "phases")));
        if (json_is_object(error))
            report_line(cli->out, "error", field_text(error, "cause"));
    }
    if (json_array_size(samples) > 0) {
        fputc('\n', cli->out);
        print_line(cli->out, migration, samples);
    } else {
        cli_say(cli, "\nThis host has no time line of it.\n");
    }
}

static gboolean write_drawing(struct cli *cli, const json_t *timeline, const char *path,
                              GError **error)
{
    g_autofree char *text = drawing_of_timeline(timeline);
    FILE *file = strcmp(path, "-") == 0 ? cli->out : fopen(path, "we");

    if (!file)
        return cli_usage(cli, error, "--svg %s: %s", path, g_strerror(errno));
    gboolean ok = fputs(text, file) >= 0 && fflush(file) == 0;
    int reason = errno;
    if (file != cli->out)
        ok = fclose(file) == 0 && ok;
    if (!ok)
        return cli_usage(cli, error, "--svg %s: %s", path, g_strerror(reason));
    return TRUE;
}

static json_t *get_timeline(struct cli *cli, const char *what, GError **error)
{
    g_autoptr(GError) failure = NULL;
    json_t *migration = migration_find(cli, what, FALSE, &failure);

    if (failure) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    if (!migration) {
        g_autofree char *clean = text_clean(what);
        lpm_fail(error, LPM_E_MIGRATION_NOT_FOUND, "'%s' has never migrated from here", clean);
        return NULL;
    }
    g_autofree char *path = cli_path("/v1/migrations/", field_raw(migration, "id"), "/timeline");
    json_t *timeline = cli_call(cli, "GET", path, NULL, error);
    json_decref(migration);
    return timeline;
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    const char *svg = cli_option(cli, "svg");

    if (svg && cli->json && strcmp(svg, "-") == 0) {
        cli_usage(cli, error, "--svg - and --json both want stdout");
        return CLI_USAGE;
    }
    json_t *timeline = get_timeline(cli, cli_argument(cli, 0), error);
    if (!timeline)
        return CLI_NOT_FOUND;
    if (svg && !write_drawing(cli, timeline, svg, error)) {
        json_decref(timeline);
        return CLI_USAGE;
    }
    if (cli->json)
        cli_json(cli, timeline, FALSE);
    else if (!svg)
        print(cli, timeline);
    json_decref(timeline);
    return CLI_OK;
}

const struct cli_command cmd_report = {
    .name = "report",
    .summary = "Show how a migration went, from second to second",
    .description =
        "Shows the report of a migration, also of one that lasts or failed, and its time line: "
        "for each round, or each second where rounds are long, what was left, what QEMU's stream "
        "and the link had carried, how fast the guest wrote, and which level, threads and streams "
        "the mover used. The time line is kept on the source, of the newest 100 migrations.\n\n"
        "With --svg the time line is drawn, with the phases, as a file that any browser shows.",
    .arguments =
        (const struct cli_argument[]){
            {"ID", "the migration, or a partition: its newest one", FALSE, CLI_WORDS_MIGRATIONS},
            {.name = NULL},
        },
    .options =
        (const struct cli_option[]){
            {.name = "svg",
             .argument = "FILE",
             .help = "draw it into FILE instead, - for stdout; with --json do both",
             .words = CLI_WORDS_FILES},
            {.name = NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"how the last move of web went", "lpm report web"},
            {"the same as a picture", "lpm report web --svg web.svg"},
            {"the rate at which the guest wrote",
             "lpm report web --json | jq '.samples[].dirty_rate'"},
            {.line = NULL},
        },
    .run = run,
};
