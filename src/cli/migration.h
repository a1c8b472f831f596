/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What several commands do with a migration, the object of the API. */
#ifndef LPM_CLI_MIGRATION_H
#define LPM_CLI_MIGRATION_H

#include "cli/cli.h"

/* Whether it has not ended. One in doubt has not, unless it carries the time of its end. */
gboolean migration_is_active(const json_t *migration);

/* The newest migration of the partition `what`, or else the one whose id it is; with `active` one
 * that lasts goes before newer ones. NULL with LPM_E_PARTITION_NOT_FOUND if there is neither such a
 * partition nor such an id. NULL without an error if the partition has never migrated. */
json_t *migration_find(struct cli *cli, const char *what, gboolean active, GError **error);

/* Shows how a migration ended (the report on stdout, or its error on stderr), or the document with
 * --json, and returns the exit code for it. */
enum cli_exit migration_conclude(struct cli *cli, const json_t *migration);

/* "to b" or "from a"; the caller owns it. */
char *migration_direction(const json_t *migration);

#endif
