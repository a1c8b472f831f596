/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/* ledgerd's options: from the kernel's command line (ledger.NAME=VALUE), then from argv, which
 * wins. */
#ifndef LEDGER_OPTIONS_H
#define LEDGER_OPTIONS_H

#include "table.h"

struct options {
    char disk[256];
    char listen[64];
    char marker[MARKER_MAX + 1];
    uint64_t port, mem, hot, dirty, content;
    uint64_t fresh; /* 1: begin a new log even if there is one */
    bool help;
};

void options_defaults(struct options *opt);
/* Takes the ledger.* words out of TEXT, which is the content of /proc/cmdline; ignores the rest. */
bool options_from_cmdline(struct options *opt, const char *text, struct err *err);
/* --NAME VALUE or --NAME=VALUE; --fresh and --help stand alone. */
bool options_from_argv(struct options *opt, int argc, char **argv, struct err *err);

#endif
