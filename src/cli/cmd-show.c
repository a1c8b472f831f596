/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/report.h"
#include "cli/table.h"
#include "cli/text.h"

static void print_disks(FILE *out, const json_t *disks)
{
    static const char *const header[] = {"DISK", "BUS", "TYPE", "ACCESS", "SOURCE", NULL};
    g_autoptr(CliTable) table = cli_table_new(header);
    size_t index;
    json_t *disk;

    json_array_foreach (disks, index, disk) {
        cli_table_add(table, field_text(disk, "target"));
        cli_table_add(table, field_text(disk, "bus"));
        cli_table_add(table, field_text(disk, "type"));
        cli_table_add(table, g_strdup(field_true(disk, "readonly") ? "read" : "read, write"));
        cli_table_add(table, field_text(disk, "source"));
    }
    fputc('\n', out);
    cli_table_print(table, out);
}

static void print_adapters(FILE *out, const json_t *adapters)
{
    static const char *const header[] = {"ADAPTER", "MODEL", "TYPE", "SOURCE", NULL};
    g_autoptr(CliTable) table = cli_table_new(header);
    size_t index;
    json_t *adapter;

    json_array_foreach (adapters, index, adapter) {
        cli_table_add(table, field_text(adapter, "mac"));
        cli_table_add(table, field_text(adapter, "model"));
        cli_table_add(table, field_text(adapter, "type"));
        cli_table_add(table, field_text(adapter, "source"));
    }
    fputc('\n', out);
    cli_table_print(table, out);
}

/* "x86_64, pc-q35-7.2, qemu": what is known of it. */
static char *machine_of(const json_t *partition)
{
    static const char *const members[] = {"arch", "machine", "hypervisor"};
    GString *text = g_string_new(NULL);

    for (gsize i = 0; i < G_N_ELEMENTS(members); i++) {
        g_autofree char *part = field_text(partition, members[i]);
        g_string_append_printf(text, "%s%s", text->len > 0 && *part ? ", " : "", part);
    }
    return g_string_free(text, FALSE);
}

static void print_partition(FILE *out, const json_t *partition)
{
    g_autofree char *name = field_text(partition, "name");
    gint64 id = field_int(partition, "id"), vcpus = field_int(partition, "vcpus");

    fprintf(out, "Partition %s\n", name);
    report_line(out, "uuid", field_text(partition, "uuid"));
    if (id >= 0)
        report_line(out, "id", g_strdup_printf("%" G_GINT64_FORMAT, id));
    report_line(out, "state", field_text(partition, "state"));
    report_line(out, "migration", field_text(partition, "migration"));
    report_line(out, "memory", text_bytes(field_int(partition, "memory_bytes")));
    if (vcpus >= 0)
        report_line(out, "processors", g_strdup_printf("%" G_GINT64_FORMAT, vcpus));
    report_line(out, "machine", machine_of(partition));
    report_line(out, "guest", field_text(partition, "os_type"));
    report_line(out, "definition",
                g_strdup(field_true(partition, "persistent") ? "persistent"
                                                             : "transient: gone when it ends"));
    if (json_array_size(json_object_get(partition, "disks")) > 0)
        print_disks(out, json_object_get(partition, "disks"));
    if (json_array_size(json_object_get(partition, "adapters")) > 0)
        print_adapters(out, json_object_get(partition, "adapters"));
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    g_autofree char *path = cli_path("/v1/partitions/", cli_argument(cli, 0), NULL);
    json_t *partition = cli_call(cli, "GET", path, NULL, error);

    if (!partition)
        return CLI_INTERNAL;
    if (cli->json)
        cli_json(cli, partition, FALSE);
    else
        print_partition(cli->out, partition);
    json_decref(partition);
    return CLI_OK;
}

const struct cli_command cmd_show = {
    .name = "show",
    .summary = "Show one partition with its disks and adapters",
    .description =
        "Shows what this host knows of a partition: its state, memory and processors, its "
        "disks and its network adapters.",
    .arguments =
        (const struct cli_argument[]){
            {"PARTITION", "the name of a partition of this host", FALSE, CLI_WORDS_PARTITIONS},
            {.name = NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"a partition", "lpm show web"},
            {"where its disks come from", "lpm show web --json | jq -r '.disks[].source'"},
            {.line = NULL},
        },
    .run = run,
};
