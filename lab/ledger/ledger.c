/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/* ledger: the client of ledgerd, and the checker of what it left behind. See README.md. */
#include <stdio.h>
#include <string.h>

#include "client.h"

static const struct command commands[] = {
    {"run",
     "--to A:P --journal FILE [--connections N] [--rate N] [--seconds N] [--payload N]\n"
     "                [--window N] [--drain SECONDS] [--wait SECONDS]",
     "write at a steady rate until SIGTERM or the time is over; report", cmd_run},
    {"verify", "--journal FILE --disk FILE-OR-DEVICE",
     "is every acknowledged write on the disk exactly once?", cmd_verify},
    {"gaps", "--journal FILE [--from US] [--to US] [--top N]",
     "the longest times without an acknowledgement", cmd_gaps},
    {"status", "--to A:P [--wait SECONDS]", "the service's counters", cmd_status},
    {"check", "--to A:P [--wait SECONDS]",
     "let the service check its memory, and its disk against it", cmd_check},
    {"rate", "--to A:P [--dirty SIZE] [--content random|text|mostly] [--wait SECONDS]",
     "change how fast and with what the service dirties its memory", cmd_rate},
    {"watch", "--to A:P [--seconds N] [--wait SECONDS]", "status, every second", cmd_watch},
};

static int usage(FILE *out, int code)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        fprintf(out, "ledger %-8s %s\n                %s\n", commands[i].name, commands[i].usage,
                commands[i].what);
    return code;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help")))
        return usage(stdout, EXIT_OK);
    for (size_t i = 0; argc >= 2 && i < sizeof commands / sizeof commands[0]; i++) {
        if (!strcmp(argv[1], commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    }
    if (argc >= 2)
        fprintf(stderr, "ledger: unknown command '%.40s'\n", argv[1]);
    return usage(stderr, EXIT_USAGE);
}
