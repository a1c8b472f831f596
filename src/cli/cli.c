/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/cli.h"

#include "base/error.h"
#include "cli/terminal.h"

#include <string.h>
#include <unistd.h>

const char *cli_argument(const struct cli *cli, guint n)
{
    return n < cli->arguments->len ? g_ptr_array_index(cli->arguments, n) : NULL;
}

const char *cli_option(const struct cli *cli, const char *name)
{
    return g_hash_table_lookup(cli->values, name);
}

const char *cli_option_nth(const struct cli *cli, const char *name, guint n)
{
    for (guint i = 0; i + 1 < cli->given->len; i += 2) {
        if (strcmp(cli->given->pdata[i], name) == 0 && n-- == 0)
            return cli->given->pdata[i + 1];
    }
    return NULL;
}

gboolean cli_flag(const struct cli *cli, const char *name)
{
    return g_hash_table_contains(cli->values, name);
}

CliClient *cli_client(struct cli *cli, GError **error)
{
    if (!cli->client)
        cli->client = client_new(cli->socket, error);
    return cli->client;
}

json_t *cli_call(struct cli *cli, const char *method, const char *path, json_t *body,
                 GError **error)
{
    CliClient *client = cli_client(cli, error);

    if (client)
        return client_call(client, method, path, body, error);
    json_decref(body);
    return NULL;
}

gboolean cli_usage(struct cli *cli, GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *cause = g_strdup_vprintf(format, args);
    va_end(args);
    if (!cli->remedy)
        cli->remedy = cli->command ? g_strdup_printf("See 'lpm help %s'", cli->command->name)
                                   : g_strdup("See 'lpm help'");
    return lpm_fail(error, LPM_E_USAGE, "%s", cause);
}

char *cli_path(const char *prefix, const char *name, const char *rest)
{
    g_autofree char *escaped = g_uri_escape_string(name, NULL, FALSE);

    return g_strconcat(prefix, escaped, rest, NULL);
}

/* On a terminal everything beyond ASCII is escaped, since a name may hold what it would obey. */
void cli_json(const struct cli *cli, const json_t *document, gboolean compact)
{
    size_t flags = compact ? JSON_COMPACT : JSON_INDENT(2);

    if (isatty(fileno(cli->out)))
        flags |= JSON_ENSURE_ASCII;
    json_dumpf(document, cli->out, flags);
    fputc('\n', cli->out);
    fflush(cli->out);
}

void cli_say(const struct cli *cli, const char *format, ...)
{
    va_list args;

    if (cli->json || cli->quiet)
        return;
    va_start(args, format);
    vfprintf(cli->out, format, args);
    va_end(args);
}
