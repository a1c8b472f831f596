/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/report.h"
#include "cli/table.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "cli/watch.h"

#include "base/error.h"

#include <string.h>

#define REFRESH_MS 1000

/* "packets 12, bytes 3456, errors 0": exact, since these are counters to compare. */
static char *counters(const json_t *object, const char *const *members)
{
    GString *text = g_string_new(NULL);

    for (; *members; members++) {
        g_autofree char *label = g_strdelimit(g_strdup(*members), "_", ' ');
        gint64 value = field_int(object, *members);
        if (value >= 0)
            g_string_append_printf(text, "%s%s %" G_GINT64_FORMAT, text->len > 0 ? ", " : "", label,
                                   value);
    }
    return g_string_free(text, FALSE);
}

static char *operations(const json_t *mover)
{
    const json_t *operations = json_object_get(mover, "operations");
    const json_t *types = json_object_get(operations, "types");
    static const char *const members[] = {"maximum", "active", NULL};
    g_autofree char *counts = counters(operations, members);
    GString *text = g_string_new(counts);
    size_t index;
    json_t *type;

    json_array_foreach (types, index, type) {
        g_autofree char *clean = text_clean(json_is_string(type) ? json_string_value(type) : "-");
        g_string_append_printf(text, "%s%s", index > 0 ? " " : ", types ", clean);
    }
    return g_string_free(text, FALSE);
}

static void print_streams(FILE *out, const json_t *streams)
{
    static const char *const header[] = {"  STREAM",    ">BYTES TOTAL", ">BYTES LEFT",
                                         ">BYTES DONE", ">ENCODED",     ">NOT ACKNOWLEDGED",
                                         NULL};
    static const char *const members[] = {"bytes_total",   "bytes_left",     "bytes_done",
                                          "encoded_bytes", "unacknowledged", NULL};
    g_autoptr(CliTable) table = cli_table_new(header);
    size_t index;
    json_t *stream;

    json_array_foreach (streams, index, stream) {
        g_autofree char *channel = field_text(stream, "channel");
        cli_table_add(table, g_strdup_printf("  %s", channel));
        for (const char *const *member = members; *member; member++) {
            gint64 value = field_int(stream, *member);
            cli_table_add(table, value < 0 ? NULL : g_strdup_printf("%" G_GINT64_FORMAT, value));
        }
    }
    if (json_array_size(streams) > 0)
        cli_table_print(table, out);
}

static char *links(const json_t *mover)
{
    GString *text = g_string_new(NULL);
    size_t index;
    json_t *link;

    json_array_foreach (json_object_get(mover, "links"), index, link) {
        g_autofree char *state = field_text(link, "state");
        g_string_append_printf(text, "%s%s, %" G_GINT64_FORMAT " reconnects", index > 0 ? "; " : "",
                               state, MAX(field_int(link, "reconnects"), 0));
        if (field_int(link, "round_trip_us") > 0)
            g_string_append_printf(text, ", round trip %" G_GINT64_FORMAT " us",
                                   field_int(link, "round_trip_us"));
    }
    return g_string_free(text, FALSE);
}

/* Of post-copy; NULL before anything was demanded. */
static char *demand(const json_t *mover)
{
    static const char *const members[] = {"requests", "served",        "mean_us",
                                          "p99_us",   "max_us",        "too_late",
                                          "overtook", "waiting_bytes", NULL};
    const json_t *demand = json_object_get(mover, "demand");

    return field_int(demand, "requests") > 0 ? counters(demand, members) : NULL;
}

/* Everything that the mover tells of its choices, in its order. */
static char *pipeline(const json_t *mover)
{
    GString *text = g_string_new(NULL);
    const char *name;
    json_t *value;

    json_object_foreach (json_object_get(mover, "pipeline"), name, value) {
        g_autofree char *label = text_clean(name);
        const char *separator = text->len > 0 ? ", " : "";
        if (json_is_integer(value)) {
            g_string_append_printf(text, "%s%s %" JSON_INTEGER_FORMAT, separator,
                                   g_strdelimit(label, "_", ' '), json_integer_value(value));
        } else if (json_is_string(value)) {
            g_autofree char *clean = text_clean(json_string_value(value));
            g_string_append_printf(text, "%s%s %s", separator, g_strdelimit(label, "_", ' '),
                                   clean);
        }
    }
    return g_string_free(text, FALSE);
}

/* "post-copy" and so on, and why the stream is carried as it is if it is not understood. */
static char *stream(const json_t *mover)
{
    g_autofree char *phase = field_text(mover, "stream.phase");
    g_autofree char *reason = field_text(mover, "stream.degraded_reason");
    g_autofree char *memory = text_bytes(field_int(mover, "stream.ram_bytes"));

    if (!*phase)
        return NULL;
    return g_strdup_printf("%s, of %s%s%s", phase, memory, *reason ? ", as it is: " : "", reason);
}

static void print_mover(FILE *out, const json_t *mover)
{
    static const char *const transmit[] = {"packets", "bytes", "errors", NULL};
    static const char *const receive[] = {"packets",     "bytes",      "errors",
                                          "bad_packets", "no_buffers", NULL};
    static const char *const pages[] = {"sent", "zero", "resent", "unchanged", NULL};
    g_autofree char *id = field_text(mover, "migration");
    g_autofree char *partition = field_text(mover, "partition");
    g_autofree char *side = field_text(mover, "side");
    gint64 elapsed = field_int(mover, "elapsed_ms"), round = field_int(mover, "iteration");
    gint64 pid = field_int(mover, "pid");

    fprintf(out, "Mover of %s, %s, migration %s\n", partition, side, id);
    if (pid >= 0)
        report_line(out, "process", g_strdup_printf("%" G_GINT64_FORMAT, pid));
    report_line(out, "elapsed", text_duration_us(elapsed < 0 ? -1 : elapsed * 1000));
    report_line(out, "processor", text_duration_us(field_int(mover, "cpu_us")));
    report_line(out, "links", links(mover));
    report_line(out, "transmit", counters(json_object_get(mover, "transmit"), transmit));
    report_line(out, "receive", counters(json_object_get(mover, "receive"), receive));
    report_line(out, "operations", operations(mover));
    report_line(out, "pages", counters(json_object_get(mover, "pages"), pages));
    report_line(out, "placement", report_placement(json_object_get(mover, "placement")));
    report_line(out, "demand", demand(mover));
    report_line(out, "pipeline", pipeline(mover));
    report_line(out, "qemu", stream(mover));
    if (round >= 0)
        report_line(out, "round", g_strdup_printf("%" G_GINT64_FORMAT, round));
    report_line(out, "stream hash", field_text(mover, "stream_hash"));
    print_streams(out, json_object_get(mover, "streams"));
}

/* {"movers": [...]} of the migration or partition asked for. */
static json_t *select_from(const json_t *answer, const char *what)
{
    json_t *chosen = json_array(), *mover;
    size_t index;

    json_array_foreach (json_object_get(answer, "movers"), index, mover) {
        if (!what || strcmp(field_raw(mover, "migration"), what) == 0 ||
            strcmp(field_raw(mover, "partition"), what) == 0)
            json_array_append(chosen, mover);
    }
    return json_pack("{s:o}", "movers", chosen);
}

static void print_movers(FILE *out, const json_t *movers)
{
    size_t index;
    json_t *mover;

    json_array_foreach (movers, index, mover) {
        if (index > 0)
            fputc('\n', out);
        print_mover(out, mover);
    }
}

static void show(struct cli *cli, const json_t *document)
{
    const json_t *movers = json_object_get(document, "movers");
    gboolean watch = cli_flag(cli, "watch");

    if (cli->json) {
        cli_json(cli, document, watch);
    } else if (watch && terminal_is(cli->out)) {
        char *text = NULL;
        size_t length = 0;
        FILE *memory = open_memstream(&text, &length);
        g_assert(memory); /* fails for want of memory only */
        print_movers(memory, movers);
        fclose(memory);
        watch_redraw(cli->out, text);
        free(text);
    } else {
        print_movers(cli->out, movers);
        if (watch)
            fputc('\n', cli->out);
        fflush(cli->out);
    }
}

static enum cli_exit fail_without_mover(const char *what, GError **error)
{
    g_autofree char *clean = text_clean(what);

    lpm_fail(error, LPM_E_SESSION_UNKNOWN, "no mover works for '%s' now", clean);
    return CLI_NOT_FOUND;
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    const char *what = cli_argument(cli, 0);
    gboolean watch = cli_flag(cli, "watch"), first = TRUE, any = TRUE;

    if (!cli_client(cli, error))
        return CLI_USAGE;
    if (watch)
        watch_catch_interrupt(cli);
    for (; any && (first || watch); first = FALSE) {
        json_t *answer = watch && !first ? watch_get(cli, "/v1/movers", error)
                                         : cli_call(cli, "GET", "/v1/movers", NULL, error);
        if (!answer)
            return watch_interrupted() ? CLI_DETACHED : CLI_INTERNAL;
        json_t *document = select_from(answer, what);
        json_decref(answer);
        any = json_array_size(json_object_get(document, "movers")) > 0;
        if (any || (cli->json && !(first && what)))
            show(cli, document);
        json_decref(document);
        if (any && watch)
            watch_sleep_ms(REFRESH_MS);
        if (watch_interrupted())
            return CLI_DETACHED;
        if (!any && first && what)
            return fail_without_mover(what, error);
    }
    if (!any)
        cli_say(cli, "No mover works now.\n");
    return CLI_OK;
}

const struct cli_command cmd_mover_stats = {
    .name = "mover stats",
    .summary = "Show the counters of the movers at work",
    .description = "Shows, for each mover that works on this host, what it carried: packets, bytes "
                   "and errors in "
                   "each direction, operations, and for each stream the bytes in total and left, "
                   "live. A mover "
                   "lives as long as its migration. With --watch it is refreshed each second until "
                   "no mover is "
                   "left.",
    .arguments =
        (const struct cli_argument[]){
            {"ID", "only the movers of this migration (or of this partition)", TRUE,
             CLI_WORDS_MOVERS},
            {.name = NULL},
        },
    .options =
        (const struct cli_option[]){
            {.name = "watch", .letter = 'w', .help = "refresh until the movers have ended"},
            {.name = NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"all movers here", "lpm mover stats"},
            {"one migration, live", "lpm mover stats web --watch"},
            {"bytes left", "lpm mover stats --json | jq '.movers[].streams[].bytes_left'"},
            {.line = NULL},
        },
    .run = run,
};
