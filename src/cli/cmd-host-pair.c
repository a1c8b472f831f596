/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/terminal.h"
#include "cli/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The owner alone may read the file: what others can read is no secret. */
static char *code_from_file(struct cli *cli, const char *path, GError **error)
{
    char text[4096];
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &info) < 0) {
        cli_usage(cli, error, "the file '%s' cannot be read: %s", path, g_strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    ssize_t length = S_ISREG(info.st_mode) ? read(fd, text, sizeof(text) - 1) : -1;
    close(fd);
    if (info.st_mode & 077) {
        cli->remedy = g_strdup_printf("chmod 600 '%s'", path);
        cli_usage(cli, error, "others than its owner can read the file '%s' (mode %03o)", path,
                  info.st_mode & 0777);
        return NULL;
    }
    if (length < 0) {
        cli_usage(cli, error, "'%s' is no file that can be read", path);
        return NULL;
    }
    text[length] = 0;
    text[strcspn(text, "\r\n")] = 0;
    return g_strdup(text);
}

static char *get_code(struct cli *cli, GError **error)
{
    const char *given = cli_option(cli, "code"), *file = cli_option(cli, "code-file");

    if (given && file) {
        cli_usage(cli, error, "--code and --code-file exclude each other");
        return NULL;
    }
    if (file)
        return code_from_file(cli, file, error);
    if (given && strcmp(given, "-") != 0) {
        char *code = g_strdup(given);
        /* Other users see the words of a command; this shortens the time. The words of main()'s
         * argv are writable by the standard. */
        memset((char *)given, 'x', strlen(given));
        return code;
    }
    if (!given && !isatty(STDIN_FILENO)) {
        cli_usage(cli, error, "a code is missing, and there is no terminal to ask for it");
        return NULL;
    }
    return terminal_secret(cli->err, "Code of 'lpm host invite' on the other host", error);
}

/* HOST, HOST:PORT, [IPV6] or [IPV6]:PORT; a bare IPv6 address has more than one colon. */
static gboolean split_address(struct cli *cli, const char *text, char **address, gint64 *port,
                              GError **error)
{
    const char *colon = strrchr(text, ':');
    const char *end = text + strlen(text);

    *port = 0;
    if (*text == '[') {
        const char *close = strchr(text, ']');
        if (!close || (close[1] && close[1] != ':'))
            return cli_usage(cli, error, "'%s' is no [ADDRESS]:PORT", text);
        colon = close[1] ? close + 1 : NULL;
        text++;
        end = close;
    } else if (colon && strchr(text, ':') != colon) {
        colon = NULL;
    } else if (colon) {
        end = colon;
    }
    if (colon && (!g_ascii_string_to_unsigned(colon + 1, 10, 1, 65535, (guint64 *)port, NULL)))
        return cli_usage(cli, error, "'%s' is no port from 1 to 65535", colon + 1);
    if (end == text)
        return cli_usage(cli, error, "the address is empty");
    *address = g_strndup(text, (gsize)(end - text));
    return TRUE;
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    g_autofree char *address = NULL;
    gint64 port;

    if (!split_address(cli, cli_argument(cli, 1), &address, &port, error))
        return CLI_USAGE;
    g_autofree char *code = get_code(cli, error);
    if (!code)
        return CLI_USAGE;
    g_strstrip(code);
    if (!*code) {
        cli_usage(cli, error, "the code is empty");
        return CLI_USAGE;
    }
    json_t *body = json_pack("{s:s, s:s, s:s}", "name", cli_argument(cli, 0), "address", address,
                             "code", code);
    explicit_bzero(code, strlen(code));
    if (!body) {
        cli_usage(cli, error, "the name, the address or the code is not UTF-8");
        return CLI_USAGE;
    }
    if (port > 0)
        json_object_set_new(body, "data_port", json_integer(port));
    json_t *peer = cli_call(cli, "POST", "/v1/host/peers", body, error);
    if (!peer)
        return CLI_INTERNAL;
    if (cli->json) {
        cli_json(cli, peer, FALSE);
    } else {
        g_autofree char *name = field_text(peer, "name");
        g_autofree char *fingerprint = field_text(peer, "fingerprint");
        cli_say(cli, "Paired with %s at %s.\nIts fingerprint: %s\n", name, address, fingerprint);
    }
    json_decref(peer);
    return CLI_OK;
}

const struct cli_command cmd_host_pair = {
    .name = "host pair",
    .summary = "Pair this host with another one by its one-time code",
    .description =
        "Makes this host and the one at ADDRESS trust each other's key, which both directions of "
        "migration need, and calls it NAME here. The code comes from 'lpm host invite' there.\n\n"
        "Without --code or --code-file the code is asked for on the terminal and not shown. A code "
        "on "
        "the command line is seen by other users of this host for a moment and stays in the "
        "shell's "
        "history; it is good for one pairing only, which limits the harm.",
    .arguments =
        (const struct cli_argument[]){
            {"NAME", "what to call the other host here", FALSE, CLI_WORDS_NONE},
            {"ADDRESS",
             "a host name or address, with :PORT if the data port there is not 16521; an IPv6 "
             "address "
             "with a port in brackets",
             FALSE, CLI_WORDS_NONE},
            {.name = NULL},
        },
    .options =
        (const struct cli_option[]){
            {.name = "code", .argument = "CODE", .help = "the code; - reads it from stdin"},
            {.name = "code-file",
             .argument = "FILE",
             .help = "read the code from the first line of FILE, which its owner alone may read",
             .words = CLI_WORDS_FILES},
            {.name = NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"ask for the code", "lpm host pair b 192.0.2.12"},
            {"another data port", "lpm host pair b [2001:db8::12]:17521"},
            {"the code from a pipe", "ssh b lpm host invite --quiet | lpm host pair b b --code -"},
            {.line = NULL},
        },
    .run = run,
};
