/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The registry of migrations that have not ended, and the threads that serve them. */
#include "daemon/migrations-internal.h"

#include "base/error.h"
#include "daemon/queue.h"
#include "daemon/recover.h"

#include <string.h>

/* Wakes everything that waits for a fact of a migration. */
static void announce(LpmMigration *migration)
{
    g_mutex_lock(&migration->lock);
    g_cond_broadcast(&migration->changed);
    g_mutex_unlock(&migration->lock);
}

static void on_host_event(const char *uuid, const char *event, gint64 at_us, void *user)
{
    struct lpm_daemon *daemon = user;
    gboolean stop = strcmp(event, "STOP") == 0;

    if (!daemon->migrations || (!stop && strcmp(event, "RESUME") != 0))
        return;
    g_autoptr(LpmMigration) migration = lpm_migrations_by_uuid(daemon->migrations, uuid);
    if (!migration)
        return;
    g_mutex_lock(&migration->lock);
    migration->cpus = stop ? LPM_CPUS_STOPPED : LPM_CPUS_RESUMED;
    if (stop)
        migration->stop_us = at_us;
    else
        migration->resume_us = at_us;
    g_cond_broadcast(&migration->changed);
    g_mutex_unlock(&migration->lock);
}

/* ---- taking up what the journal holds unfinished ---- */

static void fill_from_doc(LpmMigration *migration, const LpmMigrationRow *row)
{
    const char *session = json_string_value(json_object_get(row->doc, "session"));
    gboolean gone;

    migration->recovered = TRUE;
    migration->started_ms = row->started_ms;
    migration->bandwidth = (guint64)json_integer_value(json_object_get(row->doc, "bandwidth"));
    migration->max_suspend_ms =
        (guint)json_integer_value(json_object_get(row->doc, "max_suspend_ms"));
    guint limit_ms = (guint)json_integer_value(json_object_get(row->doc, "limit_ms"));
    migration->limit_ms = limit_ms ? limit_ms : migration->max_suspend_ms;
    migration->persistent = json_is_true(json_object_get(row->doc, "persistent"));
    migration->autostart = json_is_true(json_object_get(row->doc, "autostart"));
    lpm_post_copy_from_name(json_string_value(json_object_get(row->doc, "post_copy")),
                            &migration->post_copy);
    migration->memory_bytes =
        (guint64)json_integer_value(json_object_get(row->doc, "memory_bytes"));
    migration->vcpus = (guint)json_integer_value(json_object_get(row->doc, "vcpus"));
    migration->hugepages = json_is_true(json_object_get(row->doc, "hugepages"));
    migration->node_demands = json_incref(json_object_get(row->doc, "memory_nodes"));
    migration->inactive = json_is_true(json_object_get(row->doc, "inactive"));
    migration->manifest = json_incref(json_object_get(row->doc, "manifest"));
    migration->marks = json_incref(json_object_get(row->doc, "marks"));
    migration->memory = json_incref(json_object_get(row->doc, "memory"));
    migration->memory_kept = migration->memory != NULL;
    migration->reserved = migration->side == LPM_SIDE_TARGET && !migration->inactive;
    migration->findings = json_incref(json_object_get(row->doc, "findings"));
    migration->adapters = json_incref(json_object_get(row->doc, "adapters"));
    migration->map = json_incref(json_object_get(row->doc, "map"));
    migration->force = json_is_true(json_object_get(row->doc, "force"));
    if (session)
        lpm_unhex(session, migration->session, LPM_SESSION_ID_BYTES);
    lpm_state_from_name(row->state, &migration->state);
    migration->force = json_is_true(json_object_get(row->doc, "force"));
    migration->persist = (enum lpm_persist)json_integer_value(json_object_get(row->doc, "persist"));
    migration->may_queue = json_is_true(json_object_get(row->doc, "queue"));
    migration->priority = (gint)json_integer_value(json_object_get(row->doc, "priority"));
    migration->place = json_integer_value(json_object_get(row->doc, "place"));
    migration->queued = migration->state == LPM_STATE_QUEUED;
    migration->qemu_pid = (pid_t)json_integer_value(json_object_get(row->doc, "pid"));
    migration->qemu_start_time =
        (guint64)json_integer_value(json_object_get(row->doc, "start_time"));
    /* That it is gone, or could not be opened, is looked at again where it matters. */
    if (migration->qemu_pid > 0)
        migration->qemu =
            lpm_qemu_process_reopen(migration->qemu_pid, migration->qemu_start_time, &gone, NULL);
}

static gboolean recover_all(struct lpm_daemon *daemon, GError **error)
{
    g_autoptr(GPtrArray) rows = lpm_journal_migrations(daemon->journal, NULL, TRUE, 0, error);

    if (!rows)
        return FALSE;
    for (guint i = 0; i < rows->len; i++) {
        const LpmMigrationRow *row = rows->pdata[i];
        enum lpm_side side = LPM_SIDE_SOURCE;

        if (!lpm_side_from_name(row->role, &side))
            return lpm_fail(error, LPM_E_JOURNAL, "migration %s has the role '%s'", row->id,
                            row->role);
        g_autoptr(LpmMigration) migration =
            lpm_migration_new(daemon, side, row->id, row->partition, row->uuid, row->peer);
        fill_from_doc(migration, row);
        g_hash_table_insert(daemon->migrations->by_id, migration->id, lpm_migration_ref(migration));
        lpm_migration_log(migration, LPM_LOG_INFO, "recovering", "found unfinished (%s)",
                          row->state);
        if (side == LPM_SIDE_SOURCE && !migration->queued)
            lpm_source_recover(migration);
        else if (side == LPM_SIDE_TARGET)
            lpm_target_recover(migration);
    }
    return TRUE;
}

struct lpm_migrations *lpm_migrations_new(struct lpm_daemon *daemon, GError **error)
{
    struct lpm_migrations *migrations = g_new0(struct lpm_migrations, 1);

    migrations->daemon = daemon;
    g_mutex_init(&migrations->lock);
    g_cond_init(&migrations->changed);
    migrations->by_id =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)lpm_migration_unref);
    daemon->migrations = migrations;
    daemon->host = lpm_host_open(daemon->config, on_host_event, daemon, error);
    if (!daemon->host || !recover_all(daemon, error)) {
        lpm_migrations_free(migrations);
        daemon->migrations = NULL;
        return NULL;
    }
    lpm_recover_sweep(daemon);
    lpm_queue_start(migrations);
    return migrations;
}

void lpm_migrations_free(struct lpm_migrations *migrations)
{
    if (!migrations)
        return;
    g_atomic_int_set(&migrations->closing, 1);
    g_autoptr(GPtrArray) active = lpm_migrations_active(migrations);
    for (guint i = 0; i < active->len; i++)
        announce(active->pdata[i]);
    g_mutex_lock(&migrations->lock);
    g_cond_broadcast(&migrations->changed);
    while (migrations->threads)
        g_cond_wait(&migrations->changed, &migrations->lock);
    g_mutex_unlock(&migrations->lock);
    lpm_host_close(migrations->daemon->host);
    migrations->daemon->host = NULL;
    g_ptr_array_set_size(active, 0);
    g_hash_table_destroy(migrations->by_id);
    g_mutex_clear(&migrations->lock);
    g_cond_clear(&migrations->changed);
    g_free(migrations);
}

gboolean lpm_migrations_closing(struct lpm_migrations *migrations)
{
    return g_atomic_int_get(&migrations->closing) != 0;
}

/* ---- limits ---- */

static gboolean in_all(const LpmMigration *other G_GNUC_UNUSED, enum lpm_side side G_GNUC_UNUSED,
                       const char *peer G_GNUC_UNUSED)
{
    return TRUE;
}

static gboolean same_side(const LpmMigration *other, enum lpm_side side,
                          const char *peer G_GNUC_UNUSED)
{
    return other->side == side;
}

static gboolean same_way(const LpmMigration *other, enum lpm_side side, const char *peer)
{
    return other->side == side && strcmp(other->peer, peer) == 0;
}

/* One key of lpmd.conf, and which migrations it counts. */
struct limit {
    const char *key;
    guint most;
    gboolean (*counts)(const LpmMigration *other, enum lpm_side side, const char *peer);
};

#define LIMITS 3

static void limits_of(const LpmConfig *config, enum lpm_side side, struct limit *limits)
{
    gboolean source = side == LPM_SIDE_SOURCE;

    limits[0] = (struct limit){"max_migrations", config->max_migrations, in_all};
    limits[1] = (struct limit){source ? "max_outgoing" : "max_incoming",
                               source ? config->max_outgoing : config->max_incoming, same_side};
    limits[2] = (struct limit){"max_per_peer", config->max_per_peer, same_way};
}

/* Under lock. */
static guint count(struct lpm_migrations *migrations, const struct limit *limit, enum lpm_side side,
                   const char *peer, const char *but)
{
    GHashTableIter iter;
    LpmMigration *other;
    guint found = 0;

    g_hash_table_iter_init(&iter, migrations->by_id);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&other))
        found += g_strcmp0(other->uuid, but) != 0 && !g_atomic_int_get(&other->queued) &&
                 limit->counts(other, side, peer);
    return found;
}

json_t *lpm_migrations_limits(struct lpm_migrations *migrations, enum lpm_side side,
                              const char *peer, const char *but)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migrations->lock);
    struct limit limits[LIMITS];
    json_t *list = json_array();

    limits_of(migrations->daemon->config, side, limits);
    for (gsize i = 0; i < LIMITS; i++)
        json_array_append_new(list, json_pack("{s:s, s:i, s:i}", "limit", limits[i].key, "active",
                                              (int)count(migrations, &limits[i], side, peer, but),
                                              "most", (int)limits[i].most));
    return list;
}

gboolean lpm_migrations_within_limits(struct lpm_migrations *migrations,
                                      const LpmMigration *migration, GError **error)
{
    struct limit limits[LIMITS];

    limits_of(migrations->daemon->config, migration->side, limits);
    for (gsize i = 0; i < LIMITS; i++) {
        guint active =
            count(migrations, &limits[i], migration->side, migration->peer, migration->uuid);

        if (active >= limits[i].most)
            return lpm_fail(error, LPM_E_TOO_MANY, "%s carries %u migrations of at most %u (%s)",
                            migrations->daemon->config->name, active, limits[i].most,
                            limits[i].key);
    }
    return TRUE;
}

gboolean lpm_migrations_add(struct lpm_migrations *migrations, LpmMigration *migration,
                            GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migrations->lock);
    g_autoptr(GError) why = NULL;
    GHashTableIter iter;
    LpmMigration *other;

    g_hash_table_iter_init(&iter, migrations->by_id);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&other)) {
        if (strcmp(other->uuid, migration->uuid) == 0 ||
            strcmp(other->partition, migration->partition) == 0)
            return lpm_fail(error, LPM_E_ALREADY_MIGRATING,
                            "partition '%s' is in migration %s already", other->partition,
                            other->id);
    }
    lpm_migrations_within_limits(migrations, migration, &why);
    if (!(migration->may_queue && lpm_queue_must_wait(migrations, migration, &why)) && why) {
        g_propagate_error(error, g_steal_pointer(&why));
        return FALSE;
    }
    g_hash_table_insert(migrations->by_id, migration->id, lpm_migration_ref(migration));
    return TRUE;
}

void lpm_migrations_remove(struct lpm_migrations *migrations, LpmMigration *migration)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migrations->lock);

    g_hash_table_remove(migrations->by_id, migration->id);
    g_cond_broadcast(&migrations->changed); /* somebody may wait for its slot */
}

LpmMigration *lpm_migrations_get(struct lpm_migrations *migrations, const char *id)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migrations->lock);
    LpmMigration *found = g_hash_table_lookup(migrations->by_id, id);

    return found ? lpm_migration_ref(found) : NULL;
}

LpmMigration *lpm_migrations_by_uuid(struct lpm_migrations *migrations, const char *uuid)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migrations->lock);
    GHashTableIter iter;
    LpmMigration *migration;

    g_hash_table_iter_init(&iter, migrations->by_id);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&migration)) {
        if (strcmp(migration->uuid, uuid) == 0)
            return lpm_migration_ref(migration);
    }
    return NULL;
}

GPtrArray *lpm_migrations_active(struct lpm_migrations *migrations)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migrations->lock);
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)lpm_migration_unref);
    GHashTableIter iter;
    LpmMigration *migration;

    g_hash_table_iter_init(&iter, migrations->by_id);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&migration))
        g_ptr_array_add(list, lpm_migration_ref(migration));
    return list;
}

/* ---- threads ---- */

struct task {
    struct lpm_migrations *migrations;
    LpmMigration *migration;
    void (*function)(LpmMigration *);
};

static gpointer run_task(gpointer user)
{
    struct task *task = user;
    struct lpm_migrations *migrations = task->migrations;

    task->function(task->migration);
    lpm_migration_unref(task->migration);
    g_free(task);
    g_mutex_lock(&migrations->lock);
    migrations->threads--;
    g_cond_broadcast(&migrations->changed);
    g_mutex_unlock(&migrations->lock);
    return NULL;
}

void lpm_migrations_run(struct lpm_migrations *migrations, LpmMigration *migration,
                        void (*function)(LpmMigration *))
{
    struct task *task = g_new0(struct task, 1);

    task->migrations = migrations;
    task->migration = lpm_migration_ref(migration);
    task->function = function;
    g_mutex_lock(&migrations->lock);
    migrations->threads++;
    g_mutex_unlock(&migrations->lock);
    g_thread_unref(g_thread_new("migration", run_task, task));
}
