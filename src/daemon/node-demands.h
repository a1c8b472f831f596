/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Memory that must come from certain memory nodes of a host: what a partition's strict bindings ask
 * for, and whether the nodes have it beside what they must give to partitions on their way there.
 *
 * A demand: {nodes: "0-1", page_size, bytes}. page_size 0 is ordinary memory, 1 huge pages of the
 * host's default size. Demands may be a peer's. Pure functions, any thread.
 */
#ifndef LPM_DAEMON_NODE_DEMANDS_H
#define LPM_DAEMON_NODE_DEMANDS_H

#include <glib.h>
#include <jansson.h>

/* Of a partition's model (host/inspect.h), those bound alike as one: a new array. */
json_t *lpm_node_demands(const json_t *model);

/* What is left of such demands when the partition's QEMU has been given `taken` of its `need`
 * bytes of ordinary memory, wherever they came from; it takes huge pages as it starts. A new
 * array. */
json_t *lpm_node_demands_left(const json_t *demands, gint64 need, gint64 taken, gboolean started);

/* NULL if `nodes` (host/nodes.h) have what `demand` asks for, less what they must give to each of
 * `promised` ([{memory_nodes: [demand]}], or NULL), or if they cannot tell; else a new sentence
 * about `host`. */
char *lpm_node_shortage(const json_t *demand, const json_t *nodes, const json_t *promised,
                        const char *host);

#endif
