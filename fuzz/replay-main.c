/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Runs a fuzz target over the files and folders given, with any compiler. A folder without a file
 * in it is an error: a replay that replays nothing proves nothing. */
#include "require.h"

#include <glib.h>
#include <stdio.h>

/* Returns how many inputs were run; 0 on error. */
static unsigned replay_file(const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *data = NULL;
    gsize length;

    if (!g_file_get_contents(path, &data, &length, &error)) {
        fprintf(stderr, "replay: %s\n", error->message);
        return 0;
    }
    LLVMFuzzerTestOneInput((const uint8_t *)data, length);
    return 1;
}

static unsigned replay(const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) dir = NULL;
    unsigned count = 0;
    const char *name;

    if (!g_file_test(path, G_FILE_TEST_IS_DIR))
        return replay_file(path);
    dir = g_dir_open(path, 0, &error);
    if (!dir) {
        fprintf(stderr, "replay: %s\n", error->message);
        return 0;
    }
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *inner = g_build_filename(path, name, NULL);

        count += replay_file(inner);
    }
    if (!count)
        fprintf(stderr, "replay: there is nothing in %s\n", path);
    return count;
}

int main(int argc, char **argv)
{
    unsigned count = 0;

    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE|FOLDER...\n", argv[0]);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        unsigned n = replay(argv[i]);

        if (!n)
            return 1;
        count += n;
    }
    printf("%u inputs\n", count);
    return 0;
}
