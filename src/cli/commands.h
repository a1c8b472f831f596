/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The commands, each the last thing in its cmd-*.c. Only commands.c needs them by name. */
#ifndef LPM_CLI_COMMANDS_H
#define LPM_CLI_COMMANDS_H

#include "cli/cli.h"

extern const struct cli_command cmd_completion;
extern const struct cli_command cmd_forecast;
extern const struct cli_command cmd_help;
extern const struct cli_command cmd_host_invite;
extern const struct cli_command cmd_host_list;
extern const struct cli_command cmd_host_pair;
extern const struct cli_command cmd_host_unpair;
extern const struct cli_command cmd_list;
extern const struct cli_command cmd_log;
extern const struct cli_command cmd_migrate;
extern const struct cli_command cmd_mover_set;
extern const struct cli_command cmd_mover_stats;
extern const struct cli_command cmd_report;
extern const struct cli_command cmd_show;
extern const struct cli_command cmd_status;
extern const struct cli_command cmd_stop;
extern const struct cli_command cmd_queue;
extern const struct cli_command cmd_recover;
extern const struct cli_command cmd_retain_drop;
extern const struct cli_command cmd_retain_list;
extern const struct cli_command cmd_validate;
extern const struct cli_command cmd_version;

#endif
