/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/*
 * The client's journal: what was acknowledged, and when. Text, one line per event, times in
 * microseconds of CLOCK_MONOTONIC on the client:
 *
 *   ledger-journal 1 run=HEX connections=N rate=N payload=N wall_offset_us=N
 *   A CONNECTION NUMBER SENT ACKED    acknowledged; lines are in the order of ACKED
 *   D CONNECTION NUMBER SENT ACKED    acknowledged as applied before: doubled
 *   F CONNECTION NUMBER SENT ACKED    refused by the service, not applied
 *   U CONNECTION NUMBER SENT TIME     never acknowledged: its connection ended, or the run did
 *   R CONNECTION 0 0 TIME             the connection was reset or closed
 *   C CONNECTION 0 0 TIME             it was connected again
 *
 * wall_offset_us is CLOCK_REALTIME minus CLOCK_MONOTONIC at the start.
 */
#ifndef LEDGER_JOURNAL_H
#define LEDGER_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "book.h"
#include "util.h"

#define RUN_CONNECTIONS_MAX 64u

struct journal_head {
    uint32_t run;
    unsigned connections;
    uint64_t rate, payload;
    int64_t wall_offset_us;
};

struct journal_event {
    char kind;
    unsigned connection;
    uint64_t number;
    int64_t sent, at;
};

/* The id under which a run's connection writes. */
static inline uint64_t client_id(uint32_t run, unsigned connection)
{
    return (uint64_t)run << 32 | (connection + 1);
}

/* Creates PATH; NULL with ERR. Written events reach the file within a second of journal_flush(). */
FILE *journal_create(const char *path, const struct journal_head *head, struct err *err);
void journal_write(FILE *file, const struct journal_event *event);

/*
 * Reads PATH, calling EACH (may be NULL) for every event. A last line cut short (the client was
 * killed) is left out; any other line that is not one of the above is an error. False with ERR.
 */
bool journal_read(const char *path, struct journal_head *head,
                  void (*each)(void *user, const struct journal_event *event), void *user,
                  struct err *err);

/* One silence: a time without any acknowledgement while a write was waiting for one. */
struct gap {
    int64_t begin, end;
};

/* The longest COUNT silences that touch [FROM, TO], longest first. Returns how many there are. */
bool journal_gaps(const char *path, int64_t from, int64_t to, struct gap *gaps, unsigned *count,
                  struct journal_head *head, struct err *err);

#endif
