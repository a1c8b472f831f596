/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Batches: a stretch of the stream, rewritten compactly and compressed; and back, to the identical
 * bytes. The format is docs/batch-format.md. Batches are independent of each other, and so are
 * encoders and decoders: each belongs to one thread at a time, several can work side by side.
 *
 * Encoding never depends on the caller being right about what a record is: a record is written as
 * part of a run only if the run reproduces its bytes; otherwise as it is.
 */
#ifndef LPM_CODEC_BATCH_H
#define LPM_CODEC_BATCH_H

#include "codec/compressor.h"
#include "codec/page-ring.h"

#include <glib.h>
#include <stdint.h>

/* Defaults of a batch, in bytes. */
#define LPM_BATCH_PAGE_BYTES (256u << 10)
#define LPM_BATCH_ORIGINAL_BYTES (512u << 10)
/* Beyond this neither side goes: no batch stands for more original bytes. */
#define LPM_BATCH_ORIGINAL_MAX (2u << 20)
/* No encoded body is longer. */
#define LPM_BATCH_BODY_MAX (LPM_BATCH_ORIGINAL_MAX * 2 + 256)

typedef struct lpm_batch LpmBatch;
typedef struct lpm_batch_decoder LpmBatchDecoder;

/* An empty batch for at most `page_bytes` of page content and `original_bytes` of the stream (0:
 * the defaults; clamped to 64 KiB + 512 .. LPM_BATCH_ORIGINAL_MAX). Everything is allocated here.
 */
LpmBatch *lpm_batch_new(gsize page_bytes, gsize original_bytes);
void lpm_batch_free(LpmBatch *batch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmBatch, lpm_batch_free)

/* Adds as many of the bytes as there is room for and returns how many: less than `length` means
 * that the batch is full. */
gsize lpm_batch_add_literal(LpmBatch *batch, const uint8_t *data, gsize length);

/* Adds the record of a zero page, whole. FALSE: no room, nothing was added; encode and reset first.
 * An empty batch has room for any record of the parser. */
gboolean lpm_batch_add_zero(LpmBatch *batch, const uint8_t *record, gsize length,
                            guint32 page_size);

/* The same for the record of a page with content; length == header_length + page_size. */
gboolean lpm_batch_add_page(LpmBatch *batch, const uint8_t *record, gsize length,
                            gsize header_length, guint32 page_size);

/* The same for the record of a page that the decoding side has in a retained image, in place
 * `slot`. The record is as QEMU writes it with CONTINUE; any other is added as by add_page. */
gboolean lpm_batch_add_kept(LpmBatch *batch, const uint8_t *record, gsize length,
                            gsize header_length, guint32 page_size, uint64_t slot);

/* The same for the record of a page of LPM_RING_PAGE bytes that is (`delta` NULL), or differs by
 * `delta` (exclusive-or) from, the page `back` pages before the first of this batch in the ring.
 * The record is as QEMU writes it with CONTINUE. FALSE: no room; or it is not so, and an empty
 * batch refuses it too. */
gboolean lpm_batch_add_recalled(LpmBatch *batch, const uint8_t *record, gsize length, uint64_t back,
                                const uint8_t *delta);

/* TRUE when a page of the present size or a literal might no longer fit: time to encode. */
gboolean lpm_batch_full(const LpmBatch *batch);
gboolean lpm_batch_empty(const LpmBatch *batch);
/* Bytes of the stream that the batch stands for. */
gsize lpm_batch_original_bytes(const LpmBatch *batch);
/* Zero and normal pages in it that are written as runs. */
guint lpm_batch_pages(const LpmBatch *batch);

/* An encoding method with its context and level. */
typedef struct lpm_batch_encoder LpmBatchEncoder;
/* `level` is clamped to the method's range. */
LpmBatchEncoder *lpm_batch_encoder_new(const struct lpm_compressor *method, int level);
void lpm_batch_encoder_free(LpmBatchEncoder *encoder);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmBatchEncoder, lpm_batch_encoder_free)
/* Takes effect with the next batch. */
void lpm_batch_encoder_set_level(LpmBatchEncoder *encoder, int level);

/* Appends the encoded body of `batch` to `out` and empties the batch. Cannot fail: what does not
 * compress by at least 5 % is stored. Returns the bytes appended, 0 for an empty batch. */
gsize lpm_batch_encode(LpmBatch *batch, LpmBatchEncoder *encoder, GByteArray *out);

LpmBatchDecoder *lpm_batch_decoder_new(void);

/* Pages of a retained image: those of `count` slots from `slot` on into `pages`, or FALSE. */
typedef gboolean (*lpm_batch_fetch)(gpointer user, uint64_t slot, guint count, uint8_t *pages,
                                    GError **error);
/* Without it a batch that refers to an image is not well-formed. Its errors are those of decode. */
void lpm_batch_decoder_set_image(LpmBatchDecoder *decoder, lpm_batch_fetch fetch, gpointer user);
void lpm_batch_decoder_free(LpmBatchDecoder *decoder);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmBatchDecoder, lpm_batch_decoder_free)

/* Batches may refer to pages of `ring` (borrowed; NULL: they may not), which has those of all
 * batches before and of no later one. */
void lpm_batch_decoder_set_ring(LpmBatchDecoder *decoder, const LpmPageRing *ring);
/* The last batch was refused because it refers to a ring, and there is none. */
gboolean lpm_batch_decoder_wants_ring(const LpmBatchDecoder *decoder);

/* Appends exactly `original_length` bytes (as the frame announced, 1..LPM_BATCH_ORIGINAL_MAX) to
 * `out` and returns TRUE; or returns FALSE and leaves `out` as it was: LPM_E_PROTOCOL if the body
 * is not well-formed, LPM_E_DATA_DAMAGED if a section does not decompress. `body` is untrusted. */
gboolean lpm_batch_decode(LpmBatchDecoder *decoder, const uint8_t *body, gsize length,
                          gsize original_length, GByteArray *out, GError **error);

#endif
