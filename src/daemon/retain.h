/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Retained images: what this host keeps of partitions that have left it, so that they come home for
 * little (mover/page-image.h, docs/retain-format.md). Files in state_dir/retain, named
 * UUID.MIGRATION.image (.part while the migration lasts), sealed under a key of the host
 * (retain.key, 0600); there is at most one of a partition.
 *
 * They are an economy and never needed: whatever is wrong with one is logged and the partition
 * migrates without. One goes when its partition comes back or runs here again, when it turns out to
 * be damaged, when it is dropped, when the partition was destroyed (retain-watch.h), when it is
 * older than `hours`, and, the oldest first, when `size` or the disk needs it. Any thread.
 */
#ifndef LPM_DAEMON_RETAIN_H
#define LPM_DAEMON_RETAIN_H

#include "daemon/migration.h"

/* The mover was started and has no socket yet: the source's gets a file to fill, the target's the
 * image that is here of the partition, if there is one. Cannot fail. */
void lpm_retain_begin(LpmMigration *migration);
/* The migration ends in `state`; `failure` as lpm_migration_end has it. */
void lpm_retain_end(LpmMigration *migration, enum lpm_state state, const GError *failure);

/* Removes what is too old, and what a migration that is over has left unfinished. */
void lpm_retain_expire(struct lpm_daemon *daemon);
/* The partition of `uuid` that left with `migration` was destroyed where it went: drops its image.
 */
void lpm_retain_drop_destroyed(struct lpm_daemon *daemon, const char *uuid, const char *migration);
/* {enabled, size_bytes, hours, used_bytes, images: [{partition or null, uuid, migration, bytes,
 * kept_ms}]}, oldest first. A new reference. */
json_t *lpm_retain_list(struct lpm_daemon *daemon);
/* Bytes of the pages of the partition that are kept here; 0: none. */
guint64 lpm_retain_kept(struct lpm_daemon *daemon, const char *uuid);
/* Drops the image of a partition (name or UUID), or with NULL all: how many. -1: there is none of
 * that partition (LPM_E_NOT_RETAINED). */
int lpm_retain_drop(struct lpm_daemon *daemon, const char *partition, GError **error);

#endif
