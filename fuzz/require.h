/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What every fuzz target has: its entry, and a check of what must hold. */
#ifndef LPM_FUZZ_REQUIRE_H
#define LPM_FUZZ_REQUIRE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* The entry that libFuzzer and replay-main.c call: any bytes, any number of times. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the program unless it holds. Not assert(): it must hold in every build. */
#define REQUIRE(what)                                                                              \
    do {                                                                                           \
        if (!(what))                                                                               \
            abort();                                                                               \
    } while (0)

#endif
