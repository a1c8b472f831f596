/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/text.h"

static void print_images(FILE *out, const json_t *images)
{
    static const char *const header[] = {"PARTITION", ">SIZE", "KEPT", "MIGRATION", "UUID", NULL};
    g_autoptr(CliTable) table = cli_table_new(header);
    size_t index;
    json_t *image;

    json_array_foreach (images, index, image) {
        gint64 bytes = field_int(image, "bytes"), kept = field_int(image, "kept_ms");

        cli_table_add(table, field_text(image, "partition"));
        cli_table_add(table, bytes < 0 ? NULL : text_bytes(bytes));
        cli_table_add(table, text_instant_us(kept < 0 ? -1 : kept * 1000, FALSE));
        cli_table_add(table, field_text(image, "migration"));
        cli_table_add(table, field_text(image, "uuid"));
    }
    cli_table_print(table, out);
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    json_t *answer = cli_call(cli, "GET", "/v1/retained", NULL, error);
    const json_t *images = json_object_get(answer, "images");

    if (!answer)
        return CLI_INTERNAL;
    if (cli->json)
        cli_json(cli, answer, FALSE);
    else if (json_array_size(images) > 0)
        print_images(cli->out, images);
    else if (json_is_true(json_object_get(answer, "enabled")))
        cli_say(cli, "Nothing is retained: no partition has left this host lately.\n");
    else
        cli_say(cli, "Nothing is retained: lpmd.conf says [retain] retain=off.\n");
    json_decref(answer);
    return CLI_OK;
}

const struct cli_command cmd_retain_list = {
    .name = "retain list",
    .summary = "List what is kept of partitions that left this host",
    .description =
        "Lists the retained images: for each partition that left, its memory as it was sent last, "
        "sealed under a key of this host. When the partition comes back, only what changed "
        "crosses the network. An image goes when its partition is here again, when it is too old, "
        "and when the room is needed: see [retain] in lpmd.conf(5).",
    .examples =
        (const struct cli_example[]){
            {"all images", "lpm retain list"},
            {"bytes in use", "lpm retain list --json | jq .used_bytes"},
            {.line = NULL},
        },
    .run = run,
};
