/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * What becomes of retained images while nobody migrates: at the start and every ten minutes those
 * that are too old are removed, and of each other one the host to which its partition went is asked
 * whether the partition was destroyed there; then its image is dropped. A host that does not
 * answer, or from which the partition went on, says nothing about it.
 */
#ifndef LPM_DAEMON_RETAIN_WATCH_H
#define LPM_DAEMON_RETAIN_WATCH_H

#include "daemon/daemon.h"

struct lpm_retain_watch;

/* Starts the thread; every part of the daemon must live longer. Never NULL. */
struct lpm_retain_watch *lpm_retain_watch_new(struct lpm_daemon *daemon);
/* Ends it, after a call to another host that is under way. NULL is allowed. */
void lpm_retain_watch_free(struct lpm_retain_watch *watch);

/* The host that was asked: whether the partition that came with migration `id` from `peer` was
 * destroyed: it did not leave by a migration, and it neither runs nor is defined here. FALSE with
 * an error if that cannot be told (LPM_E_MIGRATION_NOT_FOUND: no such one came from that peer). */
gboolean lpm_retain_destroyed(struct lpm_daemon *daemon, const char *id, const char *peer,
                              gboolean *destroyed, GError **error);

#endif
