/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/forecast.h"
#include "cli/map.h"
#include "cli/report.h"
#include "cli/table.h"
#include "cli/terminal.h"
#include "cli/text.h"

#include <string.h>

#define INDENT 9
/* Scripts of the models' validations know 0, 1 and 2; usage errors share the last. */
#define CLI_NOT_POSSIBLE CLI_USAGE

static enum terminal_style style_of(const char *verdict)
{
    if (strcmp(verdict, "error") == 0)
        return TERMINAL_RED;
    return strcmp(verdict, "warning") == 0 ? TERMINAL_YELLOW : TERMINAL_PLAIN;
}

static void print_wrapped(const struct cli *cli, const char *label, const json_t *finding,
                          const char *name)
{
    g_autofree char *text = field_text(finding, name);
    g_autofree char *line = g_strdup_printf("%*s%s%s", INDENT, "", label, text);
    g_autofree char *wrapped = text_wrap(line, terminal_width(cli->out), INDENT + 2);

    fprintf(cli->out, "%s\n", wrapped);
}

static void print_finding(const struct cli *cli, const json_t *finding)
{
    const char *severity = field_raw(finding, "severity");
    g_autofree char *code = field_text(finding, "code");

    fprintf(cli->out, "%*s%s%s %s%s\n", INDENT, "", terminal_style(cli->out, style_of(severity)),
            strcmp(severity, "error") == 0 ? "error" : "warning", code,
            terminal_style(cli->out, TERMINAL_PLAIN));
    print_wrapped(cli, "  ", finding, "cause");
    print_wrapped(cli, "  -> ", finding, "remedy");
}

/* "pass     R2.3   The target sees the same disks", and what was found. */
static void print_check(const struct cli *cli, const json_t *check)
{
    const char *verdict = field_raw(check, "verdict");
    const char *shown = strcmp(verdict, "not-applicable") == 0 ? "-"
                        : strcmp(verdict, "not-checked") == 0  ? "?"
                                                               : verdict;
    g_autofree char *rule = field_text(check, "rule");
    g_autofree char *title = field_text(check, "title");
    json_t *finding;
    size_t i;

    fprintf(cli->out, "%s%-8s%s %-6s %s\n", terminal_style(cli->out, style_of(verdict)), shown,
            terminal_style(cli->out, TERMINAL_PLAIN), rule, title);
    json_array_foreach (json_object_get(check, "findings"), i, finding)
        print_finding(cli, finding);
}

static void print_verdict(const struct cli *cli, const json_t *report)
{
    g_autofree char *partition = field_text(report, "partition");
    g_autofree char *target = field_text(report, "target");
    gint64 errors = field_int(report, "errors"), warnings = field_int(report, "warnings");

    fprintf(cli->out, "\nMoving %s to %s ", partition, target);
    if (errors > 0)
        fprintf(cli->out, "is not possible: %" G_GINT64_FORMAT " error%s", errors,
                errors == 1 ? "" : "s");
    else
        fprintf(cli->out, "may be possible");
    if (warnings > 0)
        fprintf(cli->out, ", %" G_GINT64_FORMAT " warning%s", warnings, warnings == 1 ? "" : "s");
    fputs(".\n", cli->out);
}

static void print_report(const struct cli *cli, const json_t *report)
{
    g_autofree char *partition = field_text(report, "partition");
    g_autofree char *source = field_text(report, "source");
    g_autofree char *target = field_text(report, "target");
    json_t *check;
    size_t i;

    fprintf(cli->out, "Partition %s, from %s to %s\n\n", partition, source, target);
    json_array_foreach (json_object_get(report, "checks"), i, check)
        print_check(cli, check);
    map_print(cli, json_object_get(report, "adapters"));
    forecast_print(cli->out, json_object_get(report, "forecast"));
    print_verdict(cli, report);
}

/* One line for each host, the best first. */
static void print_ranking(const struct cli *cli, const json_t *reports)
{
    static const char *const header[] = {"HOST", "VERDICT", ">ERRORS", ">WARNINGS", NULL};
    g_autoptr(CliTable) table = cli_table_new(header);
    json_t *report;
    size_t i;

    json_array_foreach (reports, i, report) {
        gboolean possible = strcmp(field_raw(report, "verdict"), "may-be-possible") == 0;

        cli_table_add(table, field_text(report, "target"));
        cli_table_add(table, g_strdup(possible ? "may be possible" : "not possible"));
        cli_table_add(table, g_strdup_printf("%" G_GINT64_FORMAT, field_int(report, "errors")));
        cli_table_add(table, g_strdup_printf("%" G_GINT64_FORMAT, field_int(report, "warnings")));
    }
    cli_table_print(table, cli->out);
}

/* Of the best host: 2 with errors, 1 with warnings. */
static enum cli_exit exit_of(const json_t *reports)
{
    const json_t *best = json_array_get(reports, 0);

    if (field_int(best, "errors") != 0)
        return CLI_NOT_POSSIBLE;
    return field_int(best, "warnings") > 0 ? CLI_WARNING : CLI_OK;
}

static void print_all(const struct cli *cli, const json_t *reports)
{
    json_t *report;
    size_t i;

    json_array_foreach (reports, i, report) {
        if (i > 0)
            fputc('\n', cli->out);
        print_report(cli, report);
    }
    if (json_array_size(reports) > 1) {
        fputc('\n', cli->out);
        print_ranking(cli, reports);
    } else if (!json_array_size(reports)) {
        fputs("This host is paired with no other.\n", cli->out);
    }
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    const char *to = cli_option(cli, "to");
    json_t *answer;

    if (cli_flag(cli, "all-hosts") == (to != NULL)) {
        cli_usage(cli, error, "name one host with --to, or give --all-hosts");
        return CLI_USAGE;
    }
    json_t *body =
        json_pack("{s:s, s:s*, s:b, s:b}", "partition", cli_argument(cli, 0), "to", to, "force",
                  cli_flag(cli, "force"), "forecast", !cli_flag(cli, "no-forecast"));
    if (!body) {
        cli_usage(cli, error, "the name of the partition or of the host is not UTF-8");
        return CLI_USAGE;
    }
    if (!map_add(cli, body, error)) {
        json_decref(body);
        return CLI_USAGE;
    }
    if (!to && json_object_get(body, "map")) {
        json_decref(body);
        cli_usage(cli, error, "a map is of one host's names: name that host with --to");
        return CLI_USAGE;
    }
    answer = cli_call(cli, "POST", "/v1/validations", body, error);
    if (!answer)
        return CLI_INTERNAL;
    const json_t *reports = json_object_get(answer, "validations");
    enum cli_exit code = exit_of(reports);
    if (cli->json)
        cli_json(cli, to ? json_array_get(reports, 0) : answer, FALSE);
    else
        print_all(cli, reports);
    json_decref(answer);
    return code;
}

const struct cli_command cmd_validate = {
    .name = "validate",
    .summary = "Find everything that would stop or spoil a migration, without moving anything",
    .description =
        "Checks, on both hosts at once and in a second or two, every prerequisite of moving a "
        "running partition: that the target sees the same disks and reaches the same networks, by "
        "proof and not by name, that names are free, that processor, memory and devices fit, that "
        "the movers reach each other. Nothing is changed on either host. Meanwhile link and dirty "
        "rate "
        "are sampled, for a forecast of what the migration would take (see 'lpm help "
        "forecast').\n\n"
        "Each check passes, warns, fails, or does not apply (-); what could not be looked at is "
        "shown as ?. Exit code 0: no errors and no warnings; 1: warnings; 2: errors, that is, the "
        "migration is not possible. With --all-hosts the best host decides.",
    .arguments =
        (const struct cli_argument[]){
            {"PARTITION", "the partition, by name or UUID", FALSE, CLI_WORDS_PARTITIONS},
            {.name = NULL},
        },
    .options =
        (const struct cli_option[]){
            {.name = "to",
             .argument = "HOST",
             .help = "the paired host to move it to",
             .words = CLI_WORDS_HOSTS},
            {.name = "all-hosts", .help = "ask every paired host, and rank them"},
            {.name = "no-forecast",
             .help = "neither sample link and dirty rate nor tell what the migration would take"},
            CLI_MAP_OPTIONS,
            {.name = "force", .help = "judge as 'lpm migrate --force' would"},
            {.name = NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"may web move to beta?", "lpm validate web --to beta"},
            {"the target has other names",
             "lpm validate web --to beta --map net:52:54:00:12:34:56=br7"},
            {"where to?", "lpm validate web --all-hosts"},
            {"only the errors, for a script",
             "lpm validate web --to beta --json | jq -r '.checks[].findings[].cause'"},
            {.line = NULL},
        },
    .run = run,
};
