/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * A body becomes the original bytes. The input comes from the network and is checked at every step:
 * lengths before they are allocated, room before it is written, and that nothing is left at the
 * end.
 */
#include "base/error.h"
#include "codec/batch-internal.h"

#include <string.h>

struct buffer {
    uint8_t *data; /* owned */
    gsize size;
};

struct lpm_batch_decoder {
    gpointer contexts[256];   /* by method; made when first used */
    struct buffer ops, pages; /* grow to the limits of a batch, never beyond */
    struct buffer kept;       /* KEPT_PAGES at a time */
    lpm_batch_fetch fetch;    /* NULL: there is no image */
    gpointer user;
    const LpmPageRing *ring; /* NULL: there is none */
    gboolean wants_ring;
};

/* Pages of an image that are fetched at once. */
#define KEPT_PAGES 64u

/* A part of the body, decompressed, and what is left of it. */
struct part {
    const uint8_t *data;
    gsize length;
};

/* What is being made. */
struct output {
    uint8_t *data;
    gsize room;
    guint bits;
    uint64_t next; /* page after the last run */
};

LpmBatchDecoder *lpm_batch_decoder_new(void)
{
    return g_new0(LpmBatchDecoder, 1);
}

void lpm_batch_decoder_free(LpmBatchDecoder *decoder)
{
    if (!decoder)
        return;
    for (guint i = 0; i < G_N_ELEMENTS(decoder->contexts); i++)
        if (decoder->contexts[i])
            lpm_compressor_by_method((uint8_t)i)->free_context(decoder->contexts[i]);
    g_free(decoder->ops.data);
    g_free(decoder->pages.data);
    g_free(decoder->kept.data);
    g_free(decoder);
}

void lpm_batch_decoder_set_image(LpmBatchDecoder *decoder, lpm_batch_fetch fetch, gpointer user)
{
    decoder->fetch = fetch;
    decoder->user = user;
}

void lpm_batch_decoder_set_ring(LpmBatchDecoder *decoder, const LpmPageRing *ring)
{
    decoder->ring = ring;
}

gboolean lpm_batch_decoder_wants_ring(const LpmBatchDecoder *decoder)
{
    return decoder->wants_ring;
}

static gboolean get_varint(struct part *part, uint64_t *value)
{
    *value = 0;
    for (guint shift = 0, i = 0; i < part->length && shift < 64; i++, shift += 7) {
        uint8_t byte = part->data[i];

        if ((shift == 63 && byte > 1) || (shift && !byte))
            return FALSE;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte & 0x80)
            continue;
        part->data += i + 1;
        part->length -= i + 1;
        return TRUE;
    }
    return FALSE;
}

static uint8_t *reserve(struct buffer *buffer, gsize size)
{
    if (buffer->size < size) {
        g_free(buffer->data);
        buffer->data = g_malloc(size);
        buffer->size = size;
    }
    return buffer->data;
}

/* The part of `stored` bytes at the front of `body`, as `length` bytes in `*part`. */
static gboolean open_part(LpmBatchDecoder *decoder, uint8_t number, struct part *body, gsize stored,
                          gsize length, struct buffer *buffer, struct part *part, GError **error)
{
    const struct lpm_compressor *method = lpm_compressor_by_method(number);
    uint8_t *room;

    if (!method)
        return lpm_fail(error, LPM_E_PROTOCOL,
                        "a batch has compression method %u, which is not known", number);
    part->data = body->data;
    part->length = length;
    body->data += stored;
    body->length -= stored;
    if (method == &lpm_compressor_none) {
        if (stored != length)
            return lpm_fail(error, LPM_E_PROTOCOL,
                            "a stored part of a batch has %zu bytes instead of %zu", stored,
                            length);
        return TRUE;
    }
    if (method->new_context && !decoder->contexts[number])
        decoder->contexts[number] = method->new_context();
    room = reserve(buffer, MAX(length, 1));
    if (!length || !method->decompress(decoder->contexts[number], part->data, stored, room, length))
        return lpm_fail(error, LPM_E_DATA_DAMAGED,
                        "a part of a batch (%s, %zu bytes) does not unpack"
                        " to %zu bytes",
                        method->name, stored, length);
    part->data = room;
    return TRUE;
}

static gboolean put(struct output *out, const void *data, gsize length)
{
    if (length > out->room)
        return FALSE;
    memcpy(out->data, data, length);
    out->data += length;
    out->room -= length;
    return TRUE;
}

static gboolean put_from(struct output *out, struct part *part, gsize length)
{
    if (length > part->length || !put(out, part->data, length))
        return FALSE;
    part->data += length;
    part->length -= length;
    return TRUE;
}

static void put_word(struct output *out, uint64_t page, guint32 flags)
{
    uint64_t word = GUINT64_TO_BE(page << out->bits | flags);

    memcpy(out->data, &word, sizeof word);
    out->data += sizeof word;
    out->room -= sizeof word;
}

/* n records whose room is checked as a whole. */
static gboolean put_run(struct output *out, enum lpm_batch_kind kind, uint64_t n, struct part *ops,
                        struct part *pages)
{
    gsize size = 1ul << out->bits;
    gsize content = kind == LPM_KIND_ZERO_RUN ? 1 : size;
    uint64_t delta, page, limit = 1ULL << (64 - out->bits);

    if (!get_varint(ops, &delta))
        return FALSE;
    page = out->next + (delta & 1 ? ~(delta >> 1) : delta >> 1);
    if (page >= limit || n > out->room / (8 + content) || n > limit - page)
        return FALSE;
    if (kind == LPM_KIND_PAGE_RUN && n > pages->length / size)
        return FALSE;
    out->next = page + n;
    for (; n; n--, page++) {
        put_word(out, page, kind == LPM_KIND_ZERO_RUN ? LPM_FLAGS_ZERO : LPM_FLAGS_PAGE);
        if (kind == LPM_KIND_PAGE_RUN) {
            put_from(out, pages, size);
            continue;
        }
        memset(out->data, 0, content);
        out->data += content;
        out->room -= content;
    }
    return TRUE;
}

/* The records of a run whose first page is `page`, with the pages of an image. */
static gboolean put_fetched(LpmBatchDecoder *decoder, struct output *out, uint64_t page, uint64_t n,
                            uint64_t slot, GError **error)
{
    gsize size = 1ul << out->bits;
    uint8_t *pages = reserve(&decoder->kept, KEPT_PAGES * size);

    while (n) {
        guint count = (guint)MIN(n, KEPT_PAGES);

        if (!decoder->fetch(decoder->user, slot, count, pages, error))
            return FALSE;
        for (guint i = 0; i < count; i++) {
            put_word(out, page + i, LPM_FLAGS_PAGE);
            put(out, pages + i * size, size);
        }
        page += count;
        slot += count;
        n -= count;
    }
    return TRUE;
}

static gboolean put_kept(LpmBatchDecoder *decoder, struct output *out, uint64_t n, struct part *ops,
                         GError **error)
{
    uint64_t delta, page, slot, limit = 1ULL << (64 - out->bits);

    if (!decoder->fetch || !get_varint(ops, &delta) || !get_varint(ops, &slot))
        return FALSE;
    page = out->next + (delta & 1 ? ~(delta >> 1) : delta >> 1);
    if (page >= limit || n > out->room / (8 + (1ul << out->bits)) || n > limit - page ||
        out->bits != LPM_KEPT_PAGE_BITS || slot > G_MAXINT64)
        return FALSE;
    out->next = page + n;
    return put_fetched(decoder, out, page, n, slot, error);
}

/* The page at `out`, which is in front of it in the ring, becomes what `delta` says. */
static void apply(uint8_t *page, const uint8_t *delta)
{
    for (guint i = 0; i < LPM_RING_PAGE; i += 8) {
        uint64_t here, other;

        memcpy(&here, page + i, sizeof(here));
        memcpy(&other, delta + i, sizeof(other));
        here ^= other;
        memcpy(page + i, &here, sizeof(here));
    }
}

/* One record whose page is `back` pages before the batch. */
static gboolean put_back(LpmBatchDecoder *decoder, struct output *out, uint64_t page, uint64_t back,
                         struct part *deltas)
{
    uint64_t pushed = lpm_page_ring_pushed(decoder->ring);
    const uint8_t *old =
        back && back <= pushed ? lpm_page_ring_at(decoder->ring, pushed - back) : NULL;

    if (!old || (deltas && deltas->length < LPM_RING_PAGE))
        return FALSE;
    put_word(out, page, LPM_FLAGS_PAGE);
    put(out, old, LPM_RING_PAGE);
    if (!deltas)
        return TRUE;
    apply(out->data - LPM_RING_PAGE, deltas->data);
    deltas->data += LPM_RING_PAGE;
    deltas->length -= LPM_RING_PAGE;
    return TRUE;
}

static gboolean put_recalled(LpmBatchDecoder *decoder, struct output *out, uint64_t n,
                             struct part *ops, struct part *deltas)
{
    uint64_t delta, page, back, limit = 1ULL << (64 - out->bits);

    decoder->wants_ring = !decoder->ring;
    if (!decoder->ring || !get_varint(ops, &delta) || !get_varint(ops, &back))
        return FALSE;
    page = out->next + (delta & 1 ? ~(delta >> 1) : delta >> 1);
    if (page >= limit || n > out->room / (8 + LPM_RING_PAGE) || n > limit - page || n > back ||
        out->bits != LPM_KEPT_PAGE_BITS)
        return FALSE;
    out->next = page + n;
    for (; n; n--, page++, back--)
        if (!put_back(decoder, out, page, back, deltas))
            return FALSE;
    return TRUE;
}

/* FALSE without an error: it does not fit. */
static gboolean put_operation(LpmBatchDecoder *decoder, struct output *out, struct part *ops,
                              struct part *pages, GError **error)
{
    uint64_t head, n;

    if (!get_varint(ops, &head))
        return FALSE;
    n = head >> LPM_KIND_BITS;
    if (!n || n > out->room)
        return FALSE;
    switch (head & ((1u << LPM_KIND_BITS) - 1)) {
    case LPM_KIND_LITERAL:
        return put_from(out, ops, (gsize)n);
    case LPM_KIND_ZERO_RUN:
        return put_run(out, LPM_KIND_ZERO_RUN, n, ops, pages);
    case LPM_KIND_PAGE_RUN:
        return put_run(out, LPM_KIND_PAGE_RUN, n, ops, pages);
    case LPM_KIND_FILL_RUN:
        return put_run(out, LPM_KIND_FILL_RUN, n, ops, pages);
    case LPM_KIND_CONTENT:
        return put_from(out, pages, (gsize)n << out->bits);
    case LPM_KIND_KEPT_RUN:
        return put_kept(decoder, out, n, ops, error);
    case LPM_KIND_SAME_RUN:
        return put_recalled(decoder, out, n, ops, NULL);
    case LPM_KIND_DELTA_RUN:
        return put_recalled(decoder, out, n, ops, pages);
    default:
        return FALSE;
    }
}

/* The fixed fields; `body` is left at the parts. */
static gboolean get_head(struct part *body, gsize original, uint8_t methods[2], guint *bits,
                         uint64_t lengths[4])
{
    if (body->length < 3)
        return FALSE;
    methods[0] = body->data[0];
    methods[1] = body->data[1];
    *bits = body->data[2];
    if (*bits < LPM_PAGE_BITS_MIN || *bits > LPM_PAGE_BITS_MAX)
        return FALSE;
    body->data += 3;
    body->length -= 3;
    for (guint i = 0; i < 4; i++)
        if (!get_varint(body, &lengths[i]))
            return FALSE;
    return lengths[0] <= lpm_batch_ops_max(original) && lengths[2] <= original &&
           lengths[1] <= body->length && lengths[3] == body->length - lengths[1];
}

static gboolean decode(LpmBatchDecoder *decoder, struct part *body, gsize original, uint8_t *data,
                       GError **error)
{
    struct output out = {.data = data, .room = original};
    struct part ops, pages;
    uint64_t lengths[4];
    uint8_t methods[2];

    if (!get_head(body, original, methods, &out.bits, lengths))
        return lpm_fail(error, LPM_E_PROTOCOL, "the head of a batch is not well-formed");
    if (!open_part(decoder, methods[0], body, (gsize)lengths[1], (gsize)lengths[0], &decoder->ops,
                   &ops, error) ||
        !open_part(decoder, methods[1], body, (gsize)lengths[3], (gsize)lengths[2], &decoder->pages,
                   &pages, error))
        return FALSE;
    while (ops.length) {
        g_autoptr(GError) cause = NULL;

        if (put_operation(decoder, &out, &ops, &pages, &cause))
            continue;
        if (!cause)
            return lpm_fail(error, LPM_E_PROTOCOL,
                            "an operation of a batch does not fit (%zu of %zu bytes made)",
                            original - out.room, original);
        g_propagate_error(error, g_steal_pointer(&cause));
        return FALSE;
    }
    if (out.room || pages.length)
        return lpm_fail(error, LPM_E_PROTOCOL,
                        "a batch is short of %zu bytes and leaves %zu bytes of pages", out.room,
                        pages.length);
    return TRUE;
}

gboolean lpm_batch_decode(LpmBatchDecoder *decoder, const uint8_t *body, gsize length,
                          gsize original_length, GByteArray *out, GError **error)
{
    struct part part = {body, length};
    guint start = out->len;

    decoder->wants_ring = FALSE;

    if (!original_length || original_length > LPM_BATCH_ORIGINAL_MAX)
        return lpm_fail(error, LPM_E_PROTOCOL, "a batch announces %zu bytes, beyond 1..%u",
                        original_length, LPM_BATCH_ORIGINAL_MAX);
    g_byte_array_set_size(out, start + (guint)original_length);
    if (decode(decoder, &part, original_length, out->data + start, error))
        return TRUE;
    g_byte_array_set_size(out, start);
    return FALSE;
}
