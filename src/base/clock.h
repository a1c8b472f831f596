/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The two clocks in use, both in microseconds. Any thread. */
#ifndef LPM_BASE_CLOCK_H
#define LPM_BASE_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC: for durations on one host. */
int64_t lpm_monotonic_us(void);

/* CLOCK_REALTIME since 1970: for stamps that are shown, and compared between hosts only with the
 * measured offset. QEMU stamps its events with the same clock. */
int64_t lpm_wall_us(void);

#endif
