/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/*
 * The load: writes on several connections at a steady total rate.
 *
 * Theory of operation. The schedule is open-loop: write K is due at start + K/rate, on connection
 * K modulo the number of connections, whether or not earlier ones were acknowledged. Only when a
 * connection already has WINDOW writes waiting, or is not connected, is a due write withheld (and
 * counted). One thread, one poll loop. An unacknowledged write whose connection ended is not sent
 * again: sending it again would hide whether it was applied.
 *
 * The gap is the longest time without any acknowledgement on all connections while the client
 * waited for one. The wait begins when a write is due and nothing is waiting, or with the last
 * acknowledgement; it goes on across resets.
 */
#ifndef LEDGER_LOAD_H
#define LEDGER_LOAD_H

#include <netinet/in.h>

#include "journal.h"

struct load_options {
    struct sockaddr_in to;
    unsigned connections;
    uint64_t rate; /* writes per second, all connections together */
    uint64_t payload, window;
    int64_t seconds; /* 0: until a signal */
    int64_t drain_us, wait_us;
};

#define LOAD_ERRORS_MAX 16u

struct load_report {
    uint64_t sent, acknowledged, doubled, refused, unacknowledged, withheld;
    uint64_t resets, reconnects;
    int64_t gap_us, gap_begin, gap_end; /* CLOCK_MONOTONIC; all 0 when nothing was sent */
    int64_t p50_us, p99_us, max_us, ran_us;
    unsigned errors_count;
    uint64_t errors_total; /* more may have happened than are kept */
    char errors[LOAD_ERRORS_MAX][160];
    struct bits
        acked[RUN_CONNECTIONS_MAX]; /* numbers per connection; freed by load_report_free() */
};

/*
 * Runs the load to its end. False with ERR when it could not start, that is, not connect. SIGTERM
 * and SIGINT end the sending; they are blocked on return. JOURNAL may be NULL.
 */
bool load_run(const struct load_options *opt, uint32_t run, FILE *journal,
              struct load_report *report, struct err *err);
void load_report_error(struct load_report *report, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void load_report_free(struct load_report *report);

#endif
