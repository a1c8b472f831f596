/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
#include "disklog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * A crash tears at most one batch, so the log's end is where this many blocks hold no record:
 * 4 MiB. The independent checker does not rely on it, it reads the whole device.
 */
#define END_GAP 8192u

static int try_open(const char *path, int extra, uint8_t *block)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_DSYNC | extra);
    if (fd < 0)
        return -errno;
    /* Some refuse O_DIRECT only when it is used. */
    int rc = pread_all(fd, block, BLOCK_SIZE, 0);
    if (rc) {
        close(fd);
        return rc;
    }
    return fd;
}

static bool open_disk(struct disklog *log, const char *path, struct err *err)
{
    log->fd = try_open(path, O_DIRECT, log->buffer);
    log->direct = log->fd >= 0;
    if (log->fd == -EINVAL)
        log->fd = try_open(path, 0, log->buffer);
    if (log->fd == -ENODATA)
        return err_set(err, "%s is empty; give it its full size first (truncate -s 64M)", path);
    if (log->fd < 0)
        return err_set(err, "cannot open %s: %s", path, strerror(-log->fd));
    off_t size = lseek(log->fd, 0, SEEK_END);
    if (size < (off_t)(2 * BLOCK_SIZE))
        return err_set(err, "%s has %lld bytes; a log needs 1024 at least", path, (long long)size);
    log->capacity = (uint64_t)size / BLOCK_SIZE - 1;
    return true;
}

static bool begin_log(struct disklog *log, const char *path, struct err *err)
{
    log->epoch = random_id();
    log->next = 0;
    log->last_sum = log->epoch;
    head_encode(log->epoch, log->buffer);
    int rc = pwrite_all(log->fd, log->buffer, BLOCK_SIZE, 0);
    return rc == 0 || err_set(err, "cannot write to %s: %s", path, strerror(-rc));
}

bool disklog_open(struct disklog *log, const char *path, bool fresh, record_fn each, void *user,
                  struct scan *found, struct err *err)
{
    *log = (struct disklog){.fd = -1};
    *found = (struct scan){0};
    void *buffer;
    if (posix_memalign(&buffer, 4096, (size_t)BATCH_MAX * BLOCK_SIZE))
        return err_set(err, "out of memory");
    log->buffer = buffer;
    bool ok = open_disk(log, path, err);
    if (ok && (fresh || !head_decode(log->buffer, &log->epoch))) {
        ok = begin_log(log, path, err);
    } else if (ok) {
        ok = record_scan(log->fd, log->epoch, log->capacity, END_GAP, each, user, found, err);
        log->next = found->end;
        log->last_sum = found->last_sum;
    }
    if (!ok)
        disklog_close(log);
    return ok;
}

void disklog_close(struct disklog *log)
{
    if (log->fd >= 0)
        close(log->fd);
    free(log->buffer);
    *log = (struct disklog){.fd = -1};
}

int disklog_append(struct disklog *log, struct record *recs, unsigned n)
{
    if (log->capacity - log->next < n)
        return -ENOSPC;
    uint64_t sum = log->last_sum;
    for (unsigned i = 0; i < n; i++) {
        recs[i].epoch = log->epoch;
        recs[i].sequence = log->next + i;
        recs[i].previous = sum;
        record_encode(&recs[i], log->buffer + (size_t)i * BLOCK_SIZE);
        sum = recs[i].sum;
    }
    int64_t start = now_us();
    int rc = pwrite_all(log->fd, log->buffer, (size_t)n * BLOCK_SIZE, (log->next + 1) * BLOCK_SIZE);
    uint64_t took = (uint64_t)(now_us() - start);
    if (took > log->slowest_us)
        log->slowest_us = took;
    if (rc)
        return rc;
    log->next += n;
    log->last_sum = sum;
    return 0;
}
