/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The level is 1 less than LZ4's acceleration: 0 compresses most, -7 is fastest. */
#include "codec/compressor.h"

#include <lz4.h>

static gpointer new_context(void)
{
    return g_malloc0((gsize)LZ4_sizeofState());
}

static gsize bound(gsize length)
{
    return (gsize)LZ4_compressBound((int)MIN(length, LPM_COMPRESSOR_INPUT_MAX));
}

static gsize compress(gpointer context, int level, const uint8_t *data, gsize length, uint8_t *out,
                      gsize room)
{
    int written;

    if (length > LPM_COMPRESSOR_INPUT_MAX)
        return 0;
    written = LZ4_compress_fast_extState(context, (const char *)data, (char *)out, (int)length,
                                         (int)MIN(room, (gsize)G_MAXINT), 1 - level);
    return written > 0 ? (gsize)written : 0;
}

static gboolean decompress(gpointer context G_GNUC_UNUSED, const uint8_t *data, gsize length,
                           uint8_t *out, gsize room)
{
    if (length > G_MAXINT || room > LPM_COMPRESSOR_INPUT_MAX)
        return FALSE;
    return LZ4_decompress_safe((const char *)data, (char *)out, (int)length, (int)room) ==
           (int)room;
}

const struct lpm_compressor lpm_compressor_lz4 = {
    .name = "lz4",
    .method = 2,
    .level_min = -7,
    .level_max = 0,
    .level_default = 0,
    .new_context = new_context,
    .free_context = g_free,
    .bound = bound,
    .compress = compress,
    .decompress = decompress,
};
