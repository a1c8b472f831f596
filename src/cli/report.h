/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The report of a migration that ended, for people; --json gives it as it is. */
#ifndef LPM_CLI_REPORT_H
#define LPM_CLI_REPORT_H

#include <jansson.h>
#include <stdio.h>

/* A block of lines; a figure that the report does not hold has no line. */
void report_print(FILE *out, const json_t *report);

/* "validating 0.01 s, copying 11.9 s" of the API's list of phases; the caller owns it. */
char *report_phases(const json_t *phases);

/* "direct, 4711 pages past QEMU", or why not; of the API's `placement`, which may be NULL. The
 * caller owns it; NULL if there is nothing to say. */
char *report_placement(const json_t *placement);

/* One line "  label      value" of a block; takes ownership of `value` (cleaned), and prints
 * nothing if that is NULL or empty. */
void report_line(FILE *out, const char *label, char *value);

#endif
