/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/multipath.h"

#include <glib.h>
#include <string.h>

#define DEPTH_MAX 4 /* a volume on a crypt on a multipath device is three */

/* The first line of a small file; "" if there is none. A new string. */
static char *line_of(const char *folder, const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return g_strdup("");
    return g_strstrip(text);
}

/* SCSI calls a path that works "running", NVMe "live"; one without a state is not known to fail. */
static gboolean is_usable(const char *path)
{
    g_autofree char *state = line_of(path, "device/state");

    return !*state || strcmp(state, "running") == 0 || strcmp(state, "live") == 0;
}

static json_t *count_paths(const char *slaves)
{
    g_autoptr(GDir) dir = g_dir_open(slaves, 0, NULL);
    const char *name;
    int usable = 0, all = 0;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(slaves, name, NULL);

        all++;
        usable += is_usable(path);
    }
    return json_pack("{s:i, s:i}", "usable", usable, "all", all);
}

static json_t *fewer(json_t *a, json_t *b)
{
    if (a && b &&
        json_integer_value(json_object_get(b, "usable")) <
            json_integer_value(json_object_get(a, "usable"))) {
        json_decref(a);
        return b;
    }
    if (a && b)
        json_decref(b);
    return a ? a : b;
}

static json_t *look(const char *folder, guint depth)
{
    g_autofree char *uuid = line_of(folder, "dm/uuid");
    g_autofree char *slaves = g_build_filename(folder, "slaves", NULL);
    json_t *found = NULL;
    const char *name;

    if (g_str_has_prefix(uuid, "mpath-"))
        return count_paths(slaves);
    if (depth == DEPTH_MAX)
        return NULL;
    g_autoptr(GDir) dir = g_dir_open(slaves, 0, NULL);
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *below = g_build_filename(slaves, name, NULL);

        found = fewer(found, look(below, depth + 1));
    }
    return found;
}

json_t *lpm_multipath_paths(const char *folder)
{
    return look(folder, 0);
}
