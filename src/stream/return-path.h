/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The return path: what QEMU on the target says to QEMU on the source on the same socket. Bytes in,
 * events out; the bytes of all events in order are the input. An unknown type or a message longer
 * than QEMU accepts makes the rest opaque, never an error. Holds at most one message (516 bytes).
 * One thread at a time. Grammar: docs/stream-format.md.
 */
#ifndef LPM_STREAM_RETURN_PATH_H
#define LPM_STREAM_RETURN_PATH_H

#include <glib.h>
#include <stdint.h>

typedef struct lpm_return_parser LpmReturnParser;

/* QEMU's numbers. */
enum lpm_return_type {
    LPM_RETURN_NONE = 0,         /* all input is taken, no event */
    LPM_RETURN_SHUT = 1,         /* value: 0 loaded without error */
    LPM_RETURN_PONG = 2,         /* value: as in the ping */
    LPM_RETURN_REQ_PAGES_ID = 3, /* start, count, name */
    LPM_RETURN_REQ_PAGES = 4,    /* start, count; the block is that of the last request */
    LPM_RETURN_RECV_BITMAP = 5,  /* name; a bitmap follows as BYTES */
    LPM_RETURN_RESUME_ACK = 6,   /* value */
    LPM_RETURN_SWITCHOVER_ACK = 7,
    LPM_RETURN_BYTES = 256, /* part of a bitmap, or opaque */
};

/* `data` is valid until the next call on the parser or until the input changes. */
struct lpm_return_event {
    enum lpm_return_type type;
    const uint8_t *data; /* the bytes of the input that this event stands for */
    gsize length;
    uint32_t value;
    uint64_t start; /* offset in the block, bytes */
    uint32_t count; /* bytes wanted */
    char name[256]; /* of the block, "" if the message has none */
};

struct lpm_return_info {
    uint64_t position; /* bytes of input taken */
    uint64_t messages;
    uint64_t pages_requested; /* REQ_PAGES and REQ_PAGES_ID messages */
    gboolean shut;            /* SHUT passed */
    uint32_t shut_value;
    gboolean degraded; /* opaque since degraded_at */
    uint64_t degraded_at;
};

LpmReturnParser *lpm_return_parser_new(void);
void lpm_return_parser_free(LpmReturnParser *parser);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmReturnParser, lpm_return_parser_free)

/* As lpm_stream_parser_step. A message is withheld until it is whole. */
gsize lpm_return_parser_step(LpmReturnParser *parser, const uint8_t *data, gsize length,
                             struct lpm_return_event *event);
/* As lpm_stream_parser_flush: what is withheld, as BYTES; the rest of that message is BYTES too. */
void lpm_return_parser_flush(LpmReturnParser *parser, struct lpm_return_event *event);

const struct lpm_return_info *lpm_return_parser_info(const LpmReturnParser *parser);

#endif
