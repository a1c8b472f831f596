/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The source's side while libvirt's call runs: progress, and what ends the copy. */
#include "base/clock.h"
#include "base/error.h"
#include "base/fault-point.h"
#include "daemon/source-internal.h"

#define TICK_US 200000 /* how often progress is asked of libvirt */

/* ---- copying ---- */

static gpointer call_libvirt(gpointer user)
{
    LpmMigration *migration = user;
    g_autofree char *data = lpm_migration_data_path(migration);
    g_autofree char *rpc = lpm_migration_rpc_path(migration);
    const struct lpm_migrate_params params = {.uuid = migration->uuid,
                                              .rpc_socket = rpc,
                                              .data_socket = data,
                                              .bandwidth = migration->bandwidth,
                                              .persistent = migration->persistent};
    GError *error = NULL;

    lpm_host_migrate(migration->daemon->host, &params, &error);
    g_mutex_lock(&migration->lock);
    migration->call_returned = TRUE;
    migration->call_error = error;
    g_cond_broadcast(&migration->changed);
    g_mutex_unlock(&migration->lock);
    lpm_migration_unref(migration);
    return NULL;
}

void lpm_source_call_libvirt(LpmMigration *migration)
{
    migration->call_thread =
        g_thread_new("libvirt-migrate", call_libvirt, lpm_migration_ref(migration));
}

/* Libvirt's view of the progress; the first time, the limit of the suspension is set as well. */
static void note_progress(LpmMigration *migration, gboolean *limit_set)
{
    struct lpm_job job;
    g_autoptr(GError) error = NULL;

    if (!lpm_host_job(migration->daemon->host, migration->uuid, &job, NULL) || !job.active)
        return;
    if (!*limit_set && job.memory_total > 0)
        *limit_set = lpm_host_set_max_suspend(migration->daemon->host, migration->uuid,
                                              migration->max_suspend_ms, &error);
    if (error)
        lpm_migration_log(migration, LPM_LOG_WARNING, "max-suspend", "%s", error->message);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
    migration->job = job;
    if (job.memory_total) {
        double percent = 100.0 * (1.0 - (double)job.memory_left / (double)job.memory_total);
        /* Pages written again make more to do, yet an operator's bar does not run backwards. */
        migration->percent = CLAMP(percent, migration->percent, 99.0);
    }
}

enum wake { WAKE_HELD, WAKE_RETURNED, WAKE_FAILED, WAKE_STOP, WAKE_SUSPENDED, WAKE_TICK };

/* Waits for the next thing to act on while libvirt's call runs. */
static enum wake wait_copying(LpmMigration *migration)
{
    gint64 until = g_get_monotonic_time() + TICK_US;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    for (;;) {
        if (migration->finish_held)
            return WAKE_HELD;
        /* After a restart of lpmd the call is an earlier lpmd's: its end shows in its RPC. */
        if (migration->call_returned || (migration->rpc_lost && !migration->call_thread))
            return WAKE_RETURNED;
        if (migration->mover_gone || migration->mover_error)
            return WAKE_FAILED;
        if (migration->stop_requested)
            return WAKE_STOP;
        if (migration->cpus == LPM_CPUS_STOPPED && migration->state == LPM_STATE_COPYING)
            return WAKE_SUSPENDED;
        if (!g_cond_wait_until(&migration->changed, &migration->lock, until))
            return WAKE_TICK;
    }
}

static gboolean link_gone_too_long(LpmMigration *migration, GError **error)
{
    guint limit = migration->daemon->config->link_timeout_s;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
    gint64 since = migration->link_down_since;

    if (!since || lpm_monotonic_us() - since < (gint64)limit * G_USEC_PER_SEC)
        return FALSE;
    lpm_fail(error, LPM_E_LINK_LOST, "no link to the mover on %s for %u s", migration->peer, limit);
    return TRUE;
}

/* Why the copy ended without a complete copy; always sets *error. */
static void copy_failed(LpmMigration *migration, enum wake why, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    if (why == WAKE_STOP || migration->stop_requested)
        lpm_fail(error, LPM_E_STOPPED, "stopped by an operator");
    else if (migration->mover_error)
        g_propagate_error(error, g_error_copy(migration->mover_error));
    else if (migration->mover_gone)
        lpm_fail(error, LPM_E_MOVER_FAILED, "the mover ended");
    else if (migration->call_error)
        g_propagate_error(error, g_error_copy(migration->call_error));
    else if (why == WAKE_HELD)
        lpm_fail(error, LPM_E_LIBVIRT, "libvirt on %s could not finish the migration",
                 migration->peer);
    else
        lpm_fail(error, LPM_E_INTERNAL, "libvirt's migration ended before its copy was complete");
}

/* TRUE with a complete copy and the reply held. */
gboolean lpm_source_copy(LpmMigration *migration, GError **error)
{
    gboolean limit_set = FALSE;

    for (;;) {
        enum wake why = wait_copying(migration);

        if (why == WAKE_HELD && migration->finish_good)
            return TRUE;
        if (why == WAKE_TICK) {
            if (lpm_migrations_closing(migration->daemon->migrations) ||
                link_gone_too_long(migration, error))
                return FALSE;
            note_progress(migration, &limit_set);
        } else if (why == WAKE_SUSPENDED) {
            if (!lpm_migration_enter(migration, LPM_STATE_SUSPENDING, error))
                return FALSE;
        } else {
            copy_failed(migration, why, error);
            return FALSE;
        }
    }
}
