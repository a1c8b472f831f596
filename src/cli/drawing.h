/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The time line of a migration as a drawing. */
#ifndef LPM_CLI_DRAWING_H
#define LPM_CLI_DRAWING_H

#include <jansson.h>

/* SVG of the API's {migration, samples}: phases, what was left, the rates, and what the mover
 * chose. Whatever is missing in the document is missing in the drawing. The caller owns it. Any
 * thread. */
char *drawing_of_timeline(const json_t *timeline);

#endif
