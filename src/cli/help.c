/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/help.h"

#include "cli/terminal.h"
#include "cli/text.h"

#include <string.h>

/* Wider lines are hard to read, whatever the window permits. */
#define MAX_COLUMNS 96
#define LABEL_COLUMNS 20

static gsize columns_for(FILE *out)
{
    return CLAMP(terminal_width(out), 50, MAX_COLUMNS);
}

static void print_title(FILE *out, const char *title)
{
    fprintf(out, "\n%s%s:%s\n", terminal_style(out, TERMINAL_BOLD), title,
            terminal_style(out, TERMINAL_PLAIN));
}

static void print_item(FILE *out, const char *label, const char *text)
{
    gsize indent = LABEL_COLUMNS + 4;
    g_autofree char *wrapped = text_wrap(text, columns_for(out) - indent, 0);
    g_auto(GStrv) lines = g_strsplit(wrapped, "\n", -1);

    fprintf(out, "  %-*s", LABEL_COLUMNS, label);
    if (strlen(label) > LABEL_COLUMNS)
        fprintf(out, "\n%*s", LABEL_COLUMNS + 2, "");
    fprintf(out, "  %s\n", lines[0]);
    for (char **line = lines + 1; *line; line++)
        fprintf(out, "%*s%s\n", (int)indent, "", *line);
}

char *help_synopsis(const struct cli_command *command)
{
    GString *text = g_string_new("lpm ");

    g_string_append(text, command->name);
    for (const struct cli_argument *a = command->arguments; a && a->name; a++)
        g_string_append_printf(text, a->optional ? " [%s]" : " %s", a->name);
    for (const struct cli_option *o = command->options; o && o->name; o++) {
        g_string_append_printf(text, o->required ? " --%s" : " [--%s", o->name);
        if (o->argument)
            g_string_append_printf(text, " %s", o->argument);
        if (!o->required)
            g_string_append_c(text, ']');
    }
    return g_string_free(text, FALSE);
}

static void print_options(FILE *out, const struct cli_option *options)
{
    for (; options && options->name; options++) {
        g_autofree char *letter =
            options->letter ? g_strdup_printf("-%c, ", options->letter) : g_strdup("");
        g_autofree char *label =
            g_strdup_printf("%s--%s%s%s", letter, options->name, options->argument ? " " : "",
                            options->argument ? options->argument : "");
        print_item(out, label, options->help);
    }
}

static void print_commands(FILE *out, const char *group)
{
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        if (!group || (g_str_has_prefix((*c)->name, group) && (*c)->name[strlen(group)] == ' '))
            print_item(out, (*c)->name, (*c)->summary);
    }
}

static void print_overview(FILE *out)
{
    fputs("lpm moves running partitions between managed systems.\n\n"
          "Usage: lpm COMMAND [ARGUMENT | OPTION]...\n",
          out);
    print_title(out, "Commands");
    print_commands(out, NULL);
    print_title(out, "Options of every command");
    print_options(out, cli_common_options);
    print_title(out, "A first migration");
    fputs("  # on host b: get a code, valid ten minutes, once\n"
          "  lpm host invite\n"
          "  # on host a, where the partition runs: pair with b by that code, then move\n"
          "  lpm host pair b b.example.net\n"
          "  lpm migrate web --to b\n"
          "\nMore: 'lpm help COMMAND' for each command, 'lpm help exit-codes', lpm(1).\n",
          out);
}

static void print_group(FILE *out, const char *group)
{
    fprintf(out, "Usage: lpm %s COMMAND [ARGUMENT | OPTION]...\n", group);
    print_title(out, "Commands");
    print_commands(out, group);
    fprintf(out, "\nMore: 'lpm help %s COMMAND'.\n", group);
}

static void print_command(FILE *out, const struct cli_command *command)
{
    gsize columns = columns_for(out);
    g_autofree char *synopsis = help_synopsis(command);
    g_autofree char *usage = text_wrap(synopsis, columns - 7, 11);
    g_autofree char *description = text_wrap(command->description, columns, 0);

    fprintf(out, "Usage: %s\n\n%s\n", usage, description);
    if (command->arguments) {
        print_title(out, "Arguments");
        for (const struct cli_argument *a = command->arguments; a->name; a++)
            print_item(out, a->name, a->help);
    }
    if (command->options) {
        print_title(out, "Options");
        print_options(out, command->options);
    }
    print_title(out, "Options of every command");
    print_options(out, cli_common_options);
    print_title(out, "Examples");
    for (const struct cli_example *e = command->examples; e->line; e++)
        fprintf(out, "  # %s\n  %s\n", e->comment, e->line);
}

void help_print(FILE *out, const struct cli_command *command, const char *group)
{
    if (command)
        print_command(out, command);
    else if (group)
        print_group(out, group);
    else
        print_overview(out);
}

void help_print_exit_codes(FILE *out)
{
    gsize count;
    const struct cli_exit_info *info = cli_exit_catalogue(&count);

    fputs("What lpm returns to the shell:\n\n", out);
    for (gsize i = 0; i < count; i++) {
        g_autofree char *label = g_strdup_printf("%d", (int)info[i].code);
        print_item(out, label, info[i].meaning);
    }
}
