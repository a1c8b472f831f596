/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The source's side of a migration: one thread from the first question to the end. It enters each
 * state in turn (migration.h says which follow), and may be entered anew from the journal after a
 * restart of lpmd. Every failure before the decision of handover.h ends in roll_back(), which
 * leaves the partition running here and nothing on the target.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/fdio.h"
#include "daemon/handover.h"
#include "daemon/peer-client.h"
#include "daemon/report.h"

#include <gnutls/crypto.h>
#include <string.h>

#define CALL_TIMEOUT_S 20
#define DIAL_TIMEOUT_S 5
#define DIAL_PAUSE_US 500000
#define LINK_LIMIT_US (20 * G_USEC_PER_SEC) /* for the first link; later ones: link_timeout_s */
#define TICK_US 200000                      /* how often progress is asked of libvirt */
#define ABORT_PATIENCE_US (5 * G_USEC_PER_SEC)
#define QUIT_TIMEOUT_MS 2000
#define TELL_ABORT_TRIES 10
#define RESUME_LIMIT_US (60 * G_USEC_PER_SEC) /* then the operator is told, and resumes it */

/* ---- validating ---- */

static gboolean check_partition(struct lpm_daemon *daemon, const char *name, json_t **out,
                                GError **error)
{
    json_t *partition = lpm_host_partition(daemon->host, name, error);
    const char *state = json_string_value(json_object_get(partition, "state"));

    if (!partition)
        return FALSE;
    if (g_strcmp0(state, "Running") != 0) {
        lpm_fail(error, LPM_E_PARTITION_NOT_RUNNING, "partition '%s' is %s", name, state);
        json_decref(partition);
        return FALSE;
    }
    *out = partition;
    return TRUE;
}

static gboolean measure_clock(LpmMigration *migration, GError **error)
{
    struct lpm_peer_clock clock;

    if (!lpm_peer_clock(migration->daemon->peers, migration->peer, CALL_TIMEOUT_S, &clock, error))
        return FALSE;
    migration->clock_offset_us = clock.offset_us;
    migration->clock_error_us = clock.error_us;
    return TRUE;
}

static gboolean validate(LpmMigration *migration, GError **error)
{
    json_t *host = lpm_peer_call(migration->daemon->peers, migration->peer, "GET", "/v1/peer/host",
                                 NULL, CALL_TIMEOUT_S, NULL, error);
    if (!host)
        return FALSE;
    json_int_t protocol = json_integer_value(json_object_get(host, "protocol"));
    json_decref(host);
    if (protocol != LPM_API_PROTOCOL)
        return lpm_fail(error, LPM_E_PEER_ANSWER,
                        "%s speaks protocol %" JSON_INTEGER_FORMAT ", this host %d",
                        migration->peer, protocol, LPM_API_PROTOCOL);
    if (!measure_clock(migration, error))
        return FALSE;
    migration->qemu = lpm_qemu_process_open(migration->daemon->config->qemu_run_dir,
                                            migration->partition, migration->uuid, error);
    if (!migration->qemu)
        return FALSE;
    migration->qemu_pid = lpm_qemu_process_pid(migration->qemu);
    migration->qemu_start_time = lpm_qemu_process_start_time(migration->qemu);
    return TRUE;
}

/* ---- preparing ---- */

/* The journal keeps what a restarted lpmd needs; never the key. */
static json_t *parameters(const LpmMigration *migration)
{
    g_autofree char *session = lpm_hex(migration->session, LPM_SESSION_ID_BYTES);

    return json_pack(
        "{s:s, s:I, s:i, s:b, s:I, s:i, s:I}", "session", session, "bandwidth",
        (json_int_t)migration->bandwidth, "max_suspend_ms", (int)migration->max_suspend_ms,
        "persistent", migration->persistent, "memory_bytes", (json_int_t)migration->memory_bytes,
        "pid", (int)migration->qemu_pid, "start_time", (json_int_t)migration->qemu_start_time);
}

static gboolean prepare_target(LpmMigration *migration, GError **error)
{
    g_autofree char *session = lpm_hex(migration->session, LPM_SESSION_ID_BYTES);
    g_autofree char *psk = lpm_hex(migration->psk, LPM_SESSION_PSK_BYTES);
    g_autofree char *data = lpm_migration_data_path(migration);
    json_t *body =
        json_pack("{s:s, s:s, s:s, s:I, s:b, s:s, s:s, s:s, s:I}", "id", migration->id, "partition",
                  migration->partition, "uuid", migration->uuid, "memory_bytes",
                  (json_int_t)migration->memory_bytes, "persistent", migration->persistent,
                  "session", session, "psk", psk, "data_socket", data, "backlog_bytes",
                  (json_int_t)migration->daemon->config->backlog_bytes);
    json_t *answer = lpm_peer_call(migration->daemon->peers, migration->peer, "POST",
                                   "/v1/peer/migrations", body, CALL_TIMEOUT_S, NULL, error);

    explicit_bzero(psk, strlen(psk));
    json_decref(body);
    if (!answer)
        return FALSE;
    json_decref(answer);
    return TRUE;
}

static gboolean give_listener(LpmMigration *migration, enum lpm_channel channel, const char *path,
                              GError **error)
{
    lpm_autofd fd = lpm_unix_listen(path, error);

    if (fd < 0)
        return FALSE;
    gboolean ok = lpm_mover_send_listen(lpm_mover_lock(migration->mover), channel, fd, error);
    lpm_mover_unlock(migration->mover);
    return ok;
}

static gboolean start_mover(LpmMigration *migration, GError **error)
{
    const LpmConfig *config = migration->daemon->config;
    g_autofree char *data = lpm_migration_data_path(migration);
    g_autofree char *rpc = lpm_migration_rpc_path(migration);
    LpmMoverStart start = {.side = LPM_SIDE_SOURCE,
                           .backlog_bytes = config->backlog_bytes,
                           .compression = config->compression,
                           .compression_level = config->compression_level,
                           .migration = migration->id,
                           .partition = migration->partition};
    struct lpm_mover *mover = lpm_mover_spawn(config, migration->id, LPM_SIDE_SOURCE,
                                              lpm_migration_on_mover_event, migration, error);

    if (!mover)
        return FALSE;
    lpm_migration_set_mover(migration, mover);
    memcpy(start.session, migration->session, sizeof(start.session));
    memcpy(start.psk, migration->psk, sizeof(start.psk));
    gboolean ok = lpm_mover_send_start(lpm_mover_lock(mover), &start, error);
    lpm_mover_unlock(mover);
    explicit_bzero(start.psk, sizeof(start.psk));
    return ok && give_listener(migration, LPM_CHANNEL_DATA, data, error) &&
           give_listener(migration, LPM_CHANNEL_RPC, rpc, error);
}

/* Connects the movers once. */
static gboolean dial(LpmMigration *migration, GError **error)
{
    g_autoptr(LpmPeer) peer = lpm_peers_get(migration->daemon->peers, migration->peer, error);

    if (!peer)
        return FALSE;
    lpm_autofd fd = lpm_dial_session(peer, migration->session, DIAL_TIMEOUT_S, error);
    if (fd < 0)
        return FALSE;
    gboolean ok = lpm_mover_send_link(lpm_mover_lock(migration->mover), FALSE, fd, error);
    lpm_mover_unlock(migration->mover);
    return ok;
}

/* While there is no link the target may have given up (its mover died): it says so when asked. */
static void ask_target(LpmMigration *migration)
{
    g_autofree char *path = g_strdup_printf("/v1/peer/migrations/%s", migration->id);
    json_t *answer = lpm_peer_call(migration->daemon->peers, migration->peer, "GET", path, NULL,
                                   CALL_TIMEOUT_S, NULL, NULL);
    const char *decision = json_string_value(json_object_get(answer, "decision"));

    if (g_strcmp0(decision, LPM_DECIDED_ABORTED) == 0) {
        g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
        if (!migration->mover_error)
            lpm_fail(&migration->mover_error, LPM_E_MOVER_FAILED, "%s gave the migration up",
                     migration->peer);
        g_cond_broadcast(&migration->changed);
    }
    if (answer)
        json_decref(answer);
}

/* Serves the mover's wish for a link for as long as the migration lasts: an outage of any length
 * is a pause. Thread of its own; the copying loop decides when an outage has lasted too long. */
static void keep_linked(LpmMigration *migration)
{
    for (;;) {
        g_autoptr(GError) error = NULL;
        gint64 until = g_get_monotonic_time() + DIAL_PAUSE_US;

        g_mutex_lock(&migration->lock);
        while (!migration->link_wanted && !migration->mover_gone &&
               !lpm_state_is_final(migration->state) &&
               !lpm_migrations_closing(migration->daemon->migrations)) {
            g_cond_wait_until(&migration->changed, &migration->lock,
                              g_get_monotonic_time() + DIAL_PAUSE_US);
        }
        gboolean over = migration->mover_gone || lpm_state_is_final(migration->state) ||
                        lpm_migrations_closing(migration->daemon->migrations);
        g_mutex_unlock(&migration->lock);
        if (over)
            return;
        if (!dial(migration, &error))
            lpm_migration_log(migration, LPM_LOG_WARNING, "link", "%s", error->message);
        /* Wait for the mover's word on it before another attempt. */
        g_mutex_lock(&migration->lock);
        while (migration->link_wanted && !migration->mover_gone &&
               g_cond_wait_until(&migration->changed, &migration->lock, until))
            continue;
        gboolean in_vain = migration->link_wanted;
        g_mutex_unlock(&migration->lock);
        if (in_vain)
            ask_target(migration);
    }
}

static gboolean wait_link(LpmMigration *migration, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + LINK_LIMIT_US;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    while (!migration->link_up && !migration->mover_gone && !migration->mover_error &&
           !migration->stop_requested) {
        if (!g_cond_wait_until(&migration->changed, &migration->lock, deadline))
            return lpm_fail(error, LPM_E_PEER_UNREACHABLE, "no link to the mover on %s within %d s",
                            migration->peer, (int)(LINK_LIMIT_US / G_USEC_PER_SEC));
    }
    if (migration->mover_error) {
        g_propagate_error(error, g_error_copy(migration->mover_error));
        return FALSE;
    }
    if (migration->mover_gone)
        return lpm_fail(error, LPM_E_MOVER_FAILED, "the mover ended");
    if (migration->stop_requested)
        return lpm_fail(error, LPM_E_STOPPED, "stopped by an operator");
    return TRUE;
}

static gboolean prepare(LpmMigration *migration, GError **error)
{
    if (!lpm_migration_enter(migration, LPM_STATE_PREPARING, error))
        return FALSE;
    json_t *doc = parameters(migration);
    gboolean ok = lpm_journal_migration_doc(migration->daemon->journal, migration->id, doc, error);
    json_decref(doc);
    if (!ok || !prepare_target(migration, error) || !lpm_migration_make_folder(migration, error) ||
        !start_mover(migration, error))
        return FALSE;
    lpm_migrations_run(migration->daemon->migrations, migration, keep_linked);
    return wait_link(migration, error);
}

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
        if (migration->stop_us > migration->resume_us && migration->state == LPM_STATE_COPYING)
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
static gboolean copy(LpmMigration *migration, GError **error)
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

/* The mover's last figures and its end; then the sockets. */
static void drop_mover(LpmMigration *migration)
{
    if (migration->mover) {
        json_t *stats = lpm_mover_ask_stats(migration->mover, QUIT_TIMEOUT_MS, NULL);

        if (stats) {
            g_clear_pointer(&migration->source_stats, json_decref);
            migration->source_stats = stats;
        }
        lpm_mover_quit(migration->mover, QUIT_TIMEOUT_MS);
    }
    lpm_migration_remove_folder(migration);
    if (migration->call_thread) {
        wait_call(migration, G_MAXINT32);
        g_thread_join(migration->call_thread);
        migration->call_thread = NULL;
    }
}

/* Best effort: a target that does not hear it learns it when it asks (target.c). */
static void tell_finish(LpmMigration *migration)
{
    g_autofree char *path = g_strdup_printf("/v1/peer/migrations/%s/finish", migration->id);
    g_autoptr(GError) error = NULL;
    json_t *answer = lpm_peer_call(migration->daemon->peers, migration->peer, "POST", path, NULL,
                                   CALL_TIMEOUT_S, NULL, &error);

    if (!answer) {
        lpm_migration_log(migration, LPM_LOG_WARNING, "finish", "%s", error->message);
        return;
    }
    json_t *stats = json_object_get(answer, "stats");
    if (json_is_object(stats))
        migration->target_stats = json_incref(stats);
    json_decref(answer);
}

/* The partition runs on the target. What is left of it here goes: libvirt's call removes it when
 * the reply is released; what it leaves is discarded, QEMU's process being proved ended already. */
static void clean(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;

    lpm_migration_enter(migration, LPM_STATE_CLEANING, NULL);
    if (migration->mover) {
        lpm_mover_send_release(lpm_mover_lock(migration->mover), NULL);
        lpm_mover_unlock(migration->mover);
    }
    if (!wait_call(migration, CALL_TIMEOUT_S * G_USEC_PER_SEC))
        lpm_migration_log(migration, LPM_LOG_WARNING, "cleaning",
                          "libvirt's call does not return although its reply was released");
    drop_mover(migration);
    if (!lpm_host_discard(migration->daemon->host, migration->uuid, migration->persistent, &error))
        lpm_migration_log(migration, LPM_LOG_WARNING, "cleaning", "%s", error->message);
    tell_finish(migration);
    lpm_migration_end(migration, LPM_STATE_DONE, NULL, lpm_report(migration));
}

/* ---- rolling back ---- */

/* The target's copy is paused and stays so without our word; being told, it goes at once. */
static gboolean tell_abort(LpmMigration *migration, const char *cause)
{
    g_autofree char *path = g_strdup_printf("/v1/peer/migrations/%s/abort", migration->id);
    json_t *body = json_pack("{s:s}", "cause", cause);
    gboolean told = FALSE;

    for (int i = 0; i < TELL_ABORT_TRIES && !told; i++) {
        g_autoptr(GError) error = NULL;
        json_t *answer = lpm_peer_call(migration->daemon->peers, migration->peer, "POST", path,
                                       body, CALL_TIMEOUT_S, NULL, &error);

        told = answer || g_error_matches(error, LPM_ERROR, LPM_E_MIGRATION_NOT_FOUND);
        if (answer)
            json_decref(answer);
        if (!told) {
            lpm_migration_log(migration, LPM_LOG_WARNING, "abort",
                              "the target cannot be told (it will ask): %s", error->message);
            if (lpm_migrations_closing(migration->daemon->migrations))
                break;
            g_usleep(DIAL_PAUSE_US);
        }
    }
    json_decref(body);
    return told;
}

/* Libvirt's call is made to fail: by an error instead of the held reply, by aborting its job, and
 * last by closing its sockets. Each is harmless where it is not needed. */
static void end_call(LpmMigration *migration, const char *cause)
{
    if (migration->mover) {
        lpm_mover_send_fail_finish(lpm_mover_lock(migration->mover), cause, NULL);
        lpm_mover_unlock(migration->mover);
    }
    if (!migration->call_thread && !migration->recovered)
        return;
    lpm_host_abort(migration->daemon->host, migration->uuid, NULL);
    wait_call(migration, ABORT_PATIENCE_US);
}

/* One look: TRUE when nothing is left to do, because the partition runs, or is in a state that the
 * migration has not put it into. */
static gboolean source_runs(LpmMigration *migration, GError **error)
{
    enum lpm_partition_state state;

    if (!lpm_host_state(migration->daemon->host, migration->uuid, &state, error))
        return FALSE;
    g_mutex_lock(&migration->lock);
    gboolean stopped = migration->stop_us > migration->resume_us;
    g_mutex_unlock(&migration->lock);
    if (state == LPM_PARTITION_MIGRATING || (state == LPM_PARTITION_PAUSED && stopped))
        return lpm_host_resume(migration->daemon->host, migration->uuid, error);
    return TRUE;
}

/* Libvirt resumes the source itself after most failures; after some nobody does, and for a moment
 * it may still be busy with the call that failed. The decision `aborted` is in the journal, so the
 * target will never run and the source may. */
static void make_source_run(LpmMigration *migration)
{
    gint64 deadline = lpm_monotonic_us() + RESUME_LIMIT_US;

    if (migration->qemu)
        lpm_qemu_process_thaw(migration->qemu);
    for (;;) {
        g_autoptr(GError) error = NULL;

        if (source_runs(migration, &error))
            return;
        lpm_migration_log(migration, LPM_LOG_ERROR, "rolling-back", "%s", error->message);
        if (lpm_monotonic_us() > deadline || lpm_migrations_closing(migration->daemon->migrations))
            return;
        g_usleep(DIAL_PAUSE_US);
    }
}

static void roll_back(LpmMigration *migration, const GError *failure)
{
    gboolean stopped = g_error_matches(failure, LPM_ERROR, LPM_E_STOPPED);
    gboolean began = migration->state != LPM_STATE_VALIDATING;
    json_t *facts = json_pack("{s:s}", "cause", failure->message);
    g_autoptr(GError) error = NULL;

    lpm_migration_enter(migration, LPM_STATE_ROLLING_BACK, NULL);
    /* Without this decision on disk the source must not be resumed; a journal that cannot be
     * written leaves it as it is, for the next start. */
    if (!lpm_migration_decide(migration, LPM_DECIDED_ABORTED, facts, &error)) {
        lpm_migration_log(migration, LPM_LOG_ERROR, "journal", "%s", error->message);
        return;
    }
    if (began) {
        end_call(migration, failure->message);
        drop_mover(migration);
        make_source_run(migration);
        tell_abort(migration, failure->message);
    }
    lpm_migration_end(migration, stopped ? LPM_STATE_STOPPED : LPM_STATE_FAILED, failure, NULL);
}

/* ---- the thread ---- */

/* From a complete copy on. */
static void hand_over(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;

    switch (lpm_handover_source(migration, &error)) {
    case LPM_OUTCOME_HANDED_OVER:
        clean(migration);
        break;
    case LPM_OUTCOME_KEPT:
        roll_back(migration, error);
        break;
    case LPM_OUTCOME_CLOSING:
        break;
    }
}

static void copy_and_hand_over(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;

    if (copy(migration, &error))
        hand_over(migration);
    else if (error)
        roll_back(migration, error);
    /* else lpmd stops; mover and libvirt go on, and the next start finds them */
}

static void run_source(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;

    if (!validate(migration, &error) || !prepare(migration, &error) ||
        !lpm_migration_enter(migration, LPM_STATE_COPYING, &error)) {
        roll_back(migration, error);
        return;
    }
    migration->call_thread =
        g_thread_new("libvirt-migrate", call_libvirt, lpm_migration_ref(migration));
    copy_and_hand_over(migration);
}

/* The journal's row comes first: the target may ask about this migration at any time later. */
static gboolean insert_row(LpmMigration *migration, GError **error)
{
    json_t *doc = parameters(migration);
    const LpmMigrationRow row = {.id = migration->id,
                                 .role = (char *)lpm_side_name(migration->side),
                                 .partition = migration->partition,
                                 .uuid = migration->uuid,
                                 .peer = migration->peer,
                                 .state = (char *)lpm_state_name(migration->state),
                                 .started_ms = migration->started_ms,
                                 .doc = doc};
    gboolean ok = lpm_journal_migration_insert(migration->daemon->journal, &row, error);

    json_decref(doc);
    return ok;
}

LpmMigration *lpm_source_start(struct lpm_daemon *daemon, const char *partition, const char *peer,
                               guint64 bandwidth, guint max_suspend_ms, GError **error)
{
    g_autoptr(LpmPeer) known = lpm_peers_get(daemon->peers, peer, error);
    json_t *facts = NULL;

    if (!known || !check_partition(daemon, partition, &facts, error))
        return NULL;
    g_autoptr(LpmMigration) migration = lpm_migration_new(
        daemon, LPM_SIDE_SOURCE, NULL, json_string_value(json_object_get(facts, "name")),
        json_string_value(json_object_get(facts, "uuid")), peer);
    migration->bandwidth = bandwidth ? bandwidth : daemon->config->bandwidth;
    migration->max_suspend_ms = max_suspend_ms ? max_suspend_ms : daemon->config->max_suspend_ms;
    migration->persistent = json_is_true(json_object_get(facts, "persistent"));
    migration->memory_bytes = (guint64)json_integer_value(json_object_get(facts, "memory_bytes"));
    json_decref(facts);
    gnutls_rnd(GNUTLS_RND_NONCE, migration->session, sizeof(migration->session));
    gnutls_rnd(GNUTLS_RND_KEY, migration->psk, sizeof(migration->psk));
    if (!lpm_migrations_add(daemon->migrations, migration, error))
        return NULL;
    if (!insert_row(migration, error)) {
        lpm_migrations_remove(daemon->migrations, migration);
        return NULL;
    }
    lpm_migration_enter(migration, LPM_STATE_VALIDATING, NULL);
    lpm_migrations_run(daemon->migrations, migration, run_source);
    return g_steal_pointer(&migration);
}

gboolean lpm_source_stop(LpmMigration *migration, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    if (migration->decided || migration->state == LPM_STATE_CLEANING)
        return lpm_fail(error, LPM_E_PAST_DECISION,
                        "the source of partition '%s' is already being ended",
                        migration->partition);
    migration->stop_requested = TRUE;
    g_cond_broadcast(&migration->changed);
    return TRUE;
}

/* ---- after a restart of lpmd ---- */

/* Past the decision: whatever the state said, the way is forward. */
static void go_forward(LpmMigration *migration)
{
    if (lpm_handover_source_forward(migration) == LPM_OUTCOME_HANDED_OVER)
        clean(migration);
}

static void recover_source(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;
    struct lpm_job job = {0};

    struct lpm_mover *mover =
        lpm_mover_find(migration->daemon->config, migration->id, LPM_SIDE_SOURCE,
                       lpm_migration_on_mover_event, migration, &error);
    lpm_migration_set_mover(migration, mover);
    if (!measure_clock(migration, NULL))
        migration->clock_error_us = -1; /* not known: the report says so */
    if (lpm_migration_decided(migration, LPM_DECIDED_RUNNING)) {
        clean(migration);
    } else if (lpm_migration_decided(migration, LPM_DECIDED_ENDING)) {
        migration->decided = TRUE;
        go_forward(migration);
    } else if (mover && migration->qemu && !lpm_migration_decided(migration, LPM_DECIDED_ABORTED) &&
               lpm_host_job(migration->daemon->host, migration->uuid, &job, NULL) && job.active) {
        lpm_qemu_process_thaw(migration->qemu); /* frozen, perhaps, by an lpmd that died then */
        lpm_migrations_run(migration->daemon->migrations, migration, keep_linked);
        copy_and_hand_over(migration);
    } else {
        g_clear_error(&error);
        lpm_fail(&error, LPM_E_MOVER_FAILED,
                 "lpmd was restarted and the migration could not go on");
        roll_back(migration, error);
    }
}

void lpm_source_recover(LpmMigration *migration)
{
    lpm_migrations_run(migration->daemon->migrations, migration, recover_source);
}
