/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
#include "record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"

#define RECORD_MAGIC 0x5452474cu /* "LGRT" */
#define HEAD_MAGIC 0x4448474cu   /* "LGHD" */
#define VERSION 1
#define PAYLOAD_AT 64u
#define SUM_AT (BLOCK_SIZE - 8u)
#define CHUNK_BLOCKS 2048u /* 1 MiB per read: few calls, little memory */

static uint64_t block_sum(const uint8_t *block)
{
    return sum64(RECORD_MAGIC, block, SUM_AT);
}

void record_encode(struct record *rec, uint8_t *block)
{
    memset(block, 0, BLOCK_SIZE);
    put32(block, RECORD_MAGIC);
    put16(block + 4, VERSION);
    put16(block + 6, rec->payload_len);
    put64(block + 8, rec->epoch);
    put64(block + 16, rec->sequence);
    put64(block + 24, rec->client);
    put64(block + 32, rec->number);
    put64(block + 40, rec->wall_us);
    put64(block + 48, rec->mono_us);
    put64(block + 56, rec->previous);
    memcpy(block + PAYLOAD_AT, rec->payload, rec->payload_len);
    rec->sum = block_sum(block);
    put64(block + SUM_AT, rec->sum);
}

enum block_kind record_decode(const uint8_t *block, uint64_t epoch, struct record *rec)
{
    if (get32(block) != RECORD_MAGIC || get64(block + 8) != epoch)
        return BLOCK_OTHER;
    uint16_t len = get16(block + 6);
    if (get16(block + 4) != VERSION || len > PAYLOAD_MAX ||
        get64(block + SUM_AT) != block_sum(block))
        return BLOCK_BAD;
    rec->epoch = epoch;
    rec->sequence = get64(block + 16);
    rec->client = get64(block + 24);
    rec->number = get64(block + 32);
    rec->wall_us = get64(block + 40);
    rec->mono_us = get64(block + 48);
    rec->previous = get64(block + 56);
    rec->sum = get64(block + SUM_AT);
    rec->payload_len = len;
    memcpy(rec->payload, block + PAYLOAD_AT, len);
    return BLOCK_RECORD;
}

void head_encode(uint64_t epoch, uint8_t *block)
{
    memset(block, 0, BLOCK_SIZE);
    put32(block, HEAD_MAGIC);
    put16(block + 4, VERSION);
    put64(block + 8, epoch);
    put64(block + SUM_AT, block_sum(block));
}

bool head_decode(const uint8_t *block, uint64_t *epoch)
{
    if (get32(block) != HEAD_MAGIC || get16(block + 4) != VERSION)
        return false;
    *epoch = get64(block + 8);
    return get64(block + SUM_AT) == block_sum(block);
}

void payload_make(uint64_t client, uint64_t number, uint8_t *payload, uint16_t len)
{
    uint64_t state = mix64(client ^ mix64(number)) | 1;
    for (uint16_t at = 0; at < len; at = (uint16_t)(at + 8)) {
        uint8_t word[8];
        put64(word, rng_next(&state));
        memcpy(payload + at, word, len - at < 8 ? (size_t)(len - at) : 8);
    }
}

/*
 * Takes the block at SEQUENCE into the result. What is not a good record is only known to be
 * damage once a good one follows it; a bad block after the last good one stays in TAIL.
 */
static void scan_block(struct scan *scan, uint64_t *tail, const uint8_t *block, uint64_t epoch,
                       uint64_t sequence, record_fn each, void *user)
{
    struct record rec;
    enum block_kind kind = record_decode(block, epoch, &rec);
    if (kind == BLOCK_OTHER)
        return;
    if (kind == BLOCK_BAD || rec.sequence != sequence) {
        (*tail)++;
        return;
    }
    if (sequence > scan->end) {
        if (!scan->corrupt)
            scan->first_corrupt = scan->end;
        scan->corrupt += sequence - scan->end;
    } else if (rec.previous != scan->last_sum) {
        scan->chain_breaks++;
    }
    *tail = 0;
    scan->records++;
    scan->end = sequence + 1;
    scan->last_sum = rec.sum;
    if (each)
        each(user, &rec);
}

bool record_scan(int fd, uint64_t epoch, uint64_t limit, uint64_t give_up, record_fn each,
                 void *user, struct scan *scan, struct err *err)
{
    *scan = (struct scan){.last_sum = epoch};
    void *buf;
    if (posix_memalign(&buf, 4096, CHUNK_BLOCKS * BLOCK_SIZE))
        return err_set(err, "out of memory for reading the log");
    uint64_t tail = 0;
    bool ok = true;
    for (uint64_t at = 0; at < limit; at += CHUNK_BLOCKS) {
        uint64_t n = limit - at < CHUNK_BLOCKS ? limit - at : CHUNK_BLOCKS;
        int rc = pread_all(fd, buf, n * BLOCK_SIZE, (at + 1) * BLOCK_SIZE);
        if (rc) {
            ok = err_set(err, "reading the log at record %llu: %s", (unsigned long long)at,
                         strerror(-rc));
            break;
        }
        for (uint64_t i = 0; i < n; i++)
            scan_block(scan, &tail, (uint8_t *)buf + i * BLOCK_SIZE, epoch, at + i, each, user);
        if (give_up && at + n - scan->end >= give_up)
            break;
    }
    if (tail && !scan->corrupt)
        scan->first_corrupt = scan->end;
    scan->corrupt += tail;
    free(buf);
    return ok;
}
