/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Behind which port of a bridge of the kernel's an address was seen. Nothing is sent. Any thread.
 */
#ifndef LPM_HOST_BRIDGE_H
#define LPM_HOST_BRIDGE_H

#include <glib.h>

/* The name of the port from which frames of `mac` ("52:54:00:...") reached the bridge, its own name
 * if the address is of the bridge or one of its ports; a new string. NULL: not seen within the last
 * 10 seconds, or no such bridge. */
char *lpm_bridge_port_of(const char *bridge, const char *mac);

/* In entries as brforward of sysfs has them: the number of the port that has the address, with
 * *own set if it is the host's; 0: none that was seen within the last 10 seconds. */
guint lpm_bridge_find(const guint8 *entries, gsize length, const guint8 mac[6], gboolean *own);

#endif
