/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/text.h"

static char *number_or_dash(gint64 number)
{
    return number < 0 ? NULL : g_strdup_printf("%" G_GINT64_FORMAT, number);
}

static void print_partitions(FILE *out, const json_t *partitions)
{
    static const char *const header[] = {"NAME",    "ID",        "STATE", ">VCPUS",
                                         ">MEMORY", "MIGRATION", NULL};
    g_autoptr(CliTable) table = cli_table_new(header);
    size_t index;
    json_t *partition;

    json_array_foreach (partitions, index, partition) {
        cli_table_add(table, field_text(partition, "name"));
        cli_table_add(table, number_or_dash(field_int(partition, "id")));
        cli_table_add(table, field_text(partition, "state"));
        cli_table_add(table, number_or_dash(field_int(partition, "vcpus")));
        cli_table_add(table, text_bytes(field_int(partition, "memory_bytes")));
        cli_table_add(table, field_text(partition, "migration"));
    }
    cli_table_print(table, out);
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    json_t *answer = cli_call(cli, "GET", "/v1/partitions", NULL, error);
    const json_t *partitions = json_object_get(answer, "partitions");

    if (!answer)
        return CLI_INTERNAL;
    if (cli->json)
        cli_json(cli, answer, FALSE);
    else if (json_array_size(partitions) > 0)
        print_partitions(cli->out, partitions);
    else
        cli_say(cli, "No partitions on this managed system.\n");
    json_decref(answer);
    return CLI_OK;
}

const struct cli_command cmd_list = {
    .name = "list",
    .summary = "List the partitions of this managed system",
    .description =
        "Lists the partitions (libvirt's domains) of this host, running or not, with their state. "
        "While a migration lasts the state is shown as 'Migrating - Running' and so on, on both "
        "hosts.",
    .examples =
        (const struct cli_example[]){
            {"all partitions", "lpm list"},
            {"the names of those that run",
             "lpm list --json | jq -r '.partitions[] | select(.state == \"Running\") | .name'"},
            {.line = NULL},
        },
    .run = run,
};
