/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* How many ways lead to a multipath device, from sysfs. Any thread; reads a few small files. */
#ifndef LPM_HOST_MULTIPATH_H
#define LPM_HOST_MULTIPATH_H

#include <jansson.h>

/* Of a block device's folder in sysfs: {usable, all}, numbers of paths, when it is a multipath
 * device or is laid over some (a volume of LVM: of those beneath the one with the fewest usable).
 * NULL when no multipath device is beneath it. A new reference. */
json_t *lpm_multipath_paths(const char *folder);

#endif
