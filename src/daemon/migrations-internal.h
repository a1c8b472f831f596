/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The registry's inside, shared by migrations.c and queue.c. A migration's own lock may be taken
 * with the registry's held, never the other way round. */
#ifndef LPM_DAEMON_MIGRATIONS_INTERNAL_H
#define LPM_DAEMON_MIGRATIONS_INTERNAL_H

#include "daemon/migration.h"

struct lpm_migrations {
    struct lpm_daemon *daemon; /* immutable */
    gint closing;              /* atomic */
    GMutex lock;
    GCond changed;     /* a thread or a migration has ended, the queue has changed, lpmd stops */
    GHashTable *by_id; /* under lock: id -> LpmMigration, one reference each */
    guint threads;     /* under lock: that run a migration's function, and the queue's */
};

/* With the lock held: may this one begin beside those that are under way? TOO_MANY if not. */
gboolean lpm_migrations_within_limits(struct lpm_migrations *migrations,
                                      const LpmMigration *migration, GError **error);

/* ---- queue.c, with the lock held ---- */

/* The migration that is about to be added has to wait: it found no slot (TOO_MANY in *why), or
 * others wait for the one there is. Takes *why over. FALSE: it may begin. */
gboolean lpm_queue_must_wait(struct lpm_migrations *migrations, LpmMigration *migration,
                             GError **why);
/* The next that may begin now, or was stopped, taken out of the queue, borrowed; NULL if none. */
LpmMigration *lpm_queue_take(struct lpm_migrations *migrations, gint64 now);

#endif
