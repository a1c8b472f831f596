/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Batches. Inputs with an even first byte are a body from the network: bytes 1 to 3 are the length
 * announced. With an odd one they are records for the encoder, well-formed or not, which must come
 * back.
 */
#include "base/error.h"
#include "codec/batch.h"
#include "require.h"

#include <stdlib.h>
#include <string.h>

/* An image whose places are all there but those from 2^20 on. */
static gboolean fetch(gpointer user, uint64_t slot, guint count, uint8_t *pages, GError **error)
{
    (void)user;
    REQUIRE(count && count <= 64);
    if (slot >= 1u << 20)
        return lpm_fail(error, LPM_E_RETAINED, "no such place");
    for (guint i = 0; i < count; i++)
        memset(pages + i * 4096, (int)((slot + i) % 251 + 1), 4096);
    return TRUE;
}

/* A ring of so many pages; one for the life of the program. */
static const LpmPageRing *ring_of(guint count)
{
    static LpmPageRing *ring;
    const struct lpm_tag tag = {{0}};
    uint8_t page[LPM_RING_PAGE];

    if (!ring)
        ring = lpm_page_ring_new(FALSE);
    while (lpm_page_ring_pushed(ring) < count) {
        memset(page, (int)lpm_page_ring_pushed(ring) + 1, sizeof(page));
        lpm_page_ring_push(ring, page, 0, &tag);
    }
    return ring;
}

static void decode_anything(const uint8_t *data, gsize size)
{
    g_autoptr(LpmBatchDecoder) decoder = lpm_batch_decoder_new();
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    gsize original;
    gboolean good;

    if (size < 3)
        return;
    if (data[2] & 2)
        lpm_batch_decoder_set_ring(decoder, ring_of(20));
    if (data[2] & 1)
        lpm_batch_decoder_set_image(decoder, fetch, NULL);
    original = (gsize)data[0] << 16 | (gsize)data[1] << 8 | data[2];
    good = lpm_batch_decode(decoder, data + 3, size - 3, original, out, &error);
    REQUIRE(good ? !error && out->len == original : error && !out->len);
}

/* Adds what one byte of the input asks for, made from the bytes after it, to batch and original. */
static gsize add(LpmBatch *batch, const uint8_t *data, gsize size, GByteArray *original)
{
    static const guint32 sizes[] = {4096, 4096, 1024, 65536};
    g_autofree uint8_t *record = NULL;
    guint32 page_size = sizes[data[0] >> 4 & 3];
    gsize used = MIN(size, 10), length;
    uint8_t one = size > 1 ? data[1] : 0, two = size > 2 ? data[2] : 0;

    if (data[0] % 3 == 0) {
        length = lpm_batch_add_literal(batch, data, used);
        g_byte_array_append(original, data, (guint)length);
        return used;
    }
    record = g_malloc0(8 + page_size);
    memcpy(record, data + 1, used - 1);
    if (data[0] & 0x40) { /* as QEMU writes it */
        record[6] &= 0xf0;
        record[7] = data[0] % 3 == 1 ? 0x22 : 0x28;
    }
    if (data[0] % 3 == 1) {
        length = 9;
        if (!lpm_batch_add_zero(batch, record, length, page_size))
            return used;
    } else if (data[0] & 0x08) {
        uint64_t slot = one % 8;

        length = 8 + page_size;
        if (page_size == 4096)
            fetch(NULL, slot, 1, record + 8, NULL);
        if (!lpm_batch_add_kept(batch, record, length, 8, page_size, slot))
            return used;
    } else if (data[0] & 0x80 && page_size == 4096) {
        uint8_t delta[LPM_RING_PAGE] = {one, 0, two};
        guint back = one % 20 + 1;

        length = 8 + page_size;
        memset(record + 8, (int)(20 - back) + 1, LPM_RING_PAGE);
        for (guint i = 0; two & 1 && i < LPM_RING_PAGE; i++)
            record[8 + i] ^= delta[i];
        if (!lpm_batch_add_recalled(batch, record, length, back, two & 1 ? delta : NULL))
            return used;
    } else {
        length = 8 + page_size;
        if (!lpm_batch_add_page(batch, record, length, data[0] & 0x80 ? 5 : 8, page_size))
            return used;
    }
    g_byte_array_append(original, record, (guint)length);
    return used;
}

static void encode_and_decode(const uint8_t *data, gsize size, guint8 method)
{
    g_autoptr(LpmBatchEncoder) encoder =
        lpm_batch_encoder_new(lpm_compressor_by_method(method % 3), method % 7 - 4);
    g_autoptr(LpmBatchDecoder) decoder = lpm_batch_decoder_new();
    g_autoptr(GByteArray) original = g_byte_array_new();
    g_autoptr(GByteArray) body = g_byte_array_new();
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_autoptr(LpmBatch) batch = lpm_batch_new(0, 0);

    lpm_batch_decoder_set_image(decoder, fetch, NULL);
    lpm_batch_decoder_set_ring(decoder, ring_of(20));
    while (size && !lpm_batch_full(batch)) {
        gsize used = add(batch, data, size, original);

        data += used;
        size -= used;
    }
    REQUIRE(lpm_batch_original_bytes(batch) == original->len);
    lpm_batch_encode(batch, encoder, body);
    REQUIRE(body->len <= LPM_BATCH_BODY_MAX);
    if (!original->len)
        return;
    REQUIRE(lpm_batch_decode(decoder, body->data, body->len, original->len, out, NULL));
    REQUIRE(out->len == original->len && !memcmp(out->data, original->data, out->len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    if (data[0] & 1)
        encode_and_decode(data + 1, size - 1, data[0] >> 1);
    else
        decode_anything(data + 1, size - 1);
    return 0;
}
