/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/map.h"

#include "cli/table.h"
#include "cli/text.h"

#include <string.h>

#define FILE_MAX (256 << 10)

/* "disk:vda=/dev/x" or "net:52:54:00:00:00:01=br7". `where`: for errors. */
static gboolean add_one(struct cli *cli, json_t *map, const char *text, const char *where,
                        GError **error)
{
    static const struct {
        const char *word, *member;
    } kinds[] = {{"disk:", "disks"}, {"net:", "networks"}};
    const char *equals = strchr(text, '=');

    for (gsize i = 0; equals && i < G_N_ELEMENTS(kinds); i++) {
        gsize length = strlen(kinds[i].word);

        if (strncmp(text, kinds[i].word, length) != 0 || equals == text + length || !equals[1])
            continue;
        g_autofree char *raw = g_strndup(text + length, (gsize)(equals - text) - length);
        g_autofree char *name = i == 1 ? g_ascii_strdown(raw, -1) : g_steal_pointer(&raw);
        json_t *names = json_object_get(map, kinds[i].member);
        if (json_object_get(names, name))
            return cli_usage(cli, error, "%s: '%s' is mapped twice", where, name);
        if (!names)
            json_object_set_new(map, kinds[i].member, names = json_object());
        if (json_object_set_new(names, name, json_string(equals + 1)) < 0)
            return cli_usage(cli, error, "%s: '%s' is not UTF-8", where, text);
        return TRUE;
    }
    return cli_usage(cli, error,
                     "%s: '%s' is neither disk:TARGET=SOURCE (disk:vda=/dev/x) nor net:MAC=NETWORK "
                     "(net:52:54:00:00:00:01=br7)",
                     where, text);
}

static gboolean add_file(struct cli *cli, json_t *map, const char *path, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) reason = NULL;
    gsize length;

    if (!g_file_get_contents(path, &text, &length, &reason))
        return cli_usage(cli, error, "--map-file: %s", reason->message);
    if (length > FILE_MAX || strlen(text) != length)
        return cli_usage(cli, error, "--map-file: %s is no text, or larger than %d bytes", path,
                         FILE_MAX);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i]; i++) {
        g_autofree char *where = g_strdup_printf("%s line %u", path, i + 1);
        const char *line = g_strstrip(lines[i]);

        if (*line && *line != '#' && !add_one(cli, map, line, where, error))
            return FALSE;
    }
    return TRUE;
}

gboolean map_add(struct cli *cli, json_t *body, GError **error)
{
    const char *file = cli_option(cli, "map-file"), *text;
    json_t *map = json_object();
    gboolean ok = !file || add_file(cli, map, file, error);

    for (guint i = 0; ok && (text = cli_option_nth(cli, "map", i)); i++)
        ok = add_one(cli, map, text, "--map", error);
    if (ok && json_object_size(map))
        json_object_set(body, "map", map);
    json_decref(map);
    return ok;
}

void map_print(const struct cli *cli, const json_t *adapters)
{
    static const char *const header[] = {"ADAPTER",       "KIND", "ON THE SOURCE",
                                         "ON THE TARGET", "BY",   NULL};
    g_autoptr(CliTable) table = cli_table_new(header);
    json_t *adapter;
    size_t i;

    if (!json_array_size(adapters))
        return;
    json_array_foreach (adapters, i, adapter) {
        cli_table_add(table, field_text(adapter, "adapter"));
        cli_table_add(table, field_text(adapter, "kind"));
        cli_table_add(table, field_text(adapter, "source"));
        cli_table_add(table, field_text(adapter, "target"));
        cli_table_add(table, field_text(adapter, "by"));
    }
    fputc('\n', cli->out);
    cli_table_print(table, cli->out);
}

gboolean map_changes(const json_t *adapters)
{
    json_t *adapter;
    size_t i;

    json_array_foreach (adapters, i, adapter) {
        if (strcmp(field_raw(adapter, "source"), field_raw(adapter, "target")) != 0)
            return TRUE;
    }
    return FALSE;
}
