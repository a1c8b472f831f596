/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/queue.h"

#include "base/clock.h"
#include "base/error.h"
#include "daemon/bundle.h"
#include "daemon/migrations-internal.h"
#include "daemon/source-internal.h"

#define LOOK_US G_USEC_PER_SEC        /* between looks while somebody waits */
#define AGAIN_US (5 * G_USEC_PER_SEC) /* until a target that was full is asked again */
#define NOT_YET G_MAXINT64            /* its row is not in the journal yet */

/* ---- order ---- */

static int compare(gconstpointer a, gconstpointer b)
{
    const LpmMigration *left = *(LpmMigration *const *)a, *right = *(LpmMigration *const *)b;

    if (left->priority != right->priority)
        return left->priority > right->priority ? -1 : 1;
    return left->place < right->place ? -1 : left->place > right->place;
}

/* Under lock: those that wait, the next first; references. */
static GPtrArray *waiting(struct lpm_migrations *migrations)
{
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)lpm_migration_unref);
    GHashTableIter iter;
    LpmMigration *migration;

    g_hash_table_iter_init(&iter, migrations->by_id);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&migration)) {
        if (g_atomic_int_get(&migration->queued))
            g_ptr_array_add(list, lpm_migration_ref(migration));
    }
    g_ptr_array_sort(list, compare);
    return list;
}

static void set_reason(LpmMigration *migration, const char *reason)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    g_free(migration->waits_for);
    migration->waits_for = g_strdup(reason);
}

static gboolean is_stopped(LpmMigration *migration)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    return migration->stop_requested;
}

/* Under lock. */
static gboolean could_begin(struct lpm_migrations *migrations, const LpmMigration *migration,
                            gint64 now)
{
    return migration->retry_at <= now && lpm_migrations_within_limits(migrations, migration, NULL);
}

gboolean lpm_queue_must_wait(struct lpm_migrations *migrations, LpmMigration *migration,
                             GError **why)
{
    g_autoptr(GPtrArray) list = waiting(migrations);
    gint64 now = lpm_monotonic_us(), place = 0;
    gboolean wait = *why != NULL;

    for (guint i = 0; i < list->len; i++) {
        const LpmMigration *other = list->pdata[i];

        place = MAX(place, other->place);
        wait =
            wait || (other->priority >= migration->priority && could_begin(migrations, other, now));
    }
    if (!wait)
        return FALSE;
    set_reason(migration, *why ? (*why)->message : "others wait for the same");
    g_clear_error(why);
    migration->place = place + 1;
    migration->retry_at = NOT_YET;
    migration->state = LPM_STATE_QUEUED;
    g_atomic_int_set(&migration->queued, 1);
    return TRUE;
}

LpmMigration *lpm_queue_take(struct lpm_migrations *migrations, gint64 now)
{
    g_autoptr(GPtrArray) list = waiting(migrations);

    for (guint i = 0; i < list->len; i++) {
        LpmMigration *migration = list->pdata[i];
        gboolean stopped = migration->retry_at != NOT_YET && is_stopped(migration);

        if (!stopped && !could_begin(migrations, migration, now))
            continue;
        g_atomic_int_set(&migration->queued, 0);
        return migration; /* the registry has a reference too */
    }
    return NULL;
}

/* ---- the thread ---- */

static gpointer run(gpointer user)
{
    struct lpm_migrations *migrations = user;

    g_mutex_lock(&migrations->lock);
    while (!lpm_migrations_closing(migrations)) {
        LpmMigration *migration = lpm_queue_take(migrations, lpm_monotonic_us());

        if (!migration) {
            g_cond_wait_until(&migrations->changed, &migrations->lock,
                              g_get_monotonic_time() + LOOK_US);
            continue;
        }
        g_autoptr(LpmMigration) taken = lpm_migration_ref(migration);
        g_mutex_unlock(&migrations->lock);
        lpm_migrations_run(migrations, taken, lpm_source_begin_queued);
        g_mutex_lock(&migrations->lock);
    }
    migrations->threads--;
    g_cond_broadcast(&migrations->changed);
    g_mutex_unlock(&migrations->lock);
    return NULL;
}

void lpm_queue_start(struct lpm_migrations *migrations)
{
    g_mutex_lock(&migrations->lock);
    migrations->threads++;
    g_mutex_unlock(&migrations->lock);
    g_thread_unref(g_thread_new("queue", run, migrations));
}

void lpm_queue_kick(struct lpm_migrations *migrations)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migrations->lock);

    g_cond_broadcast(&migrations->changed);
}

void lpm_queue_ready(LpmMigration *migration)
{
    struct lpm_migrations *migrations = migration->daemon->migrations;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migrations->lock);

    migration->retry_at = 0;
    g_cond_broadcast(&migrations->changed);
}

/* ---- back into it ---- */

/* What validation and preparation have made on this host; on the target there is nothing. */
static void undo(LpmMigration *migration)
{
    g_autofree char *folder = lpm_bundle_folder(migration->daemon->config, migration->id);
    g_autoptr(GError) error = NULL;

    if (migration->state == LPM_STATE_PREPARING && migration->autostart &&
        !lpm_host_set_autostart(migration->daemon->host, migration->uuid, TRUE, &error))
        lpm_migration_log(migration, LPM_LOG_WARNING, "autostart", "%s", error->message);
    g_clear_pointer(&migration->qemu, lpm_qemu_process_free);
    migration->qemu_pid = 0;
    lpm_bundle_remove(folder);
    g_mutex_lock(&migration->lock);
    g_clear_pointer(&migration->manifest, json_decref);
    g_clear_pointer(&migration->marks, json_decref);
    g_mutex_unlock(&migration->lock);
}

gboolean lpm_queue_again(LpmMigration *migration, const GError *failure)
{
    struct lpm_migrations *migrations = migration->daemon->migrations;

    if (!g_error_matches(failure, LPM_ERROR, LPM_E_TOO_MANY) || !migration->may_queue ||
        (migration->state != LPM_STATE_VALIDATING && migration->state != LPM_STATE_PREPARING) ||
        is_stopped(migration))
        return FALSE;
    undo(migration);
    if (!lpm_migration_enter(migration, LPM_STATE_QUEUED, NULL))
        return FALSE;
    lpm_migration_log(migration, LPM_LOG_INFO, "queued", "%s", failure->message);
    set_reason(migration, failure->message);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migrations->lock);
    migration->retry_at = lpm_monotonic_us() + AGAIN_US;
    g_atomic_int_set(&migration->queued, 1);
    g_cond_broadcast(&migrations->changed); /* its slot is free for others */
    return TRUE;
}

/* ---- looking and moving ---- */

gboolean lpm_priority_from_json(const json_t *value, gint *priority, GError **error)
{
    json_int_t number = json_integer_value(value);

    if (number < LPM_PRIORITY_MIN || number > LPM_PRIORITY_MAX)
        return lpm_fail(error, LPM_E_BAD_REQUEST,
                        "priority %" JSON_INTEGER_FORMAT " is not from %d to %d", number,
                        LPM_PRIORITY_MIN, LPM_PRIORITY_MAX);
    *priority = (gint)number;
    return TRUE;
}

GPtrArray *lpm_queue_list(struct lpm_migrations *migrations)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migrations->lock);

    return waiting(migrations);
}

json_t *lpm_queue_describe(LpmMigration *migration)
{
    guint position = 0;

    if (!g_atomic_int_get(&migration->queued))
        return json_null();
    g_autoptr(GPtrArray) list = lpm_queue_list(migration->daemon->migrations);
    if (!g_ptr_array_find(list, migration, &position))
        return json_null();
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
    return json_pack("{s:i, s:i, s:s?}", "position", (int)position + 1, "priority",
                     migration->priority, "waits_for", migration->waits_for);
}

/* Under lock. */
static void put_at(LpmMigration *migration, GPtrArray *list, enum lpm_queue_place place)
{
    const LpmMigration *first = list->pdata[0], *last = list->pdata[list->len - 1];

    if (place == LPM_PLACE_FIRST && first != migration) {
        migration->priority = first->priority;
        migration->place = first->place - 1;
    } else if (place == LPM_PLACE_LAST && last != migration) {
        migration->priority = last->priority;
        migration->place = last->place + 1;
    }
}

gboolean lpm_queue_move(LpmMigration *migration, const gint *priority, enum lpm_queue_place place,
                        GError **error)
{
    struct lpm_migrations *migrations = migration->daemon->migrations;

    g_mutex_lock(&migrations->lock);
    gboolean waits = g_atomic_int_get(&migration->queued) != 0;
    if (waits) {
        g_autoptr(GPtrArray) list = waiting(migrations);

        if (priority)
            migration->priority = *priority;
        put_at(migration, list, place);
        g_cond_broadcast(&migrations->changed);
    }
    g_mutex_unlock(&migrations->lock);
    if (!waits)
        return lpm_fail(error, LPM_E_NOT_QUEUED, "the migration of '%s' does not wait",
                        migration->partition);
    json_t *doc = lpm_source_parameters(migration);
    gboolean ok = lpm_journal_migration_doc(migration->daemon->journal, migration->id, doc, error);
    json_decref(doc);
    return ok;
}
