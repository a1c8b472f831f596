/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/*
 * The service's end of the disk log: opens it, finds its end, appends durably.
 * disklog_append() belongs to one thread; disklog_scan() of what is already there may run in
 * another at the same time.
 */
#ifndef LEDGER_DISKLOG_H
#define LEDGER_DISKLOG_H

#include "record.h"

#define BATCH_MAX 128u /* records made durable by one write */

struct disklog {
    int fd;
    bool direct;       /* O_DIRECT, not only O_DSYNC */
    uint64_t capacity; /* records */
    uint64_t epoch;
    uint64_t next; /* sequence of the next record */
    uint64_t last_sum;
    uint64_t slowest_us; /* longest write */
    uint8_t *buffer;     /* BATCH_MAX blocks, aligned */
};

/*
 * Opens PATH, a block device or a file that has its full size. An existing log is continued (EACH
 * is called for its records) unless FRESH; otherwise a new one is begun. A file system that
 * refuses O_DIRECT gets O_DSYNC alone. False with ERR.
 */
bool disklog_open(struct disklog *log, const char *path, bool fresh, record_fn each, void *user,
                  struct scan *found, struct err *err);
void disklog_close(struct disklog *log);

/*
 * Gives N <= BATCH_MAX records their place in the log, and returns once they are durable. 0 or
 * -errno; after an error none of them counts and their places are used again (-ENOSPC: full).
 */
int disklog_append(struct disklog *log, struct record *recs, unsigned n);

#endif
