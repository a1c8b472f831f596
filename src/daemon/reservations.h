/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Memory and processors that this host has promised to partitions on their way to it.
 *
 * A reservation is the journal's row of a migration of which this host is the target: taken when
 * the row is written, with the figures in its parameters, and gone when the migration ends, on
 * whichever way: there is nothing to forget. One is taken only when it fits beside what is promised
 * already and what the partitions that run here have been given and not used yet, under one lock,
 * so that of two that do not fit together the second is refused.
 */
#ifndef LPM_DAEMON_RESERVATIONS_H
#define LPM_DAEMON_RESERVATIONS_H

#include "daemon/migration.h"

/* What QEMU takes beside the guest's memory: its own code and buffers, and the video memory. */
#define LPM_QEMU_OVERHEAD_BYTES (G_GINT64_CONSTANT(64) << 20)

/* What this host has (host/inspect.h: lpm_host_room) and {untouched_bytes: given to partitions that
 * run and not used by them yet; promised_bytes, promised_huge_bytes, promised_vcpus; running_vcpus;
 * promised: [{partition, migration, memory_bytes, vcpus, memory_nodes: what is left of
 * node-demands.h}]}. The partition with UUID `own` does not count. A new reference. Any thread. */
json_t *lpm_reservations_room(struct lpm_daemon *daemon, const char *own, GError **error);

/* NULL if `need` bytes fit into such a room; else a new sentence that says by how much they do not,
 * and to whom the rest is promised. `room` may come from a peer, of which `host` is the name. */
char *lpm_reservations_shortage(const json_t *room, gint64 need, const char *host);

/* What a partition of that memory takes of a host's ordinary memory. */
gint64 lpm_reservations_need(gint64 memory_bytes, gboolean hugepages);

/* Target: writes the journal's row of `migration` with `insert` if the partition fits; MEMORY_SHORT
 * or NODE_SHORT with the figures, or the error of `insert`. */
gboolean lpm_reserve(LpmMigration *migration, gboolean (*insert)(LpmMigration *, GError **),
                     GError **error);

#endif
