/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The report of a migration that was handed over: what docs/architecture.md lists, from QEMU's
 * stamps, libvirt's job and the statistics of both movers. */
#ifndef LPM_DAEMON_REPORT_H
#define LPM_DAEMON_REPORT_H

#include "daemon/migration.h"

/* A new reference. The source's own thread, after the hand-over. Figures that were not seen (after
 * a restart of lpmd) are null. */
json_t *lpm_report(LpmMigration *migration);

#endif
