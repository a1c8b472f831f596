/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/failure.h"

#include "base/error.h"
#include "cli/terminal.h"
#include "cli/text.h"

#include <string.h>

void failure_print(FILE *err, const json_t *object)
{
    g_autofree char *code = field_text(object, "code");
    g_autofree char *severity = field_text(object, "severity");
    g_autofree char *cause = field_text(object, "cause");
    g_autofree char *remedy = field_text(object, "remedy");
    const json_t *aliases = json_object_get(object, "aliases");
    gboolean warning = strcmp(severity, "warning") == 0;
    enum terminal_style colour = warning ? TERMINAL_YELLOW : TERMINAL_RED;

    fprintf(err, "lpm: %s%s%s %s: %s\n", terminal_style(err, colour), warning ? "warning" : "error",
            terminal_style(err, TERMINAL_PLAIN), *code ? code : "LPM-9001", cause);
    if (*remedy)
        fprintf(err, "  remedy: %s\n", remedy);
    for (size_t i = 0; i < json_array_size(aliases); i++) {
        const char *raw = json_string_value(json_array_get(aliases, i));
        g_autofree char *alias = text_clean(raw ? raw : "-");
        fprintf(err, "%s%s", i == 0 ? "  (aliases: " : ", ", alias);
    }
    if (json_array_size(aliases) > 0)
        fputs(")\n", err);
}

/* The object that lpmd sent, if this error is it: a context may have been prefixed since. */
static json_t *sent_by_lpmd(const struct cli *cli, const GError *error)
{
    const json_t *sent = cli->client ? client_last_error(cli->client) : NULL;

    if (!sent || !g_str_has_suffix(error->message, field_raw(sent, "cause")))
        return NULL;
    json_t *object = json_deep_copy(sent);
    json_object_set_new(object, "cause", json_string(error->message));
    return object;
}

enum cli_exit failure_report(struct cli *cli, const GError *error)
{
    enum cli_exit code;
    json_t *object = sent_by_lpmd(cli, error);

    if (!object)
        object = lpm_error_to_json(error, NULL);
    if (cli->remedy)
        json_object_set_new(object, "remedy", json_string(cli->remedy));
    if (cli->json) {
        json_t *document = json_pack("{s:O}", "error", object);
        cli_json(cli, document, FALSE);
        json_decref(document);
    } else {
        failure_print(cli->err, object);
    }
    json_decref(object);
    cli_exit_of_number(lpm_error_number(error), &code);
    return code;
}
