/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Compression methods: one table per method, one file each, with a null one. Methods work on
 * one buffer at a time and keep no state between buffers, so that any buffer can be decoded alone.
 */
#ifndef LPM_CODEC_COMPRESSOR_H
#define LPM_CODEC_COMPRESSOR_H

#include <glib.h>
#include <stdint.h>

/* The largest buffer either way. */
#define LPM_COMPRESSOR_INPUT_MAX (4u << 20)

/* `method` is the byte on the wire; never reused (docs/batch-format.md). */
struct lpm_compressor {
    const char *name; /* of the configuration: "zstd" */
    uint8_t method;
    int level_min, level_max, level_default;
    /* A context for both directions, or NULL (methods without one). Freed with `free_context`. */
    gpointer (*new_context)(void);
    void (*free_context)(gpointer context);
    /* Worst case of the output for `length` bytes. */
    gsize (*bound)(gsize length);
    /* Returns the bytes written into `out` (at most `room`), or 0 if it did not work or did not
     * fit. */
    gsize (*compress)(gpointer context, int level, const uint8_t *data, gsize length, uint8_t *out,
                      gsize room);
    /* TRUE if exactly `room` bytes came out of exactly `length` bytes. Never writes beyond `room`.
     * The input is untrusted. */
    gboolean (*decompress)(gpointer context, const uint8_t *data, gsize length, uint8_t *out,
                           gsize room);
};

extern const struct lpm_compressor lpm_compressor_none;
extern const struct lpm_compressor lpm_compressor_zstd;
extern const struct lpm_compressor lpm_compressor_lz4;

/* By its name in the configuration, or by the byte of the wire. NULL if unknown. Any thread. */
const struct lpm_compressor *lpm_compressor_by_name(const char *name);
const struct lpm_compressor *lpm_compressor_by_method(uint8_t method);

#endif
