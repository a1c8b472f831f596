/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "base/error.h"
#include "cli/cli.h"
#include "cli/failure.h"
#include "cli/help.h"
#include "cli/parse.h"
#include "lpm-version.h"

#include <curl/curl.h>
#include <errno.h>
#include <locale.h>
#include <string.h>

/* A mistake in the words before --json is to be reported in JSON as well. */
static gboolean asks_for_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0)
            return TRUE;
    }
    return FALSE;
}

static enum cli_exit run(struct cli *cli, int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    const char *group = NULL;
    enum cli_exit code = CLI_OK;

    switch (parse_words(cli, argc, argv, &group, &error)) {
    case PARSE_RUN:
        code = cli->command->run(cli, &error);
        break;
    case PARSE_HELP:
        help_print(cli->out, cli->command, group);
        break;
    case PARSE_VERSION:
        fprintf(cli->out, "lpm %s\n", LPM_VERSION);
        break;
    case PARSE_ERROR:
        cli->json = asks_for_json(argc, argv);
        if (!cli->json && argc == 1)
            help_print(cli->err, NULL, NULL);
        break;
    }
    return error ? failure_report(cli, error) : code;
}

/* A result that could not be written (disk full, closed pipe) is no success. */
static enum cli_exit flush(struct cli *cli, enum cli_exit code)
{
    if (fflush(cli->out) == 0 && !ferror(cli->out))
        return code;
    fprintf(cli->err, "lpm: the result cannot be written: %s\n", g_strerror(errno));
    return code == CLI_OK ? CLI_INTERNAL : code;
}

int main(int argc, char **argv)
{
    const char *socket = g_getenv("LPM_SOCKET");
    struct cli cli = {
        .values = g_hash_table_new(g_str_hash, g_str_equal),
        .given = g_ptr_array_new(),
        .arguments = g_ptr_array_new(),
        .socket = socket && *socket ? socket : CLIENT_DEFAULT_SOCKET,
        .out = stdout,
        .err = stderr,
    };

    setlocale(LC_ALL, "");
    setlocale(LC_NUMERIC, "C"); /* figures look the same everywhere */
    curl_global_init(CURL_GLOBAL_DEFAULT);
    enum cli_exit code = flush(&cli, run(&cli, argc, argv));
    if (cli.client)
        client_free(cli.client);
    g_hash_table_unref(cli.values);
    g_ptr_array_unref(cli.given);
    g_ptr_array_unref(cli.arguments);
    g_free(cli.remedy);
    curl_global_cleanup();
    return (int)code;
}
