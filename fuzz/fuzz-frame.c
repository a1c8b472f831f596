/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Frames from the network. With an even first byte the rest is the bytes as they come; with an odd
 * one each header's magic and checksum are made right on the way, so that what lies behind is
 * reached. The frames must be the same however the bytes are cut, and go through the bodies'
 * parsers and a channel's bookkeeping, whose bounds are checked.
 */
#include "require.h"
#include "transport/bytes.h"
#include "transport/channel.h"

#define WINDOW LPM_BACKLOG_MIN

/* Walks over the frames as a decoder would and makes their headers plausible. */
static void repair(guint8 *bytes, gsize length)
{
    while (length >= LPM_FRAME_HEADER_BYTES) {
        gsize body;

        lpm_put_be32(bytes, LPM_FRAME_MAGIC);
        if (bytes[5] == LPM_CHANNEL_CONTROL) {
            /* Control frames are verified at once: length and checksum of the body too. */
            body = MIN(lpm_get_be32(bytes + 20) % 80, length - LPM_FRAME_HEADER_BYTES);
            lpm_put_be32(bytes + 16, (guint32)body);
            lpm_put_be32(bytes + 20, (guint32)body);
            lpm_put_be64(bytes + 24, lpm_checksum(bytes + LPM_FRAME_HEADER_BYTES, body));
        } else {
            body = lpm_get_be32(bytes + 20);
        }
        lpm_put_be64(bytes + 32, lpm_checksum(bytes, 32));
        if (body > length - LPM_FRAME_HEADER_BYTES)
            return;
        bytes += LPM_FRAME_HEADER_BYTES + body;
        length -= LPM_FRAME_HEADER_BYTES + body;
    }
}

static void try_bodies(const LpmFrame *frame, struct lpm_outbox *outbox)
{
    guint64 next[LPM_CHANNEL_COUNT] = {0}, value;
    g_autofree char *cause = NULL;
    struct lpm_hello hello;
    guint mask;
    int code;

    switch (frame->type) {
    case LPM_FRAME_HELLO:
        if (lpm_frame_parse_hello(frame, &hello, NULL))
            lpm_outbox_has(outbox, hello.next[LPM_CHANNEL_DATA], hello.links == 1, NULL);
        break;
    case LPM_FRAME_ACK:
        if (lpm_frame_parse_ack(frame, &mask, next, NULL) && mask & 1u << LPM_CHANNEL_DATA)
            lpm_outbox_ack(outbox, next[LPM_CHANNEL_DATA], NULL);
        break;
    case LPM_FRAME_PING:
    case LPM_FRAME_PONG:
        /* Any number will do for a link that is lost. */
        if (lpm_frame_parse_ping(frame, &value, NULL))
            lpm_outbox_lost(outbox, 1 + (guint32)(value % 3));
        break;
    case LPM_FRAME_FAIL:
        if (lpm_frame_parse_fail(frame, &code, &cause, NULL))
            REQUIRE(g_utf8_validate(cause, -1, NULL));
        break;
    default:
        break;
    }
    REQUIRE(outbox->acked <= outbox->next);
    REQUIRE(!outbox->head || outbox->head->sequence >= outbox->acked);
    REQUIRE(!outbox->waiting == !outbox->unsent && outbox->waiting <= outbox->frames);
}

/* Takes the frame over. FALSE: the session would have ended. */
static gboolean handle(LpmFrame *frame, struct lpm_inbox *inbox, struct lpm_outbox *outbox)
{
    try_bodies(frame, outbox);
    lpm_outbox_take(outbox, 1 + (guint32)(frame->checksum % 3));
    if (frame->channel == LPM_CHANNEL_CONTROL) {
        lpm_frame_free(frame);
        return TRUE;
    }
    if (!lpm_inbox_put(inbox, frame, WINDOW, NULL))
        return FALSE;
    REQUIRE(inbox->held <= WINDOW + LPM_FRAME_ORIGINAL_MAX);
    REQUIRE(inbox->frames <= LPM_CHANNEL_FRAMES_MAX);
    if (inbox->expected % 3 == 0) {
        guint64 before = inbox->delivered;
        LpmFrame *taken = lpm_inbox_take(inbox);

        if (taken) {
            REQUIRE(taken->sequence == before);
            lpm_inbox_delivered(inbox, taken);
        }
    }
    return TRUE;
}

/* Decodes in pieces of `piece` bytes; a number that depends on all frames seen and the error. */
static guint64 decode(const guint8 *data, gsize size, gsize piece)
{
    g_autoptr(LpmFrameDecoder) decoder = lpm_frame_decoder_new();
    g_autoptr(GError) error = NULL;
    struct lpm_outbox outbox = {0};
    struct lpm_inbox inbox;
    guint64 seen = 0;
    gboolean going = TRUE;

    lpm_inbox_init(&inbox);
    for (guint i = 0; i < 8; i++)
        lpm_outbox_push(&outbox, lpm_frame_new_raw(LPM_FRAME_DATA, LPM_CHANNEL_DATA, "x", 1));
    while (size && going) {
        gsize room = MIN(piece, size), taken;
        LpmFrame *frame;

        if (!lpm_frame_decoder_step(decoder, data, room, &taken, &frame, &error)) {
            REQUIRE(error);
            break;
        }
        REQUIRE(taken && taken <= room);
        data += taken;
        size -= taken;
        if (frame) {
            seen = seen * 31 + frame->type + frame->sequence +
                   lpm_checksum(frame->body, frame->length);
            going = handle(frame, &inbox, &outbox);
        }
    }
    lpm_inbox_clear(&inbox);
    lpm_outbox_clear(&outbox);
    return seen * 31 + (error ? (guint64)error->code : 0) + (going ? 1 : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    g_autofree guint8 *copy = g_memdup2(data + 1, size - 1);
    gsize length = size - 1;

    if (data[0] & 1)
        repair(copy, length);
    guint64 whole = decode(copy, length, length);

    REQUIRE(whole == decode(copy, length, 1u + data[0] / 2u));
    return 0;
}
