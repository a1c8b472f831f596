/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/rpc.h"

#include "transport/bytes.h"

/* Of libvirt's public error numbers. */
#define VIRT_ERR_OPERATION_FAILED 9
#define VIRT_FROM_QEMU 10
#define VIRT_LEVEL_ERROR 2

static void parse_header(const guint8 *in, struct lpm_rpc_header *header)
{
    *header = (struct lpm_rpc_header){
        .length = lpm_get_be32(in),
        .program = lpm_get_be32(in + 4),
        .version = lpm_get_be32(in + 8),
        .procedure = lpm_get_be32(in + 12),
        .type = lpm_get_be32(in + 16),
        .serial = lpm_get_be32(in + 20),
        .status = lpm_get_be32(in + 24),
    };
}

/* The length alone, as soon as it is there: with a wrong one there may never be 28 bytes. */
static gboolean length_plausible(const struct lpm_rpc_stepper *stepper)
{
    guint32 length = lpm_get_be32(stepper->head);

    return length >= LPM_RPC_HEADER_BYTES && length <= LPM_RPC_MESSAGE_MAX;
}

static void give(struct lpm_rpc_piece *piece, enum lpm_rpc_piece_type type, const guint8 *data,
                 gsize length)
{
    piece->type = length ? type : LPM_RPC_NONE;
    piece->data = data;
    piece->length = length;
}

static gsize step_header(struct lpm_rpc_stepper *stepper, const guint8 *data, gsize length,
                         struct lpm_rpc_piece *piece)
{
    gsize goal = stepper->have < 4 ? 4 : LPM_RPC_HEADER_BYTES;
    gsize n = MIN(length, goal - stepper->have);

    memcpy(stepper->head + stepper->have, data, n);
    stepper->have += n;
    if (stepper->have == 4 && !length_plausible(stepper)) {
        stepper->opaque = TRUE;
        give(piece, LPM_RPC_OPAQUE, stepper->head, 4);
    } else if (stepper->have == LPM_RPC_HEADER_BYTES) {
        parse_header(stepper->head, &stepper->header);
        stepper->left = stepper->header.length - LPM_RPC_HEADER_BYTES;
        stepper->have = 0;
        give(piece, LPM_RPC_HEADER, stepper->head, LPM_RPC_HEADER_BYTES);
        piece->last = !stepper->left;
        piece->header = stepper->header;
    }
    return n;
}

gsize lpm_rpc_step(struct lpm_rpc_stepper *stepper, const guint8 *data, gsize length,
                   struct lpm_rpc_piece *piece)
{
    memset(piece, 0, sizeof(*piece));
    if (!length)
        return 0;
    if (stepper->opaque) {
        give(piece, LPM_RPC_OPAQUE, data, length);
        return length;
    }
    if (!stepper->left)
        return step_header(stepper, data, length, piece);
    gsize n = MIN(length, stepper->left);

    stepper->left -= (guint32)n;
    give(piece, LPM_RPC_BODY, data, n);
    piece->last = !stepper->left;
    piece->header = stepper->header;
    return n;
}

void lpm_rpc_flush(struct lpm_rpc_stepper *stepper, struct lpm_rpc_piece *piece)
{
    memset(piece, 0, sizeof(*piece));
    give(piece, LPM_RPC_OPAQUE, stepper->head, stepper->opaque ? 0 : stepper->have);
    stepper->have = 0;
    stepper->opaque = TRUE;
}

gboolean lpm_rpc_is_keepalive(const struct lpm_rpc_header *header)
{
    return header->program == LPM_RPC_PROGRAM_KEEPALIVE && header->length == LPM_RPC_HEADER_BYTES &&
           (header->procedure == LPM_RPC_KEEPALIVE_PING ||
            header->procedure == LPM_RPC_KEEPALIVE_PONG);
}

gboolean lpm_rpc_is_ping(const struct lpm_rpc_header *header)
{
    return lpm_rpc_is_keepalive(header) && header->procedure == LPM_RPC_KEEPALIVE_PING;
}

gboolean lpm_rpc_is_finish(const struct lpm_rpc_header *header, enum lpm_rpc_message_type type)
{
    return header->program == LPM_RPC_PROGRAM_REMOTE && header->type == type &&
           (header->procedure == LPM_RPC_FINISH3 || header->procedure == LPM_RPC_FINISH3_PARAMS);
}

gboolean lpm_rpc_finish_add_flag(guint8 *message, gsize length, guint32 flag)
{
    /* The arguments of both calls end with the flags (the lower word of 64 bits in one of them) and
     * the word `cancelled`. */
    if (length < LPM_RPC_HEADER_BYTES + 8 || length % 4 || lpm_get_be32(message) != length ||
        lpm_get_be32(message + length - 4))
        return FALSE;
    guint32 flags = lpm_get_be32(message + length - 8);

    lpm_put_be32(message + length - 8, flags | flag);
    return !(flags & flag);
}

void lpm_rpc_put_header(const struct lpm_rpc_header *header, guint8 out[LPM_RPC_HEADER_BYTES])
{
    lpm_put_be32(out, header->length);
    lpm_put_be32(out + 4, header->program);
    lpm_put_be32(out + 8, header->version);
    lpm_put_be32(out + 12, header->procedure);
    lpm_put_be32(out + 16, header->type);
    lpm_put_be32(out + 20, header->serial);
    lpm_put_be32(out + 24, header->status);
}

void lpm_rpc_pong(guint8 out[LPM_RPC_HEADER_BYTES])
{
    const struct lpm_rpc_header pong = {
        .length = LPM_RPC_HEADER_BYTES,
        .program = LPM_RPC_PROGRAM_KEEPALIVE,
        .version = 1,
        .procedure = LPM_RPC_KEEPALIVE_PONG,
        .type = LPM_RPC_MESSAGE,
    };

    lpm_rpc_put_header(&pong, out);
}

static void append_word(GByteArray *out, guint32 value)
{
    guint8 bytes[4];

    lpm_put_be32(bytes, value);
    g_byte_array_append(out, bytes, sizeof(bytes));
}

/* XDR: an optional string that is present. */
static void append_string(GByteArray *out, const char *text)
{
    static const guint8 zeros[3];
    guint32 length = (guint32)strlen(text);

    append_word(out, 1);
    append_word(out, length);
    g_byte_array_append(out, (const guint8 *)text, length);
    g_byte_array_append(out, zeros, (4 - length % 4) % 4);
}

void lpm_rpc_error_reply(const struct lpm_rpc_header *reply, const char *text, GByteArray *out)
{
    struct lpm_rpc_header header = *reply;
    gsize start = out->len;
    guint8 bytes[LPM_RPC_HEADER_BYTES] = {0};

    g_byte_array_append(out, bytes, sizeof(bytes));
    append_word(out, VIRT_ERR_OPERATION_FAILED);
    append_word(out, VIRT_FROM_QEMU);
    append_string(out, text);
    append_word(out, VIRT_LEVEL_ERROR);
    append_word(out, 0); /* no domain */
    append_string(out, text);
    append_word(out, 0); /* no second and third string */
    append_word(out, 0);
    append_word(out, (guint32)-1);
    append_word(out, (guint32)-1);
    append_word(out, 0); /* no network */
    header.length = (guint32)(out->len - start);
    header.status = 1;
    lpm_rpc_put_header(&header, bytes);
    memcpy(out->data + start, bytes, sizeof(bytes));
}
