/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server-int.h"

static struct frame reply_to(const struct frame *request, enum frame_status status)
{
    return (struct frame){
        .type = (uint8_t)(request->type | FRAME_REPLY),
        .status = (uint8_t)status,
        .client = request->client,
        .number = request->number,
    };
}

static void refuse(struct server *s, unsigned slot, const struct frame *request,
                   enum frame_status status)
{
    struct frame reply = reply_to(request, status);
    s->refused++;
    server_reply(s, slot, s->conns[slot]->serial, &reply);
}

static void on_write(struct server *s, unsigned slot, const struct frame *request)
{
    if (request->len > PAYLOAD_MAX || !request->client) {
        refuse(s, slot, request, STATUS_BAD);
        return;
    }
    if (!book_reserve(&s->book, request->client, request->number)) {
        refuse(s, slot, request, STATUS_LIMIT);
        return;
    }
    struct record *rec = &s->recs[s->batched];
    *rec = (struct record){
        .client = request->client,
        .number = request->number,
        .wall_us = (uint64_t)wall_us(),
        .mono_us = (uint64_t)now_us(),
        .payload_len = request->len,
    };
    memcpy(rec->payload, request->payload, request->len);
    s->pending[s->batched++] = (struct pending){slot, s->conns[slot]->serial};
    if (s->batched == BATCH_MAX)
        server_commit(s);
}

void server_commit(struct server *s)
{
    if (!s->batched)
        return;
    int rc = disklog_append(&s->log, s->recs, s->batched);
    for (unsigned i = 0; i < s->batched; i++) {
        const struct record *rec = &s->recs[i];
        struct frame reply = {
            .type = FRAME_WRITE | FRAME_REPLY,
            .client = rec->client,
            .number = rec->number,
        };
        if (rc) {
            reply.status = rc == -ENOSPC ? STATUS_FULL : STATUS_IO;
            reply.aux = (uint64_t)-rc;
            s->refused++;
        } else {
            bool first = book_apply(&s->book, rec->client, rec->number);
            reply.status = first ? STATUS_OK : STATUS_DOUBLED;
            reply.aux = rec->sequence;
        }
        server_reply(s, s->pending[i].slot, s->pending[i].serial, &reply);
    }
    s->batched = 0;
}

static void on_status(struct server *s, unsigned slot, const struct frame *request)
{
    struct table_state t;
    table_state(s->table, &t);
    struct status_reply st = {
        .uptime_us = (uint64_t)(now_us() - s->started_us),
        .connections = s->open,
        .applied = s->book.applied,
        .doubled = s->book.doubled,
        .refused = s->refused,
        .malformed = s->malformed,
        .disk_records = s->log.next,
        .disk_capacity = s->log.capacity,
        .disk_direct = s->log.direct,
        .disk_slowest_us = s->log.slowest_us,
        .recovered_records = s->found.records,
        .recovered_corrupt = s->found.corrupt + s->found.chain_breaks,
        .memory_bytes = t.bytes,
        .dirty_wanted = t.rate,
        .dirty_measured = t.measured,
        .dirty_content = t.content,
        .dirty_pages = t.dirtied,
        .bad_touched = t.bad_touched,
    };
    uint8_t payload[sizeof st];
    struct frame reply = reply_to(request, STATUS_OK);
    reply.len = fields_put(&st, sizeof st, payload);
    reply.payload = payload;
    server_reply(s, slot, s->conns[slot]->serial, &reply);
}

static void on_rate(struct server *s, unsigned slot, const struct frame *request)
{
    struct table_state t;
    table_state(s->table, &t);
    uint64_t rate = request->number == RATE_KEEP ? t.rate : request->number;
    uint64_t content = request->aux == RATE_KEEP ? t.content : request->aux;
    if (content >= CONTENT_COUNT) {
        refuse(s, slot, request, STATUS_BAD);
        return;
    }
    table_set_rate(s->table, rate, (enum content)content);
    struct frame reply = reply_to(request, STATUS_OK);
    reply.number = rate;
    reply.aux = content;
    server_reply(s, slot, s->conns[slot]->serial, &reply);
}

/* The part of a client's set that begins with NUMBER, rounded down to 8; aux: the highest. */
static void on_applied(struct server *s, unsigned slot, const struct frame *request)
{
    const struct book_client *c = book_find(&s->book, request->client);
    struct frame reply = reply_to(request, STATUS_OK);
    if (c) {
        uint64_t at = request->number / 8, end = c->seen.size / 8;
        reply.aux = c->highest;
        if (at < end) {
            reply.payload = c->seen.map + at;
            reply.len = (uint16_t)(end - at < FRAME_PAYLOAD_MAX ? end - at : FRAME_PAYLOAD_MAX);
        }
    }
    server_reply(s, slot, s->conns[slot]->serial, &reply);
}

struct rebuild {
    struct book book;
    bool failed;
};

static void rebuild_record(void *user, const struct record *rec)
{
    struct rebuild *r = user;
    if (book_reserve(&r->book, rec->client, rec->number))
        book_apply(&r->book, rec->client, rec->number);
    else
        r->failed = true;
}

/* In its own thread: what is on the disk up to where the log was, against the copy of the book. */
static void verify_disk(struct verify_job *job)
{
    struct rebuild disk = {0};
    struct verify_reply *r = &job->reply;
    struct err err = {0};
    if (!book_init(&disk.book) ||
        !record_scan(job->fd, job->epoch, job->records, 0, rebuild_record, &disk, &job->scan, &err))
        disk.failed = true;
    struct book_diff diff = {0};
    if (!disk.failed)
        book_compare(&job->book, &disk.book, job->run, &diff);
    r->disk_readable = !disk.failed;
    r->disk_records = job->scan.records;
    r->disk_corrupt = job->scan.corrupt;
    r->chain_breaks = job->scan.chain_breaks;
    r->missing = diff.missing;
    r->extra = diff.extra;
    r->doubled = diff.doubled;
    book_free(&disk.book);
}

static void *verify_thread(void *arg)
{
    struct verify_job *job = arg;
    struct server *s = job->server;
    int64_t start = now_us();
    struct table_check check;
    struct table_state state;
    table_verify(s->table, &check);
    table_state(s->table, &state);
    job->reply = (struct verify_reply){
        .memory_ok = !check.bad && check.index_ok && !state.bad_touched,
        .memory_bytes = state.bytes,
        .pages = state.pages,
        .bad_pages = check.bad,
        .first_bad_page = check.first_bad,
        .bad_touched = state.bad_touched,
        .index_ok = check.index_ok,
    };
    verify_disk(job);
    job->reply.took_us = (uint64_t)(now_us() - start);
    while (write(s->wake[1], "v", 1) < 0 && errno == EINTR)
        ;
    return NULL;
}

static void on_verify(struct server *s, unsigned slot, const struct frame *request)
{
    if (s->job) {
        refuse(s, slot, request, STATUS_BUSY);
        return;
    }
    /* The book must be where the log is. */
    server_commit(s);
    struct verify_job *job = calloc(1, sizeof *job);
    if (!job || !book_copy(&job->book, &s->book)) {
        free(job);
        refuse(s, slot, request, STATUS_LIMIT);
        return;
    }
    job->server = s;
    job->fd = s->log.fd;
    job->epoch = s->log.epoch;
    job->records = s->log.next;
    job->run = (uint32_t)(request->client >> 32);
    job->slot = slot;
    job->serial = s->conns[slot]->serial;
    job->client = request->client;
    job->number = request->number;
    if (pthread_create(&s->verifier, NULL, verify_thread, job)) {
        book_free(&job->book);
        free(job);
        refuse(s, slot, request, STATUS_LIMIT);
        return;
    }
    s->job = job;
}

void server_verified(struct server *s)
{
    struct verify_job *job = s->job;
    if (!job)
        return;
    s->job = NULL;
    pthread_join(s->verifier, NULL);
    uint8_t payload[sizeof job->reply];
    struct frame reply = {
        .type = FRAME_VERIFY | FRAME_REPLY,
        .client = job->client,
        .number = job->number,
        .payload = payload,
    };
    reply.len = fields_put(&job->reply, sizeof job->reply, payload);
    server_reply(s, job->slot, job->serial, &reply);
    book_free(&job->book);
    free(job);
}

bool server_request(struct server *s, unsigned slot, const struct frame *request)
{
    switch (request->type) {
    case FRAME_WRITE:
        on_write(s, slot, request);
        return true;
    case FRAME_STATUS:
        on_status(s, slot, request);
        return true;
    case FRAME_VERIFY:
        on_verify(s, slot, request);
        return true;
    case FRAME_RATE:
        on_rate(s, slot, request);
        return true;
    case FRAME_APPLIED:
        on_applied(s, slot, request);
        return true;
    default:
        return false;
    }
}
