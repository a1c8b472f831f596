/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "codec/compressor.h"

#include <string.h>
#include <zstd.h>

struct context {
    ZSTD_CCtx *compress; /* made when first used: a decoder needs none */
    ZSTD_DCtx *decompress;
};

static gpointer new_context(void)
{
    return g_new0(struct context, 1);
}

static void free_context(gpointer pointer)
{
    struct context *context = pointer;

    if (!context)
        return;
    ZSTD_freeCCtx(context->compress);
    ZSTD_freeDCtx(context->decompress);
    g_free(context);
}

static gsize compress(gpointer pointer, int level, const uint8_t *data, gsize length, uint8_t *out,
                      gsize room)
{
    struct context *context = pointer;
    size_t written;

    if (!context->compress)
        context->compress = ZSTD_createCCtx();
    if (!context->compress)
        return 0;
    written = ZSTD_compressCCtx(context->compress, out, room, data, length, level);
    return ZSTD_isError(written) ? 0 : written;
}

static gboolean decompress(gpointer pointer, const uint8_t *data, gsize length, uint8_t *out,
                           gsize room)
{
    /* Only the present format: no skippable frames, none of the old ones that the library knows. */
    static const uint8_t magic[4] = {0x28, 0xb5, 0x2f, 0xfd};
    struct context *context = pointer;
    size_t written;

    if (length < sizeof magic || memcmp(data, magic, sizeof magic))
        return FALSE;
    /* One frame only; a second one could be of another kind. */
    if (ZSTD_findFrameCompressedSize(data, length) != length)
        return FALSE;
    if (!context->decompress)
        context->decompress = ZSTD_createDCtx();
    if (!context->decompress)
        return FALSE;
    written = ZSTD_decompressDCtx(context->decompress, out, room, data, length);
    return !ZSTD_isError(written) && written == room;
}

const struct lpm_compressor lpm_compressor_zstd = {
    .name = "zstd",
    .method = 1,
    .level_min = -7,
    .level_max = 19,
    .level_default = -1,
    .new_context = new_context,
    .free_context = free_context,
    .bound = ZSTD_compressBound,
    .compress = compress,
    .decompress = decompress,
};
