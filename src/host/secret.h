/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Secrets that libvirt keeps for disks: the password or key with which storage is opened. */
#ifndef LPM_HOST_SECRET_H
#define LPM_HOST_SECRET_H

#include "host/host.h"

/* The secret that an entry of a model's `disks` (inspect.h) names by UUID or use; the caller wipes
 * and frees it. NULL with *cause (a new string); *unable: it is there, and libvirt does not give it
 * to anybody (private='yes'). Asks libvirt; any thread. */
guint8 *lpm_host_secret(struct lpm_host *host, const json_t *disk, gsize *length, gboolean *unable,
                        char **cause);

#endif
