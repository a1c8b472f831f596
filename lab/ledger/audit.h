/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/* A journal against a disk log, without asking the service: what "nothing was lost" rests on. */
#ifndef LEDGER_AUDIT_H
#define LEDGER_AUDIT_H

#include "util.h"

#define AUDIT_NAMED 16u /* this many of the lost and of the doubled are named */

struct audit_item {
    unsigned connection;
    uint64_t number;
};

struct audit {
    uint64_t acknowledged;
    uint64_t lost;    /* acknowledged, not on the disk */
    uint64_t doubled; /* records beyond the first of their number, of this run */
    uint64_t extra;   /* on the disk, never acknowledged to this run's client */
    uint64_t corrupt; /* damaged, misplaced or missing blocks, and records with a wrong payload */
    uint64_t chain_breaks;
    uint64_t disk_records; /* good ones, of all runs */
    uint64_t other_runs;
    bool has_log; /* the disk has a log's head at all */
    unsigned named_lost, named_doubled;
    struct audit_item lost_items[AUDIT_NAMED], doubled_items[AUDIT_NAMED];
};

/* False with ERR when the files cannot be read; what is wrong with the data is in AUDIT. */
bool audit_run(const char *journal, const char *disk, struct audit *audit, struct err *err);

/* True when every acknowledged write is on the disk exactly once and the log is whole. */
bool audit_clean(const struct audit *audit);

#endif
