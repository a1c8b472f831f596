/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/parse.h"

#include "base/error.h"
#include "cli/suggest.h"

#include <string.h>

struct words {
    char **argv;
    int argc;
    int next;
};

static const struct cli_option *find_in(const struct cli_option *options, const char *name,
                                        gsize length, char letter)
{
    for (; options && options->name; options++) {
        if (letter ? options->letter == letter
                   : strlen(options->name) == length && strncmp(options->name, name, length) == 0)
            return options;
    }
    return NULL;
}

static const struct cli_option *find_option(const struct cli *cli, const char *name, gsize length,
                                            char letter)
{
    const struct cli_option *option = NULL;

    if (cli->command)
        option = find_in(cli->command->options, name, length, letter);
    return option ? option : find_in(cli_common_options, name, length, letter);
}

static gboolean fail_unknown_option(struct cli *cli, const char *word, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_autofree char *name = g_strndup(word, strcspn(word, "="));
    const struct cli_option *tables[] = {cli->command ? cli->command->options : NULL,
                                         cli_common_options};

    for (gsize i = 0; i < G_N_ELEMENTS(tables); i++) {
        for (const struct cli_option *o = tables[i]; o && o->name; o++)
            g_ptr_array_add(names, (gpointer)o->name);
    }
    g_ptr_array_add(names, NULL);
    const char *near = g_str_has_prefix(name, "--")
                           ? suggest_nearest(name + 2, (const char *const *)names->pdata)
                           : NULL;
    return cli_usage(cli, error, "there is no option '%s'%s%s%s%s%s%s", name,
                     cli->command ? " of 'lpm " : " before a command",
                     cli->command ? cli->command->name : "", cli->command ? "'" : "",
                     near ? "; did you mean --" : "", near ? near : "", near ? "?" : "");
}

/* The word at `words->next - 1` is an option. */
static gboolean take_option(struct cli *cli, struct words *words, const char *word, GError **error)
{
    gboolean is_long = word[1] == '-';
    const char *name = word + (is_long ? 2 : 1);
    const char *equals = is_long ? strchr(name, '=') : NULL;
    gsize length = equals ? (gsize)(equals - name) : strlen(name);
    const struct cli_option *option = NULL;
    const char *value = "";

    if (is_long)
        option = find_option(cli, name, length, 0);
    else if (name[1] == 0)
        option = find_option(cli, NULL, 0, name[0]);
    if (!option)
        return fail_unknown_option(cli, word, error);
    if (option->argument && equals)
        value = equals + 1;
    else if (option->argument && words->next < words->argc &&
             !g_str_has_prefix(words->argv[words->next], "--"))
        value = words->argv[words->next++];
    else if (option->argument)
        return cli_usage(cli, error, "--%s needs a value: --%s %s", option->name, option->name,
                         option->argument);
    else if (equals)
        return cli_usage(cli, error, "--%s takes no value, yet '%s' was given", option->name,
                         equals + 1);
    if (option->repeats) {
        g_ptr_array_add(cli->given, (gpointer)option->name);
        g_ptr_array_add(cli->given, (gpointer)value);
    } else if (g_hash_table_contains(cli->values, option->name))
        return cli_usage(cli, error, "--%s is given twice", option->name);
    g_hash_table_insert(cli->values, (gpointer)option->name, (gpointer)value);
    return TRUE;
}

static gboolean fail_unknown_command(struct cli *cli, const char *group, const char *word,
                                     GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_autofree char *typed = group ? g_strdup_printf("%s %s", group, word) : g_strdup(word);

    for (const struct cli_command *const *c = cli_commands; *c; c++)
        g_ptr_array_add(names, (gpointer)(*c)->name);
    if (!group) {
        g_ptr_array_add(names, (gpointer) "host");
        g_ptr_array_add(names, (gpointer) "mover");
    }
    g_ptr_array_add(names, NULL);
    const char *near = suggest_nearest(typed, (const char *const *)names->pdata);
    if (group && !near)
        cli->remedy = g_strdup_printf("See 'lpm help %s'", group);
    return cli_usage(cli, error, "there is no command 'lpm %s'%s%s%s", typed,
                     near ? "; did you mean 'lpm " : "", near ? near : "", near ? "'?" : "");
}

/* Options up to and including the command's words. */
static gboolean take_command(struct cli *cli, struct words *words, const char **group,
                             GError **error)
{
    while (words->next < words->argc) {
        const char *word = words->argv[words->next++];
        if (word[0] == '-' && word[1] != 0) {
            if (!take_option(cli, words, word, error))
                return FALSE;
            continue;
        }
        if (*group) {
            g_autofree char *name = g_strdup_printf("%s %s", *group, word);
            cli->command = cli_command_find(name);
        } else {
            cli->command = cli_command_find(word);
        }
        if (cli->command) {
            *group = NULL;
            return TRUE;
        }
        if (*group || !cli_is_group(word))
            return fail_unknown_command(cli, *group, word, error);
        *group = word;
    }
    return TRUE;
}

static gboolean take_rest(struct cli *cli, struct words *words, GError **error)
{
    gboolean options = TRUE;

    while (words->next < words->argc) {
        char *word = words->argv[words->next++];
        if (options && strcmp(word, "--") == 0)
            options = FALSE;
        else if (options && word[0] == '-' && word[1] != 0) {
            if (!take_option(cli, words, word, error))
                return FALSE;
        } else {
            g_ptr_array_add(cli->arguments, word);
        }
    }
    return TRUE;
}

static gboolean check_arguments(struct cli *cli, GError **error)
{
    guint given = 0;

    for (const struct cli_argument *a = cli->command->arguments; a && a->name; a++, given++) {
        if (given >= cli->arguments->len) {
            if (a->optional)
                continue;
            return cli_usage(cli, error, "'lpm %s' needs a %s: %s", cli->command->name, a->name,
                             a->help);
        }
        if (*(const char *)g_ptr_array_index(cli->arguments, given) == 0)
            return cli_usage(cli, error, "the %s is empty", a->name);
    }
    if (cli->arguments->len > given)
        return cli_usage(cli, error, "'%s' is one argument too many for 'lpm %s'",
                         (char *)g_ptr_array_index(cli->arguments, given), cli->command->name);
    for (const struct cli_option *o = cli->command->options; o && o->name; o++) {
        if (o->required && !cli_flag(cli, o->name))
            return cli_usage(cli, error, "'lpm %s' needs --%s %s: %s", cli->command->name, o->name,
                             o->argument, o->help);
    }
    return TRUE;
}

static void take_common(struct cli *cli)
{
    const char *socket = cli_option(cli, "socket");

    cli->json = cli_flag(cli, "json");
    cli->quiet = cli_flag(cli, "quiet");
    if (socket)
        cli->socket = socket;
}

enum parse_result parse_words(struct cli *cli, int argc, char **argv, const char **group,
                              GError **error)
{
    struct words words = {argv, argc, 1};

    *group = NULL;
    if (!take_command(cli, &words, group, error))
        return PARSE_ERROR;
    if (cli->command && !take_rest(cli, &words, error))
        return PARSE_ERROR;
    take_common(cli);
    if (cli_flag(cli, "help"))
        return PARSE_HELP;
    if (cli_flag(cli, "version"))
        return PARSE_VERSION;
    if (!cli->command) {
        if (*group)
            cli->remedy = g_strdup_printf("See 'lpm help %s'", *group);
        cli_usage(cli, error, "a command is missing after 'lpm%s%s'", *group ? " " : "",
                  *group ? *group : "");
        return PARSE_ERROR;
    }
    return check_arguments(cli, error) ? PARSE_RUN : PARSE_ERROR;
}
