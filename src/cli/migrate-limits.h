/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The limits that an operator may set to a migration, which a forecast can be asked of too. */
#ifndef LPM_CLI_MIGRATE_LIMITS_H
#define LPM_CLI_MIGRATE_LIMITS_H

#include "cli/cli.h"

/* Puts --bandwidth, --max-suspend and --post-copy into a request's body. */
gboolean limits_add(struct cli *cli, json_t *body, GError **error);

/* Their lines in a command's table of options. */
#define LIMITS_OPTIONS                                                                             \
    {.name = "bandwidth",                                                                          \
     .argument = "RATE",                                                                           \
     .help = "at most so many bytes per second on the wire; K, M, G and T are powers of 1024. "    \
             "Otherwise what lpmd.conf says; 'lpm mover set' changes it"},                         \
        {.name = "max-suspend",                                                                    \
         .argument = "MS",                                                                         \
         .help = "suspend for at most so many milliseconds, the hand-over included; refused when " \
                 "the forecast cannot hold it. Otherwise what lpmd.conf says, as a goal"},         \
    {                                                                                              \
        .name = "post-copy", .argument = "WHEN",                                                   \
        .help = "never; auto: once the dirty pages no longer decrease; or now. Then the "          \
                "partition runs on the target at once and fetches what it lacks. Otherwise what "  \
                "lpmd.conf says"                                                                   \
    }

#endif
