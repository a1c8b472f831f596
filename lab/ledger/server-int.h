/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/* What server.c (the loop) and requests.c (what is asked of it) share; nobody else includes it. */
#ifndef LEDGER_SERVER_INT_H
#define LEDGER_SERVER_INT_H

#include <pthread.h>

#include "proto.h"
#include "server.h"

#define CONNECTIONS_MAX 256
#define IN_SIZE (16u * FRAME_MAX)
/* With more than this waiting to be sent, a connection is not read: its client must take first. */
#define OUT_HIGH (128u * 1024)

struct conn {
    int fd;          /* -1: free slot */
    uint32_t serial; /* tells apart the connections that used a slot one after the other */
    bool dead;       /* to be closed when the batch is out */
    size_t in_len, out_len, out_size;
    uint8_t *out;
    uint8_t in[IN_SIZE];
};

/* A write that waits for the batch to be durable. */
struct pending {
    unsigned slot;
    uint32_t serial;
};

/* One verification; immutable while its thread runs, except reply, which the thread sets. */
struct verify_job {
    struct server *server;
    struct book book;
    struct scan scan; /* set by the thread */
    int fd;
    uint64_t epoch, records;
    uint32_t run;
    unsigned slot;
    uint32_t serial;
    uint64_t client, number;
    bool ok;
    struct verify_reply reply;
};

struct server {
    int epoll, listener;
    int wake[2]; /* pipe: 's' stop, 'v' the verification is done */
    bool stopping;
    uint32_t serials;
    uint64_t open, refused, malformed;
    int64_t started_us;
    struct disklog log;
    struct book book;
    struct table *table;
    struct scan found;
    struct conn *conns[CONNECTIONS_MAX];
    /* the batch */
    struct record recs[BATCH_MAX];
    struct pending pending[BATCH_MAX];
    unsigned batched;
    /* the verification under way */
    struct verify_job *job;
    pthread_t verifier;
};

/* Queues FRAME for the connection if it is still the same one. */
void server_reply(struct server *server, unsigned slot, uint32_t serial, const struct frame *frame);

/* Makes the batch durable, applies and acknowledges it. */
void server_commit(struct server *server);

/* Handles one request; false when the connection must be closed. */
bool server_request(struct server *server, unsigned slot, const struct frame *request);

/* Called in the loop when the verification's thread says it is done. */
void server_verified(struct server *server);

#endif
