/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/text.h"

#define DEFAULT_DATA_PORT 16521

/* What to type on the other host. This host's name is known, the address under which the other one
 * reaches it is not. */
static void print_invite(struct cli *cli, const json_t *invite)
{
    g_autofree char *code = field_text(invite, "code");
    g_autofree char *fingerprint = field_text(invite, "fingerprint");
    gint64 port = field_int(invite, "data_port"), expires = field_int(invite, "expires_ms");
    g_autofree char *until = text_instant_us(expires < 0 ? -1 : expires * 1000, FALSE);
    g_autofree char *colon = port >= 0 && port != DEFAULT_DATA_PORT
                                 ? g_strdup_printf(":%" G_GINT64_FORMAT, port)
                                 : g_strdup("");
    json_t *host = cli->quiet ? NULL : cli_call(cli, "GET", "/v1/host", NULL, NULL);
    g_autofree char *name = field_text(host, "name");

    fprintf(cli->out, "%s\n", code);
    cli_say(cli,
            "\nValid until %s, once. On the other host type\n\n"
            "    lpm host pair %s ADDRESS%s\n\n"
            "with an address of this host, and the code when asked for it.\n"
            "This host's fingerprint: %s\n",
            until, *name ? name : "NAME", colon, fingerprint);
    json_decref(host);
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    json_t *invite = cli_call(cli, "POST", "/v1/host/invites", json_object(), error);

    if (!invite)
        return CLI_INTERNAL;
    if (cli->json)
        cli_json(cli, invite, FALSE);
    else
        print_invite(cli, invite);
    json_decref(invite);
    return CLI_OK;
}

const struct cli_command cmd_host_invite = {
    .name = "host invite",
    .summary = "Print a one-time code with which another host can pair with this one",
    .description =
        "Prints a code of 128 random bits that is valid for ten minutes and for one pairing. "
        "Whoever "
        "has it within that time can pair a host with this one, so hand it over as you would a "
        "password. With --quiet the code alone is printed.",
    .examples =
        (const struct cli_example[]){
            {"a code, and what to type on the other host", "lpm host invite"},
            {"pair a with b from a, in one line",
             "ssh b lpm host invite --quiet | lpm host pair b b.example.net --code -"},
            {.line = NULL},
        },
    .run = run,
};
