/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * libvirt's RPC as the mover reads it. With an even first byte the rest is the bytes as they come;
 * with an odd one lengths are made plausible, and programs, procedures and types those that the
 * mover acts on, so that what lies behind them is reached. What is handed out must be the input,
 * however it is cut; a call of Finish may be changed in its flags and nowhere else; and what the
 * mover makes itself must be of the form that it reads.
 */
#include "mover/rpc.h"
#include "require.h"
#include "transport/bytes.h"

#include <string.h>

#define FLAG 32u

/* Walks over the messages as the stepper would and gives them what the mover looks for. */
static void repair(guint8 *bytes, gsize size)
{
    static const guint32 programs[] = {LPM_RPC_PROGRAM_REMOTE, LPM_RPC_PROGRAM_KEEPALIVE};
    static const guint32 procedures[] = {LPM_RPC_FINISH3, LPM_RPC_FINISH3_PARAMS,
                                         LPM_RPC_KEEPALIVE_PING, LPM_RPC_KEEPALIVE_PONG};

    while (size >= LPM_RPC_HEADER_BYTES) {
        guint32 length = LPM_RPC_HEADER_BYTES + lpm_get_be32(bytes) % 80;

        lpm_put_be32(bytes, length);
        lpm_put_be32(bytes + 4, programs[bytes[7] % G_N_ELEMENTS(programs)]);
        lpm_put_be32(bytes + 12, procedures[bytes[15] % G_N_ELEMENTS(procedures)]);
        lpm_put_be32(bytes + 16, bytes[19] % 4);
        if (length > size)
            return;
        bytes += length;
        size -= length;
    }
}

/* A message whole, as the writer of the rpc channel collects it. */
static void try_message(const struct lpm_rpc_header *header, const GByteArray *message)
{
    g_autofree guint8 *changed = g_memdup2(message->data, message->len);
    gboolean finish = lpm_rpc_is_finish(header, LPM_RPC_CALL);

    REQUIRE(message->len == header->length);
    REQUIRE(!finish || !lpm_rpc_is_keepalive(header));
    REQUIRE(!lpm_rpc_is_ping(header) || message->len == LPM_RPC_HEADER_BYTES);
    if (!finish)
        return;
    gsize flags = message->len - 8;
    if (!lpm_rpc_finish_add_flag(changed, message->len, FLAG)) {
        REQUIRE(memcmp(changed, message->data, message->len) == 0);
        return;
    }
    REQUIRE(message->len >= LPM_RPC_HEADER_BYTES + 8);
    REQUIRE(memcmp(changed, message->data, flags) == 0);
    REQUIRE(lpm_get_be32(changed + flags) == (lpm_get_be32(message->data + flags) | FLAG));
    REQUIRE(lpm_get_be32(changed + flags + 4) == 0);
    REQUIRE(!lpm_rpc_finish_add_flag(changed, message->len, FLAG));
}

/* The refusal of the call that this header answers, read by a stepper of its own. */
static void try_refusal(const struct lpm_rpc_header *header)
{
    g_autoptr(GByteArray) reply = g_byte_array_new();
    struct lpm_rpc_stepper stepper = {0};
    struct lpm_rpc_piece piece;

    lpm_rpc_error_reply(header, "given up", reply);
    gsize n = lpm_rpc_step(&stepper, reply->data, 4, &piece);
    n += lpm_rpc_step(&stepper, reply->data + n, reply->len - n, &piece);
    REQUIRE(piece.type == LPM_RPC_HEADER && n == LPM_RPC_HEADER_BYTES);
    REQUIRE(piece.header.length == reply->len && piece.header.status == 1);
    REQUIRE(piece.header.serial == header->serial && piece.header.procedure == header->procedure);
    REQUIRE(lpm_rpc_step(&stepper, reply->data + n, reply->len - n, &piece) == reply->len - n);
    REQUIRE(piece.type == LPM_RPC_BODY && piece.last);
}

/* One piece: checked, and added to all that was handed out and to the present message. */
static void take(const struct lpm_rpc_piece *piece, gboolean opaque, GByteArray *out,
                 GByteArray *message)
{
    guint8 again[LPM_RPC_HEADER_BYTES];

    REQUIRE(piece->length);
    g_byte_array_append(out, piece->data, (guint)piece->length);
    if (piece->type == LPM_RPC_OPAQUE)
        return;
    REQUIRE(!opaque);
    if (piece->type == LPM_RPC_HEADER) {
        REQUIRE(piece->length == LPM_RPC_HEADER_BYTES && message->len == 0);
        lpm_rpc_put_header(&piece->header, again);
        REQUIRE(memcmp(again, piece->data, sizeof(again)) == 0);
        REQUIRE(piece->header.length <= LPM_RPC_MESSAGE_MAX);
        try_refusal(&piece->header);
    }
    g_byte_array_append(message, piece->data, (guint)piece->length);
    REQUIRE(message->len <= piece->header.length);
    REQUIRE(piece->last == (message->len == piece->header.length));
    if (piece->last) {
        try_message(&piece->header, message);
        g_byte_array_set_size(message, 0);
    }
}

/* Steps through in pieces of `cut` bytes; all that was handed out must be the input. */
static void run(const guint8 *data, gsize size, gsize cut)
{
    g_autoptr(GByteArray) out = g_byte_array_new(), message = g_byte_array_new();
    struct lpm_rpc_stepper stepper = {0};
    struct lpm_rpc_piece piece;
    const guint8 *at = data, *end = data + size;

    while (at < end) {
        gboolean opaque = stepper.opaque;
        gsize room = MIN(cut, (gsize)(end - at)), taken = lpm_rpc_step(&stepper, at, room, &piece);

        REQUIRE(taken && taken <= room);
        at += taken;
        if (piece.type != LPM_RPC_NONE)
            take(&piece, opaque, out, message);
    }
    lpm_rpc_flush(&stepper, &piece);
    if (piece.type != LPM_RPC_NONE)
        take(&piece, FALSE, out, message);
    REQUIRE(out->len == size && (!size || memcmp(out->data, data, size) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    gsize length = size - 1;
    g_autofree guint8 *copy = g_memdup2(data + 1, length);

    if (data[0] & 1)
        repair(copy, length);
    run(copy, length, length);
    run(copy, length, 1u + data[0] / 2u);
    return 0;
}
