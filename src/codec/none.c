/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The null method: bytes as they are. */
#include "codec/compressor.h"

#include <string.h>

static gsize bound(gsize length)
{
    return length;
}

static gsize compress(gpointer context G_GNUC_UNUSED, int level G_GNUC_UNUSED, const uint8_t *data,
                      gsize length, uint8_t *out, gsize room)
{
    if (length > room)
        return 0;
    memcpy(out, data, length);
    return length;
}

static gboolean decompress(gpointer context G_GNUC_UNUSED, const uint8_t *data, gsize length,
                           uint8_t *out, gsize room)
{
    if (length != room)
        return FALSE;
    memcpy(out, data, length);
    return TRUE;
}

const struct lpm_compressor lpm_compressor_none = {
    .name = "none",
    .method = 0,
    .bound = bound,
    .compress = compress,
    .decompress = decompress,
};
