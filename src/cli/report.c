/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/report.h"

#include "cli/forecast.h"
#include "cli/text.h"

#include <string.h>

void report_line(FILE *out, const char *label, char *value)
{
    if (value && *value)
        fprintf(out, "  %-13s %s\n", label, value);
    g_free(value);
}

char *report_phases(const json_t *phases)
{
    GString *text = g_string_new(NULL);
    size_t index;
    json_t *phase;

    json_array_foreach (phases, index, phase) {
        g_autofree char *name = field_text(phase, "name");
        gint64 begin = field_int(phase, "begin_us"), end = field_int(phase, "end_us");
        g_autofree char *time =
            end < 0 || begin < 0 ? g_strdup("under way") : text_duration_us(MAX(end - begin, 0));
        g_string_append_printf(text, "%s%s %s", index > 0 ? ", " : "", name, time);
    }
    return g_string_free(text, FALSE);
}

static char *count_and_bytes(gint64 bytes)
{
    g_autofree char *human = text_bytes(bytes);

    if (bytes < 0)
        return NULL;
    return bytes < 1024 ? g_steal_pointer(&human)
                        : g_strdup_printf("%s (%" G_GINT64_FORMAT " bytes)", human, bytes);
}

static char *total(const json_t *report)
{
    gint64 ms = field_int(report, "total_ms");

    return ms < 0 ? NULL : text_duration_us(ms * 1000);
}

static char *suspended(const json_t *report)
{
    gint64 us = field_int(report, "suspended_us"), offset = field_int(report, "clock_offset_us");
    gint64 error = field_int(report, "clock_error_us");
    /* The figure that migrations are compared by, so to the microsecond. */
    g_autofree char *time = g_strdup_printf("%.3f ms", (double)us / 1000);

    if (us < 0)
        return NULL;
    if (error < 0)
        return g_steal_pointer(&time);
    return g_strdup_printf("%s (clocks differ by %" G_GINT64_FORMAT
                           " us, known to +/- %" G_GINT64_FORMAT " us)",
                           time, offset, error);
}

static char *pages(const json_t *report)
{
    gint64 sent = field_int(report, "pages.sent");

    if (sent < 0)
        return NULL;
    return g_strdup_printf(
        "%" G_GINT64_FORMAT " sent, %" G_GINT64_FORMAT " zero, %" G_GINT64_FORMAT " resent", sent,
        MAX(field_int(report, "pages.zero"), 0), MAX(field_int(report, "pages.resent"), 0));
}

char *report_placement(const json_t *placement)
{
    gint64 pages = field_int(placement, "pages");
    g_autofree char *method = field_text(placement, "method");
    g_autofree char *reason = field_text(placement, "reason");

    if (!*method)
        return NULL;
    if (strcmp(method, "direct") == 0)
        return g_strdup_printf("direct, %" G_GINT64_FORMAT " pages past QEMU", pages);
    return g_strdup_printf("%s%s%s", method, *reason ? ": " : "", reason);
}

static char *rounds(const json_t *report)
{
    gint64 count = field_int(report, "rounds"), rate = field_int(report, "dirty_rate");
    g_autofree char *dirty = text_rate(rate);

    if (count < 0)
        return NULL;
    return g_strdup_printf("%" G_GINT64_FORMAT "%s%s%s", count, rate < 0 ? "" : " (dirtied at ",
                           rate < 0 ? "" : dirty, rate < 0 ? "" : ")");
}

static char *link_bytes(const json_t *report)
{
    gint64 sent = field_int(report, "link_bytes.sent");
    g_autofree char *out = text_bytes(sent);
    g_autofree char *in = text_bytes(field_int(report, "link_bytes.received"));

    return sent < 0 ? NULL : g_strdup_printf("%s sent, %s received", out, in);
}

static char *identical(const json_t *report)
{
    const json_t *verdict = field(report, "stream_hash.identical");
    g_autofree char *hash = field_text(report, "stream_hash.source");
    g_autofree char *other = field_text(report, "stream_hash.target");

    if (json_is_true(verdict))
        return g_strdup_printf("identical on both hosts (%s)", hash);
    if (json_is_false(verdict))
        return g_strdup_printf("DIFFERENT: %s left the source, %s reached the target", hash, other);
    return NULL;
}

static char *processor(const json_t *report)
{
    gint64 source = field_int(report, "cpu_ms.source_mover");
    gint64 target = field_int(report, "cpu_ms.target_mover");
    g_autofree char *here = text_duration_us(source < 0 ? -1 : source * 1000);
    g_autofree char *there = text_duration_us(target < 0 ? -1 : target * 1000);

    return source < 0 && target < 0
               ? NULL
               : g_strdup_printf("%s in the source's mover, %s in the target's", here, there);
}

void report_print(FILE *out, const json_t *report)
{
    g_autofree char *id = field_text(report, "id");
    g_autofree char *partition = field_text(report, "partition");
    g_autofree char *source = field_text(report, "source");
    g_autofree char *target = field_text(report, "target");
    g_autofree char *result = field_text(report, "result");
    double ratio = field_real(report, "compression_ratio");

    fprintf(out, "Migration of %s from %s to %s: %s\n", partition, source, target, result);
    report_line(out, "id", g_steal_pointer(&id));
    report_line(out, "total", total(report));
    report_line(out, "suspended", suspended(report));
    report_line(out, "forecast", forecast_line(json_object_get(report, "forecast")));
    report_line(out, "phases", report_phases(json_object_get(report, "phases")));
    report_line(out, "pages", pages(report));
    report_line(out, "placement", report_placement(json_object_get(report, "placement")));
    report_line(out, "rounds", rounds(report));
    report_line(out, "stream", count_and_bytes(field_int(report, "stream_bytes")));
    report_line(out, "encoded", count_and_bytes(field_int(report, "encoded_bytes")));
    report_line(out, "ratio", ratio < 0 ? NULL : g_strdup_printf("%.2f", ratio));
    report_line(out, "link", link_bytes(report));
    report_line(out, "wire", count_and_bytes(field_int(report, "wire_bytes")));
    report_line(out, "stream hash", identical(report));
    report_line(out, "processor", processor(report));
}
