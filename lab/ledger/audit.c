/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
#include "audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal.h"
#include "record.h"

struct state {
    struct audit *audit;
    struct journal_head head;
    struct bits acked[RUN_CONNECTIONS_MAX];
    struct bits on_disk[RUN_CONNECTIONS_MAX];
    bool out_of_memory;
};

static void take_event(void *user, const struct journal_event *e)
{
    struct state *st = user;
    if (e->kind != 'A' && e->kind != 'D')
        return;
    if (!bits_reserve(&st->acked[e->connection], e->number))
        st->out_of_memory = true;
    else if (!bits_get(&st->acked[e->connection], e->number)) {
        bits_set(&st->acked[e->connection], e->number);
        st->audit->acknowledged++;
    }
}

static bool payload_right(const struct record *rec, uint64_t len)
{
    uint8_t want[PAYLOAD_MAX];
    if (rec->payload_len != len)
        return false;
    payload_make(rec->client, rec->number, want, rec->payload_len);
    return memcmp(want, rec->payload, rec->payload_len) == 0;
}

static void take_record(void *user, const struct record *rec)
{
    struct state *st = user;
    struct audit *a = st->audit;
    uint64_t connection = (rec->client & UINT32_MAX) - 1;
    if (rec->client >> 32 != st->head.run || connection >= st->head.connections) {
        a->other_runs++;
        return;
    }
    if (rec->number > BOOK_NUMBER_MAX || !payload_right(rec, st->head.payload)) {
        a->corrupt++;
        return;
    }
    struct bits *seen = &st->on_disk[connection];
    if (!bits_reserve(seen, rec->number)) {
        st->out_of_memory = true;
        return;
    }
    if (bits_get(seen, rec->number)) {
        if (a->named_doubled < AUDIT_NAMED)
            a->doubled_items[a->named_doubled++] =
                (struct audit_item){(unsigned)connection, rec->number};
        a->doubled++;
        return;
    }
    bits_set(seen, rec->number);
    if (!bits_get(&st->acked[connection], rec->number))
        a->extra++;
}

static void count_lost(struct state *st)
{
    struct audit *a = st->audit;
    for (unsigned c = 0; c < st->head.connections; c++) {
        for (uint64_t n = 0; n < st->acked[c].size; n++) {
            if (!bits_get(&st->acked[c], n) || bits_get(&st->on_disk[c], n))
                continue;
            if (a->named_lost < AUDIT_NAMED)
                a->lost_items[a->named_lost++] = (struct audit_item){c, n};
            a->lost++;
        }
    }
}

static bool read_disk(struct state *st, const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, "cannot open %s: %s", path, strerror(errno));
    /* Another host may have written to the device since this one last read it. */
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    off_t size = lseek(fd, 0, SEEK_END);
    uint8_t head[BLOCK_SIZE];
    uint64_t epoch = 0;
    bool ok = true;
    st->audit->has_log = size >= (off_t)sizeof head && pread_all(fd, head, sizeof head, 0) == 0 &&
                         head_decode(head, &epoch);
    if (st->audit->has_log) {
        struct scan scan;
        ok =
            record_scan(fd, epoch, (uint64_t)size / BLOCK_SIZE - 1, 0, take_record, st, &scan, err);
        st->audit->corrupt += scan.corrupt;
        st->audit->chain_breaks = scan.chain_breaks;
        st->audit->disk_records = scan.records;
    }
    close(fd);
    return ok;
}

bool audit_run(const char *journal, const char *disk, struct audit *audit, struct err *err)
{
    *audit = (struct audit){0};
    struct state *st = calloc(1, sizeof *st);
    if (!st)
        return err_set(err, "out of memory");
    st->audit = audit;
    bool ok = journal_read(journal, &st->head, take_event, st, err) && read_disk(st, disk, err);
    if (ok && st->out_of_memory)
        ok = err_set(err, "out of memory for the numbers of the journal");
    if (ok)
        count_lost(st);
    for (unsigned c = 0; c < RUN_CONNECTIONS_MAX; c++) {
        free(st->acked[c].map);
        free(st->on_disk[c].map);
    }
    free(st);
    return ok;
}

bool audit_clean(const struct audit *a)
{
    return a->has_log && !a->lost && !a->doubled && !a->corrupt && !a->chain_breaks;
}
