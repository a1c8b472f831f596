/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* lpmd's folders, and the locks that keep a second lpmd out of them. */
#ifndef LPM_DAEMON_FOLDERS_H
#define LPM_DAEMON_FOLDERS_H

#include "base/config.h"
#include "base/fdio.h"

/* Makes state_dir (0700) and run_dir (0755) with their parents. FALSE with CONFIG. */
gboolean lpm_folders_make(const LpmConfig *config, GError **error);

/* Locks FOLDER/lpmd.lock and writes this process's id into it. The descriptor holds the lock until
 * it is closed or the process ends; the file stays. -1 with CONFIG if another process has it. */
int lpm_folder_lock(const char *folder, GError **error);

#endif
