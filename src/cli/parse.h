/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * From the words typed to a `struct cli`:
 *
 *     lpm [COMMON OPTION...] COMMAND [ARGUMENT | OPTION]...
 *
 * `--name VALUE`, `--name=VALUE`, `-n VALUE` and `--` (no options after it) work. Options are not
 * abbreviated, since a script that relied on it would break with the next option, and none may be
 * given twice. Every refusal is an LPM_E_USAGE with a nearby word if there is one.
 */
#ifndef LPM_CLI_PARSE_H
#define LPM_CLI_PARSE_H

#include "cli/cli.h"

enum parse_result {
    PARSE_RUN,     /* `command` is set: run it */
    PARSE_HELP,    /* --help: of `command`, or of the group, or of all */
    PARSE_VERSION, /* --version */
    PARSE_ERROR,
};

/* Fills `cli`. `*group` is the first word of the command if it is a group alone ("host"), else
 * NULL. */
enum parse_result parse_words(struct cli *cli, int argc, char **argv, const char **group,
                              GError **error);

#endif
