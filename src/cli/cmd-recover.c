/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/text.h"

#include "base/error.h"

#include <string.h>

static void print_sentences(const struct cli *cli, const json_t *list, const char *mark)
{
    json_t *sentence;
    size_t i;

    json_array_foreach (list, i, sentence) {
        g_autofree char *text = text_clean(json_string_value(sentence));
        fprintf(cli->out, "  %s %s\n", mark, text);
    }
}

static void print_one(const struct cli *cli, const json_t *recovery)
{
    g_autofree char *partition = field_text(recovery, "partition");
    g_autofree char *owner = field_text(recovery, "owner");
    gboolean known = json_is_string(json_object_get(recovery, "owner"));

    if (known)
        fprintf(cli->out, "%s: owned by %s\n", partition, owner);
    else
        fprintf(cli->out, "%s: IN DOUBT, and kept paused until it is settled\n", partition);
    print_sentences(cli, json_object_get(recovery, "why"), "because");
    print_sentences(cli, json_object_get(recovery, "did"), "done:");
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    const char *partition = cli_argument(cli, 0), *fenced = cli_option(cli, "fenced");
    enum cli_exit code = CLI_OK;
    json_t *body, *answer, *recovery;
    size_t i;

    if (cli_flag(cli, "all") == (partition != NULL)) {
        cli_usage(cli, error, "name one partition, or give --all");
        return CLI_USAGE;
    }
    if (fenced && !partition) {
        cli_usage(cli, error, "--fenced is sworn for one partition at a time: name it");
        return CLI_USAGE;
    }
    if (cli_flag(cli, "discard") && !fenced) {
        cli_usage(cli, error, "--discard needs --fenced HOST");
        return CLI_USAGE;
    }
    body = json_pack("{s:s*, s:s*}", "partition", partition, "fenced", fenced);
    if (cli_flag(cli, "discard"))
        json_object_set_new(body, "discard", json_true());
    answer = cli_call(cli, "POST", "/v1/recover", body, error);
    if (!answer)
        return CLI_INTERNAL;
    json_t *list = json_object_get(answer, "recoveries");
    json_array_foreach (list, i, recovery) {
        if (g_strcmp0(json_string_value(json_object_get(recovery, "verdict")), "in-doubt") == 0)
            code = CLI_IN_DOUBT;
        if (!cli->json)
            print_one(cli, recovery);
    }
    if (cli->json)
        cli_json(cli, answer, FALSE);
    else if (!json_array_size(list))
        cli_say(cli, "Nothing is unfinished here.\n");
    json_decref(answer);
    return code;
}

const struct cli_command cmd_recover = {
    .name = "recover",
    .summary = "Finish or undo what a failure left, and say who owns the partition",
    .description =
        "Names the one host that owns the partition and why, finishes or undoes its migration, and "
        "removes what was left over. It may be run on either host, at any time and again; lpmd "
        "does the same by itself as soon as it can.\n\n"
        "There is one instant at which a host cannot know: it holds a complete paused copy, or has "
        "given its own up, and the other host does not answer. Then the partition stays as it is "
        "(exit code 8) until the other host answers, or until you swear with --fenced that it is "
        "switched off and cannot come back with the partition running. An untrue oath can make the "
        "partition run twice.\n\n"
        "On a target the oath also says that the partition has not run on the other host since the "
        "copy became complete, an instant that lpm tells: had it been rolled back to, its disks "
        "would be newer than the copy. If it has run since, add --discard: the copy goes, and the "
        "definition stays here, to be started from the disks.",
    .arguments =
        (const struct cli_argument[]){
            {"PARTITION", "the partition, by name or UUID", TRUE, CLI_WORDS_PARTITIONS},
            {.name = NULL},
        },
    .options =
        (const struct cli_option[]){
            {.name = "all", .help = "everything that is unfinished on this host"},
            {.name = "fenced",
             .argument = "HOST",
             .help = "HOST, the other one, is switched off and stays so; this is journalled",
             .words = CLI_WORDS_HOSTS},
            {.name = "discard",
             .help = "with --fenced, on a target: the partition has run on HOST since; end the "
                     "copy here and keep the definition"},
            {.name = NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"who owns web?", "lpm recover web"},
            {"after a power cut", "lpm recover --all"},
            {"beta burnt down while web was handed over", "lpm recover web --fenced beta"},
            {.line = NULL},
        },
    .run = run,
};
