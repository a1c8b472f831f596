/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

G_DEFINE_QUARK(lpm - error - quark, lpm_error)

static const struct lpm_error_info catalogue[] = {
#define LPM_E(number, symbol, severity, http, title, remedy, aliases)                              \
    {number, #symbol, LPM_SEVERITY_##severity, http, title, remedy, aliases},
#include "base/error-table.h"
#undef LPM_E
};

const struct lpm_error_info *lpm_error_catalogue(gsize *count)
{
    *count = G_N_ELEMENTS(catalogue);
    return catalogue;
}

const struct lpm_error_info *lpm_error_info(int number)
{
    for (gsize i = 0; i < G_N_ELEMENTS(catalogue); i++) {
        if (catalogue[i].number == number)
            return &catalogue[i];
    }
    return lpm_error_info(LPM_E_INTERNAL);
}

int lpm_error_number(const GError *error)
{
    return error->domain == LPM_ERROR ? error->code : LPM_E_INTERNAL;
}

gboolean lpm_fail(GError **error, enum lpm_error_code code, const char *format, ...)
{
    if (error) {
        va_list args;

        va_start(args, format);
        g_autofree char *cause = g_strdup_vprintf(format, args);
        va_end(args);
        /* Causes quote what peers and guests sent; JSON and terminals want valid UTF-8. */
        g_autofree char *valid = g_utf8_make_valid(cause, -1);
        g_set_error_literal(error, LPM_ERROR, (int)code, valid);
    }
    return FALSE;
}

json_t *lpm_error_to_json(const GError *error, json_t *details)
{
    const struct lpm_error_info *info = lpm_error_info(lpm_error_number(error));
    g_autofree char *code = g_strdup_printf("LPM-%04d", info->number);
    g_autofree char *cause = g_utf8_make_valid(error->message, -1);
    g_auto(GStrv) aliases = g_strsplit(info->aliases, ",", -1);
    json_t *list = json_array();

    for (char **alias = aliases; *alias; alias++) {
        if (**alias)
            json_array_append_new(list, json_string(*alias));
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "code", code, "severity",
                     info->severity == LPM_SEVERITY_ERROR ? "error" : "warning", "cause", cause,
                     "remedy", info->remedy, "details", details ? details : json_object(),
                     "aliases", list);
}

GError *lpm_error_from_json(const json_t *object)
{
    const char *code = json_string_value(json_object_get(object, "code"));
    const char *cause = json_string_value(json_object_get(object, "cause"));
    int number = LPM_E_INTERNAL;

    if (code && g_str_has_prefix(code, "LPM-"))
        number = lpm_error_info((int)strtol(code + 4, NULL, 10))->number;
    return g_error_new_literal(LPM_ERROR, number, cause ? cause : "an error without a cause");
}
