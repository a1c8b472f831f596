/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Aligned columns. Nothing is ever truncated: a line that is too long for the terminal wraps, and a
 * name can still be copied from it. One thread. */
#ifndef LPM_CLI_TABLE_H
#define LPM_CLI_TABLE_H

#include <glib.h>
#include <stdio.h>

typedef struct cli_table CliTable;

/* `header`: titles that end in NULL; a title that begins with '>' is of a column of numbers, which
 * is aligned to the right. The strings must outlive the table. */
CliTable *cli_table_new(const char *const *header);

/* Adds a cell to the current row and takes ownership of `text` (cleaned; NULL or "" is shown as
 * "-"). A row ends by itself when it is full. */
void cli_table_add(CliTable *table, char *text);

void cli_table_print(const CliTable *table, FILE *out);
void cli_table_free(CliTable *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CliTable, cli_table_free)

#endif
