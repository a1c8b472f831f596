/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The completion for bash: three tables made from the command table, and a fixed function over
 * them. It needs no library of completions. Names come from lpmd, may hold anything and are quoted,
 * never evaluated: `compgen -W` would expand them. */
#include "cli/help.h"

#include <string.h>

const char *help_words_name(enum cli_words words)
{
    switch (words) {
    case CLI_WORDS_PARTITIONS:
        return "partitions";
    case CLI_WORDS_HOSTS:
        return "hosts";
    case CLI_WORDS_MIGRATIONS:
        return "migrations";
    case CLI_WORDS_MOVERS:
        return "movers";
    case CLI_WORDS_NONE:
    case CLI_WORDS_COMMANDS:
    case CLI_WORDS_FILES:
    case CLI_WORDS_SHELLS:
        break;
    }
    return NULL;
}

static const char *kind_of(enum cli_words words)
{
    switch (words) {
    case CLI_WORDS_COMMANDS:
        return "@commands";
    case CLI_WORDS_FILES:
        return "@files";
    case CLI_WORDS_SHELLS:
        return "@shells";
    default:
        return help_words_name(words) ? help_words_name(words) : "@none";
    }
}

static void put_values(FILE *out, const char *command, const struct cli_option *options)
{
    for (; options && options->name; options++) {
        if (options->argument)
            fprintf(out, "    ['%s --%s']=%s\n", command, options->name, kind_of(options->words));
    }
}

static void put_options(FILE *out, const struct cli_option *options)
{
    for (; options && options->name; options++)
        fprintf(out, " --%s", options->name);
}

static void put_tables(FILE *out)
{
    fputs("# The options of each command; a group's words.\ndeclare -gA _lpm_options=(\n", out);
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        fprintf(out, "    ['%s']='", (*c)->name);
        put_options(out, (*c)->options);
        put_options(out, cli_common_options);
        fputs("'\n", out);
    }
    fputs(")\n# What the argument of an option is.\ndeclare -gA _lpm_values=(\n", out);
    put_values(out, "", cli_common_options);
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        put_values(out, (*c)->name, (*c)->options);
        put_values(out, (*c)->name, cli_common_options);
    }
    fputs(")\n# What the arguments of a command are, in order.\ndeclare -gA _lpm_arguments=(\n",
          out);
    for (const struct cli_command *const *c = cli_commands; *c; c++) {
        fprintf(out, "    ['%s']='", (*c)->name);
        for (const struct cli_argument *a = (*c)->arguments; a && a->name; a++)
            fprintf(out, " %s", kind_of(a->words));
        fputs("'\n", out);
    }
    fputs(")\n\n", out);
}

static const char function[] =
    "_lpm_offer() { # PREFIX WORD...: those that begin with it, quoted\n"
    "    local prefix=$1 word quoted\n"
    "    shift\n"
    "    for word; do\n"
    "        [[ $word == \"$prefix\"* ]] || continue\n"
    "        printf -v quoted %q \"$word\"\n"
    "        COMPREPLY+=(\"$quoted\")\n"
    "    done\n"
    "}\n"
    "\n"
    "_lpm_offer_commands() { # PREFIX GROUP: the words that can follow the group, or begin a line\n"
    "    local name\n"
    "    local -A seen=()\n"
    "    for name in \"${!_lpm_options[@]}\"; do\n"
    "        [[ -z $2 || $name == \"$2 \"* ]] || continue\n"
    "        [[ -z $2 ]] || name=${name#\"$2 \"}\n"
    "        seen[${name%% *}]=1\n"
    "    done\n"
    "    _lpm_offer \"$1\" \"${!seen[@]}\"\n"
    "}\n"
    "\n"
    "_lpm_offer_kind() { # PREFIX KIND\n"
    "    local names\n"
    "    case $2 in\n"
    "    @none | '') ;;\n"
    "    @files) mapfile -t COMPREPLY < <(compgen -f -- \"$1\") ;;\n"
    "    @shells) _lpm_offer \"$1\" bash ;;\n"
    "    @commands) _lpm_offer_commands \"$1\" '' ;;\n"
    "    *)\n"
    "        mapfile -t names < <(lpm completion \"$2\" \"${socket[@]}\" 2>/dev/null)\n"
    "        _lpm_offer \"$1\" \"${names[@]}\"\n"
    "        ;;\n"
    "    esac\n"
    "}\n"
    "\n"
    "_lpm() {\n"
    "    local current=${COMP_WORDS[COMP_CWORD]} command='' group='' word i\n"
    "    local -i given=0\n"
    "    local -a socket=() kinds\n"
    "    COMPREPLY=()\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]}\n"
    "        if [[ -n ${_lpm_values[\"$command $word\"]} ]]; then\n"
    "            if ((++i == COMP_CWORD)); then\n"
    "                _lpm_offer_kind \"$current\" \"${_lpm_values[\"$command $word\"]}\"\n"
    "                return\n"
    "            fi\n"
    "            [[ $word != --socket ]] || socket=(--socket \"${COMP_WORDS[i]}\")\n"
    "        elif [[ $word == -* ]]; then\n"
    "            continue\n"
    "        elif [[ -n $command ]]; then\n"
    "            given+=1\n"
    "        elif [[ -n ${_lpm_options[\"${group:+$group }$word\"]} ]]; then\n"
    "            command=${group:+$group }$word\n"
    "        else\n"
    "            group=$word\n"
    "        fi\n"
    "    done\n"
    "    if [[ $current == -* ]]; then\n"
    "        read -ra kinds <<<\"${_lpm_options[\"${command:-version}\"]}\"\n"
    "        _lpm_offer \"$current\" \"${kinds[@]}\"\n"
    "    elif [[ -z $command ]]; then\n"
    "        _lpm_offer_commands \"$current\" \"$group\"\n"
    "    else\n"
    "        read -ra kinds <<<\"${_lpm_arguments[\"$command\"]}\"\n"
    "        _lpm_offer_kind \"$current\" \"${kinds[given]}\"\n"
    "    fi\n"
    "}\n"
    "complete -F _lpm lpm\n";

void help_print_bash_completion(FILE *out)
{
    fputs("# SPDX-License-Identifier: LGPL-2.1-or-later\n"
          "# Copyright 2026 The OpenLPM authors\n"
          "# bash completion of lpm, written by 'lpm completion bash'.\n\n",
          out);
    put_tables(out);
    fputs(function, out);
}
