/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Filling a batch: records become operations, neighbours grow into runs. */
#include "codec/batch-internal.h"

#include <string.h>

/* Room for any record: the largest page, its word and a name. */
#define ORIGINAL_MIN (65536 + 512)

LpmBatch *lpm_batch_new(gsize page_bytes, gsize original_bytes)
{
    LpmBatch *batch = g_new0(LpmBatch, 1);

    if (!page_bytes)
        page_bytes = LPM_BATCH_PAGE_BYTES;
    if (!original_bytes)
        original_bytes = LPM_BATCH_ORIGINAL_BYTES;
    batch->page_max = CLAMP(page_bytes, ORIGINAL_MIN, LPM_BATCH_ORIGINAL_MAX);
    batch->original_max = CLAMP(original_bytes, ORIGINAL_MIN, LPM_BATCH_ORIGINAL_MAX);
    batch->ops = g_malloc(lpm_batch_ops_max(batch->original_max) + LPM_LITERAL_HEAD);
    batch->pages = g_malloc(batch->page_max);
    return batch;
}

void lpm_batch_free(LpmBatch *batch)
{
    if (!batch)
        return;
    g_free(batch->ops);
    g_free(batch->pages);
    g_free(batch);
}

void lpm_batch_reset(LpmBatch *batch)
{
    batch->original = 0;
    batch->run_pages = 0;
    batch->page_bits = 0;
    batch->ops_length = 0;
    batch->pages_length = 0;
    batch->n = 0;
    batch->next = 0;
}

gsize lpm_varint_put(uint8_t *out, uint64_t value)
{
    gsize n = 0;

    while (value >= 0x80) {
        out[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[n++] = (uint8_t)value;
    return n;
}

static uint64_t zigzag(int64_t value)
{
    return value < 0 ? ~((uint64_t)value << 1) : (uint64_t)value << 1;
}

void lpm_batch_close(LpmBatch *batch)
{
    uint8_t head[10];
    uint64_t value = (uint64_t)batch->n << LPM_KIND_BITS | batch->kind;
    gsize length;

    if (!batch->n)
        return;
    if (batch->kind == LPM_KIND_LITERAL) {
        uint8_t *start = batch->ops + batch->literal_start;

        /* The bytes lie behind room for the longest head: close the gap. */
        length = lpm_varint_put(head, value);
        memcpy(start, head, length);
        if (length < LPM_LITERAL_HEAD)
            memmove(start + length, start + LPM_LITERAL_HEAD, batch->n);
        batch->ops_length = batch->literal_start + length + batch->n;
    } else {
        batch->ops_length += lpm_varint_put(batch->ops + batch->ops_length, value);
        if (batch->kind != LPM_KIND_CONTENT) {
            int64_t delta = (int64_t)(batch->first - batch->next);

            batch->ops_length += lpm_varint_put(batch->ops + batch->ops_length, zigzag(delta));
            if (batch->kind >= LPM_KIND_KEPT_RUN)
                batch->ops_length += lpm_varint_put(batch->ops + batch->ops_length, batch->slot);
            batch->next = batch->first + batch->n;
        }
    }
    batch->n = 0;
}

/* The open operation is of that kind afterwards. */
static void open_kind(LpmBatch *batch, enum lpm_batch_kind kind)
{
    if (batch->n && batch->kind == kind)
        return;
    lpm_batch_close(batch);
    batch->kind = kind;
    if (kind == LPM_KIND_LITERAL) {
        batch->literal_start = batch->ops_length;
        batch->ops_length += LPM_LITERAL_HEAD;
    }
}

static void put_literal(LpmBatch *batch, const uint8_t *data, gsize length)
{
    open_kind(batch, LPM_KIND_LITERAL);
    memcpy(batch->ops + batch->ops_length, data, length);
    batch->ops_length += length;
    batch->n += length;
    batch->original += length;
}

static void put_run(LpmBatch *batch, enum lpm_batch_kind kind, uint64_t page)
{
    if (batch->n && (batch->kind != kind || page != batch->first + batch->n))
        lpm_batch_close(batch);
    if (!batch->n) {
        batch->kind = kind;
        batch->first = page;
    }
    batch->n++;
    batch->run_pages++;
}

static void put_content(LpmBatch *batch, const uint8_t *page, gsize length)
{
    memcpy(batch->pages + batch->pages_length, page, length);
    batch->pages_length += length;
}

gsize lpm_batch_add_literal(LpmBatch *batch, const uint8_t *data, gsize length)
{
    length = MIN(length, batch->original_max - batch->original);
    if (length)
        put_literal(batch, data, length);
    return length;
}

/* A batch has pages of one size; others are literals. */
static gboolean page_size_fits(LpmBatch *batch, guint32 page_size)
{
    guint bits = g_bit_storage(page_size) - 1;

    if (page_size & (page_size - 1) || bits < LPM_PAGE_BITS_MIN || bits > LPM_PAGE_BITS_MAX)
        return FALSE;
    if (!batch->page_bits)
        batch->page_bits = bits;
    return batch->page_bits == bits;
}

/* The page number if the record begins with a word of exactly these flags. */
static gboolean word_is(const LpmBatch *batch, const uint8_t *record, guint32 flags, uint64_t *page)
{
    uint64_t word;

    memcpy(&word, record, sizeof word);
    word = GUINT64_FROM_BE(word);
    *page = word >> batch->page_bits;
    return (word & ((1ULL << batch->page_bits) - 1)) == flags;
}

gboolean lpm_batch_add_zero(LpmBatch *batch, const uint8_t *record, gsize length, guint32 page_size)
{
    uint64_t page;

    if (length > batch->original_max - batch->original)
        return FALSE;
    if (length == LPM_ZERO_RECORD && !record[8] && page_size_fits(batch, page_size) &&
        word_is(batch, record, LPM_FLAGS_ZERO, &page)) {
        put_run(batch, LPM_KIND_ZERO_RUN, page);
        batch->original += length;
    } else if (length) {
        put_literal(batch, record, length);
    }
    return TRUE;
}

static gboolean all_zero(const uint8_t *page, gsize length)
{
    /* Few pages begin with 16 zero bytes and are not zero altogether. */
    for (gsize i = 0; i < 16; i++)
        if (page[i])
            return FALSE;
    return !memcmp(page, page + 16, length - 16);
}

gboolean lpm_batch_add_page(LpmBatch *batch, const uint8_t *record, gsize length,
                            gsize header_length, guint32 page_size)
{
    const uint8_t *content = record + header_length;
    uint64_t page;

    if (length > batch->original_max - batch->original ||
        page_size > batch->page_max - batch->pages_length)
        return FALSE;
    if (length != header_length + page_size || !page_size_fits(batch, page_size)) {
        if (length)
            put_literal(batch, record, length);
        return TRUE;
    }
    if (header_length == 8 && word_is(batch, record, LPM_FLAGS_PAGE, &page)) {
        gboolean zero = all_zero(content, page_size);

        put_run(batch, zero ? LPM_KIND_FILL_RUN : LPM_KIND_PAGE_RUN, page);
        if (!zero)
            put_content(batch, content, page_size);
        batch->original += length;
        return TRUE;
    }
    if (header_length)
        put_literal(batch, record, header_length);
    open_kind(batch, LPM_KIND_CONTENT);
    batch->n++;
    put_content(batch, content, page_size);
    batch->original += page_size;
    return TRUE;
}

gboolean lpm_batch_add_kept(LpmBatch *batch, const uint8_t *record, gsize length,
                            gsize header_length, guint32 page_size, uint64_t slot)
{
    uint64_t page;

    if (length > batch->original_max - batch->original)
        return FALSE;
    if (page_size != 1u << LPM_KEPT_PAGE_BITS || length != 8 + (gsize)page_size ||
        header_length != 8 || !page_size_fits(batch, page_size) ||
        !word_is(batch, record, LPM_FLAGS_PAGE, &page))
        return lpm_batch_add_page(batch, record, length, header_length, page_size);
    if (batch->n && batch->kind == LPM_KIND_KEPT_RUN && slot != batch->slot + batch->n)
        lpm_batch_close(batch);
    put_run(batch, LPM_KIND_KEPT_RUN, page);
    if (batch->n == 1)
        batch->slot = slot;
    batch->original += length;
    return TRUE;
}

gboolean lpm_batch_add_recalled(LpmBatch *batch, const uint8_t *record, gsize length, uint64_t back,
                                const uint8_t *delta)
{
    enum lpm_batch_kind kind = delta ? LPM_KIND_DELTA_RUN : LPM_KIND_SAME_RUN;
    uint64_t page;

    if (length != 8 + LPM_RING_PAGE || length > batch->original_max - batch->original ||
        (delta && LPM_RING_PAGE > batch->page_max - batch->pages_length) ||
        !page_size_fits(batch, LPM_RING_PAGE) || !word_is(batch, record, LPM_FLAGS_PAGE, &page))
        return FALSE;
    if (batch->n && batch->kind == kind && back + batch->n != batch->slot)
        lpm_batch_close(batch);
    put_run(batch, kind, page);
    if (batch->n == 1)
        batch->slot = back;
    if (delta)
        put_content(batch, delta, LPM_RING_PAGE);
    batch->original += length;
    return TRUE;
}

gboolean lpm_batch_full(const LpmBatch *batch)
{
    gsize page = batch->page_bits ? 1ul << batch->page_bits : 4096;

    return batch->original + page + 264 > batch->original_max ||
           batch->pages_length + page > batch->page_max;
}

gboolean lpm_batch_empty(const LpmBatch *batch)
{
    return !batch->original;
}

gsize lpm_batch_original_bytes(const LpmBatch *batch)
{
    return batch->original;
}

guint lpm_batch_pages(const LpmBatch *batch)
{
    return batch->run_pages;
}
