/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/failure.h"
#include "cli/migration.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/table.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "cli/watch.h"

#include "base/clock.h"

#include <string.h>

#define REFRESH_MS 500

static void print_table(FILE *out, const json_t *migrations)
{
    static const char *const header[] = {"MIGRATION", "PARTITION", "HOST",  "STATE", "PHASE",
                                         ">DONE",     ">RATE",     ">LEFT", ">ETA",  NULL};
    g_autoptr(CliTable) table = cli_table_new(header);
    size_t index;
    json_t *migration;

    json_array_foreach (migrations, index, migration) {
        double percent = field_real(migration, "progress.percent");
        cli_table_add(table, field_text(migration, "id"));
        cli_table_add(table, field_text(migration, "partition"));
        cli_table_add(table, migration_direction(migration));
        cli_table_add(table, field_text(migration, "shown"));
        cli_table_add(table, field_text(migration, "state"));
        cli_table_add(table, percent < 0 ? NULL : g_strdup_printf("%.0f%%", MIN(percent, 100)));
        cli_table_add(table, text_rate(field_int(migration, "progress.rate")));
        cli_table_add(table, text_bytes(field_int(migration, "progress.bytes_left")));
        cli_table_add(table, text_clock(field_int(migration, "progress.eta_ms")));
    }
    cli_table_print(table, out);
}

static char *instant(const json_t *migration, const char *member)
{
    gint64 ms = field_int(migration, member);

    return ms < 0 ? NULL : text_instant_us(ms * 1000, FALSE);
}

static void print_progress(FILE *out, const json_t *migration)
{
    const json_t *progress = json_object_get(migration, "progress");
    g_autofree char *done = text_bytes(field_int(progress, "bytes_done"));
    g_autofree char *total = text_bytes(field_int(progress, "bytes_total"));
    gint64 round = field_int(progress, "iteration");

    report_line(out, "progress", progress_text(migration));
    report_line(out, "done", g_strdup_printf("%s of %s", done, total));
    if (round >= 0)
        report_line(out, "round", g_strdup_printf("%" G_GINT64_FORMAT, round));
}

static void print_one(struct cli *cli, const json_t *migration)
{
    g_autofree char *partition = field_text(migration, "partition");
    g_autofree char *direction = migration_direction(migration);

    fprintf(cli->out, "Migration of %s %s\n", partition, direction);
    report_line(cli->out, "id", field_text(migration, "id"));
    report_line(cli->out, "uuid", field_text(migration, "uuid"));
    report_line(cli->out, "state", field_text(migration, "shown"));
    report_line(cli->out, "phase", field_text(migration, "state"));
    report_line(cli->out, "began", instant(migration, "started_ms"));
    report_line(cli->out, "ended", instant(migration, "ended_ms"));
    if (!json_is_object(json_object_get(migration, "report")))
        report_line(cli->out, "phases", report_phases(json_object_get(migration, "phases")));
    if (migration_is_active(migration))
        print_progress(cli->out, migration);
    if (json_is_object(json_object_get(migration, "report"))) {
        fputc('\n', cli->out);
        report_print(cli->out, json_object_get(migration, "report"));
    }
    fflush(cli->out);
    if (json_is_object(json_object_get(migration, "error")))
        failure_print(cli->err, json_object_get(migration, "error"));
}

/* The document {"migrations": [...]} with only those that last, unless all are wanted. lpmd leaves
 * the others out already; one that ended between is left out here. */
static json_t *select_from(const json_t *answer, gboolean all)
{
    json_t *chosen = json_array(), *migration;
    size_t index;

    json_array_foreach (json_object_get(answer, "migrations"), index, migration) {
        if (all || migration_is_active(migration))
            json_array_append(chosen, migration);
    }
    return json_pack("{s:o}", "migrations", chosen);
}

static const char *list_path(const struct cli *cli)
{
    return cli_flag(cli, "all") ? "/v1/migrations" : "/v1/migrations?active=true";
}

static enum cli_exit show_all(struct cli *cli, GError **error)
{
    json_t *answer = cli_call(cli, "GET", list_path(cli), NULL, error);

    if (!answer)
        return CLI_INTERNAL;
    json_t *document = select_from(answer, cli_flag(cli, "all"));
    const json_t *migrations = json_object_get(document, "migrations");
    if (cli->json)
        cli_json(cli, document, FALSE);
    else if (json_array_size(migrations) > 0)
        print_table(cli->out, migrations);
    else
        cli_say(cli, "No migration %s.\n", cli_flag(cli, "all") ? "is known" : "is under way");
    json_decref(document);
    json_decref(answer);
    return CLI_OK;
}

static void redraw_table(FILE *out, const json_t *migrations)
{
    char *text = NULL;
    size_t length = 0;
    FILE *memory = open_memstream(&text, &length);

    g_assert(memory); /* fails for want of memory only */
    print_table(memory, migrations);
    fclose(memory);
    watch_redraw(out, text);
    free(text);
}

/* A line for each migration whose phase or whole percent changed. `seen` maps ids to the last. */
static void print_changes(FILE *out, const json_t *migrations, GHashTable *seen)
{
    size_t index;
    json_t *migration;

    json_array_foreach (migrations, index, migration) {
        g_autofree char *key = g_strdup_printf("%s %d", field_raw(migration, "state"),
                                               (int)field_real(migration, "progress.percent"));
        const char *id = field_raw(migration, "id");
        if (g_strcmp0(g_hash_table_lookup(seen, id), key) == 0)
            continue;
        g_hash_table_insert(seen, g_strdup(id), g_steal_pointer(&key));
        g_autofree char *time = text_instant_us(lpm_wall_us(), FALSE);
        g_autofree char *line = progress_text(migration);
        fprintf(out, "%s  %s\n", time, line);
    }
    fflush(out);
}

/* Until no migration lasts. Ctrl-C ends it: nothing was begun, so nothing has to be said. */
static enum cli_exit watch_all(struct cli *cli, GError **error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    gboolean active = TRUE;

    while (active && !watch_interrupted()) {
        json_t *answer = watch_get(cli, "/v1/migrations?active=true", error);
        if (!answer)
            return watch_interrupted() ? CLI_DETACHED : CLI_INTERNAL;
        json_t *document = select_from(answer, FALSE);
        const json_t *migrations = json_object_get(document, "migrations");
        active = json_array_size(migrations) > 0;
        if (cli->json)
            cli_json(cli, document, TRUE);
        else if (terminal_is(cli->out) && active)
            redraw_table(cli->out, migrations);
        else
            print_changes(cli->out, migrations, seen);
        json_decref(document);
        json_decref(answer);
        if (active)
            watch_sleep_ms(REFRESH_MS);
    }
    if (watch_interrupted())
        return CLI_DETACHED;
    cli_say(cli, "No migration is under way.\n");
    return CLI_OK;
}

static enum cli_exit watch_one(struct cli *cli, const json_t *found, GError **error)
{
    g_autoptr(GError) failure = NULL;
    gboolean detached;
    json_t *migration = watch_migration(cli, field_raw(found, "id"), TRUE, &detached, &failure);
    enum cli_exit code = CLI_DETACHED;

    if (failure)
        g_propagate_error(error, g_steal_pointer(&failure));
    else if (!detached && cli->json)
        code = cli_exit_of_migration(migration); /* the last line was the document */
    else if (!detached)
        code = migration_conclude(cli, migration);
    json_decref(migration);
    return code;
}

static enum cli_exit show_one(struct cli *cli, GError **error)
{
    g_autoptr(GError) failure = NULL;
    json_t *migration = migration_find(cli, cli_argument(cli, 0), TRUE, &failure);
    enum cli_exit code = CLI_OK;

    if (failure) {
        g_propagate_error(error, g_steal_pointer(&failure));
    } else if (!migration && cli->json) {
        json_t *nothing = json_pack("{s:[]}", "migrations");
        cli_json(cli, nothing, cli_flag(cli, "watch"));
        json_decref(nothing);
    } else if (!migration) {
        g_autofree char *name = text_clean(cli_argument(cli, 0));
        cli_say(cli, "%s has never migrated, as far as this host knows.\n", name);
    } else if (cli_flag(cli, "watch")) {
        code = watch_one(cli, migration, error);
    } else if (cli->json) {
        cli_json(cli, migration, FALSE);
    } else {
        print_one(cli, migration);
    }
    json_decref(migration);
    return code;
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    if (!cli_client(cli, error))
        return CLI_USAGE;
    if (cli_argument(cli, 0) && cli_flag(cli, "all")) {
        cli_usage(cli, error, "--all and a PARTITION exclude each other");
        return CLI_USAGE;
    }
    if (cli_flag(cli, "all") && cli_flag(cli, "watch")) {
        cli_usage(cli, error, "--all and --watch exclude each other");
        return CLI_USAGE;
    }
    if (cli_argument(cli, 0))
        return show_one(cli, error);
    if (!cli_flag(cli, "watch"))
        return show_all(cli, error);
    watch_catch_interrupt(cli);
    return watch_all(cli, error);
}

const struct cli_command cmd_status = {
    .name = "status",
    .summary = "Show the migrations under way, or one in detail",
    .description =
        "Without an argument, lists the migrations that this host takes part in now, as source or "
        "as "
        "target. With a partition, or the id of a migration, shows its newest migration in detail, "
        "ended or not, with its report.\n\n"
        "With --watch the list is refreshed in place on a terminal, printed as lines elsewhere, "
        "until "
        "no migration is left; one migration is followed to its end as 'lpm migrate' does, and the "
        "exit "
        "code is that of its end. Without --watch the exit code is 0 however it ended. With --json "
        "and --watch each refresh is a document on a line of its own.",
    .arguments =
        (const struct cli_argument[]){
            {"PARTITION", "a partition that migrates or migrated, or the id of a migration", TRUE,
             CLI_WORDS_PARTITIONS},
            {.name = NULL},
        },
    .options =
        (const struct cli_option[]){
            {.name = "watch", .letter = 'w', .help = "refresh until the end"},
            {.name = "all", .letter = 'a', .help = "list those that have ended, too, newest first"},
            {.name = NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"what migrates now", "lpm status"},
            {"follow one that was begun with --no-wait", "lpm status web --watch"},
            {"percentages as they change",
             "lpm status web --watch --json | jq --unbuffered .progress.percent"},
            {"how the last ones went", "lpm status --all"},
            {.line = NULL},
        },
    .run = run,
};
