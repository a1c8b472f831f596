/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The framing of libvirt's RPC, one direction: bytes in, pieces of messages out. It never reads,
 * holds at most one header, and never fails: what is not of this form is handed out as it is, and
 * so is everything after it. One thread at a time.
 */
#ifndef LPM_MOVER_RPC_H
#define LPM_MOVER_RPC_H

#include <glib.h>

#define LPM_RPC_HEADER_BYTES 28 /* the length and six words */
/* VIR_NET_MESSAGE_MAX and the length itself. */
#define LPM_RPC_MESSAGE_MAX ((32u << 20) + 4)

#define LPM_RPC_PROGRAM_REMOTE 0x20008086u
#define LPM_RPC_PROGRAM_KEEPALIVE 0x6b656570u
#define LPM_RPC_KEEPALIVE_PING 1
#define LPM_RPC_KEEPALIVE_PONG 2
#define LPM_RPC_FINISH3 217        /* DOMAIN_MIGRATE_FINISH3 */
#define LPM_RPC_FINISH3_PARAMS 306 /* DOMAIN_MIGRATE_FINISH3_PARAMS */
#define LPM_RPC_MIGRATE_PAUSED 32u /* VIR_MIGRATE_PAUSED */

enum lpm_rpc_message_type { LPM_RPC_CALL = 0, LPM_RPC_REPLY = 1, LPM_RPC_MESSAGE = 2 };

struct lpm_rpc_header {
    guint32 length; /* of the whole message, these bytes included */
    guint32 program, version, procedure, type, serial, status;
};

enum lpm_rpc_piece_type {
    LPM_RPC_NONE,   /* all input is taken, nothing to hand out */
    LPM_RPC_HEADER, /* a message begins: `data` is its header's 28 bytes */
    LPM_RPC_BODY,   /* payload of the message that began last */
    LPM_RPC_OPAQUE, /* not of this form, from here on */
};

/* `data` points into the input or into the stepper; valid until the next call. */
struct lpm_rpc_piece {
    enum lpm_rpc_piece_type type;
    const guint8 *data;
    gsize length;
    gboolean last;                /* the message ends with this piece */
    struct lpm_rpc_header header; /* of the message that the piece belongs to */
};

/* Zero it to begin. Members are the stepper's own. */
struct lpm_rpc_stepper {
    guint8 head[LPM_RPC_HEADER_BYTES];
    gsize have;
    guint32 left; /* payload bytes of the present message still to come */
    gboolean opaque;
    struct lpm_rpc_header header;
};

/* Takes bytes from `data` and returns how many; at most one piece per call. */
gsize lpm_rpc_step(struct lpm_rpc_stepper *stepper, const guint8 *data, gsize length,
                   struct lpm_rpc_piece *piece);
/* At the end of the input: an incomplete header, as OPAQUE, or NONE. */
void lpm_rpc_flush(struct lpm_rpc_stepper *stepper, struct lpm_rpc_piece *piece);

gboolean lpm_rpc_is_ping(const struct lpm_rpc_header *header);
gboolean lpm_rpc_is_keepalive(const struct lpm_rpc_header *header);
/* A message of `type` for one of the two Finish procedures. */
gboolean lpm_rpc_is_finish(const struct lpm_rpc_header *header, enum lpm_rpc_message_type type);

/* Sets `flag` in the arguments of a call of Finish (the whole message, its length agreeing with the
 * header's), unless the call says `cancelled`. TRUE if the message was changed. */
gboolean lpm_rpc_finish_add_flag(guint8 *message, gsize length, guint32 flag);

void lpm_rpc_put_header(const struct lpm_rpc_header *header, guint8 out[LPM_RPC_HEADER_BYTES]);
/* The answer to a PING. */
void lpm_rpc_pong(guint8 out[LPM_RPC_HEADER_BYTES]);
/* Appends an error reply to the call that `reply` answers, with this text. */
void lpm_rpc_error_reply(const struct lpm_rpc_header *reply, const char *text, GByteArray *out);

#endif
