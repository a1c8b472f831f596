/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/suggest.h"

#include <string.h>

static json_t *exit_codes_as_json(void)
{
    gsize count;
    const struct cli_exit_info *info = cli_exit_catalogue(&count);
    json_t *codes = json_array();

    for (gsize i = 0; i < count; i++)
        json_array_append_new(
            codes, json_pack("{s:i, s:s}", "code", (int)info[i].code, "meaning", info[i].meaning));
    return json_pack("{s:o}", "exit_codes", codes);
}

/* The command of that name, or those of a group, or all if `name` is empty. */
static json_t *commands_as_json(const char *name)
{
    g_autofree char *prefix = g_strconcat(name, " ", NULL);
    json_t *commands = json_array();

    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        g_autofree char *synopsis = help_synopsis(*c);
        if (*name && strcmp((*c)->name, name) != 0 && !g_str_has_prefix((*c)->name, prefix))
            continue;
        json_array_append_new(commands, json_pack("{s:s, s:s, s:s, s:s}", "name", (*c)->name,
                                                  "synopsis", synopsis, "summary", (*c)->summary,
                                                  "description", (*c)->description));
    }
    return json_pack("{s:o}", "commands", commands);
}

static void fail_unknown(struct cli *cli, const char *name, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();

    for (const struct cli_command *const *c = cli_commands; *c; c++)
        g_ptr_array_add(names, (gpointer)(*c)->name);
    g_ptr_array_add(names, (gpointer) "host");
    g_ptr_array_add(names, (gpointer) "mover");
    g_ptr_array_add(names, (gpointer) "exit-codes");
    g_ptr_array_add(names, NULL);
    const char *near = suggest_nearest(name, (const char *const *)names->pdata);
    cli->remedy = g_strdup("See 'lpm help' for all commands");
    cli_usage(cli, error, "there is no help about '%s'%s%s%s", name, near ? "; did you mean '" : "",
              near ? near : "", near ? "'?" : "");
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    const char *first = cli_argument(cli, 0), *second = cli_argument(cli, 1);
    g_autofree char *name = g_strjoin(" ", first ? first : "", second, NULL);
    const struct cli_command *command = cli_command_find(name);
    gboolean codes = strcmp(name, "exit-codes") == 0;
    gboolean group = first && !second && cli_is_group(first);

    if (cli_flag(cli, "man")) {
        help_print_manual(cli->out);
    } else if (first && !command && !codes && !group) {
        fail_unknown(cli, name, error);
    } else if (cli->json) {
        json_t *document = codes ? exit_codes_as_json() : commands_as_json(name);
        cli_json(cli, document, FALSE);
        json_decref(document);
    } else if (codes) {
        help_print_exit_codes(cli->out);
    } else {
        help_print(cli->out, command, group ? first : NULL);
    }
    return CLI_OK;
}

const struct cli_command cmd_help = {
    .name = "help",
    .summary = "Explain a command, or list them all",
    .description =
        "Explains a command as 'lpm COMMAND --help' does; a group of commands, such as 'host'; or, "
        "as "
        "'lpm help exit-codes', what lpm returns to the shell. Without an argument it lists the "
        "commands.",
    .arguments =
        (const struct cli_argument[]){
            {"COMMAND", "a command, a group, or exit-codes", TRUE, CLI_WORDS_COMMANDS},
            {"SUBCOMMAND", "the second word of a command such as 'host pair'", TRUE,
             CLI_WORDS_NONE},
            {.name = NULL},
        },
    .options =
        (const struct cli_option[]){
            {.name = "man", .help = "write the manual page lpm(1), in mdoc, to stdout"},
            {.name = NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"everything about migrate", "lpm help migrate"},
            {"what a script has to expect", "lpm help exit-codes"},
            {.line = NULL},
        },
    .run = run,
};
