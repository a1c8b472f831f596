/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
#include "journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 256

FILE *journal_create(const char *path, const struct journal_head *head, struct err *err)
{
    FILE *file = fopen(path, "we");
    if (!file) {
        err_set(err, "cannot create the journal %s: %s", path, strerror(errno));
        return NULL;
    }
    fprintf(file,
            "ledger-journal 1 run=%08" PRIx32 " connections=%u rate=%" PRIu64 " payload=%" PRIu64
            " wall_offset_us=%" PRId64 "\n",
            head->run, head->connections, head->rate, head->payload, head->wall_offset_us);
    return file;
}

void journal_write(FILE *file, const struct journal_event *e)
{
    if (file)
        fprintf(file, "%c %u %" PRIu64 " %" PRId64 " %" PRId64 "\n", e->kind, e->connection,
                e->number, e->sent, e->at);
}

static bool parse_head(const char *line, struct journal_head *head)
{
    return sscanf(line,
                  "ledger-journal 1 run=%" SCNx32 " connections=%u rate=%" SCNu64
                  " payload=%" SCNu64 " wall_offset_us=%" SCNd64,
                  &head->run, &head->connections, &head->rate, &head->payload,
                  &head->wall_offset_us) == 5 &&
           head->run && head->connections >= 1 && head->connections <= RUN_CONNECTIONS_MAX;
}

static bool parse_event(const char *line, const struct journal_head *head, struct journal_event *e)
{
    return sscanf(line, "%c %u %" SCNu64 " %" SCNd64 " %" SCNd64, &e->kind, &e->connection,
                  &e->number, &e->sent, &e->at) == 5 &&
           strchr("ADFURC", e->kind) && e->connection < head->connections &&
           e->number <= BOOK_NUMBER_MAX;
}

bool journal_read(const char *path, struct journal_head *head,
                  void (*each)(void *user, const struct journal_event *event), void *user,
                  struct err *err)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return err_set(err, "cannot open the journal %s: %s", path, strerror(errno));
    char line[LINE_MAX_BYTES];
    bool ok = fgets(line, sizeof line, file) && parse_head(line, head);
    if (!ok)
        err_set(err, "%s is no journal of this program", path);
    for (uint64_t number = 2; ok && fgets(line, sizeof line, file); number++) {
        struct journal_event event;
        if (!strchr(line, '\n') && feof(file))
            break;
        ok = parse_event(line, head, &event);
        if (!ok)
            err_set(err, "%s line %" PRIu64 " is damaged", path, number);
        else if (each)
            each(user, &event);
    }
    fclose(file);
    return ok;
}

struct acks {
    struct gap *pair; /* begin: sent, end: acknowledged */
    size_t count, size;
    bool failed;
};

static void collect_ack(void *user, const struct journal_event *e)
{
    struct acks *acks = user;
    if (e->kind != 'A' && e->kind != 'D' && e->kind != 'F')
        return;
    if (acks->count == acks->size) {
        size_t size = acks->size ? 2 * acks->size : 4096;
        struct gap *pair = realloc(acks->pair, size * sizeof *pair);
        if (!pair) {
            acks->failed = true;
            return;
        }
        acks->pair = pair;
        acks->size = size;
    }
    acks->pair[acks->count++] = (struct gap){e->sent, e->at};
}

/* Keeps GAPS sorted, longest first, and no more than MAX of them. */
static void keep_longest(struct gap *gaps, unsigned *have, unsigned max, struct gap gap)
{
    unsigned at = *have;
    while (at > 0 && gaps[at - 1].end - gaps[at - 1].begin < gap.end - gap.begin)
        at--;
    if (at >= max)
        return;
    unsigned last = *have < max ? (*have)++ : max - 1;
    memmove(gaps + at + 1, gaps + at, (last - at) * sizeof *gaps);
    gaps[at] = gap;
}

bool journal_gaps(const char *path, int64_t from, int64_t to, struct gap *gaps, unsigned *count,
                  struct journal_head *head, struct err *err)
{
    struct acks acks = {0};
    unsigned have = 0;
    bool ok = journal_read(path, head, collect_ack, &acks, err);
    if (ok && acks.failed)
        ok = err_set(err, "out of memory for the journal");
    /* Backwards, so that the earliest send among this and all later acknowledgements is known. */
    int64_t waiting = INT64_MAX;
    for (size_t i = acks.count; ok && i-- > 0;) {
        if (acks.pair[i].begin < waiting)
            waiting = acks.pair[i].begin;
        struct gap gap = {waiting, acks.pair[i].end};
        if (i > 0 && acks.pair[i - 1].end > gap.begin)
            gap.begin = acks.pair[i - 1].end;
        if (gap.end >= from && gap.begin <= to)
            keep_longest(gaps, &have, *count, gap);
    }
    *count = have;
    free(acks.pair);
    return ok;
}
