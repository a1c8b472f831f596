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
                                              .persistent = migration->persistent,
                                              .post_copy =
                                                  migration->post_copy != LPM_POST_COPY_NEVER,
                                              .adapters = migration->adapters,
                                              .resume = migration->resume_call};
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

static guint limit_of(LpmMigration *migration)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    return migration->limit_ms;
}

/* Libvirt's view of the progress; the first time, the limit of the suspension is set as well. */
static void note_progress(LpmMigration *migration)
{
    struct lpm_job job;
    g_autoptr(GError) error = NULL;

    if (!lpm_host_job(migration->daemon->host, migration->uuid, &job, NULL) || !job.active)
        return;
    if (!migration->limit_set && job.memory_total > 0)
        migration->limit_set = lpm_host_set_max_suspend(migration->daemon->host, migration->uuid,
                                                        limit_of(migration), &error);
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

static gboolean progress_is_over(LpmMigration *migration)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    return migration->state != LPM_STATE_COPYING && migration->state != LPM_STATE_POST_COPY;
}

void lpm_source_watch_progress(LpmMigration *migration)
{
    while (!progress_is_over(migration) && !lpm_migrations_closing(migration->daemon->migrations)) {
        note_progress(migration);
        lpm_migration_sample(migration);
        g_usleep(TICK_US);
    }
}

enum lpm_wake lpm_source_wait_copying(LpmMigration *migration)
{
    gint64 until = g_get_monotonic_time() + TICK_US;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    for (;;) {
        if (migration->finish_held)
            return LPM_WAKE_HELD;
        /* After a restart of lpmd the call is an earlier lpmd's: its end shows in its RPC. */
        if (migration->call_returned || (migration->rpc_lost && !migration->call_thread))
            return LPM_WAKE_RETURNED;
        if (migration->mover_gone || migration->mover_error)
            return LPM_WAKE_FAILED;
        if (migration->stop_requested)
            return LPM_WAKE_STOP;
        if (migration->run_passed && migration->state == LPM_STATE_COPYING)
            return LPM_WAKE_SWITCHED;
        if (migration->cpus == LPM_CPUS_STOPPED && migration->state == LPM_STATE_COPYING)
            return LPM_WAKE_SUSPENDED;
        if (!g_cond_wait_until(&migration->changed, &migration->lock, until))
            return LPM_WAKE_TICK;
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

void lpm_source_copy_failed(LpmMigration *migration, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    if (migration->stop_requested)
        lpm_fail(error, LPM_E_STOPPED, "stopped by an operator");
    else if (migration->mover_error)
        g_propagate_error(error, g_error_copy(migration->mover_error));
    else if (migration->mover_gone)
        lpm_fail(error, LPM_E_MOVER_FAILED, "the mover ended");
    else if (migration->call_error)
        g_propagate_error(error, g_error_copy(migration->call_error));
    else if (migration->finish_held)
        lpm_fail(error, LPM_E_LIBVIRT, "libvirt on %s could not finish the migration",
                 migration->peer);
    else
        lpm_fail(error, LPM_E_INTERNAL, "libvirt's migration ended before its copy was complete");
}

/* libvirt gives a migration up whose connection it lost, and its call returns when QEMU has: which
 * may sleep on the way there. */
static void help_giving_up(LpmMigration *migration)
{
    g_mutex_lock(&migration->lock);
    gboolean lost = migration->rpc_lost;
    g_mutex_unlock(&migration->lock);
    if (lost)
        lpm_host_wake_cancelled(migration->daemon->host, migration->uuid, NULL);
}

/* Nothing has happened for a moment. FALSE: the copy ends here, as *end says. */
static gboolean tick(LpmMigration *migration, enum lpm_copy_end *end, GError **error)
{
    *end = LPM_COPY_CLOSING;
    if (lpm_migrations_closing(migration->daemon->migrations))
        return FALSE;
    *end = LPM_COPY_FAILED;
    if (link_gone_too_long(migration, error))
        return FALSE;
    help_giving_up(migration);
    *end = LPM_COPY_SWITCHING;
    return !lpm_source_wants_post_copy(migration) || !lpm_source_decide_switching(migration, NULL);
}

enum lpm_copy_end lpm_source_copy(LpmMigration *migration, GError **error)
{
    enum lpm_copy_end end = LPM_COPY_FAILED;

    lpm_migrations_run(migration->daemon->migrations, migration, lpm_source_watch_progress);
    for (;;) {
        switch (lpm_source_wait_copying(migration)) {
        case LPM_WAKE_HELD:
            if (migration->finish_good)
                return LPM_COPY_COMPLETE;
            lpm_source_copy_failed(migration, error);
            return LPM_COPY_FAILED;
        case LPM_WAKE_TICK:
            if (!tick(migration, &end, error))
                return end;
            break;
        case LPM_WAKE_SUSPENDED:
            if (!lpm_migration_enter(migration, LPM_STATE_SUSPENDING, error))
                return LPM_COPY_FAILED;
            break;
        case LPM_WAKE_SWITCHED:
            if (lpm_source_decide_switching(migration, NULL))
                return LPM_COPY_SWITCHING;
            lpm_migration_pause(migration, TICK_US); /* the journal refused */
            break;
        case LPM_WAKE_RETURNED:
        case LPM_WAKE_FAILED:
        case LPM_WAKE_STOP:
            lpm_source_copy_failed(migration, error);
            return LPM_COPY_FAILED;
        }
    }
}
