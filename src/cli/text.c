/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/text.h"

#include <math.h>
#include <string.h>

static gboolean is_dangerous(gunichar c)
{
    if (c < 0x20 || (c >= 0x7f && c < 0xa0))
        return TRUE; /* escape sequences begin with these */
    if (c == 0x061c || (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
        (c >= 0x2066 && c <= 0x2069))
        return TRUE; /* new lines, and marks that reorder what is read */
    return g_unichar_type(c) == G_UNICODE_UNASSIGNED || g_unichar_type(c) == G_UNICODE_SURROGATE;
}

char *text_clean(const char *text)
{
    GString *clean = g_string_new(NULL);

    while (*text) {
        gunichar c = g_utf8_get_char_validated(text, -1);
        if (c == (gunichar)-1 || c == (gunichar)-2) {
            g_string_append_printf(clean, "\\x%02x", (unsigned char)*text);
            text++;
            continue;
        }
        if (!is_dangerous(c))
            g_string_append_unichar(clean, c);
        else
            g_string_append_printf(clean, c < 0x80 ? "\\x%02x" : "\\u%04x", c);
        text = g_utf8_next_char(text);
    }
    return g_string_free(clean, FALSE);
}

static gsize columns_of(gunichar c)
{
    if (g_unichar_iszerowidth(c))
        return 0;
    return g_unichar_iswide(c) ? 2 : 1;
}

gsize text_columns(const char *text)
{
    gsize columns = 0;

    for (; *text; text = g_utf8_next_char(text))
        columns += columns_of(g_utf8_get_char(text));
    return columns;
}

char *text_truncate(const char *text, gsize columns)
{
    const char *end = text;

    while (*end) {
        gsize width = columns_of(g_utf8_get_char(end));
        if (width > columns)
            break;
        columns -= width;
        end = g_utf8_next_char(end);
    }
    return g_strndup(text, (gsize)(end - text));
}

static void wrap_line(GString *out, const char *line, gsize columns, gsize indent)
{
    g_auto(GStrv) words = g_strsplit(line, " ", -1);
    gsize used = 0;

    for (char **word = words; *word; word++) {
        gsize width = text_columns(*word);
        if (used > 0 && used + 1 + width > columns) {
            g_string_append_printf(out, "\n%*s", (int)indent, "");
            used = indent;
        } else if (word != words) {
            g_string_append_c(out, ' ');
            used++;
        }
        g_string_append(out, *word);
        used += width;
    }
}

char *text_wrap(const char *text, gsize columns, gsize indent)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    GString *out = g_string_new(NULL);

    for (char **line = lines; *line; line++) {
        if (line != lines)
            g_string_append_printf(out, "\n%*s", **line ? (int)indent : 0, "");
        wrap_line(out, *line, columns, indent);
    }
    return g_string_free(out, FALSE);
}

char *text_bytes(gint64 bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    gsize unit = 0;

    if (bytes < 0)
        return g_strdup("-");
    if (bytes < 1024)
        return g_strdup_printf("%" G_GINT64_FORMAT " B", bytes);
    /* 1023.5 would print as 1024. */
    while (value >= 1023.5 && unit + 1 < G_N_ELEMENTS(units)) {
        value /= 1024;
        unit++;
    }
    int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    return g_strdup_printf("%.*f %s", digits, value, units[unit]);
}

char *text_rate(gint64 bytes_per_second)
{
    if (bytes_per_second < 0)
        return g_strdup("-");
    g_autofree char *bytes = text_bytes(bytes_per_second);
    return g_strdup_printf("%s/s", bytes);
}

char *text_duration_us(gint64 us)
{
    gint64 s = us / G_USEC_PER_SEC;

    if (us < 0)
        return g_strdup("-");
    if (us < 1000)
        return g_strdup_printf("%" G_GINT64_FORMAT " us", us);
    if (s < 1)
        return g_strdup_printf("%.*f ms", us < 100000 ? 1 : 0, (double)us / 1000);
    if (s < 60)
        return g_strdup_printf("%.*f s", s < 10 ? 2 : 1, (double)us / G_USEC_PER_SEC);
    if (s < 3600)
        return g_strdup_printf("%d min %d s", (int)(s / 60), (int)(s % 60));
    return g_strdup_printf("%" G_GINT64_FORMAT " h %d min", s / 3600, (int)(s / 60 % 60));
}

char *text_clock(gint64 ms)
{
    gint64 s = (ms + 999) / 1000;

    if (ms < 0)
        return g_strdup("-");
    if (s < 3600)
        return g_strdup_printf("%d:%02d", (int)(s / 60), (int)(s % 60));
    return g_strdup_printf("%" G_GINT64_FORMAT ":%02d:%02d", s / 3600, (int)(s / 60 % 60),
                           (int)(s % 60));
}

char *text_instant_us(gint64 us, gboolean fraction)
{
    if (us < 0)
        return g_strdup("-");
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(us / G_USEC_PER_SEC);
    if (!time)
        return g_strdup("-");
    g_autofree char *text = g_date_time_format(time, "%Y-%m-%d %H:%M:%S");
    if (!fraction)
        return g_steal_pointer(&text);
    return g_strdup_printf("%s.%06d", text, (int)(us % G_USEC_PER_SEC));
}

gboolean text_parse_bytes(const char *text, gint64 *bytes)
{
    static const char letters[] = "KMGT";
    char *end = NULL;
    gint64 factor = 1;

    if (!g_ascii_isdigit(*text))
        return FALSE;
    guint64 number = g_ascii_strtoull(text, &end, 10);
    if (*end) {
        const char *letter = strchr(letters, g_ascii_toupper(*end));
        if (!letter)
            return FALSE;
        factor = (gint64)1 << (10 * (letter - letters + 1));
        end++;
        if (*end && g_ascii_strcasecmp(end, "iB") != 0 && g_ascii_strcasecmp(end, "B") != 0)
            return FALSE;
    }
    if (number > (guint64)(G_MAXINT64 / factor))
        return FALSE; /* an overflow in strtoull reads as its maximum and lands here too */
    *bytes = (gint64)number * factor;
    return TRUE;
}

const json_t *field(const json_t *object, const char *path)
{
    g_auto(GStrv) names = g_strsplit(path, ".", -1);

    for (char **name = names; *name; name++)
        object = json_object_get(object, *name);
    return object;
}

const char *field_raw(const json_t *object, const char *path)
{
    const char *text = json_string_value(field(object, path));

    return text ? text : "";
}

char *field_text(const json_t *object, const char *path)
{
    return text_clean(field_raw(object, path));
}

gint64 field_int(const json_t *object, const char *path)
{
    const json_t *value = field(object, path);

    if (json_is_integer(value))
        return json_integer_value(value);
    if (json_is_real(value) && fabs(json_real_value(value)) < 9e18)
        return llround(json_real_value(value));
    return -1;
}

double field_real(const json_t *object, const char *path)
{
    const json_t *value = field(object, path);

    return json_is_number(value) ? json_number_value(value) : -1;
}

gboolean field_true(const json_t *object, const char *path)
{
    return json_is_true(field(object, path));
}
