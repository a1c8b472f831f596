/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * A SQLite VFS for fault tests: what was written and not yet synced is in this process's memory
 * only, so that killing lpmd loses it as a loss of power would. The rest is the default VFS's.
 * Built with -Dfault_points=true only.
 */
#ifndef LPM_DAEMON_JOURNAL_CRASH_VFS_H
#define LPM_DAEMON_JOURNAL_CRASH_VFS_H

/* The name to give to sqlite3_open_v2; registers the VFS at its first call. NULL when it cannot be
 * registered. Not thread-safe: lpmd opens one journal, at its start. */
const char *lpm_crash_vfs(void);

#endif
