/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Forecasts for people: the one of a validation or a report, and what came of earlier ones. */
#ifndef LPM_CLI_FORECAST_H
#define LPM_CLI_FORECAST_H

#include <glib.h>
#include <jansson.h>
#include <stdio.h>

/* The forecast in lines, after an empty line and a heading. */
void forecast_print(FILE *out, const json_t *forecast);

/* "3.1 s (2.0 s to 5.2 s) in all, 210 ms (120 ms to 400 ms) suspended", new; NULL without one. */
char *forecast_line(const json_t *forecast);

/* The answer of GET /v1/forecasts: a table, newest last, and the medians. */
void forecast_print_history(FILE *out, const json_t *answer);

#endif
