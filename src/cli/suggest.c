/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/suggest.h"

#include <string.h>

/* Beyond this a word is no typing mistake, and the table below stays small. */
#define MAX_WORD 64

guint suggest_distance(const char *a, const char *b)
{
    gsize n = strlen(a), m = strlen(b);
    guint d[MAX_WORD + 1][MAX_WORD + 1];

    if (n > MAX_WORD || m > MAX_WORD)
        return G_MAXUINT;
    for (guint i = 0; i <= n; i++)
        d[i][0] = i;
    for (guint j = 0; j <= m; j++)
        d[0][j] = j;
    for (gsize i = 1; i <= n; i++) {
        for (gsize j = 1; j <= m; j++) {
            guint best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN(best, d[i - 1][j] + 1);
            best = MIN(best, d[i][j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, d[i - 2][j - 2] + 1);
            d[i][j] = best;
        }
    }
    return d[n][m];
}

const char *suggest_nearest(const char *word, const char *const *candidates)
{
    gsize length = strlen(word);
    guint least = (guint)MAX(length / 3, 1) + 1;
    const char *nearest = NULL;

    if (length == 0 || length > MAX_WORD)
        return NULL;
    for (; *candidates; candidates++) {
        guint distance = suggest_distance(word, *candidates);
        if (length >= 2 && g_str_has_prefix(*candidates, word))
            distance = 1;
        if (distance < least) {
            least = distance;
            nearest = *candidates;
        }
    }
    return nearest;
}
