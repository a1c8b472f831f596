/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"

#include "cli/cli.h"

#include <string.h>

const struct cli_command *const cli_commands[] = {
    &cmd_list,
    &cmd_show,
    &cmd_validate,
    &cmd_forecast,
    &cmd_migrate,
    &cmd_status,
    &cmd_stop,
    &cmd_queue,
    &cmd_recover,
    &cmd_log,
    &cmd_report,
    &cmd_mover_stats,
    &cmd_mover_set,
    &cmd_host_list,
    &cmd_host_invite,
    &cmd_host_pair,
    &cmd_host_unpair,
    &cmd_retain_list,
    &cmd_retain_drop,
    &cmd_version,
    &cmd_help,
    &cmd_completion,
    NULL,
};

const struct cli_option cli_common_options[] = {
    {.name = "json",
     .help =
         "write one JSON document to stdout, errors too; sizes in bytes, times in the unit that "
         "their name ends in"},
    {.name = "socket",
     .argument = "PATH",
     .help = "lpmd's socket; otherwise LPM_SOCKET, otherwise " CLIENT_DEFAULT_SOCKET,
     .words = CLI_WORDS_FILES},
    {.name = "quiet", .letter = 'q', .help = "no progress and no hints: results and errors only"},
    {.name = "help", .letter = 'h', .help = "explain the command, with examples"},
    {.name = "version", .help = "print the version of lpm and nothing else"},
    {.name = NULL},
};

const struct cli_command *cli_command_find(const char *name)
{
    for (const struct cli_command *const *command = cli_commands; *command; command++) {
        if (strcmp((*command)->name, name) == 0)
            return *command;
    }
    return NULL;
}

gboolean cli_is_group(const char *group)
{
    gsize length = strlen(group);

    for (const struct cli_command *const *command = cli_commands; *command; command++) {
        if (strncmp((*command)->name, group, length) == 0 && (*command)->name[length] == ' ')
            return TRUE;
    }
    return FALSE;
}
