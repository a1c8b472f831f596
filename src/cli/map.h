/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* --map and --map-file: names that the target has for disks and networks of the partition. */
#ifndef LPM_CLI_MAP_H
#define LPM_CLI_MAP_H

#include "cli/cli.h"

#define CLI_MAP_OPTIONS                                                                            \
    {.name = "map",                                                                                \
     .argument = "WHAT=NAME",                                                                      \
     .help =                                                                                       \
         "disk:vda=SOURCE or net:MAC=NETWORK: what a disk or network is called on the target; "    \
         "SOURCE is /PATH, POOL/VOLUME or [//HOST[:PORT]/]NAME as the disk is one. May be "        \
         "given several times",                                                                    \
     .repeats = TRUE},                                                                             \
    {                                                                                              \
        .name = "map-file", .argument = "FILE",                                                    \
        .help = "the same from a file, one on each line; # begins a comment",                      \
        .words = CLI_WORDS_FILES                                                                   \
    }

/* Adds `map` to a request's body if either option was given. FALSE with USAGE. */
gboolean map_add(struct cli *cli, json_t *body, GError **error);

/* The virtual adapter map as a table on stdout; nothing for an empty one. */
void map_print(const struct cli *cli, const json_t *adapters);
/* Is anything called otherwise on the target? */
gboolean map_changes(const json_t *adapters);

#endif
