/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/*
 * The disk log: what one 512-byte block of it holds, and how a whole log is read.
 *
 * Block 0 is the head: it names the log (its epoch, a random number). Block 1+N holds record N.
 * A record carries its own place (sequence), the epoch, and the checksum of the record before it.
 * The chain is what tells two writers of one disk apart: if a partition ever ran twice, each
 * copy's records are valid by themselves but do not follow from each other.
 *
 *   0 magic u32 | 4 version u16 | 6 payload length u16 | 8 epoch u64 | 16 sequence u64
 *  24 client u64 | 32 number u64 | 40 wall clock us u64 | 48 monotonic us u64 | 56 previous sum u64
 *  64 payload, zeros up to 504 | 504 sum u64 over bytes 0..503
 * The head has the same frame with its own magic and only the epoch set. All little-endian.
 */
#ifndef LEDGER_RECORD_H
#define LEDGER_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "util.h"

#define BLOCK_SIZE 512u
#define PAYLOAD_MAX 256u

struct record {
    uint64_t epoch;
    uint64_t sequence;
    uint64_t client;
    uint64_t number;
    uint64_t wall_us;
    uint64_t mono_us;
    uint64_t previous; /* sum of the record before; the epoch for record 0 */
    uint64_t sum;      /* set by encode and decode */
    uint16_t payload_len;
    uint8_t payload[PAYLOAD_MAX];
};

enum block_kind {
    BLOCK_RECORD, /* whole and of this epoch */
    BLOCK_BAD,    /* was a record of this epoch, its checksum or its lengths are wrong */
    BLOCK_OTHER,  /* anything else: never written, zeros, an older log */
};

/* Writes BLOCK_SIZE bytes to BLOCK and sets rec->sum; payload_len must be <= PAYLOAD_MAX. */
void record_encode(struct record *rec, uint8_t *block);

/* Says what BLOCK is; REC is complete only for BLOCK_RECORD. */
enum block_kind record_decode(const uint8_t *block, uint64_t epoch, struct record *rec);

void head_encode(uint64_t epoch, uint8_t *block);

/* True and the epoch when BLOCK is an undamaged head. */
bool head_decode(const uint8_t *block, uint64_t *epoch);

/* The payload a client sends for a number: the checker can make it again. LEN <= PAYLOAD_MAX. */
void payload_make(uint64_t client, uint64_t number, uint8_t *payload, uint16_t len);

/* What a scan found. A block is corrupt when it is damaged, misplaced, or blank before a record. */
struct scan {
    uint64_t records; /* good records */
    uint64_t corrupt;
    uint64_t first_corrupt; /* sequence of the first, when corrupt != 0 */
    uint64_t chain_breaks;  /* a record whose predecessor is good, but is not the one it names */
    uint64_t end;           /* sequence after the last good record */
    uint64_t last_sum;      /* sum of the last good record; the epoch when there is none */
};

/* Called for each good record in order of its place. */
typedef void (*record_fn)(void *user, const struct record *rec);

/*
 * Reads records 0..LIMIT-1 of the log EPOCH on FD (any alignment O_DIRECT may ask for is kept) and
 * calls EACH (may be NULL) for every good one. A non-zero GIVE_UP ends the scan once at least that
 * many blocks in a row held no record; 0 reads to LIMIT. False with ERR when reading fails.
 */
bool record_scan(int fd, uint64_t epoch, uint64_t limit, uint64_t give_up, record_fn each,
                 void *user, struct scan *scan, struct err *err);

#endif
