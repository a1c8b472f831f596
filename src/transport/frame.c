/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "transport/frame.h"

#include "base/error.h"
#include "transport/bytes.h"

#include <xxhash.h>

#define HELLO_FIXED 28
#define HELLO_ENTRY 9
#define HELLO_LINKS 1 /* behind the entries, in version 2 */

struct lpm_frame_decoder {
    guint8 header[LPM_FRAME_HEADER_BYTES];
    gsize have;      /* bytes of the header, or of the body once `frame` is set */
    LpmFrame *frame; /* being filled, or NULL */
};

LpmFrame *lpm_frame_new(gsize length)
{
    LpmFrame *frame = g_malloc(sizeof(*frame) + length);

    memset(frame, 0, sizeof(*frame));
    frame->length = (guint32)length;
    return frame;
}

LpmFrame *lpm_frame_new_raw(enum lpm_frame_type type, enum lpm_channel channel, const void *data,
                            gsize length)
{
    LpmFrame *frame = lpm_frame_new(length);

    frame->type = (guint8)type;
    frame->channel = (guint8)channel;
    frame->original = (guint32)length;
    if (length)
        memcpy(frame->body, data, length);
    frame->checksum = lpm_checksum(data, length);
    return frame;
}

void lpm_frame_free(LpmFrame *frame)
{
    g_free(frame);
}

guint64 lpm_checksum(const void *data, gsize length)
{
    return XXH3_64bits(data, length);
}

void lpm_frame_encode_header(const LpmFrame *frame, guint8 out[LPM_FRAME_HEADER_BYTES])
{
    lpm_put_be32(out, LPM_FRAME_MAGIC);
    out[4] = frame->type;
    out[5] = frame->channel;
    lpm_put_be16(out + 6, frame->flags);
    lpm_put_be64(out + 8, frame->sequence);
    lpm_put_be32(out + 16, frame->original);
    lpm_put_be32(out + 20, frame->length);
    lpm_put_be64(out + 24, frame->checksum);
    lpm_put_be64(out + 32, lpm_checksum(out, 32));
}

gboolean lpm_frame_verify_original(const LpmFrame *frame, const void *data, gsize length,
                                   GError **error)
{
    if (length == frame->original && lpm_checksum(data, length) == frame->checksum)
        return TRUE;
    return lpm_fail(error, LPM_E_DATA_DAMAGED,
                    "frame %" G_GUINT64_FORMAT " of channel '%s' does not match its checksum",
                    frame->sequence, lpm_channel_name(frame->channel));
}

gboolean lpm_frame_verify(const LpmFrame *frame, GError **error)
{
    return lpm_frame_verify_original(frame, frame->body, frame->length, error);
}

LpmFrameDecoder *lpm_frame_decoder_new(void)
{
    return g_new0(LpmFrameDecoder, 1);
}

void lpm_frame_decoder_free(LpmFrameDecoder *decoder)
{
    if (!decoder)
        return;
    lpm_frame_free(decoder->frame);
    g_free(decoder);
}

/* What the grammar says of lengths, sequence and flags per type. */
static gboolean header_plausible(const LpmFrame *header)
{
    gboolean control = header->channel == LPM_CHANNEL_CONTROL;

    if (control != (header->type < LPM_FRAME_DATA) || header->channel >= LPM_CHANNEL_COUNT)
        return FALSE;
    if (header->original > LPM_FRAME_ORIGINAL_MAX || header->length > LPM_FRAME_BODY_MAX)
        return FALSE;
    if (header->type == LPM_FRAME_KEPT)
        return header->channel == LPM_CHANNEL_DATA && !header->flags && !header->original &&
               header->length;
    if (!(header->flags & LPM_FRAME_BATCH) && header->original != header->length)
        return FALSE;
    switch (header->type) {
    case LPM_FRAME_HELLO:
    case LPM_FRAME_ACK:
    case LPM_FRAME_PING:
    case LPM_FRAME_PONG:
    case LPM_FRAME_FAIL:
        return !header->flags && !header->sequence && header->length <= LPM_FRAME_CONTROL_MAX;
    case LPM_FRAME_DATA:
        return !(header->flags & ~LPM_FRAME_BATCH) && header->original && header->length;
    case LPM_FRAME_OPEN:
    case LPM_FRAME_CLOSE:
    case LPM_FRAME_RESET:
        return !header->flags && !header->length;
    }
    return FALSE;
}

static gboolean decode_header(LpmFrameDecoder *decoder, GError **error)
{
    const guint8 *in = decoder->header;
    LpmFrame header = {
        .type = in[4],
        .channel = in[5],
        .flags = lpm_get_be16(in + 6),
        .sequence = lpm_get_be64(in + 8),
        .original = lpm_get_be32(in + 16),
        .length = lpm_get_be32(in + 20),
        .checksum = lpm_get_be64(in + 24),
    };

    if (lpm_get_be32(in) != LPM_FRAME_MAGIC)
        return lpm_fail(error, LPM_E_PROTOCOL, "a frame begins with %08x instead of %08x",
                        lpm_get_be32(in), LPM_FRAME_MAGIC);
    if (lpm_get_be64(in + 32) != lpm_checksum(in, 32))
        return lpm_fail(error, LPM_E_DATA_DAMAGED,
                        "the header of a frame does not match its checksum");
    if (!header_plausible(&header))
        return lpm_fail(
            error, LPM_E_PROTOCOL,
            "a frame of type %u on channel %u with flags %u, %u original bytes and a body "
            "of %u is not possible",
            header.type, header.channel, header.flags, header.original, header.length);
    decoder->frame = lpm_frame_new(header.length);
    *decoder->frame = header;
    decoder->have = 0;
    return TRUE;
}

gboolean lpm_frame_decoder_step(LpmFrameDecoder *decoder, const guint8 *data, gsize length,
                                gsize *taken, LpmFrame **frame, GError **error)
{
    gsize n;

    *taken = 0;
    *frame = NULL;
    if (!decoder->frame) {
        n = MIN(length, LPM_FRAME_HEADER_BYTES - decoder->have);
        memcpy(decoder->header + decoder->have, data, n);
        decoder->have += n;
        *taken = n;
        if (decoder->have < LPM_FRAME_HEADER_BYTES)
            return TRUE;
        if (!decode_header(decoder, error))
            return FALSE;
    }
    n = MIN(length - *taken, decoder->frame->length - decoder->have);
    if (n)
        memcpy(decoder->frame->body + decoder->have, data + *taken, n);
    decoder->have += n;
    *taken += n;
    if (decoder->have < decoder->frame->length)
        return TRUE;
    decoder->have = 0;
    if (decoder->frame->channel == LPM_CHANNEL_CONTROL && !lpm_frame_verify(decoder->frame, error))
        return FALSE;
    *frame = g_steal_pointer(&decoder->frame);
    return TRUE;
}

/* ---- bodies of control frames ---- */

static gboolean bad_body(const LpmFrame *frame, GError **error)
{
    return lpm_fail(error, LPM_E_PROTOCOL, "the body of a control frame of type %u is malformed",
                    frame->type);
}

LpmFrame *lpm_frame_hello(const struct lpm_hello *hello)
{
    guint8 body[HELLO_FIXED + (LPM_CHANNEL_COUNT - 1) * HELLO_ENTRY + HELLO_LINKS];
    guint8 *at = body + HELLO_FIXED;
    gboolean several = hello->links > 1;

    lpm_put_be16(body, several ? LPM_PROTOCOL_LINKS : LPM_PROTOCOL_ONE_LINK);
    body[2] = (guint8)hello->side;
    body[3] = LPM_CHANNEL_COUNT - 1;
    memcpy(body + 4, hello->session, LPM_SESSION_ID_BYTES);
    lpm_put_be64(body + 20, hello->window);
    for (guint8 i = 1; i < LPM_CHANNEL_COUNT; i++, at += HELLO_ENTRY) {
        at[0] = i;
        lpm_put_be64(at + 1, hello->next[i]);
    }
    *at = (guint8)hello->links;
    return lpm_frame_new_raw(LPM_FRAME_HELLO, LPM_CHANNEL_CONTROL, body,
                             sizeof(body) - (several ? 0 : HELLO_LINKS));
}

/* Reads `count` entries of channel and number; each channel at most once. */
static gboolean parse_entries(const guint8 *at, gsize count, guint *mask, guint64 *next)
{
    *mask = 0;
    for (gsize i = 0; i < count; i++, at += HELLO_ENTRY) {
        if (at[0] == LPM_CHANNEL_CONTROL || at[0] >= LPM_CHANNEL_COUNT || (*mask & 1u << at[0]))
            return FALSE;
        *mask |= 1u << at[0];
        next[at[0]] = lpm_get_be64(at + 1);
    }
    return TRUE;
}

gboolean lpm_frame_parse_hello(const LpmFrame *frame, struct lpm_hello *hello, GError **error)
{
    const guint8 *body = frame->body;
    guint mask, version;

    memset(hello, 0, sizeof(*hello));
    if (frame->length < HELLO_FIXED)
        return bad_body(frame, error);
    version = lpm_get_be16(body);
    if (version != LPM_PROTOCOL_ONE_LINK && version != LPM_PROTOCOL_LINKS)
        return lpm_fail(error, LPM_E_PROTOCOL,
                        "the other mover speaks version %u of the protocol, this one versions %d "
                        "and %d",
                        version, LPM_PROTOCOL_ONE_LINK, LPM_PROTOCOL_LINKS);
    gsize entries = HELLO_FIXED + (LPM_CHANNEL_COUNT - 1) * (gsize)HELLO_ENTRY;

    if (body[2] > LPM_SIDE_TARGET || body[3] != LPM_CHANNEL_COUNT - 1 ||
        frame->length != entries + (version == LPM_PROTOCOL_LINKS ? HELLO_LINKS : 0) ||
        !parse_entries(body + HELLO_FIXED, body[3], &mask, hello->next))
        return bad_body(frame, error);
    hello->side = (enum lpm_side)body[2];
    memcpy(hello->session, body + 4, LPM_SESSION_ID_BYTES);
    hello->window = lpm_get_be64(body + 20);
    hello->links = version == LPM_PROTOCOL_LINKS ? body[entries] : 1;
    if (hello->links < (version == LPM_PROTOCOL_LINKS ? 2 : 1) || hello->links > LPM_LINKS_MOST)
        return bad_body(frame, error);
    return TRUE;
}

LpmFrame *lpm_frame_ack(guint mask, const guint64 next[LPM_CHANNEL_COUNT])
{
    guint8 body[(LPM_CHANNEL_COUNT - 1) * HELLO_ENTRY];
    gsize length = 0;

    for (guint8 i = 1; i < LPM_CHANNEL_COUNT; i++) {
        if (!(mask & 1u << i))
            continue;
        body[length] = i;
        lpm_put_be64(body + length + 1, next[i]);
        length += HELLO_ENTRY;
    }
    return lpm_frame_new_raw(LPM_FRAME_ACK, LPM_CHANNEL_CONTROL, body, length);
}

gboolean lpm_frame_parse_ack(const LpmFrame *frame, guint *mask, guint64 next[LPM_CHANNEL_COUNT],
                             GError **error)
{
    if (!frame->length || frame->length % HELLO_ENTRY ||
        !parse_entries(frame->body, frame->length / HELLO_ENTRY, mask, next))
        return bad_body(frame, error);
    return TRUE;
}

LpmFrame *lpm_frame_ping(enum lpm_frame_type type, guint64 value)
{
    guint8 body[8];

    lpm_put_be64(body, value);
    return lpm_frame_new_raw(type, LPM_CHANNEL_CONTROL, body, sizeof(body));
}

gboolean lpm_frame_parse_ping(const LpmFrame *frame, guint64 *value, GError **error)
{
    if (frame->length != 8)
        return bad_body(frame, error);
    *value = lpm_get_be64(frame->body);
    return TRUE;
}

LpmFrame *lpm_frame_fail(int code, const char *cause)
{
    guint8 body[512];
    gsize length = MIN(strlen(cause), sizeof(body) - 4);

    lpm_put_be32(body, (guint32)code);
    memcpy(body + 4, cause, length);
    return lpm_frame_new_raw(LPM_FRAME_FAIL, LPM_CHANNEL_CONTROL, body, 4 + length);
}

gboolean lpm_frame_parse_fail(const LpmFrame *frame, int *code, char **cause, GError **error)
{
    if (frame->length < 4)
        return bad_body(frame, error);
    guint32 number = lpm_get_be32(frame->body);

    *code = number <= 9999 ? (int)number : LPM_E_PROTOCOL;
    *cause = g_utf8_make_valid((const char *)frame->body + 4, (gssize)frame->length - 4);
    for (char *c = *cause; *c; c++)
        if (g_ascii_iscntrl(*c))
            *c = ' ';
    return TRUE;
}
