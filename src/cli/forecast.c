/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/forecast.h"

#include "cli/report.h"
#include "cli/table.h"
#include "cli/text.h"

#include <string.h>

/* "3.1 s (2.0 s to 5.2 s)"; a bound that there is not is shown as such. */
static char *range(const json_t *forecast, const char *name, char *(*text)(gint64), gint64 unit)
{
    const json_t *figures = json_object_get(forecast, name);
    gint64 low = field_int(figures, "low"), expected = field_int(figures, "expected");
    gint64 high = field_int(figures, "high");
    g_autofree char *from = text(low < 0 ? -1 : low * unit);
    g_autofree char *middle = text(expected < 0 ? -1 : expected * unit);
    g_autofree char *to = text(high < 0 ? -1 : high * unit);

    if (low < 0)
        return g_strdup("no end");
    return g_strdup_printf("%s (%s to %s)", expected < 0 ? "no end" : middle, from,
                           high < 0 ? "no end" : to);
}

static char *plain(gint64 value)
{
    return g_strdup_printf("%" G_GINT64_FORMAT, value);
}

static const char *ends(const json_t *forecast)
{
    const char *word = field_raw(forecast, "converges");

    return strcmp(word, "yes") == 0      ? "comes to an end by itself"
           : strcmp(word, "unsure") == 0 ? "may not come to an end by itself"
                                         : "does not come to an end: it writes faster than the "
                                           "stream carries; see --post-copy";
}

static char *known(const json_t *inputs)
{
    g_autofree char *memory = text_bytes(field_int(inputs, "memory_bytes"));
    g_autofree char *resident = text_bytes(field_int(inputs, "resident_bytes"));
    g_autofree char *dirty = text_rate(field_int(inputs, "dirty_rate"));
    g_autofree char *link = text_rate(field_int(inputs, "link_rate"));

    return g_strdup_printf(
        "%s of %s in use, %s written, link %s; learnt from %" G_GINT64_FORMAT
        " migrations of it there, %" G_GINT64_FORMAT " to that host, %" G_GINT64_FORMAT " in all",
        resident, memory, dirty, link, field_int(inputs, "learnt_from.partition"),
        field_int(inputs, "learnt_from.pair"), field_int(inputs, "learnt_from.all"));
}

void forecast_print(FILE *out, const json_t *forecast)
{
    if (!json_is_object(forecast))
        return;
    fputs("\nForecast\n", out);
    report_line(out, "total", range(forecast, "total_ms", text_duration_us, 1000));
    report_line(out, "suspended", range(forecast, "suspended_us", text_duration_us, 1));
    report_line(out, "on the link", range(forecast, "link_bytes", text_bytes, 1));
    report_line(out, "rounds", range(forecast, "rounds", plain, 1));
    report_line(out, "pre-copy", g_strdup(ends(forecast)));
    report_line(out, "from", known(json_object_get(forecast, "inputs")));
}

char *forecast_line(const json_t *forecast)
{
    if (!json_is_object(forecast))
        return NULL;
    g_autofree char *total = range(forecast, "total_ms", text_duration_us, 1000);
    g_autofree char *suspended = range(forecast, "suspended_us", text_duration_us, 1);

    return g_strdup_printf("%s in all, %s suspended", total, suspended);
}

/* ---- history ---- */

static char *both(const json_t *entry, const char *name, gint64 unit)
{
    g_autofree char *path = g_strdup_printf("forecast.%s.expected", name);
    g_autofree char *outcome = g_strdup_printf("outcome.%s", name);
    gint64 said = field_int(entry, path), came = field_int(entry, outcome);
    g_autofree char *expected = text_duration_us(said < 0 ? -1 : said * unit);
    g_autofree char *was = text_duration_us(came < 0 ? -1 : came * unit);

    return g_strdup_printf("%s / %s", expected, was);
}

static void add_row(CliTable *table, const json_t *entry)
{
    double error = field_real(entry, "errors.total");
    double factor = field_real(entry, "errors.suspended_factor");

    cli_table_add(table, text_instant_us(field_int(entry, "started_ms") * 1000, FALSE));
    cli_table_add(table, field_text(entry, "partition"));
    cli_table_add(table, field_text(entry, "peer"));
    cli_table_add(table, field_text(entry, "state"));
    cli_table_add(table, both(entry, "total_ms", 1000));
    cli_table_add(table, error < 0 ? NULL : g_strdup_printf("%.0f %%", error * 100));
    cli_table_add(table, both(entry, "suspended_us", 1));
    cli_table_add(table, factor < 0 ? NULL : g_strdup_printf("%.2f", factor));
}

static void print_score(FILE *out, const json_t *score)
{
    gint64 scored = field_int(score, "scored");

    if (scored <= 0) {
        fputs("No forecast has an outcome to be held against yet.\n", out);
        return;
    }
    fprintf(out,
            "\n%" G_GINT64_FORMAT " forecasts; medians: total wrong by %.0f %%, suspension by a "
            "factor of %.2f. Within their ranges: %" G_GINT64_FORMAT " totals, %" G_GINT64_FORMAT
            " suspensions.\n",
            scored, field_real(score, "total_error") * 100, field_real(score, "suspended_factor"),
            field_int(score, "total_in_range"), field_int(score, "suspended_in_range"));
}

void forecast_print_history(FILE *out, const json_t *answer)
{
    static const char *const header[] = {"STARTED",
                                         "PARTITION",
                                         "TO",
                                         "STATE",
                                         ">TOTAL: EXPECTED / WAS",
                                         ">WRONG BY",
                                         ">SUSPENDED: EXPECTED / WAS",
                                         ">FACTOR",
                                         NULL};
    g_autoptr(CliTable) table = cli_table_new(header);
    const json_t *list = json_object_get(answer, "forecasts");

    for (size_t i = json_array_size(list); i > 0; i--)
        add_row(table, json_array_get(list, i - 1));
    if (json_array_size(list) > 0)
        cli_table_print(table, out);
    print_score(out, json_object_get(answer, "score"));
}
