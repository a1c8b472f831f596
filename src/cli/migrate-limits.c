/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/migrate-limits.h"

#include "cli/text.h"

#include <string.h>

/* QEMU's own bound of its downtime limit. */
#define MAX_SUSPEND_MS 2000000

gboolean limits_add(struct cli *cli, json_t *body, GError **error)
{
    const char *bandwidth = cli_option(cli, "bandwidth");
    const char *suspend = cli_option(cli, "max-suspend");
    const char *post_copy = cli_option(cli, "post-copy");
    guint64 ms;
    gint64 bytes;

    if (bandwidth) {
        if (!text_parse_bytes(bandwidth, &bytes) || bytes == 0)
            return cli_usage(
                cli, error,
                "--bandwidth '%s' is no rate: give bytes per second, such as 100M or 1G",
                bandwidth);
        json_object_set_new(body, "bandwidth", json_integer(bytes));
    }
    if (post_copy) {
        if (strcmp(post_copy, "never") != 0 && strcmp(post_copy, "auto") != 0 &&
            strcmp(post_copy, "now") != 0)
            return cli_usage(cli, error, "--post-copy '%s' is none of never, auto and now",
                             post_copy);
        json_object_set_new(body, "post_copy", json_string(post_copy));
    }
    if (suspend) {
        if (!g_ascii_string_to_unsigned(suspend, 10, 1, MAX_SUSPEND_MS, &ms, NULL))
            return cli_usage(cli, error,
                             "--max-suspend '%s' is no whole number of milliseconds from 1 to %d",
                             suspend, MAX_SUSPEND_MS);
        json_object_set_new(body, "max_suspend_ms", json_integer((json_int_t)ms));
    }
    return TRUE;
}
