/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* "Did you mean": the nearest of a few known words. */
#ifndef LPM_CLI_SUGGEST_H
#define LPM_CLI_SUGGEST_H

#include <glib.h>

/* Insertions, deletions, substitutions and swaps of neighbours that make `b` of `a`, in bytes. */
guint suggest_distance(const char *a, const char *b);

/* The candidate (NULL-terminated list) that is so near to `word` that it is likely meant: begun by
 * it, or at most a third of it away. NULL if there is none. Points into `candidates`. */
const char *suggest_nearest(const char *word, const char *const *candidates);

#endif
