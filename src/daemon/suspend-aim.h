/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * For how long QEMU may suspend a partition, by how the copy goes. Pure.
 *
 * QEMU stops the processors as soon as the rest would go within its limit, and never asks whether
 * another tenth of a second would make the rest smaller. So it is given less than the limit at
 * first, and all of it once the rounds show that it is needed.
 */
#ifndef LPM_DAEMON_SUSPEND_AIM_H
#define LPM_DAEMON_SUSPEND_AIM_H

#include <glib.h>

/* Rounds (as QEMU counts them, from 1) with less than the limit. */
#define LPM_SUSPEND_AIM_ROUNDS 3u

/* Milliseconds in that round, 1 to `limit_ms`. A migration that may go over to post-copy does so by
 * its rounds, of which less than the limit would make more: it has the limit (`whole`). */
guint lpm_suspend_aim(guint limit_ms, gboolean whole, guint64 round);

#endif
