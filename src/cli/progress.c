/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/progress.h"

#include "cli/text.h"

#define BAR_MIN 5
#define BAR_MAX 30

static int percent_of(const json_t *migration)
{
    return (int)CLAMP(field_real(migration, "progress.percent"), 0, 100);
}

static void append(GString *line, const char *before, char *text, const char *after)
{
    g_string_append_printf(line, "  %s%s%s", before, text, after);
    g_free(text);
}

/* There are none before the copy begins, and after the end no rate and nothing left. */
static gboolean has_figures(const json_t *migration)
{
    return field_int(migration, "ended_ms") < 0 &&
           field_int(migration, "progress.bytes_total") != 0;
}

/* What comes after the bar. */
static char *figures(const json_t *migration)
{
    const json_t *progress = has_figures(migration) ? json_object_get(migration, "progress") : NULL;
    GString *line = g_string_new(NULL);
    gint64 rate = field_int(progress, "rate"), dirty = field_int(progress, "dirty_rate");
    gint64 left = field_int(progress, "bytes_left"), eta = field_int(progress, "eta_ms");
    gint64 suspend = field_int(progress, "suspend_estimate_ms");

    if (rate >= 0)
        append(line, "", text_rate(rate), "");
    if (dirty >= 0)
        append(line, "dirty ", text_rate(dirty), "");
    if (left >= 0)
        append(line, "left ", text_bytes(left), "");
    if (eta >= 0)
        append(line, "ETA ", text_clock(eta), "");
    if (suspend >= 0)
        append(line, "suspend ~", g_strdup_printf("%" G_GINT64_FORMAT, suspend), " ms");
    return g_string_free(line, FALSE);
}

static char *head(const json_t *migration)
{
    g_autofree char *partition = field_text(migration, "partition");
    g_autofree char *state = field_text(migration, "state");

    return g_strdup_printf("%s: %s  %d%%", partition, state, percent_of(migration));
}

char *progress_text(const json_t *migration)
{
    g_autofree char *before = head(migration);
    g_autofree char *after = figures(migration);

    return g_strconcat(before, after, NULL);
}

char *progress_line(const json_t *migration, gsize columns)
{
    g_autofree char *before = head(migration);
    g_autofree char *after = figures(migration);
    gsize used = text_columns(before) + text_columns(after) + 3; /* a space, two brackets */
    gsize width = columns > used ? CLAMP(columns - used, BAR_MIN, BAR_MAX) : BAR_MIN;
    gsize full = width * (gsize)percent_of(migration) / 100;
    g_autofree char *done = g_strnfill(full, '#');
    g_autofree char *open = g_strnfill(width - full, '.');
    g_autofree char *line = g_strdup_printf("%s [%s%s]%s", before, done, open, after);

    return text_truncate(line, columns);
}
