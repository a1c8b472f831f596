/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/text.h"

static enum cli_exit run(struct cli *cli, GError **error)
{
    g_autofree char *path = cli_path("/v1/host/peers/", cli_argument(cli, 0), NULL);
    json_t *answer = cli_call(cli, "DELETE", path, NULL, error);

    if (!answer)
        return CLI_INTERNAL;
    if (cli->json) {
        cli_json(cli, answer, FALSE);
    } else {
        g_autofree char *name = field_text(answer, "removed");
        cli_say(cli, "Removed %s. It can no longer reach this host's manager.\n", name);
    }
    json_decref(answer);
    return CLI_OK;
}

const struct cli_command cmd_host_unpair = {
    .name = "host unpair",
    .summary = "End the trust in another host",
    .description =
        "Removes the other host's key from this host, which from then on refuses it in the TLS "
        "handshake. Refused while a migration with that host has not ended. If the other host "
        "cannot be "
        "reached now, unpair there as well.",
    .arguments =
        (const struct cli_argument[]){
            {"NAME", "the other host, as 'lpm host list' shows it", FALSE, CLI_WORDS_HOSTS},
            {.name = NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"trust b no longer", "lpm host unpair b"},
            {.line = NULL},
        },
    .run = run,
};
