/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Private to pairing.c and pairing-join.c. */
#ifndef LPM_DAEMON_PAIRING_PRIVATE_H
#define LPM_DAEMON_PAIRING_PRIVATE_H

#include "daemon/pairing.h"

struct lpm_pairing {
    struct lpm_daemon *daemon; /* immutable */
    GMutex lock;               /* guards what follows */
    GPtrArray *invites;        /* those not void; one reference each */
    GQueue guests;             /* descriptors of connections being served, as pointers */
    GCond guest_left;
};

#endif
