/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * What a mover gives up before it hears its first command: the file system (chroot into an empty
 * folder), root, new privileges, core dumps and being traced (it will hold a key), and every system
 * call that it does not need. Call before there are threads; each step is for good.
 */
#ifndef LPM_MOVER_SANDBOX_H
#define LPM_MOVER_SANDBOX_H

#include <glib.h>

/* Enters `root` (an empty folder) and becomes `user`, without any group but its own. Needs root. */
gboolean lpm_sandbox_enter(const char *root, const char *user, GError **error);
/* Loads the filter: what is not on the list kills the process. */
gboolean lpm_sandbox_filter(GError **error);

#endif
