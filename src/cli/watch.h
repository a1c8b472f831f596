/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Asking lpmd again and again, and showing it.
 *
 * lpmd may be restarted meanwhile without harm to a migration; a watch stays silent about that for
 * WATCH_PATIENCE_S and then gives up. Ctrl-C ends a watch, never a migration.
 */
#ifndef LPM_CLI_WATCH_H
#define LPM_CLI_WATCH_H

#include "cli/cli.h"

/* How long lpmd may be away. Its restart takes a second or two. */
#define WATCH_PATIENCE_S 30

/* How long a migration may stay in doubt before the wait for it ends: a cut of some seconds heals
 * by itself, and a longer one wants an operator. */
#define WATCH_IN_DOUBT_S 10

/* From here on Ctrl-C sets a flag, once; the second one ends the program. Calls of cli's client
 * then end early. */
void watch_catch_interrupt(struct cli *cli);
gboolean watch_interrupted(void);

/* Waits; shorter if Ctrl-C comes. */
void watch_sleep_ms(guint ms);

/* GET `path`, again while lpmd is away. NULL with `*error` after WATCH_PATIENCE_S or on another
 * error; NULL without one if Ctrl-C came. */
json_t *watch_get(struct cli *cli, const char *path, GError **error);

/* Follows the migration `id` to its end, with a progress line on stderr if that is a terminal, a
 * line per phase if not, nothing with --quiet; with `documents` (and --json) the object on a line
 * of its own per change. The last object seen is the caller's; `*detached` tells that Ctrl-C came
 * before the end. NULL with `*error`; NULL without if Ctrl-C came before any answer. */
json_t *watch_migration(struct cli *cli, const char *id, gboolean documents, gboolean *detached,
                        GError **error);

/* Replaces what the last call drew on the terminal `out` by `text`, cut to the window's size. */
void watch_redraw(FILE *out, const char *text);

#endif
