/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* How an error looks: three lines on stderr, or {"error": {...}} on stdout with --json. */
#ifndef LPM_CLI_FAILURE_H
#define LPM_CLI_FAILURE_H

#include "cli/cli.h"

/* An error object of the API (LPM-nnnn, cause, remedy, aliases), for people:
 *   lpm: error LPM-1003: the partition 'web' does not exist
 *     remedy: List the partitions with 'lpm list'
 *     (aliases: HSCL8012, HSCL8011)
 */
void failure_print(FILE *err, const json_t *object);

/* Reports the error that the command ended with and returns the exit code for it. What lpmd said
 * beside the cause (details, a remedy of a newer catalogue) is kept. */
enum cli_exit failure_report(struct cli *cli, const GError *error);

#endif
