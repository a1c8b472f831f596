/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Private to pairing.c, pairing-join.c and their test. */
#ifndef LPM_DAEMON_PAIRING_PRIVATE_H
#define LPM_DAEMON_PAIRING_PRIVATE_H

#include "daemon/pairing-code.h"
#include "daemon/pairing.h"

/* Open: may be used. Claimed: a pairing got as far as to name both hosts; others must wait for
 * its end, after which it is open again or gone. Void: off the data port, not to be used. */
enum invite_state { INVITE_OPEN, INVITE_CLAIMED, INVITE_VOID };

struct invite {
    gatomicrefcount references;
    struct lpm_pairing *pairing;     /* immutable */
    uint8_t id[LPM_DATA_ID_BYTES];   /* immutable */
    uint8_t key[LPM_CODE_KEY_BYTES]; /* immutable, secret */
    int64_t expires_us;              /* immutable once on the data port, monotonic */
    enum invite_state state;         /* guarded by pairing->lock, as is the next */
    guint attempts;
};

struct lpm_pairing {
    struct lpm_daemon *daemon; /* immutable */
    GMutex lock;               /* guards what follows */
    GPtrArray *invites;        /* struct invite, those not void; one reference each */
    GQueue guests;             /* descriptors of connections being served, as pointers */
    GCond guest_left;
};

#endif
