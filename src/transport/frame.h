/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Frames of docs/mover-protocol.md: headers to bytes and back, and an incremental decoder (bytes
 * in, frames out; it never reads). What it is fed is untrusted; it holds one frame at most.
 */
#ifndef LPM_TRANSPORT_FRAME_H
#define LPM_TRANSPORT_FRAME_H

#include "transport/mover-control.h"

#include <glib.h>

#define LPM_FRAME_MAGIC 0x4c504d31u
#define LPM_FRAME_HEADER_BYTES 40
#define LPM_FRAME_ORIGINAL_MAX (1u << 20)
#define LPM_FRAME_BODY_MAX (LPM_FRAME_ORIGINAL_MAX + (64u << 10))
#define LPM_FRAME_CONTROL_MAX 1024
#define LPM_FRAME_BATCH 1u /* flag: the body is a batch */
/* What a HELLO says: one connection at a time, or several. */
#define LPM_PROTOCOL_ONE_LINK 1
#define LPM_PROTOCOL_LINKS 2

enum lpm_frame_type {
    LPM_FRAME_HELLO = 1,
    LPM_FRAME_ACK = 2,
    LPM_FRAME_PING = 3,
    LPM_FRAME_PONG = 4,
    LPM_FRAME_FAIL = 5,
    LPM_FRAME_DATA = 16,
    LPM_FRAME_OPEN = 17,
    LPM_FRAME_CLOSE = 18,
    LPM_FRAME_RESET = 19,
    LPM_FRAME_KEPT = 20, /* its body does not count as original bytes */
};

/* One frame with its body behind it. Owned by one holder at a time; immutable once it is queued. */
typedef struct lpm_frame {
    struct lpm_frame *next; /* of the queue it is in */
    guint64 sequence;
    guint64 checksum; /* XXH3-64 of the original bytes */
    guint32 original; /* length of them */
    guint32 length;   /* of the body */
    guint16 flags;
    guint8 type; /* enum lpm_frame_type */
    guint8 channel;
    guint32 carrier; /* of the outbox: which link took it (channel.h) */
    guint8 body[];
} LpmFrame;

/* A frame with room for `length` bytes of body; the other members are 0. */
LpmFrame *lpm_frame_new(gsize length);
/* A frame without flags whose body is `data`, checksum included. */
LpmFrame *lpm_frame_new_raw(enum lpm_frame_type type, enum lpm_channel channel, const void *data,
                            gsize length);
void lpm_frame_free(LpmFrame *frame);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmFrame, lpm_frame_free)

/* XXH3-64. */
guint64 lpm_checksum(const void *data, gsize length);

void lpm_frame_encode_header(const LpmFrame *frame, guint8 out[LPM_FRAME_HEADER_BYTES]);

/* TRUE if the original bytes are the body (no batch) and match the checksum; for a batch use
 * lpm_frame_verify_original with what it decoded to. */
gboolean lpm_frame_verify(const LpmFrame *frame, GError **error);
gboolean lpm_frame_verify_original(const LpmFrame *frame, const void *data, gsize length,
                                   GError **error);

typedef struct lpm_frame_decoder LpmFrameDecoder;

LpmFrameDecoder *lpm_frame_decoder_new(void);
void lpm_frame_decoder_free(LpmFrameDecoder *decoder);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmFrameDecoder, lpm_frame_decoder_free)

/* Takes bytes from `data`, `*taken` of them; `*frame` is set to a whole frame (the caller owns it)
 * or NULL when more bytes are needed. Call again with the rest while some is left. FALSE if the
 * bytes are no frame (LPM_E_PROTOCOL) or the header is damaged (LPM_E_DATA_DAMAGED): the decoder is
 * of no use any more. Control frames are verified; the bodies of others are not (see
 * lpm_frame_verify). */
gboolean lpm_frame_decoder_step(LpmFrameDecoder *decoder, const guint8 *data, gsize length,
                                gsize *taken, LpmFrame **frame, GError **error);

/* ---- bodies of control frames ---- */

struct lpm_hello {
    enum lpm_side side;
    guint8 session[LPM_SESSION_ID_BYTES];
    guint64 window;
    guint64 next[LPM_CHANNEL_COUNT]; /* [LPM_CHANNEL_CONTROL] unused */
    guint links; /* 1: version 1 is spoken; 2 to LPM_LINKS_MOST: most at a time, version 2 */
};

LpmFrame *lpm_frame_hello(const struct lpm_hello *hello);
/* FALSE: LPM_E_PROTOCOL, with the versions if it is of another. */
gboolean lpm_frame_parse_hello(const LpmFrame *frame, struct lpm_hello *hello, GError **error);

/* ACK of the channels in `mask` (bit = channel); frames for others keep their `next`. */
LpmFrame *lpm_frame_ack(guint mask, const guint64 next[LPM_CHANNEL_COUNT]);
gboolean lpm_frame_parse_ack(const LpmFrame *frame, guint *mask, guint64 next[LPM_CHANNEL_COUNT],
                             GError **error);

/* PING and PONG. */
LpmFrame *lpm_frame_ping(enum lpm_frame_type type, guint64 value);
gboolean lpm_frame_parse_ping(const LpmFrame *frame, guint64 *value, GError **error);

LpmFrame *lpm_frame_fail(int code, const char *cause);
/* `*cause` is a new string of printable UTF-8. */
gboolean lpm_frame_parse_fail(const LpmFrame *frame, int *code, char **cause, GError **error);

#endif
