/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Loaded before a program (LD_PRELOAD) this shifts its wall clock by LPM_LAB_CLOCK_S seconds: the
 * hosts of a lab share the machine's clock, which namespaces cannot change.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    const char *shift = getenv("LPM_LAB_CLOCK_S");

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && shift)
        now->tv_sec += strtol(shift, NULL, 10);
    return result;
}
