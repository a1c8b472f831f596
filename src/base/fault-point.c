/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "base/fault-point.h"

#include "base/clock.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define POLL_US 1000 /* how soon a released point goes on: below what a trial can tell apart */

static const char *folder; /* the run_dir; NULL before lpm_fault_points_init */

/* "+" stands for the two points before and after what goes to the journal. */
static const char *const both_points[] = {
    "+preparing", "+copying",   "+committing", "+post-copy", "+cleaning",  "+rolling-back",
    "+in-doubt",  "+done",      "+failed",     "+stopped",   "+committed", "+running",
    "+aborted",   "+switching", "+ended",      "+fenced",    "resuming",   NULL};
static const char *const source_points[] = {
    "+queued",         "+validating",        "+suspending", "+ending",
    "finish-held",     "asked-prepared",     "frozen",      "source-ended",
    "telling-commit",  "told-commit",        "released",    "telling-abort",
    "post-copy-asked", "resuming-post-copy", "undefined",   NULL};
static const char *const target_points[] = {"+prepared",       "+switched",
                                            "mover-started",   "prepared-asked",
                                            "commit-asked",    "resumed",
                                            "discarding",      "discarded",
                                            "finish-asked",    "run-waits",
                                            "allowing-run",    "run-allowed",
                                            "start-held",      "feeding",
                                            "fed-journalled",  "bitmaps",
                                            "switching-asked", "resume-asked",
                                            "placed",          "defined",
                                            "qemu-connected",  NULL};

/* Of one side: its own and those of both. */
static const char *const *points_of(const char *side, int part)
{
    if (part == 0)
        return both_points;
    return strcmp(side, "source") == 0 ? source_points : target_points;
}

static gboolean is_listed(const char *side, const char *prefix, const char *instant)
{
    for (int part = 0; part < 2; part++) {
        for (const char *const *point = points_of(side, part); *point; point++) {
            gboolean pair = **point == '+';

            if (pair == (*prefix != '\0') && strcmp(*point + pair, instant) == 0)
                return TRUE;
        }
    }
    return FALSE;
}

void lpm_fault_points_init(const char *run_dir)
{
    folder = run_dir;
}

void lpm_fault_point(const char *side, const char *prefix, const char *instant)
{
    g_autofree char *name = g_strdup_printf("%s.%s%s", side, prefix, instant);
    g_autofree char *path = folder ? g_build_filename(folder, "fault-points", name, NULL) : NULL;
    g_autofree char *text = NULL;

    if (!is_listed(side, prefix, instant))
        g_error("fault point %s is not in the list", name);
    if (!path || !g_file_get_contents(path, &text, NULL, NULL))
        return;
    g_autofree char *reached = g_strconcat(path, ".reached", NULL);
    g_autofree char *now = g_strdup_printf("%" G_GINT64_FORMAT "\n", lpm_monotonic_us());
    gboolean dies = g_str_has_prefix(text, "kill");
    if (dies)
        g_unlink(path); /* or the next lpmd would die of it as well */
    g_file_set_contents(reached, now, -1, NULL);
    if (dies)
        raise(SIGKILL);
    while (g_file_test(path, G_FILE_TEST_EXISTS))
        g_usleep(POLL_US);
}

static void list(const char *side)
{
    for (int part = 0; part < 2; part++) {
        for (const char *const *point = points_of(side, part); *point; point++) {
            if (**point == '+')
                printf("%s.before-%s\n%s.after-%s\n", side, *point + 1, side, *point + 1);
            else
                printf("%s.%s\n", side, *point);
        }
    }
}

void lpm_fault_points_list(void)
{
    list("source");
    list("target");
}
