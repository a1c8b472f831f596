/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What the encoder and the decoder of batches share. Format: docs/batch-format.md. */
#ifndef LPM_CODEC_BATCH_INTERNAL_H
#define LPM_CODEC_BATCH_INTERNAL_H

#include "codec/batch.h"

enum lpm_batch_kind {
    LPM_KIND_LITERAL,
    LPM_KIND_ZERO_RUN,
    LPM_KIND_PAGE_RUN,
    LPM_KIND_FILL_RUN,
    LPM_KIND_CONTENT,
    LPM_KIND_KEPT_RUN,
    LPM_KIND_SAME_RUN,
    LPM_KIND_DELTA_RUN,
};

#define LPM_KIND_BITS 3
#define LPM_FLAGS_ZERO 0x22u /* ZERO | CONTINUE */
#define LPM_FLAGS_PAGE 0x28u /* PAGE | CONTINUE */
#define LPM_ZERO_RECORD 9u
#define LPM_PAGE_BITS_MIN 10u
#define LPM_PAGE_BITS_MAX 16u
#define LPM_KEPT_PAGE_BITS 12u /* of images */

/* A literal's head: its length is below 2^22, 25 bits with the kind. */
#define LPM_LITERAL_HEAD 4u

static inline gsize lpm_batch_ops_max(gsize original)
{
    return 2 * original + 64;
}

struct lpm_batch {
    gsize page_max, original_max; /* immutable */
    gsize original;               /* bytes stood for */
    guint run_pages;
    guint page_bits;  /* 0: no page came yet */
    uint8_t *ops;     /* lpm_batch_ops_max(original_max) + room for one head */
    gsize ops_length; /* without the open operation, except the bytes of a literal */
    uint8_t *pages;   /* page_max */
    gsize pages_length;
    /* The open operation: n == 0 if there is none. */
    enum lpm_batch_kind kind;
    gsize n;
    gsize literal_start; /* of the room for the head, in ops */
    uint64_t first;      /* page number of a run */
    uint64_t slot;       /* of its first page, KEPT_RUN; or how far back it lies */
    uint64_t next;       /* the one expected after the last run */
};

/* Closes the open operation, so that `ops` is complete. */
void lpm_batch_close(LpmBatch *batch);
/* As after lpm_batch_new. */
void lpm_batch_reset(LpmBatch *batch);

/* Writes at most 10 bytes; returns how many. */
gsize lpm_varint_put(uint8_t *out, uint64_t value);

#endif
