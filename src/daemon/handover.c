/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* See handover.h for the theory; the steps S1..S8 and T1..T4 are named there. */
#include "daemon/handover.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fault-point.h"
#include "daemon/peer-client.h"

#include <string.h>

#define ASK_PAUSE_US 500000      /* between two of them */
#define FREEZE_LIMIT_MS 2000     /* a thread that does not stop by then: not now, roll back */
#define END_LIMIT_MS 10000       /* then it is tried again, for ever */
#define STATS_TIMEOUT_MS 2000    /* the own mover's answer */
#define LOADED_LIMIT_US 5000000  /* Finish has been answered: the state follows at once */
#define RESUMED_LIMIT_US 1000000 /* for the stamp, not for the resumption */

/* ---- source ---- */

json_t *lpm_handover_say(LpmMigration *migration, const char *word, json_t *body, GError **error)
{
    g_autofree char *path = g_strdup_printf("/v1/peer/migrations/%s/%s", migration->id, word);

    return lpm_peer_call(migration->daemon->peers, migration->peer, "POST", path, body,
                         LPM_SAY_LIMIT_S, NULL, error);
}

/* Does the error say that nobody answered, so that the word may or may not have been heard? */
static gboolean is_silence(const GError *error)
{
    return g_error_matches(error, LPM_ERROR, LPM_E_PEER_UNREACHABLE) ||
           g_error_matches(error, LPM_ERROR, LPM_E_PEER_REFUSED) ||
           g_error_matches(error, LPM_ERROR, LPM_E_PEER_ANSWER);
}

static gboolean stop_requested(LpmMigration *migration)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    return migration->stop_requested;
}

/* S1: repeats the question until it is answered, an operator stops, or the mover is gone. */
static json_t *ask_prepared(LpmMigration *migration, GError **error)
{
    for (;;) {
        g_autoptr(GError) reason = NULL;
        json_t *answer = lpm_handover_say(migration, "prepared", NULL, &reason);

        if (answer)
            return answer;
        g_mutex_lock(&migration->lock);
        gboolean give_up = migration->stop_requested || migration->mover_gone ||
                           migration->mover_error || migration->rpc_lost;
        g_mutex_unlock(&migration->lock);
        if (is_silence(reason) && stop_requested(migration)) {
            lpm_fail(error, LPM_E_STOPPED, "stopped by an operator");
            return NULL;
        }
        if (!is_silence(reason) || give_up ||
            lpm_migrations_closing(migration->daemon->migrations)) {
            g_propagate_error(error, g_steal_pointer(&reason));
            return NULL;
        }
        lpm_migration_log(migration, LPM_LOG_WARNING, "waiting",
                          "the target does not say whether it is prepared: %s", reason->message);
        g_usleep(ASK_PAUSE_US);
    }
}

/* What the target's mover gave to QEMU must be what this one took from QEMU. */
static gboolean same_stream(LpmMigration *migration, const json_t *answer, json_t *stats,
                            GError **error)
{
    const char *there = json_string_value(json_object_get(answer, "stream_hash"));
    const char *here = json_string_value(json_object_get(stats, "stream_hash"));
    const char *failure = json_string_value(json_object_get(answer, "mover_error"));

    if (failure)
        return lpm_fail(error, LPM_E_MOVER_FAILED,
                        "the mover on %s cannot say what it received: %s", migration->peer,
                        failure);
    if (!here || !there || strcmp(here, there) != 0)
        return lpm_fail(error, LPM_E_DATA_DAMAGED,
                        "the stream of partition '%s' is %s here and %s on %s",
                        migration->partition, here ? here : "unknown", there ? there : "unknown",
                        migration->peer);
    return TRUE;
}

/* S3: with the source frozen. An answer of the mover proves that it held the reply all the time;
 * an end of libvirt's side of the RPC, or a RESUME after the STOP, says that the source may have
 * run. */
static gboolean look_again(LpmMigration *migration, const json_t *answer, GError **error)
{
    enum lpm_partition_state state;
    json_t *stats = lpm_mover_ask_stats(migration->mover, STATS_TIMEOUT_MS, error);

    if (!stats)
        return FALSE;
    gboolean ok = same_stream(migration, answer, stats, error);
    g_clear_pointer(&migration->source_stats, json_decref);
    migration->source_stats = stats;
    if (!ok || !lpm_host_state(migration->daemon->host, migration->uuid, &state, error))
        return FALSE;
    if (state != LPM_PARTITION_MIGRATING)
        return lpm_fail(error, LPM_E_PARTITION_BUSY,
                        "partition '%s' is %s here although its copy is complete",
                        migration->partition, lpm_partition_state_name(state));
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
    if (migration->stop_requested)
        return lpm_fail(error, LPM_E_STOPPED, "stopped by an operator");
    if (migration->mover_gone || migration->mover_error || migration->rpc_lost ||
        migration->call_returned)
        return lpm_fail(error, LPM_E_MOVER_FAILED,
                        "the reply to libvirt's Finish is no longer held");
    if (migration->cpus == LPM_CPUS_RESUMED)
        return lpm_fail(error, LPM_E_PARTITION_BUSY,
                        "partition '%s' was resumed on its source during the hand-over",
                        migration->partition);
    migration->decided = TRUE; /* from here `stop` is refused; the journal follows at once */
    return TRUE;
}

/* S4. When the journal refuses, nothing was decided. */
static gboolean decide_ending(LpmMigration *migration, GError **error)
{
    json_t *facts = json_pack("{s:i, s:I, s:s}", "pid", (int)migration->qemu_pid, "start_time",
                              (json_int_t)migration->qemu_start_time, "target", migration->peer);

    if (lpm_migration_decide(migration, LPM_DECIDED_ENDING, facts, error))
        return TRUE;
    g_mutex_lock(&migration->lock);
    migration->decided = FALSE;
    g_mutex_unlock(&migration->lock);
    return FALSE;
}

enum lpm_outcome lpm_handover_source(LpmMigration *migration, GError **error)
{
    if (!lpm_migration_enter(migration, LPM_STATE_COMMITTING, error))
        return LPM_OUTCOME_KEPT;
    LPM_FAULT_POINT("source", "finish-held");
    json_t *answer = ask_prepared(migration, error);
    LPM_FAULT_POINT("source", "asked-prepared");
    if (!answer)
        return lpm_migrations_closing(migration->daemon->migrations) && !stop_requested(migration)
                   ? LPM_OUTCOME_CLOSING
                   : LPM_OUTCOME_KEPT;
    gboolean ok = lpm_qemu_process_freeze(migration->qemu, FREEZE_LIMIT_MS, error);
    LPM_FAULT_POINT("source", "frozen");
    if (ok && !look_again(migration, answer, error)) {
        lpm_qemu_process_thaw(migration->qemu);
        ok = FALSE;
    }
    /* A write that failed may be on disk all the same, and the next lpmd would end the source for
     * it: it stays frozen until the rolling back has put `aborted` there. */
    ok = ok && decide_ending(migration, error);
    json_decref(answer);
    return ok ? lpm_handover_source_forward(migration) : LPM_OUTCOME_KEPT;
}

gboolean lpm_handover_find_qemu(LpmMigration *migration, gboolean *gone, GError **error)
{
    *gone = FALSE;
    if (!migration->qemu)
        migration->qemu =
            lpm_qemu_process_reopen(migration->qemu_pid, migration->qemu_start_time, gone, error);
    return migration->qemu != NULL;
}

/* S5 once. */
static gboolean end_source_once(LpmMigration *migration, GError **error)
{
    gboolean gone;

    if (!lpm_handover_find_qemu(migration, &gone, error))
        return gone;
    return lpm_qemu_process_end(migration->qemu, END_LIMIT_MS, error);
}

/* S5: for ever, since there is no other way; a QEMU that does not end is told to the operator. */
static gboolean end_source(LpmMigration *migration)
{
    for (;;) {
        g_autoptr(GError) error = NULL;

        if (end_source_once(migration, &error))
            break;
        lpm_migration_log(migration, LPM_LOG_ERROR, "source-alive", "%s", error->message);
        if (lpm_migrations_closing(migration->daemon->migrations))
            return FALSE;
        g_usleep(ASK_PAUSE_US);
    }
    migration->source_ended_us = lpm_wall_us();
    return TRUE;
}

enum lpm_told lpm_handover_read_refusal(LpmMigration *migration, const GError *error)
{
    static const struct {
        const char *decision;
        enum lpm_told told;
    } meanings[] = {{LPM_DECIDED_RUNNING, LPM_TOLD_RUNS},
                    {LPM_DECIDED_ENDED, LPM_TOLD_ENDED},
                    {LPM_DECIDED_ABORTED, LPM_TOLD_ABORTED}};

    if (g_error_matches(error, LPM_ERROR, LPM_E_PARTITION_ENDED))
        return LPM_TOLD_ENDED;
    if (!g_error_matches(error, LPM_ERROR, LPM_E_MIGRATION_NOT_FOUND))
        return LPM_TOLD_NOTHING;
    g_autofree char *decision = lpm_migration_ask_decision(migration, NULL, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(meanings); i++) {
        if (g_strcmp0(decision, meanings[i].decision) == 0)
            return meanings[i].told;
    }
    return LPM_TOLD_NOTHING;
}

/* S7: repeated until the target says that it runs, or that its copy is no more. Whatever else it
 * answers is told, and asked again: the source is ended, so the target is the one place where the
 * partition can go on. */
static enum lpm_told tell_commit(LpmMigration *migration)
{
    gboolean doubt = FALSE;

    LPM_FAULT_POINT("source", "telling-commit");
    for (;;) {
        g_autoptr(GError) error = NULL;
        json_t *answer = lpm_handover_say(migration, "commit", NULL, &error);

        if (answer) {
            migration->target_resumed_us =
                (gint64)json_integer_value(json_object_get(answer, "resumed_us"));
            json_decref(answer);
            return LPM_TOLD_RUNS;
        }
        enum lpm_told told = lpm_handover_read_refusal(migration, error);
        if (told == LPM_TOLD_RUNS || told == LPM_TOLD_ENDED)
            return told;
        /* Only an operator gives a complete copy up, with `recover --discard`: the partition and
         * its definition are the target's all the same. */
        if (told == LPM_TOLD_ABORTED)
            return LPM_TOLD_RUNS;
        if (lpm_migration_fenced(migration))
            return LPM_TOLD_ENDED;
        if (!doubt) {
            doubt = TRUE;
            lpm_migration_enter(migration, LPM_STATE_IN_DOUBT, NULL);
        }
        lpm_migration_log(migration, LPM_LOG_ERROR, "in-doubt",
                          "the target does not say that it runs: %s", error->message);
        if (!lpm_migration_pause(migration, ASK_PAUSE_US))
            return LPM_TOLD_NOTHING;
    }
}

enum lpm_outcome lpm_handover_source_forward(LpmMigration *migration)
{
    if (!end_source(migration))
        return LPM_OUTCOME_CLOSING;
    LPM_FAULT_POINT("source", "source-ended");
    if (!lpm_migration_decide_for_sure(migration, LPM_DECIDED_COMMITTED))
        return LPM_OUTCOME_CLOSING;
    migration->committed_us = lpm_wall_us();
    enum lpm_told told = tell_commit(migration);
    LPM_FAULT_POINT("source", "told-commit");
    if (told == LPM_TOLD_NOTHING)
        return LPM_OUTCOME_CLOSING;
    if (!lpm_migration_decide_for_sure(migration, told == LPM_TOLD_RUNS ? LPM_DECIDED_RUNNING
                                                                        : LPM_DECIDED_ENDED))
        return LPM_OUTCOME_CLOSING;
    return told == LPM_TOLD_RUNS ? LPM_OUTCOME_HANDED_OVER : LPM_OUTCOME_ENDED;
}

enum lpm_outcome lpm_handover_source_switched(LpmMigration *migration)
{
    if (!lpm_migration_decide_for_sure(migration, LPM_DECIDED_ENDING))
        return LPM_OUTCOME_CLOSING;
    return lpm_handover_source_forward(migration);
}

enum lpm_outcome lpm_handover_source_lost(LpmMigration *migration)
{
    if (!lpm_migration_decide_for_sure(migration, LPM_DECIDED_ENDING) || !end_source(migration) ||
        !lpm_migration_decide_for_sure(migration, LPM_DECIDED_ENDED))
        return LPM_OUTCOME_CLOSING;
    return LPM_OUTCOME_ENDED;
}

/* ---- target ---- */

/* T1: Finish was answered, so libvirt's state has changed or is about to. */
static gboolean wait_loaded(LpmMigration *migration, GError **error)
{
    gint64 deadline = lpm_monotonic_us() + LOADED_LIMIT_US;
    enum lpm_partition_state state;

    for (;;) {
        if (!lpm_host_state(migration->daemon->host, migration->uuid, &state, error))
            return FALSE;
        if (state == LPM_PARTITION_LOADED)
            return TRUE;
        if (state != LPM_PARTITION_MIGRATING || lpm_monotonic_us() > deadline)
            return lpm_fail(error, LPM_E_NOT_PREPARED, "partition '%s' is %s on %s",
                            migration->partition, lpm_partition_state_name(state),
                            migration->daemon->config->name);
        g_usleep(1000);
    }
}

static gboolean ended(LpmMigration *migration, GError **error)
{
    return lpm_fail(error, LPM_E_PARTITION_ENDED,
                    "the QEMU of partition '%s' ended on %s before it was handed over",
                    migration->partition, migration->daemon->config->name);
}

gboolean lpm_handover_target_complete(LpmMigration *migration, gboolean *complete, GError **error)
{
    enum lpm_partition_state state;
    struct lpm_job job;

    *complete = FALSE;
    if (!lpm_host_state(migration->daemon->host, migration->uuid, &state, error))
        return FALSE;
    switch (state) {
    case LPM_PARTITION_ABSENT:
    case LPM_PARTITION_DEFINED:
        return ended(migration, error);
    case LPM_PARTITION_MIGRATING:
    case LPM_PARTITION_POST_COPY:
    case LPM_PARTITION_POST_COPY_FAILED:
        return TRUE;
    default:
        break;
    }
    if (!lpm_host_job(migration->daemon->host, migration->uuid, &job, error))
        return FALSE;
    *complete = !job.active;
    return TRUE;
}

/* P7 */
static gboolean check_complete(LpmMigration *migration, GError **error)
{
    gboolean complete;

    if (!lpm_handover_target_complete(migration, &complete, error))
        return FALSE;
    if (!complete)
        return lpm_fail(error, LPM_E_NOT_PREPARED,
                        "partition '%s' runs on %s and does not have all of its memory yet",
                        migration->partition, migration->daemon->config->name);
    return TRUE;
}

gboolean lpm_handover_target_prepared(LpmMigration *migration, GError **error)
{
    LPM_FAULT_POINT("target", "prepared-asked");
    if (lpm_migration_decided(migration, LPM_DECIDED_ABORTED) ||
        lpm_migration_decided(migration, LPM_DECIDED_ENDED))
        return lpm_fail(error, LPM_E_NOT_PREPARED, "the migration of '%s' was given up on %s",
                        migration->partition, migration->daemon->config->name);
    if (lpm_migration_decided(migration, LPM_DECIDED_PREPARED))
        return TRUE;
    if (lpm_migration_switched(migration) ? !check_complete(migration, error)
                                          : !wait_loaded(migration, error))
        return FALSE;
    if (!lpm_migration_enter(migration, LPM_STATE_COMMITTING, error) ||
        !lpm_migration_decide(migration, LPM_DECIDED_PREPARED, NULL, error))
        return FALSE;
#ifdef LPM_MUTANT_RESUME_BEFORE_DEAD /* breaks rule 1, for the test that must notice it */
    lpm_host_resume(migration->daemon->host, migration->uuid, NULL);
#endif
    return TRUE;
}

/* T4: runs already, or is resumed now. */
static gboolean resume(LpmMigration *migration, GError **error)
{
    enum lpm_partition_state state;

    if (!lpm_host_state(migration->daemon->host, migration->uuid, &state, error))
        return FALSE;
    if (state == LPM_PARTITION_RUNNING)
        return TRUE;
    if (state == LPM_PARTITION_ABSENT || state == LPM_PARTITION_DEFINED)
        return ended(migration, error);
    if (state != LPM_PARTITION_LOADED)
        return lpm_fail(error, LPM_E_NOT_PREPARED, "partition '%s' is %s on %s",
                        migration->partition, lpm_partition_state_name(state),
                        migration->daemon->config->name);
    LPM_FAULT_POINT("target", "resuming");
    return lpm_host_resume(migration->daemon->host, migration->uuid, error);
}

static gint64 wait_resume_stamp(LpmMigration *migration)
{
    gint64 deadline = g_get_monotonic_time() + RESUMED_LIMIT_US;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    while (!migration->resume_us &&
           g_cond_wait_until(&migration->changed, &migration->lock, deadline))
        continue;
    return migration->resume_us;
}

gboolean lpm_handover_target_commit(LpmMigration *migration, gint64 *resumed_us, GError **error)
{
    LPM_FAULT_POINT("target", "commit-asked");
    if (!lpm_migration_decided(migration, LPM_DECIDED_PREPARED) ||
        lpm_migration_decided(migration, LPM_DECIDED_ABORTED))
        return lpm_fail(error, LPM_E_NOT_PREPARED, "partition '%s' was not prepared on %s",
                        migration->partition, migration->daemon->config->name);
    if (!lpm_migration_decided(migration, LPM_DECIDED_COMMITTED) &&
        !lpm_migration_decide(migration, LPM_DECIDED_COMMITTED, NULL, error))
        return FALSE;
    /* Once it has run it is the operator's: a repeated word must not resume what was paused or
     * stopped since. */
    if (!lpm_migration_decided(migration, LPM_DECIDED_RUNNING)) {
        if (!lpm_migration_switched(migration) && !resume(migration, error))
            return FALSE;
        LPM_FAULT_POINT("target", "resumed");
        if (!lpm_migration_decide(migration, LPM_DECIDED_RUNNING, NULL, error))
            return FALSE;
    }
    *resumed_us = migration->opened_us ? migration->opened_us : wait_resume_stamp(migration);
    return TRUE;
}
