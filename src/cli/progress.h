/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* A migration in one line. Pure functions of the API's object; the strings are the caller's. */
#ifndef LPM_CLI_PROGRESS_H
#define LPM_CLI_PROGRESS_H

#include <glib.h>
#include <jansson.h>

/* "web: copying  63%  112 MiB/s  dirty 3.10 MiB/s  left 143 MiB  ETA 0:12  suspend ~45 ms". What
 * the hypervisor has not said yet is left out; before the copy and at the end, everything behind
 * the percentage is. */
char *progress_text(const json_t *migration);

/* The same with a bar behind the percentage that takes what is left of `columns`, 5 to 30 of them.
 * If even the shortest bar does not fit the line is cut at its end, never wrapped. */
char *progress_line(const json_t *migration, gsize columns);

#endif
