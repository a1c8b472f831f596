/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* lpm(1). docs/man/lpm.1 is what this writes; a test compares the two. */
#include "cli/help.h"
#include "cli/text.h"

#include <string.h>

/* Source lines stay short, which diffs and mandoc's checks like. */
#define COLUMNS 78

/* Text of a line for mdoc: nothing that reads as a request, no escape, hyphens that can be copied.
 */
static void put_escaped(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
    }
    fputc('\n', out);
}

/* Each sentence begins a line, as mdoc has it. */
static void put_paragraph(FILE *out, const char *text)
{
    GString *lines = g_string_new(NULL);

    for (const char *c = text; *c; c++) {
        if (*c == ' ' && c > text && c[-1] == '.' && g_ascii_isupper(c[1]))
            g_string_append_c(lines, '\n');
        else
            g_string_append_c(lines, *c);
    }
    g_autofree char *wrapped = text_wrap(lines->str, COLUMNS, 0);
    g_auto(GStrv) split = g_strsplit(wrapped, "\n", -1);
    for (char **line = split; *line; line++)
        put_escaped(out, *line);
    g_string_free(lines, TRUE);
}

static void put_text(FILE *out, const char *text)
{
    g_auto(GStrv) paragraphs = g_strsplit(text, "\n\n", -1);

    for (char **paragraph = paragraphs; *paragraph; paragraph++) {
        if (paragraph != paragraphs)
            fputs(".Pp\n", out);
        put_paragraph(out, *paragraph);
    }
}

/* A macro's argument, quoted. */
static void put_macro(FILE *out, const char *macro, const char *text)
{
    fprintf(out, ".%s \"", macro);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else if (*text == '"')
            fputs("\\(dq", out);
        else
            fputc(*text, out);
    }
    fputs("\"\n", out);
}

static void put_options(FILE *out, const struct cli_option *options)
{
    fputs(".Bl -tag -width Ds\n", out);
    for (; options->name; options++) {
        fputs(".It ", out);
        if (options->letter)
            fprintf(out, "Fl %c , ", options->letter);
        fprintf(out, "Fl Fl %s", options->name);
        if (options->argument)
            fprintf(out, " Ar \"%s\"", options->argument);
        fputc('\n', out);
        put_text(out, options->help);
    }
    fputs(".El\n", out);
}

static void put_command(FILE *out, const struct cli_command *command)
{
    g_autofree char *synopsis = help_synopsis(command);
    g_autofree char *title = g_strconcat("lpm ", command->name, NULL);

    put_macro(out, "Ss", title);
    put_macro(out, "Li", synopsis);
    fputs(".Pp\n", out);
    put_text(out, command->description);
    if (command->arguments) {
        fputs(".Bl -tag -width Ds\n", out);
        for (const struct cli_argument *a = command->arguments; a->name; a++) {
            fprintf(out, ".It Ar \"%s\"\n", a->name);
            put_text(out, a->help);
        }
        fputs(".El\n", out);
    }
    if (command->options)
        put_options(out, command->options);
    fputs(".Bl -tag -width Ds\n", out);
    for (const struct cli_example *e = command->examples; e->line; e++) {
        put_macro(out, "It Li", e->line);
        put_text(out, e->comment);
    }
    fputs(".El\n", out);
}

static void put_head(FILE *out)
{
    fputs(".\\\" SPDX-License-Identifier: LGPL-2.1-or-later\n"
          ".\\\" Copyright 2026 The OpenLPM authors\n"
          ".\\\" Written by 'lpm help --man'; change the command table, not this page.\n"
          ".Dd November 21, 2026\n"
          ".Dt LPM 1\n"
          ".Os\n"
          ".Sh NAME\n"
          ".Nm lpm\n"
          ".Nd move running partitions between managed systems\n"
          ".Sh SYNOPSIS\n",
          out);
    for (const struct cli_command *const *command = cli_commands; *command; command++) {
        g_autofree char *synopsis = help_synopsis(*command);
        put_macro(out, "Li", synopsis);
        if (command[1])
            fputs(".br\n", out);
    }
    fputs(".Sh DESCRIPTION\n"
          ".Nm\n"
          "talks to\n"
          ".Xr lpmd 8 ,\n"
          "the manager of this managed system.\n"
          "A migration starts on the host that holds the partition.\n"
          ".Pp\n"
          "An error is three lines on stderr: its number in the catalogue and the\n"
          "cause, the remedy, and the identifiers that other systems have for it, if\n"
          "any.\n"
          "With\n"
          ".Fl Fl json\n"
          "it is an object\n"
          ".Li error\n"
          "at the top of the one document on stdout.\n"
          ".Pp\n"
          "Options may stand before or after arguments, in full only, and\n"
          ".Fl Fl\n"
          "ends them.\n"
          "Every command takes:\n",
          out);
}

static void put_exit_codes(FILE *out)
{
    gsize count;
    const struct cli_exit_info *info = cli_exit_catalogue(&count);

    fputs(".Sh EXIT STATUS\nThe numbers are stable.\n.Bl -tag -width Ds\n", out);
    for (gsize i = 0; i < count; i++) {
        fprintf(out, ".It %d\n", (int)info[i].code);
        put_text(out, info[i].meaning);
    }
    fputs(".El\n", out);
}

static void put_surroundings(FILE *out)
{
    fputs(".Sh ENVIRONMENT\n"
          ".Bl -tag -width Ds\n"
          ".It Ev LPM_SOCKET\n"
          "lpmd's socket, if\n"
          ".Fl Fl socket\n"
          "is not given.\n"
          ".It Ev NO_COLOR\n"
          "If set and not empty, no colours.\n"
          "There are none off a terminal either.\n"
          ".It Ev COLUMNS , LINES\n"
          "The size of a terminal that does not tell it.\n"
          ".It Ev TERM\n"
          "If\n"
          ".Dq dumb ,\n"
          "nothing is drawn in place.\n"
          ".It Ev TZ\n"
          "The zone of the times shown; documents are in milliseconds since 1970.\n"
          ".El\n"
          ".Sh FILES\n"
          ".Bl -tag -width Ds\n"
          ".It Pa " CLIENT_DEFAULT_SOCKET "\n"
          "lpmd's socket, open to root and the group\n"
          ".Li lpm .\n"
          ".El\n",
          out);
}

void help_print_manual(FILE *out)
{
    put_head(out);
    put_options(out, cli_common_options);
    fputs(".Sh COMMANDS\n", out);
    for (const struct cli_command *const *command = cli_commands; *command; command++)
        put_command(out, *command);
    put_surroundings(out);
    put_exit_codes(out);
    fputs(".Sh SEE ALSO\n.Xr virsh 1 ,\n.Xr lpmd.conf 5 ,\n.Xr lpmd 8\n", out);
}
