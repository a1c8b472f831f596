/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Prints docs/errors.md from the compiled catalogue; with a file named, checks that it is the same.
 */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

static const struct {
    int first;
    const char *title;
} groups[] = {
    {1000, "Requests and names"}, {2000, "Peers and trust"}, {3000, "Partition and hypervisor"},
    {4000, "Mover and link"},     {5000, "Hand-over"},       {9000, "The host itself"},
};

static const char intro[] =
    "<!-- SPDX-License-Identifier: LGPL-2.1-or-later -->\n"
    "# Errors\n"
    "\n"
    "Generated from `src/base/error-table.h`; change it there, then run `meson compile "
    "update-errors`.\n"
    "\n"
    "Each error has a code that never changes its meaning, a cause that quotes what was wrong, and "
    "a remedy. In the API it is\n"
    "`{\"error\": {\"code\", \"severity\", \"cause\", \"remedy\", \"details\", \"aliases\"}}` "
    "with the HTTP status below. Aliases are the codes under which\n"
    "operators of other systems know the condition.\n";

static const char *group_of(int number)
{
    const char *title = "Others";

    for (gsize i = 0; i < G_N_ELEMENTS(groups); i++) {
        if (number >= groups[i].first)
            title = groups[i].title;
    }
    return title;
}

static void append_line(GString *text, const struct lpm_error_info *info)
{
    g_auto(GStrv) aliases = g_strsplit(info->aliases, ",", -1);
    g_autofree char *joined = g_strjoinv(", ", aliases);

    g_string_append_printf(
        text, "| LPM-%04d | %s | %s | %s | %u | %s |\n", info->number, info->title, info->remedy,
        info->severity == LPM_SEVERITY_ERROR ? "error" : "warning", info->http_status, joined);
}

static char *make_text(void)
{
    GString *text = g_string_new(intro);
    const char *group = NULL;
    gsize count;
    const struct lpm_error_info *lines = lpm_error_catalogue(&count);

    for (gsize i = 0; i < count; i++) {
        if (group != group_of(lines[i].number)) {
            group = group_of(lines[i].number);
            g_string_append_printf(text,
                                   "\n## %s\n\n| code | what | remedy | severity | HTTP | aliases "
                                   "|\n|---|---|---|---|---|---|\n",
                                   group);
        }
        append_line(text, &lines[i]);
    }
    return g_string_free(text, FALSE);
}

int main(int argc, char **argv)
{
    g_autofree char *text = make_text();
    g_autofree char *there = NULL;

    if (argc == 1)
        return fputs(text, stdout) < 0;
    if (!g_file_get_contents(argv[1], &there, NULL, NULL) || strcmp(text, there) != 0) {
        fprintf(stderr, "%s is not what the catalogue says: run 'meson compile update-errors'\n",
                argv[1]);
        return 1;
    }
    return 0;
}
