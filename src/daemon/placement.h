/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Whether the target's mover places pages into QEMU's memory itself (mover/page-placer.h): chosen
 * here, by what QEMU's memory is, when QEMU waits for its stream and has not got any of it. */
#ifndef LPM_DAEMON_PLACEMENT_H
#define LPM_DAEMON_PLACEMENT_H

#include "daemon/migration.h"

/* The target's QEMU listens, and its mover has no socket of it yet: gives the mover the memory that
 * it may write, or the reason why there is none. Cannot fail: the stream carries what is not
 * placed. */
void lpm_placement_choose(LpmMigration *migration, struct lpm_mover *mover);

#endif
