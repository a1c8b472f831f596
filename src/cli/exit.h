/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * What `lpm` returns to the shell. Stable: scripts depend on the numbers, which lpm(1) and
 * `lpm help exit-codes` print from the table in exit.c. A number is never given a second meaning.
 */
#ifndef LPM_CLI_EXIT_H
#define LPM_CLI_EXIT_H

#include <glib.h>
#include <jansson.h>

enum cli_exit {
    CLI_OK = 0,
    CLI_WARNING = 1,     /* it ended, but something is off and was said */
    CLI_USAGE = 2,       /* the command line, or a value in it */
    CLI_NOT_FOUND = 3,   /* no such partition, host, migration or mover */
    CLI_REFUSED = 4,     /* not now, or not by you: the conflict is named */
    CLI_UNREACHABLE = 5, /* lpmd, libvirt or the peer does not answer */
    CLI_FAILED = 6,      /* the migration failed; the partition is on its source */
    CLI_STOPPED = 7,     /* the migration was stopped; the partition is on its source */
    CLI_IN_DOUBT = 8,    /* whether the hand-over took place is not known yet */
    CLI_INTERNAL = 9,    /* a fault of this host or of OpenLPM */
    CLI_ENDED = 10,      /* the migration failed and the partition runs nowhere */
    CLI_DETACHED = 130,  /* Ctrl-C while waiting; the migration goes on */
};

struct cli_exit_info {
    enum cli_exit code;
    const char *meaning; /* one sentence without a full stop, static */
};

/* All codes in order; `*count` is set. */
const struct cli_exit_info *cli_exit_catalogue(gsize *count);

/* The exit code of an error that a command ends with, by its number in the catalogue (1003 of
 * LPM-1003). TRUE if the number has a line of its own, else `*code` is CLI_INTERNAL. */
gboolean cli_exit_of_number(int number, enum cli_exit *code);

/* The exit code of a migration (the object of the API) that has ended. A migration that failed
 * before anything was copied was in effect refused, and returns what its cause maps to if that is
 * 3, 4 or 5; one that failed later returns 6. A migration that has not ended returns CLI_OK. */
enum cli_exit cli_exit_of_migration(const json_t *migration);

#endif
