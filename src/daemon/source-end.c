/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The two ways in which the source's side ends: cleaning after the hand-over, or rolling back. */
#include "base/clock.h"
#include "base/error.h"
#include "base/fault-point.h"
#include "daemon/peer-client.h"
#include "daemon/report.h"
#include "daemon/source-internal.h"

#define ABORT_PATIENCE_US (5 * G_USEC_PER_SEC)
#define REFUSED_PATIENCE_US G_USEC_PER_SEC
#define TELL_ABORT_TRIES 10
#define PAUSE_US 500000 /* between two attempts at the same */
#define SAY_EVERY 20    /* of them, one is logged */

/* ---- cleaning ---- */

/* Waits for libvirt's call, at most `limit_us`; TRUE when it has returned. */
static gboolean wait_call(LpmMigration *migration, gint64 limit_us)
{
    gint64 deadline = g_get_monotonic_time() + limit_us;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    /* After a restart of lpmd there is no call of ours to wait for. */
    while (migration->call_thread && !migration->call_returned) {
        if (!g_cond_wait_until(&migration->changed, &migration->lock, deadline))
            return FALSE;
    }
    return TRUE;
}

gboolean lpm_source_end_call_thread(LpmMigration *migration, gint64 limit_us)
{
    if (!wait_call(migration, limit_us))
        return FALSE;
    if (migration->call_thread)
        g_thread_join(migration->call_thread);
    migration->call_thread = NULL;
    return TRUE;
}

/* A migration that QEMU gives up, since libvirt lost its connection or was told to, may sleep on
 * the way to its end. */
static void wake_cancelled(LpmMigration *migration)
{
    if (lpm_host_wake_cancelled(migration->daemon->host, migration->uuid, NULL))
        lpm_migration_log(migration, LPM_LOG_INFO, "woken",
                          "QEMU's cancelled migration was told to come to its end");
}

/* Waits for libvirt's call, which ends now. FALSE: not within `limit_us`. */
static gboolean await_call(LpmMigration *migration, gint64 limit_us)
{
    gint64 deadline = g_get_monotonic_time() + limit_us;

    while (!wait_call(migration, PAUSE_US)) {
        if (g_get_monotonic_time() > deadline)
            return FALSE;
        wake_cancelled(migration);
    }
    return TRUE;
}

/* The same for the call of an earlier lpmd, which returns to nobody: its job shows it. */
static void await_job(LpmMigration *migration, gint64 limit_us)
{
    gint64 deadline = g_get_monotonic_time() + limit_us;
    struct lpm_job job;

    while (lpm_host_job(migration->daemon->host, migration->uuid, &job, NULL) && job.active &&
           g_get_monotonic_time() < deadline && lpm_migration_pause(migration, PAUSE_US))
        wake_cancelled(migration);
}

/* The mover's last figures, and its end. May be repeated. */
static void quit_mover(LpmMigration *migration)
{
    lpm_migration_let_go(migration);
    if (!migration->mover) {
        lpm_mover_dismiss(migration->daemon->config, migration->id, LPM_SIDE_SOURCE);
        return;
    }
    json_t *stats = lpm_mover_ask_stats(migration->mover, LPM_SOURCE_QUIT_TIMEOUT_MS, NULL);
    if (stats) {
        g_clear_pointer(&migration->source_stats, json_decref);
        migration->source_stats = stats;
    }
    lpm_mover_quit(migration->mover, LPM_SOURCE_QUIT_TIMEOUT_MS);
}

static void drop_mover(LpmMigration *migration)
{
    quit_mover(migration);
    lpm_migration_remove_folder(migration);
    await_call(migration, G_MAXINT32);
    lpm_source_end_call_thread(migration, 0);
}

/* Best effort: a target that does not hear it learns it when it asks (target.c). */
static void tell_finish(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;
    json_t *answer = lpm_handover_say(migration, "finish", NULL, &error);

    if (!answer) {
        lpm_migration_log(migration, LPM_LOG_WARNING, "finish", "%s", error->message);
        return;
    }
    json_t *stats = json_object_get(answer, "stats");
    if (json_is_object(stats))
        migration->target_stats = json_incref(stats);
    json_decref(answer);
}

/* What libvirt's call did not remove, because it or libvirtd ended before: a definition that stayed
 * could be started here. Tried for as long as it takes. FALSE: lpmd stops. */
static gboolean drop_definition(LpmMigration *migration)
{
    for (guint tries = 0;; tries++) {
        g_autoptr(GError) error = NULL;

        if (lpm_host_discard(migration->daemon->host, migration->uuid, migration->persistent,
                             &error))
            return TRUE;
        if (tries % SAY_EVERY == 0)
            lpm_migration_log(migration, LPM_LOG_WARNING, "cleaning", "%s", error->message);
        if (!lpm_migration_pause(migration, PAUSE_US))
            return FALSE;
    }
}

/* The partition runs on the target. What is left of it here goes: libvirt's call removes it when
 * the reply is released; what it leaves is discarded, QEMU's process being proved ended already. */
void lpm_source_clean(LpmMigration *migration)
{
    lpm_migration_enter(migration, LPM_STATE_CLEANING, NULL);
    if (migration->mover) {
        lpm_mover_send_release(lpm_mover_lock(migration->mover), NULL);
        lpm_mover_unlock(migration->mover);
    }
    LPM_FAULT_POINT("source", "released");
    if (!wait_call(migration, LPM_SOURCE_CALL_TIMEOUT_S * G_USEC_PER_SEC))
        lpm_migration_log(migration, LPM_LOG_WARNING, "cleaning",
                          "libvirt's call does not return although its reply was released");
    drop_mover(migration);
    if (!drop_definition(migration))
        return;
    tell_finish(migration);
    lpm_migration_end(migration, LPM_STATE_DONE, NULL, lpm_report(migration));
}

/* ---- rolling back ---- */

/* The target's copy is paused and stays so without our word; being told, it goes at once. */
static gboolean tell_abort(LpmMigration *migration, const char *cause)
{
    json_t *body = json_pack("{s:s}", "cause", cause);
    gboolean told = FALSE;

    LPM_FAULT_POINT("source", "telling-abort");
    for (int i = 0; i < TELL_ABORT_TRIES && !told && !lpm_migration_fenced(migration); i++) {
        g_autoptr(GError) error = NULL;
        json_t *answer = lpm_handover_say(migration, "abort", body, &error);

        told = answer || g_error_matches(error, LPM_ERROR, LPM_E_MIGRATION_NOT_FOUND);
        if (answer)
            json_decref(answer);
        if (!told) {
            lpm_migration_log(migration, LPM_LOG_WARNING, "abort",
                              "the target cannot be told (it will ask): %s", error->message);
            if (lpm_migrations_closing(migration->daemon->migrations))
                break;
            g_usleep(PAUSE_US);
        }
    }
    json_decref(body);
    return told;
}

/* Libvirt's call is made to fail: by an error instead of the held reply; then, or before there is
 * one, by closing its sockets, since a QEMU that writes to a mover that does not read holds up
 * libvirt, and so does its farewell to the other libvirt if that cannot answer; and last by
 * aborting its job. Each is harmless where it is not needed. */
static void end_call(LpmMigration *migration, const char *cause)
{
    g_mutex_lock(&migration->lock);
    gboolean held = migration->finish_held;
    g_mutex_unlock(&migration->lock);

    if (held && migration->mover) {
        lpm_mover_send_fail_finish(lpm_mover_lock(migration->mover), cause, NULL);
        lpm_mover_unlock(migration->mover);
        if (!migration->call_thread)
            await_job(migration, REFUSED_PATIENCE_US);
        else if (await_call(migration, REFUSED_PATIENCE_US))
            return;
    }
    quit_mover(migration);
    if (migration->call_thread && await_call(migration, ABORT_PATIENCE_US))
        return;
    if (migration->call_thread || migration->recovered)
        lpm_host_abort(migration->daemon->host, migration->uuid, NULL);
    if (migration->call_thread)
        await_call(migration, ABORT_PATIENCE_US);
    else if (migration->recovered)
        await_job(migration, ABORT_PATIENCE_US);
}

static gboolean in_post_copy(enum lpm_partition_state state)
{
    return state == LPM_PARTITION_POST_COPY || state == LPM_PARTITION_POST_COPY_FAILED;
}

/* The copy never ran (`aborted` is in both journals, or the target will never be complete without
 * this side), but QEMU may have gone over to post-copy: then it must be made to come back before
 * anything shows it, or libvirt, that the connection has ended. */
static void take_back(LpmMigration *migration)
{
    gboolean possible = TRUE;

    g_mutex_lock(&migration->lock);
    gboolean open = migration->may_go_back;
    int fd = migration->program_fd[LPM_CHANNEL_DATA];
    g_mutex_unlock(&migration->lock);
    if (!open)
        return;
    if (migration->mover)
        lpm_mover_leave(migration->mover, LPM_SOURCE_QUIT_TIMEOUT_MS);
    for (guint tries = 0; possible; tries++) {
        g_autoptr(GError) error = NULL;
        enum lpm_partition_state state;

        if (lpm_host_state(migration->daemon->host, migration->uuid, &state, &error)) {
            /* Running it may go over at any moment, if it was asked to. */
            if (!in_post_copy(state) && state != LPM_PARTITION_RUNNING)
                break;
            migration->taken_back =
                lpm_host_take_back(migration->daemon->host, migration->uuid, fd, &possible, &error);
            if (migration->taken_back) {
                lpm_migration_log(migration, LPM_LOG_INFO, "taken-back",
                                  "QEMU has given post-copy up and runs on here");
                break;
            }
        }
        if (tries % SAY_EVERY == 0 || !possible)
            lpm_migration_log(migration, LPM_LOG_WARNING, "rolling-back", "%s", error->message);
        if (!lpm_migration_pause(migration, PAUSE_US))
            break;
    }
    lpm_migration_let_go(migration);
}

/* One look: TRUE when nothing is left to do, because the partition runs, or is in a state that the
 * migration has not put it into; *runs tells whether there is a QEMU at all. */
static gboolean source_runs(LpmMigration *migration, gboolean *runs, GError **error)
{
    enum lpm_partition_state state;

    if (!lpm_host_state(migration->daemon->host, migration->uuid, &state, error))
        return FALSE;
    g_mutex_lock(&migration->lock);
    gboolean stopped = migration->cpus == LPM_CPUS_STOPPED;
    g_mutex_unlock(&migration->lock);
    *runs = state != LPM_PARTITION_ABSENT && state != LPM_PARTITION_DEFINED;
    if (migration->taken_back && in_post_copy(state))
        return lpm_host_relabel(migration->daemon->host, migration->uuid, error);
    if (in_post_copy(state)) {
        *runs = FALSE;
        return lpm_host_discard(migration->daemon->host, migration->uuid, FALSE, error);
    }
    /* Loaded, as libvirt shows it, is what an lpmd that died while relabelling leaves. */
    if (state == LPM_PARTITION_MIGRATING || (state == LPM_PARTITION_PAUSED && stopped) ||
        (state == LPM_PARTITION_LOADED && lpm_migration_decided(migration, LPM_DECIDED_SWITCHING)))
        return lpm_host_resume(migration->daemon->host, migration->uuid, error);
    return TRUE;
}

/* Libvirt resumes the source itself after most failures; after some nobody does, and for a moment
 * it may still be busy with the call that failed. The decision `aborted` is in the journal, so the
 * target will never run and the source may. Tried for as long as it takes. FALSE: lpmd stops. */
static gboolean make_source_run(LpmMigration *migration, gboolean *runs)
{
    LPM_FAULT_POINT("source", "resuming");
    if (migration->qemu)
        lpm_qemu_process_thaw(migration->qemu);
    for (guint tries = 0;; tries++) {
        g_autoptr(GError) error = NULL;

        if (source_runs(migration, runs, &error))
            return TRUE;
        wake_cancelled(migration);
        if (tries % SAY_EVERY == 0)
            lpm_migration_log(migration, LPM_LOG_ERROR, "rolling-back", "%s", error->message);
        if (!lpm_migration_pause(migration, PAUSE_US))
            return FALSE;
    }
}

/* Without this decision on disk the source must not be resumed; a journal that cannot be written
 * leaves it as it is until it can, or until the next start. */
static gboolean decide_aborted(LpmMigration *migration, const char *cause)
{
    if (lpm_migration_decided(migration, LPM_DECIDED_ABORTED))
        return TRUE;
    for (guint tries = 0;; tries++) {
        g_autoptr(GError) error = NULL;

        if (lpm_migration_decide(migration, LPM_DECIDED_ABORTED, json_pack("{s:s}", "cause", cause),
                                 &error))
            return TRUE;
        if (tries % SAY_EVERY == 0)
            lpm_migration_log(migration, LPM_LOG_ERROR, "journal", "%s", error->message);
        if (!lpm_migration_pause(migration, PAUSE_US))
            return FALSE;
    }
}

/* What the operator reads: a partition whose QEMU ended is not said to run. */
static GError *final_failure(LpmMigration *migration, const GError *failure, gboolean runs)
{
    GError *error = NULL;

    if (runs)
        return g_error_copy(failure);
    lpm_fail(&error, LPM_E_PARTITION_ENDED, "the QEMU of partition '%s' ended on %s: %s",
             migration->partition, migration->daemon->config->name, failure->message);
    return error;
}

static void give_autostart_back(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;

    if (migration->autostart &&
        !lpm_host_set_autostart(migration->daemon->host, migration->uuid, TRUE, &error))
        lpm_migration_log(migration, LPM_LOG_WARNING, "autostart", "%s", error->message);
}

void lpm_source_roll_back(LpmMigration *migration, const GError *failure)
{
    gboolean stopped = g_error_matches(failure, LPM_ERROR, LPM_E_STOPPED), runs = TRUE;
    gboolean began = migration->state != LPM_STATE_VALIDATING;

    lpm_migration_enter(migration, LPM_STATE_ROLLING_BACK, NULL);
    if (!decide_aborted(migration, failure->message))
        return;
    if (migration->qemu) /* frozen, perhaps, by an lpmd that died then; libvirt waits for it */
        lpm_qemu_process_thaw(migration->qemu);
    if (began) {
        take_back(migration);
        end_call(migration, failure->message);
        drop_mover(migration);
        if (!make_source_run(migration, &runs))
            return;
        give_autostart_back(migration);
        tell_abort(migration, failure->message);
    }
    g_autoptr(GError) told = final_failure(migration, failure, runs);
    lpm_migration_end(migration, stopped && runs ? LPM_STATE_STOPPED : LPM_STATE_FAILED, told,
                      NULL);
}

void lpm_source_end_without_copy(LpmMigration *migration)
{
    g_autoptr(GError) failure = NULL;

    lpm_fail(&failure, LPM_E_PARTITION_ENDED,
             "the QEMU of partition '%s' ended %s; it is kept on %s and runs nowhere",
             migration->partition,
             lpm_migration_decided(migration, LPM_DECIDED_SWITCHING)
                 ? "in post-copy with its memory in two halves"
                 : "in the hand-over",
             migration->daemon->config->name);
    lpm_migration_enter(migration, LPM_STATE_ROLLING_BACK, NULL);
    end_call(migration, failure->message); /* so that libvirt keeps the definition here */
    drop_mover(migration);
    give_autostart_back(migration);
    lpm_migration_end(migration, LPM_STATE_FAILED, failure, NULL);
}
