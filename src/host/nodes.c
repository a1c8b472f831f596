/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/nodes.h"

#include "base/cpu-list.h"

#include <stdio.h>
#include <string.h>

#define CPUS_ONLINE "/sys/devices/system/cpu/online"
#define NODES "/sys/devices/system/node"

gint64 lpm_node_meminfo(const char *text, const char *word)
{
    g_autofree char *mark = g_strdup_printf(" %s:", word);
    const char *at = strstr(text, mark);

    return at ? g_ascii_strtoll(at + strlen(mark), NULL, 10) * 1024 : 0;
}

/* A file of one line, "" if there is none. A new string. */
static char *line_of(const char *path)
{
    char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? g_strstrip(text) : g_strdup("");
}

static json_t *hugepages_of(const char *folder)
{
    g_autofree char *pages = g_build_filename(folder, "hugepages", NULL);
    g_autoptr(GDir) dir = g_dir_open(pages, 0, NULL);
    json_t *list = json_array();
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        long long kib;
        g_autofree char *path = g_build_filename(pages, name, "free_hugepages", NULL);
        g_autofree char *count = line_of(path);

        if (sscanf(name, "hugepages-%lldkB", &kib) == 1)
            json_array_append_new(list,
                                  json_pack("{s:I, s:I}", "size", (json_int_t)kib * 1024, "free",
                                            (json_int_t)g_ascii_strtoll(count, NULL, 10)));
    }
    return list;
}

static json_t *describe_node(guint number)
{
    static const char *const usable[] = {"MemFree", "Active(file)", "Inactive(file)",
                                         "SReclaimable"};
    g_autofree char *folder = g_strdup_printf(NODES "/node%u", number);
    g_autofree char *path = g_build_filename(folder, "meminfo", NULL);
    g_autofree char *text = line_of(path);
    gint64 available = 0;

    for (gsize i = 0; i < G_N_ELEMENTS(usable); i++)
        available += lpm_node_meminfo(text, usable[i]);
    return json_pack("{s:i, s:I, s:I, s:o}", "node", (int)number, "total_bytes",
                     (json_int_t)lpm_node_meminfo(text, "MemTotal"), "available_bytes",
                     (json_int_t)available, "hugepages", hugepages_of(folder));
}

json_t *lpm_host_nodes(void)
{
    g_autofree char *cpus = line_of(CPUS_ONLINE);
    g_autofree char *online = line_of(NODES "/online");
    json_t *list = json_array();
    cpu_set_t nodes; /* the same kind of list */

    if (!lpm_cpu_list_parse(online, &nodes)) {
        json_array_append_new(list, json_pack("{s:i}", "node", 0));
    } else {
        for (guint i = 0; i < CPU_SETSIZE; i++) {
            if (CPU_ISSET(i, &nodes))
                json_array_append_new(list, describe_node(i));
        }
    }
    return json_pack("{s:s, s:o}", "cpus", cpus, "nodes", list);
}
