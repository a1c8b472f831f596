/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/retain-watch.h"

#include "base/error.h"
#include "daemon/journal.h"
#include "daemon/migration.h"
#include "daemon/peer-client.h"
#include "daemon/retain.h"
#include "host/host.h"

#include <string.h>

#define PERIOD_US (600 * G_USEC_PER_SEC)
#define ASK_S 5

struct lpm_retain_watch {
    struct lpm_daemon *daemon; /* immutable */
    GThread *thread;           /* immutable */

    GMutex lock;
    /* guarded by lock */
    GCond changed;
    gboolean ending;
};

/* ---- the host that has the partition ---- */

/* Whether a later migration was done: it took the partition away, or brought it again, which is
 * that one's image. */
static gboolean went_on(struct lpm_daemon *daemon, const LpmMigrationRow *came, gboolean *went,
                        GError **error)
{
    g_autoptr(GPtrArray) rows =
        lpm_journal_migrations(daemon->journal, came->uuid, FALSE, 0, error);

    if (!rows)
        return FALSE;
    *went = FALSE;
    for (guint i = 0; i < rows->len; i++) { /* newest first */
        const LpmMigrationRow *row = rows->pdata[i];

        if (!strcmp(row->id, came->id))
            return TRUE;
        *went = *went || !strcmp(row->state, "done");
    }
    *went = TRUE; /* too long ago to tell */
    return TRUE;
}

gboolean lpm_retain_destroyed(struct lpm_daemon *daemon, const char *id, const char *peer,
                              gboolean *destroyed, GError **error)
{
    g_autoptr(LpmMigrationRow) row = lpm_journal_migration_get(daemon->journal, id, error);
    g_autoptr(GError) reason = NULL;
    gboolean went = FALSE;

    *destroyed = FALSE;
    if (!row)
        return FALSE;
    if (strcmp(row->peer, peer) != 0 || strcmp(row->role, "target") != 0)
        return lpm_fail(error, LPM_E_MIGRATION_NOT_FOUND, "no migration %s from %s to %s", id, peer,
                        daemon->config->name);
    g_autoptr(LpmMigration) active = lpm_migrations_by_uuid(daemon->migrations, row->uuid);

    if (active || strcmp(row->state, "done") != 0)
        return TRUE;
    if (!went_on(daemon, row, &went, error))
        return FALSE;
    json_auto_t *partition = lpm_host_partition(daemon->host, row->uuid, &reason);

    if (reason && !g_error_matches(reason, LPM_ERROR, LPM_E_PARTITION_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&reason));
        return FALSE;
    }
    *destroyed = !partition && !went;
    return TRUE;
}

/* ---- the host that has the image ---- */

static void look_after(struct lpm_daemon *daemon, const char *uuid, const char *id)
{
    g_autoptr(LpmMigrationRow) row = lpm_journal_migration_get(daemon->journal, id, NULL);

    if (!row)
        return;
    g_autofree char *path = g_strdup_printf("/v1/peer/retained/%s", id);
    json_auto_t *answer =
        lpm_peer_call(daemon->peers, row->peer, "GET", path, NULL, ASK_S, NULL, NULL);

    if (json_is_true(json_object_get(answer, "destroyed")))
        lpm_retain_drop_destroyed(daemon, uuid, id);
}

static gboolean is_ending(struct lpm_retain_watch *watch)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&watch->lock);

    return watch->ending;
}

static gpointer run_watch(gpointer opaque)
{
    struct lpm_retain_watch *watch = opaque;

    while (!is_ending(watch)) {
        json_auto_t *list = lpm_retain_list(watch->daemon); /* without what is too old */
        json_t *image;
        size_t i;

        json_array_foreach (json_object_get(list, "images"), i, image) {
            if (!is_ending(watch))
                look_after(watch->daemon, json_string_value(json_object_get(image, "uuid")),
                           json_string_value(json_object_get(image, "migration")));
        }
        gint64 until = g_get_monotonic_time() + PERIOD_US;

        g_mutex_lock(&watch->lock);
        while (!watch->ending && g_cond_wait_until(&watch->changed, &watch->lock, until))
            continue;
        g_mutex_unlock(&watch->lock);
    }
    return NULL;
}

struct lpm_retain_watch *lpm_retain_watch_new(struct lpm_daemon *daemon)
{
    struct lpm_retain_watch *watch = g_new0(struct lpm_retain_watch, 1);

    watch->daemon = daemon;
    g_mutex_init(&watch->lock);
    g_cond_init(&watch->changed);
    watch->thread = g_thread_new("retained", run_watch, watch);
    return watch;
}

void lpm_retain_watch_free(struct lpm_retain_watch *watch)
{
    if (!watch)
        return;
    g_mutex_lock(&watch->lock);
    watch->ending = TRUE;
    g_cond_signal(&watch->changed);
    g_mutex_unlock(&watch->lock);
    g_thread_join(watch->thread);
    g_mutex_clear(&watch->lock);
    g_cond_clear(&watch->changed);
    g_free(watch);
}
