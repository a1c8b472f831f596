/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Which of many hosts is the best to move to. */
#include "daemon/validate/check.h"
#include "daemon/validate/validate.h"

#include <stdlib.h>

/* How long the migration is expected to take; one that has no end, or is not known, comes last. */
static double expected_ms(const json_t *report)
{
    const json_t *total = json_object_get(json_object_get(report, "forecast"), "total_ms");
    json_t *expected = json_object_get(total, "expected");

    return json_is_integer(expected) ? json_number_value(expected) : G_MAXDOUBLE;
}

static int compare(const void *a, const void *b)
{
    static const char *const keys[] = {"errors", "warnings"};
    const json_t *left = *(json_t *const *)a, *right = *(json_t *const *)b;

    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
        json_int_t x = json_integer_value(json_object_get(left, keys[i]));
        json_int_t y = json_integer_value(json_object_get(right, keys[i]));
        if (x != y)
            return x < y ? -1 : 1;
    }
    double first = expected_ms(left), second = expected_ms(right);
    if (first < second || first > second)
        return first < second ? -1 : 1;
    return g_strcmp0(json_string_value(json_object_get(left, "target")),
                     json_string_value(json_object_get(right, "target")));
}

json_t *lpm_validate_rank(json_t *reports)
{
    size_t count = json_array_size(reports);
    g_autofree json_t **list = g_new(json_t *, count + 1);
    json_t *sorted = json_array();

    for (size_t i = 0; i < count; i++)
        list[i] = json_array_get(reports, i);
    qsort(list, count, sizeof(*list), compare);
    for (size_t i = 0; i < count; i++)
        json_array_append(sorted, list[i]);
    json_decref(reports);
    return sorted;
}
