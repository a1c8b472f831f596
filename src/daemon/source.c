/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The source's side of a migration: one thread from the first question to the end. It enters each
 * state in turn (migration.h says which follow), and may be entered anew from the journal after a
 * restart of lpmd. The parts are source-prepare.c, source-copy.c, handover.c and source-end.c.
 * Every failure before the decision of handover.h ends in lpm_source_roll_back(), which leaves the
 * partition running here and nothing on the target.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/fault-point.h"
#include "daemon/handover.h"
#include "daemon/inactive.h"
#include "daemon/peers.h"
#include "daemon/queue.h"
#include "daemon/source-internal.h"

#include <gnutls/crypto.h>

/* ---- the thread ---- */

static void finish(LpmMigration *migration, enum lpm_outcome outcome, const GError *failure)
{
    switch (outcome) {
    case LPM_OUTCOME_HANDED_OVER:
        lpm_source_clean(migration);
        break;
    case LPM_OUTCOME_KEPT:
        lpm_source_roll_back(migration, failure);
        break;
    case LPM_OUTCOME_ENDED:
        lpm_source_end_without_copy(migration);
        break;
    case LPM_OUTCOME_CLOSING:
        break;
    }
}

/* From a complete copy on. */
static void hand_over(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;
    enum lpm_outcome outcome = lpm_handover_source(migration, &error);

    finish(migration, outcome, error);
}

/* From the decision for post-copy on. */
static void post_copy(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;

    enum lpm_outcome outcome = lpm_source_post_copy(migration, &error);

    finish(migration, outcome, error);
}

static void copy_and_hand_over(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;

    switch (lpm_source_copy(migration, &error)) {
    case LPM_COPY_COMPLETE:
        hand_over(migration);
        break;
    case LPM_COPY_SWITCHING:
        post_copy(migration);
        break;
    case LPM_COPY_FAILED:
        lpm_source_roll_back(migration, error);
        break;
    case LPM_COPY_CLOSING: /* mover and libvirt go on, and the next start finds them */
        break;
    }
}

static void run_source(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;

    lpm_source_forecast_begin(migration);
    if (!lpm_source_validate(migration, &error) || !lpm_source_forecast_holds(migration, &error) ||
        !lpm_source_prepare(migration, &error) ||
        !lpm_migration_enter(migration, LPM_STATE_COPYING, &error)) {
        if (!lpm_queue_again(migration, error))
            lpm_source_roll_back(migration, error);
        return;
    }
    lpm_source_call_libvirt(migration);
    copy_and_hand_over(migration);
}

/* The journal's row comes first: the target may ask about this migration at any time later. */
static gboolean insert_row(LpmMigration *migration, GError **error)
{
    json_t *doc = lpm_source_parameters(migration);
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

static void fill_options(LpmMigration *migration, const struct lpm_source_options *options)
{
    const LpmConfig *config = migration->daemon->config;

    migration->bandwidth = options->bandwidth ? options->bandwidth : config->bandwidth;
    migration->max_suspend_ms =
        options->max_suspend_ms ? options->max_suspend_ms : config->max_suspend_ms;
    migration->limit_ms = migration->max_suspend_ms;
    migration->limit_asked = options->max_suspend_ms != 0;
    migration->post_copy = options->post_copy;
    migration->force = options->force;
    migration->map = json_incref(options->map);
    migration->persist = options->persist;
    migration->may_queue = options->queue;
    migration->priority = options->priority;
}

/* What the partition is now, and the secrets of its move. */
static void begin(LpmMigration *migration, const json_t *facts)
{
    migration->persistent = migration->persist == LPM_PERSIST_AS_IT_IS
                                ? json_is_true(json_object_get(facts, "persistent"))
                                : migration->persist == LPM_PERSIST_YES;
    migration->memory_bytes = (guint64)json_integer_value(json_object_get(facts, "memory_bytes"));
    migration->vcpus = (guint)json_integer_value(json_object_get(facts, "vcpus"));
    migration->hugepages = json_is_true(json_object_get(facts, "hugepages"));
    migration->inactive =
        g_strcmp0(json_string_value(json_object_get(facts, "state")), "Not Activated") == 0;
    gnutls_rnd(GNUTLS_RND_NONCE, migration->session, sizeof(migration->session));
    gnutls_rnd(GNUTLS_RND_KEY, migration->psk, sizeof(migration->psk));
}

static void run_either(LpmMigration *migration)
{
    lpm_migration_enter(migration, LPM_STATE_VALIDATING, NULL);
    if (migration->inactive)
        lpm_source_run_inactive(migration);
    else
        run_source(migration);
}

void lpm_source_begin_queued(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;
    json_t *facts = NULL;

    g_mutex_lock(&migration->lock);
    if (migration->stop_requested)
        lpm_fail(&error, LPM_E_STOPPED, "stopped by an operator");
    g_mutex_unlock(&migration->lock);
    if (error || !lpm_source_check_partition(migration->daemon, migration->uuid, &facts, &error)) {
        gboolean stopped = g_error_matches(error, LPM_ERROR, LPM_E_STOPPED);
        lpm_migration_end(migration, stopped ? LPM_STATE_STOPPED : LPM_STATE_FAILED, error, NULL);
        return;
    }
    begin(migration, facts);
    json_decref(facts);
    run_either(migration);
}

LpmMigration *lpm_source_start(struct lpm_daemon *daemon, const char *partition, const char *peer,
                               const struct lpm_source_options *options, GError **error)
{
    g_autoptr(LpmPeer) known = lpm_peers_get(daemon->peers, peer, error);
    json_t *facts = NULL;

    if (!known || !lpm_source_check_partition(daemon, partition, &facts, error))
        return NULL;
    g_autoptr(LpmMigration) migration = lpm_migration_new(
        daemon, LPM_SIDE_SOURCE, NULL, json_string_value(json_object_get(facts, "name")),
        json_string_value(json_object_get(facts, "uuid")), peer);
    fill_options(migration, options);
    begin(migration, facts);
    json_decref(facts);
    if (!lpm_migrations_add(daemon->migrations, migration, error))
        return NULL;
    if (!insert_row(migration, error)) {
        lpm_migrations_remove(daemon->migrations, migration);
        return NULL;
    }
    if (g_atomic_int_get(&migration->queued)) {
        lpm_migration_enter(migration, LPM_STATE_QUEUED, NULL);
        lpm_queue_ready(migration);
    } else {
        lpm_migrations_run(daemon->migrations, migration, run_either);
    }
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

void lpm_source_look(LpmMigration *migration)
{
    gboolean fenced = lpm_migration_fenced(migration);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    /* Before the decision a target that is off is a copy that failed. */
    if (fenced && !migration->decided && !migration->mover_error)
        lpm_fail(&migration->mover_error, LPM_E_PEER_UNREACHABLE, "%s is fenced", migration->peer);
    g_cond_broadcast(&migration->changed);
}

/* ---- after a restart of lpmd ---- */

static void recover_source(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;
    struct lpm_job job = {0};

    lpm_migration_take_up_timeline(migration);
    /* Before the mover lends anything. */
    migration->may_go_back = lpm_migration_decided(migration, LPM_DECIDED_SWITCHING) &&
                             !lpm_migration_decided(migration, LPM_DECIDED_ENDING) &&
                             !lpm_migration_decided(migration, LPM_DECIDED_RUNNING) &&
                             !lpm_migration_decided(migration, LPM_DECIDED_ENDED);
    struct lpm_mover *mover =
        lpm_mover_find(migration->daemon->config, migration->id, LPM_SIDE_SOURCE,
                       lpm_migration_on_mover_event, migration, &error);
    lpm_migration_set_mover(migration, mover);
    if (!lpm_source_measure_clock(migration, NULL))
        migration->clock_error_us = -1; /* not known: the report says so */
    gboolean aborted = lpm_migration_decided(migration, LPM_DECIDED_ABORTED);
    /* Frozen, perhaps, by an lpmd that died before it could decide: then libvirt gets no answers.
     */
    if (migration->qemu && !aborted && !lpm_migration_decided(migration, LPM_DECIDED_ENDING))
        lpm_qemu_process_thaw(migration->qemu);
    if (lpm_migration_decided(migration, LPM_DECIDED_RUNNING)) {
        lpm_source_clean(migration);
    } else if (lpm_migration_decided(migration, LPM_DECIDED_ENDED)) {
        lpm_source_end_without_copy(migration);
    } else if (lpm_migration_decided(migration, LPM_DECIDED_ENDING) && !aborted) {
        /* With both, the write of `ending` had failed as far as lpmd could tell: see S4. */
        migration->decided = TRUE;
        finish(migration, lpm_handover_source_forward(migration), NULL);
    } else if (lpm_migration_decided(migration, LPM_DECIDED_SWITCHING) && !aborted) {
        migration->decided = TRUE;
        if (mover)
            lpm_migrations_run(migration->daemon->migrations, migration, lpm_source_keep_linked);
        else
            lpm_migration_on_mover_event(NULL, migration);
        post_copy(migration);
    } else if (mover && migration->qemu && !aborted &&
               lpm_host_job(migration->daemon->host, migration->uuid, &job, NULL) && job.active) {
        lpm_migrations_run(migration->daemon->migrations, migration, lpm_source_keep_linked);
        copy_and_hand_over(migration);
    } else {
        g_clear_error(&error);
        lpm_fail(&error, LPM_E_MOVER_FAILED,
                 "lpmd was restarted and the migration could not go on");
        lpm_source_roll_back(migration, error);
    }
}

void lpm_source_recover(LpmMigration *migration)
{
    lpm_migrations_run(migration->daemon->migrations, migration,
                       migration->inactive ? lpm_source_recover_inactive : recover_source);
}
