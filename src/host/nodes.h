/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* This host's processors and memory nodes (NUMA), as the kernel has them in sysfs. Any thread. */
#ifndef LPM_HOST_NODES_H
#define LPM_HOST_NODES_H

#include <glib.h>
#include <jansson.h>

/* {cpus: "0-3,8" (online), nodes: [{node, total_bytes, available_bytes (free, or a cache of files),
 * hugepages: [{size, free}]}]}; of a kernel without nodes one of number 0 without figures. */
json_t *lpm_host_nodes(void);

/* In the text of a node's meminfo: what stands behind `word`, in bytes; 0 if it is not there. */
gint64 lpm_node_meminfo(const char *text, const char *word);

#endif
