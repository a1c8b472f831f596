/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/text.h"

#include <string.h>

static char *clock_of(const json_t *peer)
{
    gint64 offset = field_int(peer, "clock_offset_us"), error = field_int(peer, "clock_error_us");

    if (error < 0)
        return NULL; /* an offset may be negative, its error never */
    return g_strdup_printf("%+" G_GINT64_FORMAT " us +/- %" G_GINT64_FORMAT, offset, error);
}

static void print_peers(FILE *out, const json_t *peers)
{
    static const char *const header[] = {"NAME",   "ADDRESS", "STATE",       ">ROUND TRIP",
                                         ">CLOCK", "PAIRED",  "FINGERPRINT", NULL};
    g_autoptr(CliTable) table = cli_table_new(header);
    size_t index;
    json_t *peer;

    json_array_foreach (peers, index, peer) {
        gint64 paired = field_int(peer, "paired_ms"), trip = field_int(peer, "round_trip_us");
        gboolean up = strcmp(field_raw(peer, "state"), "up") == 0;

        cli_table_add(table, field_text(peer, "name"));
        cli_table_add(table, field_text(peer, "address"));
        cli_table_add(table, field_text(peer, "state"));
        cli_table_add(table, up ? text_duration_us(trip) : NULL);
        cli_table_add(table, up ? clock_of(peer) : NULL);
        cli_table_add(table, text_instant_us(paired < 0 ? -1 : paired * 1000, FALSE));
        cli_table_add(table, field_text(peer, "fingerprint"));
    }
    cli_table_print(table, out);
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    json_t *answer = cli_call(cli, "GET", "/v1/host/peers", NULL, error);
    const json_t *peers = json_object_get(answer, "peers");

    if (!answer)
        return CLI_INTERNAL;
    if (cli->json)
        cli_json(cli, answer, FALSE);
    else if (json_array_size(peers) > 0)
        print_peers(cli->out, peers);
    else
        cli_say(cli,
                "Paired with no host yet. Get a code with 'lpm host invite' on the other host, "
                "spend it here with 'lpm host pair'.\n");
    json_decref(answer);
    return CLI_OK;
}

const struct cli_command cmd_host_list = {
    .name = "host list",
    .summary = "List the hosts that this one is paired with",
    .description =
        "Lists the paired hosts: the address under which each is reached, whether it answers now, "
        "how "
        "long a round trip takes, by how much its clock differs and how well that is known.",
    .examples =
        (const struct cli_example[]){
            {"all peers", "lpm host list"},
            {"those that do not answer",
             "lpm host list --json | jq -r '.peers[] | select(.state == \"down\") | .name'"},
            {.line = NULL},
        },
    .run = run,
};
