/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/* What the subcommands of `ledger` share: exit codes, options, one connection for questions. */
#ifndef LEDGER_CLIENT_H
#define LEDGER_CLIENT_H

#include <netinet/in.h>

#include "proto.h"
#include "util.h"

enum exit_code {
    EXIT_OK = 0,
    EXIT_WRONG = 1, /* lost, doubled, reset, memory bad; or the work could not be done */
    EXIT_USAGE = 2,
    EXIT_CONNECT = 3,
};

struct command {
    const char *name, *usage, *what;
    int (*run)(int argc, char **argv);
};

int cmd_run(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_gaps(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_rate(int argc, char **argv);
int cmd_watch(int argc, char **argv);

/* One --NAME VALUE (or --NAME=VALUE) option of a subcommand; VALUE stays NULL when not given. */
struct opt {
    const char *name;
    const char *value;
};
/* Fills OPTS (ended by a NULL name); false with ERR for anything that is not one of them. */
bool opts_parse(int argc, char **argv, struct opt *opts, struct err *err);
/* The number in OPT, or DEFAULT_VALUE when it was not given; false with ERR outside MIN..MAX. */
bool opt_number(const struct opt *opt, uint64_t default_value, uint64_t min, uint64_t max,
                uint64_t *value, struct err *err);

/* "ADDRESS:PORT", dotted. */
bool parse_to(const char *text, struct sockaddr_in *to, struct err *err);

/* Prints ERR as `ledger: ...` and returns CODE. */
int fail(const struct err *err, int code);

/* A blocking connection; -1 with ERR. WAIT_US: how long to go on trying. */
int ask_connect(const struct sockaddr_in *to, int64_t wait_us, struct err *err);

/*
 * Sends REQUEST and waits for its reply, at most TIMEOUT_US; the reply's payload lies in BUFFER
 * (FRAME_MAX bytes). A BUSY service is asked again within the time. False with ERR.
 */
bool ask(int fd, const struct frame *request, int64_t timeout_us, uint8_t *buffer,
         struct frame *reply, struct err *err);

bool ask_verify(int fd, uint32_t run, struct verify_reply *reply, struct err *err);

/* Prints a reply's fields as members of a JSON object, without the braces. */
void print_status_fields(const struct status_reply *reply);
void print_verify_fields(const struct verify_reply *reply);
/* A JSON string, quoted and escaped. */
void print_json_string(const char *text);

#endif
