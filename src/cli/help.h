/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Help, lpm(1) and the completion, all written from the table of commands. */
#ifndef LPM_CLI_HELP_H
#define LPM_CLI_HELP_H

#include "cli/cli.h"

/* Help for a command, or for a group ("host"), or (both NULL) the overview. */
void help_print(FILE *out, const struct cli_command *command, const char *group);

/* The exit codes and their meanings. */
void help_print_exit_codes(FILE *out);

/* "lpm migrate PARTITION --to HOST [--bandwidth RATE] [--no-wait]"; the caller owns it. */
char *help_synopsis(const struct cli_command *command);

/* The man page, in mdoc. */
void help_print_manual(FILE *out);

/* The completion for bash. */
void help_print_bash_completion(FILE *out);

/* "partitions" and so on: what the completion asks for by `lpm completion KIND`; NULL if the words
 * of the kind are not asked for. */
const char *help_words_name(enum cli_words words);

#endif
