/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/table.h"

#include "cli/text.h"

struct cli_table {
    const char *const *header;
    gsize columns;
    GPtrArray *cells; /* row by row */
};

CliTable *cli_table_new(const char *const *header)
{
    CliTable *table = g_new0(CliTable, 1);

    table->header = header;
    while (header[table->columns])
        table->columns++;
    table->cells = g_ptr_array_new_with_free_func(g_free);
    return table;
}

void cli_table_add(CliTable *table, char *text)
{
    if (!text || !*text) {
        g_free(text);
        text = g_strdup("-");
    }
    g_ptr_array_add(table->cells, text);
}

static gsize width_of(const CliTable *table, gsize column)
{
    const char *title = table->header[column];
    gsize width = text_columns(*title == '>' ? title + 1 : title);

    for (gsize i = column; i < table->cells->len; i += table->columns)
        width = MAX(width, text_columns(g_ptr_array_index(table->cells, i)));
    return width;
}

/* The last column is not padded, so that no line ends in spaces. */
static void print_cell(const CliTable *table, gsize column, const char *text, FILE *out)
{
    gsize pad = width_of(table, column) - text_columns(text);
    gboolean last = column + 1 == table->columns;

    if (*table->header[column] == '>')
        fprintf(out, "%*s%s", (int)pad, "", text);
    else
        fprintf(out, "%s%*s", text, last ? 0 : (int)pad, "");
    fputs(last ? "\n" : "  ", out);
}

void cli_table_print(const CliTable *table, FILE *out)
{
    for (gsize c = 0; c < table->columns; c++) {
        const char *title = table->header[c];
        print_cell(table, c, *title == '>' ? title + 1 : title, out);
    }
    for (gsize i = 0; i < table->cells->len; i++)
        print_cell(table, i % table->columns, g_ptr_array_index(table->cells, i), out);
}

void cli_table_free(CliTable *table)
{
    g_ptr_array_unref(table->cells);
    g_free(table);
}
