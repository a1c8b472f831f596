/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* A full batch becomes a body: operations and pages, each compressed if it pays. */
#include "codec/batch-internal.h"

#include <string.h>

/* Below this no method wins back its own header. */
#define COMPRESS_MIN 64

struct lpm_batch_encoder {
    const struct lpm_compressor *method; /* immutable */
    gpointer context;
    int level;
};

LpmBatchEncoder *lpm_batch_encoder_new(const struct lpm_compressor *method, int level)
{
    LpmBatchEncoder *encoder = g_new0(LpmBatchEncoder, 1);

    encoder->method = method;
    encoder->context = method->new_context ? method->new_context() : NULL;
    lpm_batch_encoder_set_level(encoder, level);
    return encoder;
}

void lpm_batch_encoder_free(LpmBatchEncoder *encoder)
{
    if (!encoder)
        return;
    if (encoder->method->free_context)
        encoder->method->free_context(encoder->context);
    g_free(encoder);
}

void lpm_batch_encoder_set_level(LpmBatchEncoder *encoder, int level)
{
    encoder->level = CLAMP(level, encoder->method->level_min, encoder->method->level_max);
}

/* Writes `data` to `out`, compressed if it shrinks by 5 % at least, and returns the bytes;
 * `*method` is set. There is room for `length` bytes. */
static gsize put_part(LpmBatchEncoder *encoder, const uint8_t *data, gsize length, uint8_t *out,
                      uint8_t *method)
{
    gsize stored = 0;

    *method = encoder->method->method;
    if (encoder->method != &lpm_compressor_none && length >= COMPRESS_MIN)
        stored = encoder->method->compress(encoder->context, encoder->level, data, length, out,
                                           length - length / 20);
    if (stored)
        return stored;
    *method = lpm_compressor_none.method;
    memcpy(out, data, length);
    return length;
}

gsize lpm_batch_encode(LpmBatch *batch, LpmBatchEncoder *encoder, GByteArray *out)
{
    guint start = out->len;
    gsize ops_stored, pages_stored, head = 3, room;
    uint8_t fields[40], *body;

    lpm_batch_close(batch);
    if (!batch->original)
        return 0;
    /* The parts are written behind the longest possible head, and moved if it is shorter. */
    room = sizeof fields + batch->ops_length + batch->pages_length;
    g_byte_array_set_size(out, start + (guint)room);
    body = out->data + start + sizeof fields;
    ops_stored = put_part(encoder, batch->ops, batch->ops_length, body, &fields[0]);
    pages_stored =
        put_part(encoder, batch->pages, batch->pages_length, body + ops_stored, &fields[1]);
    fields[2] = (uint8_t)(batch->page_bits ? batch->page_bits : 12);
    head += lpm_varint_put(fields + head, batch->ops_length);
    head += lpm_varint_put(fields + head, ops_stored);
    head += lpm_varint_put(fields + head, batch->pages_length);
    head += lpm_varint_put(fields + head, pages_stored);
    memcpy(out->data + start, fields, head);
    memmove(out->data + start + head, body, ops_stored + pages_stored);
    room = head + ops_stored + pages_stored;
    g_byte_array_set_size(out, start + (guint)room);
    lpm_batch_reset(batch);
    return room;
}
