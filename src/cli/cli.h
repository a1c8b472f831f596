/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The command line, page one. A command is one file, cmd-*.c, that ends in one `struct
 * cli_command`; the table of them in commands.c is what dispatch, help, lpm(1) and the completion
 * are made from, so that none of these can know a command or an option that the others do not.
 *
 * main() parses the words into a `struct cli`, runs the command and reports its error, if any, in
 * one place (failure.h). With --json a command writes exactly one JSON document to stdout, which
 * holds `error` at its top if there was one; with --watch one document per line and refresh.
 *
 * Everything runs in one thread.
 */
#ifndef LPM_CLI_CLI_H
#define LPM_CLI_CLI_H

#include "cli/client.h"
#include "cli/exit.h"

#include <glib.h>
#include <jansson.h>
#include <stdio.h>

struct cli;

/* What the shell offers where a word of this kind stands. */
enum cli_words {
    CLI_WORDS_NONE,
    CLI_WORDS_PARTITIONS,
    CLI_WORDS_HOSTS,
    CLI_WORDS_MIGRATIONS,
    CLI_WORDS_MOVERS,
    CLI_WORDS_COMMANDS,
    CLI_WORDS_FILES,
    CLI_WORDS_SHELLS,
};

/* A table of these ends in one whose name is NULL. All strings are static. */
struct cli_argument {
    const char *name; /* PARTITION */
    const char *help;
    gboolean optional;
    enum cli_words words;
};

struct cli_option {
    const char *name;     /* without the dashes */
    char letter;          /* of the short form, or 0 */
    const char *argument; /* NULL: a flag */
    const char *help;
    gboolean required;
    enum cli_words words; /* of the argument */
    gboolean repeats;     /* may be given several times: cli_option_nth */
};

struct cli_example {
    const char *comment; /* what it is good for */
    const char *line;    /* what to type */
};

struct cli_command {
    const char *name;                     /* one word or two: "host pair" */
    const char *summary;                  /* one line, no full stop */
    const char *description;              /* whole sentences; \n\n between paragraphs */
    const struct cli_argument *arguments; /* or NULL */
    const struct cli_option *options;     /* or NULL; the common ones are not in it */
    const struct cli_example *examples;

    /* Does the work. On failure sets `*error`, and what is returned does not matter. */
    enum cli_exit (*run)(struct cli *cli, GError **error);
};

/* One call of the program. Owned by main(). */
struct cli {
    const struct cli_command *command;
    GHashTable *values;   /* option name -> its text, "" for flags; the last of several */
    GPtrArray *given;     /* name and text of each option that repeats, in order; not owned */
    GPtrArray *arguments; /* of char *, not owned */
    gboolean json, quiet;
    char *remedy;      /* replaces the catalogue's remedy of the error returned, if set */
    CliClient *client; /* made by the first cli_client() */
    const char *socket;
    FILE *out, *err;
};

/* --- The table --- */

/* In the order of the help; ends in NULL. */
extern const struct cli_command *const cli_commands[];

/* --json and so on, which every command takes; ends in an entry without a name. */
extern const struct cli_option cli_common_options[];

/* The command of that exact name, or NULL. */
const struct cli_command *cli_command_find(const char *name);

/* Whether some command's name begins with the word `group`. */
gboolean cli_is_group(const char *group);

/* --- For commands --- */

/* The n-th argument, or NULL if it was not given. */
const char *cli_argument(const struct cli *cli, guint n);

/* The text of an option of the command's own table or the common ones, or NULL if not given. */
const char *cli_option(const struct cli *cli, const char *name);
/* The n-th text of an option that repeats, or NULL. */
const char *cli_option_nth(const struct cli *cli, const char *name, guint n);
gboolean cli_flag(const struct cli *cli, const char *name);

/* The connection to lpmd, which lives as long as `cli`; NULL if it cannot be set up. */
CliClient *cli_client(struct cli *cli, GError **error);

/* client_call() on cli_client(). The caller owns the answer. Consumes `body`. */
json_t *cli_call(struct cli *cli, const char *method, const char *path, json_t *body,
                 GError **error);

/* Fails with LPM_E_USAGE; the remedy is "See 'lpm help COMMAND'". Returns FALSE. */
gboolean cli_usage(struct cli *cli, GError **error, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* "name" or "name/rest" under `prefix`, percent-encoded so that no name can lead elsewhere. */
char *cli_path(const char *prefix, const char *name, const char *rest);

/* Writes one document to stdout: indented, or on one line if `compact`. */
void cli_json(const struct cli *cli, const json_t *document, gboolean compact);

/* A line for people: nothing with --json or --quiet. */
void cli_say(const struct cli *cli, const char *format, ...) G_GNUC_PRINTF(2, 3);

#endif
