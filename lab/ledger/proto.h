/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/*
 * The wire: one frame for requests and replies, fixed head, bounded payload, little-endian.
 *
 *   0 magic u32 | 4 type u8 | 5 status u8 | 6 payload length u16 | 8 client u64 | 16 number u64
 *  24 aux u64 | 32 sum u64 over the head (sum as 0) and the payload | 40 payload
 *
 * A reply has the type of its request with FRAME_REPLY set, and its client and number. README.md
 * says what each type means by its fields. Whoever gets a malformed frame closes the connection.
 */
#ifndef LEDGER_PROTO_H
#define LEDGER_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_HEAD 40u
#define FRAME_PAYLOAD_MAX 1024u
#define FRAME_MAX (FRAME_HEAD + FRAME_PAYLOAD_MAX)
#define FRAME_REPLY 0x80u

enum frame_type {
    FRAME_WRITE = 1,
    FRAME_STATUS = 2,
    FRAME_VERIFY = 3,
    FRAME_RATE = 4,
    FRAME_APPLIED = 5,
};

enum frame_status {
    STATUS_OK,
    STATUS_DOUBLED, /* applied, but not for the first time */
    STATUS_IO,      /* the disk refused: not applied, aux holds the errno */
    STATUS_FULL,    /* the log is full: not applied */
    STATUS_LIMIT,   /* number or client beyond the service's bounds: not applied */
    STATUS_BAD,     /* a request that makes no sense */
    STATUS_BUSY,    /* a verification is under way; ask again */
    STATUS_COUNT,
};

extern const char *const status_names[STATUS_COUNT];

/* What dirtied pages are filled with; the values are those of the wire. */
enum content {
    CONTENT_RANDOM, /* the whole page anew, incompressible */
    CONTENT_TEXT,   /* the whole page anew, text-like, compresses about three times */
    CONTENT_MOSTLY, /* 64 bytes changed in place, the rest as it was */
    CONTENT_COUNT,
};

extern const char *const content_names[CONTENT_COUNT];
/* CONTENT_COUNT when NAME is none. */
enum content content_parse(const char *name);

/* In a RATE request: leave this as it is. */
#define RATE_KEEP UINT64_MAX

struct frame {
    uint8_t type, status;
    uint16_t len;
    uint64_t client, number, aux;
    const uint8_t *payload; /* decode: points into the given bytes; encode: may be NULL for len 0 */
};

/* Writes the frame to OUT, which has room for FRAME_HEAD + frame->len bytes; returns that. */
size_t frame_encode(const struct frame *frame, uint8_t *out);

/* Takes one frame off DATA: its length, 0 when more bytes are needed, -1 when it is malformed. */
int frame_decode(const uint8_t *data, size_t have, struct frame *frame);

/* The replies to STATUS and VERIFY are arrays of u64 in this order; new fields go to the end. */
#define STATUS_FIELDS(X)                                                                           \
    X(uptime_us)                                                                                   \
    X(connections)                                                                                 \
    X(applied)                                                                                     \
    X(doubled)                                                                                     \
    X(refused)                                                                                     \
    X(malformed)                                                                                   \
    X(disk_records)                                                                                \
    X(disk_capacity)                                                                               \
    X(disk_direct)                                                                                 \
    X(disk_slowest_us)                                                                             \
    X(recovered_records)                                                                           \
    X(recovered_corrupt)                                                                           \
    X(memory_bytes)                                                                                \
    X(dirty_wanted)                                                                                \
    X(dirty_measured)                                                                              \
    X(dirty_content)                                                                               \
    X(dirty_pages)                                                                                 \
    X(bad_touched)

#define VERIFY_FIELDS(X)                                                                           \
    X(memory_ok)                                                                                   \
    X(memory_bytes)                                                                                \
    X(pages)                                                                                       \
    X(bad_pages)                                                                                   \
    X(first_bad_page)                                                                              \
    X(bad_touched)                                                                                 \
    X(index_ok)                                                                                    \
    X(disk_readable)                                                                               \
    X(disk_records)                                                                                \
    X(disk_corrupt)                                                                                \
    X(chain_breaks)                                                                                \
    X(missing)                                                                                     \
    X(extra)                                                                                       \
    X(doubled)                                                                                     \
    X(took_us)

#define PROTO_MEMBER(name) uint64_t name;
struct status_reply {
    STATUS_FIELDS(PROTO_MEMBER)
};
struct verify_reply {
    VERIFY_FIELDS(PROTO_MEMBER)
};
#undef PROTO_MEMBER

/* The structs to and from payload bytes; a shorter payload leaves the missing fields 0. */
uint16_t fields_put(const void *fields, size_t size, uint8_t *payload);
void fields_get(void *fields, size_t size, const uint8_t *payload, uint16_t len);

#endif
