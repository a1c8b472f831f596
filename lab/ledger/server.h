/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/*
 * ledgerd's loop.
 *
 * Theory of operation. One thread owns the connections, the disk log and the book. It reads what
 * has come on all connections, makes the writes found there durable with one write to the disk
 * (at most BATCH_MAX), applies them to the book, and only then queues the acknowledgements. So an
 * acknowledgement always means: on the disk and in memory. A verification runs in a thread of its
 * own on a copy of the book, so that the clients hear no pause from it; its reply comes back
 * through a pipe. There are no time-outs: a partition that stands still for a minute must find
 * its connections as they were.
 */
#ifndef LEDGER_SERVER_H
#define LEDGER_SERVER_H

#include "book.h"
#include "disklog.h"
#include "table.h"

struct server;

/* Takes over LOG, BOOK and TABLE (freed by server_free()); FOUND is what opening the log found. */
struct server *server_new(struct disklog *log, struct book *book, struct table *table,
                          const struct scan *found, struct err *err);
/* Listens on ADDRESS (dotted) and PORT (0: any); the port it got, or 0 with ERR. */
uint16_t server_listen(struct server *server, const char *address, uint16_t port, struct err *err);
/* Serves until server_stop(); false with ERR when it cannot go on. */
bool server_run(struct server *server, struct err *err);
/* May be called from a signal handler. */
void server_stop(struct server *server);
void server_free(struct server *server);

#endif
