/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "codec/compressor.h"

#include <string.h>

static const struct lpm_compressor *const methods[] = {
    &lpm_compressor_none,
    &lpm_compressor_zstd,
    &lpm_compressor_lz4,
};

const struct lpm_compressor *lpm_compressor_by_name(const char *name)
{
    for (gsize i = 0; i < G_N_ELEMENTS(methods); i++)
        if (!strcmp(methods[i]->name, name))
            return methods[i];
    return NULL;
}

const struct lpm_compressor *lpm_compressor_by_method(uint8_t method)
{
    for (gsize i = 0; i < G_N_ELEMENTS(methods); i++)
        if (methods[i]->method == method)
            return methods[i];
    return NULL;
}
