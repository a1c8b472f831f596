/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/suspend-aim.h"

/* A third of the limit; less than this is not asked for, since the devices' state takes as long. */
#define AIM_PART 3u
#define AIM_LEAST_MS 30u

guint lpm_suspend_aim(guint limit_ms, gboolean whole, guint64 round)
{
    guint aim = MIN(MAX(limit_ms / AIM_PART, AIM_LEAST_MS), limit_ms);

    return whole || round > LPM_SUSPEND_AIM_ROUNDS ? limit_ms : aim;
}
