/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "base/clock.h"

#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t lpm_monotonic_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t lpm_wall_us(void)
{
    return read_us(CLOCK_REALTIME);
}
