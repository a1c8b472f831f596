/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The start of a copy in post-copy: P3 to P5 of handover.h, on the target.
 *
 * libvirt starts the copy behind a gate (host/processor-gate.h), so that the decision can wait
 * until that has succeeded: whoever dies before it, no instruction of the guest was carried out
 * here, and the source is taken back. Where there can be no gate the decision comes before libvirt
 * is let.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/fault-point.h"
#include "daemon/feed.h"
#include "daemon/handover.h"
#include "daemon/target-internal.h"
#include "host/processor-gate.h"

#define CLOSE_LIMIT_MS 500
#define STAY_LIMIT_MS 2000
#define AWAY_LIMIT_US (4 * G_USEC_PER_SEC)
#define GONE_LIMIT_MS 10000
#define ANSWER_LIMIT_MS 1000
#define LOOK_US 500
/* Answers of libvirt, not time, in which it may be away: with so many of them something keeps the
 * copy from its start, a page that has to come over a link that is down, or work that QEMU has for
 * a processor, which needs what the gate holds. Less than LPM_SAY_LIMIT_S, for `act` is held. */
#define LOOKS_MOST 2000

/* `rpc` (or NULL): libvirt here has closed its connection, because it ended, or because that of the
 * source did, which it can do without once it has Finish. */
static gboolean mover_ended(LpmMigration *migration, gboolean *rpc)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    if (rpc)
        *rpc = migration->rpc_lost;
    return migration->mover_gone || migration->mover_error;
}

/* FALSE: nobody has heard it, and nobody will. */
static gboolean allow_run(LpmMigration *migration)
{
    struct lpm_mover *mover = lpm_migration_wait_mover(migration);
    gboolean sent = FALSE, rpc_lost = FALSE;

    if (mover && !mover_ended(migration, &rpc_lost) && !rpc_lost) {
        sent = lpm_mover_send_allow_run(lpm_mover_lock(mover), NULL);
        lpm_mover_unlock(mover);
    }
    return sent;
}

static void show_post_copy(LpmMigration *migration)
{
    if (!lpm_migration_enter(migration, LPM_STATE_POST_COPY, NULL))
        lpm_migration_log(migration, LPM_LOG_WARNING, "journal", "the state cannot be written");
}

/* The source has everything, and is taken back when it has been told. */
void lpm_target_give_back(LpmMigration *migration, const char *cause)
{
    g_autoptr(GError) error = NULL;
    json_t *answer = lpm_target_discard(migration, cause, &error);

    if (answer)
        json_decref(answer);
    else
        lpm_migration_log(migration, LPM_LOG_WARNING, "giving-up", "%s", error->message);
}

static LpmQemuProcess *find_copy(LpmMigration *migration, GError **error)
{
    return lpm_qemu_process_open(migration->daemon->config->qemu_run_dir, migration->partition,
                                 migration->uuid, error);
}

/* ---- with the gate ---- */

enum start { STARTED, FAILED, UNKNOWN };

/* libvirt shows it as running, and has saved that, as soon as QEMU has said so. */
static enum start await_start(LpmMigration *migration, guint libvirt)
{
    gint64 deadline = lpm_monotonic_us() + AWAY_LIMIT_US;

    for (guint looks = 0; looks < LOOKS_MOST;) {
        enum lpm_partition_state state;
        gboolean rpc_lost;

        if (mover_ended(migration, &rpc_lost))
            return FAILED;
        if (lpm_host_state(migration->daemon->host, migration->uuid, &state, NULL)) {
            if (lpm_host_connections(migration->daemon->host) != libvirt)
                return FAILED;
            if (state == LPM_PARTITION_POST_COPY || state == LPM_PARTITION_RUNNING)
                return STARTED;
            if (state != LPM_PARTITION_MIGRATING && state != LPM_PARTITION_LOADED)
                return FAILED;
            looks++;
        } else if (rpc_lost || lpm_monotonic_us() > deadline) {
            return FAILED;
        }
        g_usleep(LOOK_US);
    }
    return UNKNOWN;
}

/* What the copy asks for first must get through, and nobody may be about to repair the way: it
 * would stand at its first page, where QEMU may hold the lock that the repair needs. What has just
 * died may not be known yet, so the mover and libvirt have to answer. */
static gboolean way_holds(LpmMigration *migration, guint libvirt)
{
    struct lpm_host *host = migration->daemon->host;
    enum lpm_partition_state state;
    json_t *stats = lpm_mover_ask_stats(migration->mover, ANSWER_LIMIT_MS, NULL);

    if (!stats)
        return FALSE;
    json_decref(stats);
    return lpm_host_state(host, migration->uuid, &state, NULL) &&
           lpm_host_connections(host) == libvirt && !mover_ended(migration, NULL);
}

/* Behind the closed gate: TRUE when libvirt, the same all the time, has done its part, and the copy
 * stands whatever becomes of lpmd. */
static gboolean start_held(LpmMigration *migration, LpmProcessorGate *gate, guint libvirt,
                           GError **error)
{
    LPM_FAULT_POINT("target", "allowing-run");
    if (!allow_run(migration))
        return lpm_fail(error, LPM_E_MOVER_FAILED, "the mover on %s has ended",
                        migration->daemon->config->name);
    LPM_FAULT_POINT("target", "run-allowed");
    lpm_feed_keep_memory(migration); /* libvirt is at work meanwhile */
    enum start start = await_start(migration, libvirt);
    if (start == UNKNOWN)
        lpm_migration_log(migration, LPM_LOG_WARNING, "start",
                          "QEMU does not say that it is about to run; the copy is let go without");
    LPM_FAULT_POINT("target", "start-held");
    if (start == FAILED || mover_ended(migration, NULL))
        return lpm_fail(error, LPM_E_MOVER_FAILED,
                        "the mover on %s, or libvirt there, ended before the copy was let go",
                        migration->daemon->config->name);
    return lpm_processor_gate_stay(gate, STAY_LIMIT_MS, error);
}

/* Not let go yet, and with `act` held nobody has been told: the decision is taken back, in the
 * journal first, or an lpmd that dies in between would leave one that has ended and not run. A
 * journal that refuses is waited for; if lpmd stops meanwhile the next one lets the copy go. */
static void take_back_decision(LpmMigration *migration, LpmQemuProcess *copy)
{
    g_autoptr(GError) error = NULL;

    lpm_migration_log(migration, LPM_LOG_WARNING, "start",
                      "the way to the copy broke before it was let go: it is given up");
    if (lpm_migration_decide_for_sure(migration, LPM_DECIDED_ABORTED) &&
        !lpm_qemu_process_end_wholly(copy, GONE_LIMIT_MS, &error))
        lpm_migration_log(migration, LPM_LOG_ERROR, "start", "%s", error->message);
}

static void start_behind_gate(LpmMigration *migration, LpmQemuProcess *copy, LpmProcessorGate *gate,
                              guint libvirt)
{
    g_autoptr(GError) failure = NULL, error = NULL;

    if (start_held(migration, gate, libvirt, &failure)) {
        /* Not decided when lpmd stops only: the next one finds it standing. */
        if (!lpm_migration_decide_for_sure(migration, LPM_DECIDED_SWITCHED))
            return;
        if (!way_holds(migration, libvirt)) {
            take_back_decision(migration, copy);
            return;
        }
        if (!lpm_processor_gate_open(gate, &error))
            lpm_migration_log(migration, LPM_LOG_WARNING, "start", "%s", error->message);
        migration->opened_us = lpm_wall_us();
        show_post_copy(migration);
        return;
    }
    lpm_target_give_back(migration, failure->message);
}

/* ---- without ---- */

static void start_decided(LpmMigration *migration)
{
    if (!lpm_migration_decide_for_sure(migration, LPM_DECIDED_SWITCHED))
        return;
    show_post_copy(migration);
    LPM_FAULT_POINT("target", "allowing-run");
    /* Nobody heard the word and nobody ever will: `act` is held, so that the source has not been
     * told of it either, and its QEMU still waits with everything. */
    if (!allow_run(migration) && !lpm_migrations_closing(migration->daemon->migrations))
        lpm_migration_decide_for_sure(migration, LPM_DECIDED_ABORTED);
    lpm_feed_keep_memory(migration);
}

/* ---- from outside ---- */

gboolean lpm_handover_target_switch(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;
    enum lpm_partition_state state;

    if (lpm_state_is_final(migration->state) ||
        lpm_migration_decided(migration, LPM_DECIDED_ABORTED) ||
        lpm_migration_decided(migration, LPM_DECIDED_ENDED))
        return TRUE;
    if (lpm_migration_decided(migration, LPM_DECIDED_SWITCHED)) {
        start_decided(migration);
        return TRUE;
    }
    if (!lpm_host_state(migration->daemon->host, migration->uuid, &state, NULL))
        return FALSE;
    if (state == LPM_PARTITION_ABSENT || state == LPM_PARTITION_DEFINED) {
        lpm_target_give_back(migration, "the copy ended before it was let go");
        return TRUE;
    }
    guint libvirt = lpm_host_connections(migration->daemon->host);
    g_autoptr(LpmQemuProcess) copy = find_copy(migration, &error);
    LpmProcessorGate *gate =
        copy ? lpm_processor_gate_close(copy, migration->vcpus, CLOSE_LIMIT_MS, &error) : NULL;
    if (gate) {
        start_behind_gate(migration, copy, gate, libvirt);
        lpm_processor_gate_free(gate);
        return TRUE;
    }
    lpm_migration_log(migration, LPM_LOG_WARNING, "start",
                      "the copy's processors cannot be held until it has started: %s",
                      error->message);
    start_decided(migration);
    return TRUE;
}

gboolean lpm_target_end_unstarted(LpmMigration *migration, GError **error)
{
    if (!lpm_migration_decided(migration, LPM_DECIDED_SWITCHING) ||
        lpm_migration_decided(migration, LPM_DECIDED_PREPARED) || lpm_migration_switched(migration))
        return TRUE;
    g_autoptr(LpmQemuProcess) copy = find_copy(migration, NULL);

    return !copy || lpm_qemu_process_end_wholly(copy, GONE_LIMIT_MS, error);
}

void lpm_target_let_started_go(LpmMigration *migration)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);

    if (!lpm_migration_switched(migration) || lpm_migration_decided(migration, LPM_DECIDED_RUNNING))
        return;
    g_autoptr(LpmQemuProcess) copy = find_copy(migration, NULL);
    if (copy)
        lpm_qemu_process_thaw(copy);
    if (migration->state == LPM_STATE_COPYING)
        show_post_copy(migration);
}
