/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "base/cpu-list.h"

/* The number at `*text`, which is left behind it. */
static gboolean get_number(const char **text, guint *number)
{
    char *end;

    if (!g_ascii_isdigit(**text))
        return FALSE;
    guint64 value = g_ascii_strtoull(*text, &end, 10);

    *text = end;
    *number = (guint)value;
    return value < CPU_SETSIZE;
}

gboolean lpm_cpu_list_parse(const char *text, cpu_set_t *set)
{
    CPU_ZERO(set);
    for (;;) {
        guint first, last;

        if (!get_number(&text, &first))
            return FALSE;
        last = first;
        if (*text == '-') {
            text++;
            if (!get_number(&text, &last) || last < first)
                return FALSE;
        }
        for (guint i = first; i <= last; i++)
            CPU_SET(i, set);
        if (!*text)
            return TRUE;
        if (*text++ != ',')
            return FALSE;
    }
}
