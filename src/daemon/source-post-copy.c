/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Post-copy, the source's side (handover.h, "Post-copy"): when to go over, and what follows until
 * the target has everything. Whatever breaks here, the target is asked first: as long as it has not
 * started it can still be told not to, and then the partition runs on here; once it has, the only
 * way is forward, with another pair of movers if need be.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/fault-point.h"
#include "daemon/handover.h"
#include "daemon/peer-client.h"
#include "daemon/source-internal.h"

#include <gnutls/crypto.h>
#include <string.h>

#define PAUSE_US 500000                      /* between two looks at something broken */
#define CALL_LIMIT_US (15 * G_USEC_PER_SEC)  /* libvirt's call ends with its sockets */
#define BREAK_LIMIT_US (10 * G_USEC_PER_SEC) /* QEMU sees the end of its connection */
#define POLL_US 50000

/* ---- when ---- */

/* R3.4: a round that begins with no fewer bytes than the one before it shows that the guest writes
 * faster than the link carries. Rounds shorter than libvirt is asked are missed; they converge. */
static gboolean no_longer_decreases(LpmMigration *migration, const struct lpm_job *job)
{
    if (job->iteration <= migration->round)
        return FALSE;
    gboolean first = migration->round == 0;
    gboolean stuck = !first && job->memory_left >= migration->round_left;

    migration->round = job->iteration;
    migration->round_left = first ? job->memory_total : job->memory_left;
    return stuck || job->iteration > migration->daemon->config->post_copy_rounds;
}

gboolean lpm_source_wants_post_copy(LpmMigration *migration)
{
    g_mutex_lock(&migration->lock);
    struct lpm_job job = migration->job;
    g_mutex_unlock(&migration->lock);

    if (!job.active || !job.memory_total || !job.iteration)
        return FALSE;
    switch (migration->post_copy) {
    case LPM_POST_COPY_NOW:
        return TRUE;
    case LPM_POST_COPY_AUTO:
        return no_longer_decreases(migration, &job);
    case LPM_POST_COPY_NEVER:
        break;
    }
    return FALSE;
}

gboolean lpm_source_decide_switching(LpmMigration *migration, GError **error)
{
    g_mutex_lock(&migration->lock);
    gboolean stop = migration->stop_requested;
    migration->decided = !stop; /* from here `stop` is refused */
    migration->may_go_back = !stop;
    g_mutex_unlock(&migration->lock);
    if (stop)
        return lpm_fail(error, LPM_E_STOPPED, "stopped by an operator");
    if (lpm_migration_decide(migration, LPM_DECIDED_SWITCHING, NULL, error))
        return TRUE;
    g_mutex_lock(&migration->lock);
    migration->decided = FALSE;
    migration->may_go_back = FALSE;
    g_mutex_unlock(&migration->lock);
    return FALSE;
}

/* The target must know first: from then on it does not give up by itself, which would leave a
 * source that cannot be gone back to. While the link is gone nothing is lost by waiting. */
static gboolean told_switching(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;
    json_t *answer;

    if (migration->switching_told)
        return TRUE;
    answer = lpm_handover_say(migration, "switching", NULL, &error);
    if (!answer) {
        lpm_migration_log(migration, LPM_LOG_INFO, "post-copy", "not yet: %s", error->message);
        return FALSE;
    }
    json_decref(answer);
    return migration->switching_told = TRUE;
}

/* Asked again until it is so: libvirt refuses while it begins or ends the job. */
static void ask_for_switch(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;

    if (migration->switch_asked || !told_switching(migration))
        return;
    migration->switch_asked =
        lpm_host_start_post_copy(migration->daemon->host, migration->uuid, &error);
    LPM_FAULT_POINT("source", "post-copy-asked");
    if (error)
        lpm_migration_log(migration, LPM_LOG_INFO, "post-copy", "%s", error->message);
}

/* ---- another pair of movers ---- */

/* Nothing of the old call is left, and QEMU knows that its connection broke. */
static gboolean old_way_ended(LpmMigration *migration, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + BREAK_LIMIT_US;
    enum lpm_partition_state state;

    if (!lpm_source_end_call_thread(migration, CALL_LIMIT_US))
        return lpm_fail(error, LPM_E_LIBVIRT, "libvirt's call has not ended");
    for (;;) {
        if (!lpm_host_state(migration->daemon->host, migration->uuid, &state, error))
            return FALSE;
        if (state == LPM_PARTITION_POST_COPY_FAILED)
            return TRUE;
        if (state != LPM_PARTITION_POST_COPY || g_get_monotonic_time() > deadline)
            return lpm_fail(error, LPM_E_LIBVIRT, "partition '%s' is %s here", migration->partition,
                            lpm_partition_state_name(state));
        g_usleep(POLL_US);
    }
}

static gboolean tell_resume(LpmMigration *migration, GError **error)
{
    g_autofree char *session = lpm_hex(migration->session, LPM_SESSION_ID_BYTES);
    g_autofree char *psk = lpm_hex(migration->psk, LPM_SESSION_PSK_BYTES);
    json_t *body = json_pack("{s:s, s:s, s:I}", "session", session, "psk", psk, "backlog_bytes",
                             (json_int_t)migration->daemon->config->backlog_bytes);
    if (migration->links > 1)
        json_object_set_new(body, "links", json_integer(migration->links));
    json_t *answer = lpm_handover_say(migration, "resume", body, error);

    explicit_bzero(psk, strlen(psk));
    json_decref(body);
    if (!answer)
        return FALSE;
    json_decref(answer);
    return TRUE;
}

static gboolean renew_session(LpmMigration *migration, GError **error)
{
    gnutls_rnd(GNUTLS_RND_NONCE, migration->session, sizeof(migration->session));
    gnutls_rnd(GNUTLS_RND_KEY, migration->psk, sizeof(migration->psk));
    json_t *doc = lpm_source_parameters(migration);
    gboolean ok = lpm_journal_migration_doc(migration->daemon->journal, migration->id, doc, error);

    json_decref(doc);
    return ok;
}

/* QEMU keeps both halves of the memory when its connection breaks, and goes on over a new one. */
static gboolean resume(LpmMigration *migration, GError **error)
{
    if (migration->mover)
        lpm_mover_quit(migration->mover, LPM_SOURCE_QUIT_TIMEOUT_MS);
    if (!old_way_ended(migration, error))
        return FALSE;
    lpm_migration_retire_mover(migration);
    lpm_migration_remove_folder(migration);
    if (!renew_session(migration, error) || !tell_resume(migration, error) ||
        !lpm_source_connect(migration, error))
        return FALSE;
    LPM_FAULT_POINT("source", "resuming-post-copy");
    migration->resume_call = TRUE;
    lpm_source_call_libvirt(migration);
    lpm_migration_log(migration, LPM_LOG_INFO, "resumed", "post-copy goes on with new movers");
    return TRUE;
}

/* ---- looking ---- */

static gboolean own_qemu_gone(LpmMigration *migration)
{
    gboolean gone;

    return lpm_handover_find_qemu(migration, &gone, NULL)
               ? lpm_qemu_process_is_ended(migration->qemu)
               : gone;
}

/* Is it the pair of movers that has to be replaced? Without the RPC alone QEMU goes on to its end
 * by itself. libvirt says that the connection broke until its call has begun with another. */
static gboolean wants_movers(LpmMigration *migration, enum lpm_partition_state state)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
    gboolean calling = migration->call_thread && !migration->call_returned;

    return (state == LPM_PARTITION_POST_COPY_FAILED && !calling) || !migration->mover ||
           migration->mover_gone || migration->mover_error;
}

static gboolean is_broken(LpmMigration *migration, enum lpm_partition_state state)
{
    if (wants_movers(migration, state))
        return TRUE;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    return migration->call_returned || migration->rpc_lost ||
           (migration->finish_held && !migration->finish_good);
}

enum verdict { GO_ON, OVER };

/* The target has started, and something on the way between the two is broken. */
static enum verdict repair(LpmMigration *migration, enum lpm_partition_state state,
                           enum lpm_outcome *outcome)
{
    g_autoptr(GError) error = NULL;

    if (own_qemu_gone(migration)) {
        json_t *answer = lpm_handover_say(migration, "lost", NULL, &error);

        if (answer) {
            json_decref(answer);
            *outcome = lpm_handover_source_lost(migration);
            return OVER;
        }
    } else if (wants_movers(migration, state)) {
        if (!resume(migration, &error))
            g_usleep(PAUSE_US); /* what was in the way needs time, whatever news there are */
    }
    if (error)
        lpm_migration_log(migration, LPM_LOG_WARNING, "post-copy", "%s", error->message);
    return GO_ON;
}

/* The other host is off for good, an operator says. What ran there is lost with it; but if the
 * switch never came, the partition still runs here. */
static enum verdict without_target(LpmMigration *migration, enum lpm_partition_state state,
                                   enum lpm_outcome *outcome, GError **error)
{
    switch (state) {
    case LPM_PARTITION_POST_COPY:
    case LPM_PARTITION_POST_COPY_FAILED:
    case LPM_PARTITION_ABSENT:
    case LPM_PARTITION_DEFINED:
        *outcome = lpm_handover_source_lost(migration);
        break;
    default: /* whole, whether it runs or has converged and stands still */
        lpm_fail(error, LPM_E_PEER_UNREACHABLE, "%s is fenced", migration->peer);
        *outcome = LPM_OUTCOME_KEPT;
    }
    return OVER;
}

/* Not complete there, or not known. Before anything is done here the target is told not to start;
 * its answer tells whether it has. */
static enum verdict look_closer(LpmMigration *migration, enum lpm_outcome *outcome, GError **error)
{
    g_autoptr(GError) reason = NULL;
    enum lpm_partition_state state;

    if (!lpm_host_state(migration->daemon->host, migration->uuid, &state, &reason))
        return GO_ON;
    if (lpm_migration_fenced(migration))
        return without_target(migration, state, outcome, error);
    if (!is_broken(migration, state) && !own_qemu_gone(migration))
        return GO_ON;
    /* A question and not the order: one that comes late, after another way was taken, must not end
     * a copy that is complete. */
    json_t *answer = lpm_handover_say(migration, "abandon", NULL, &reason);
    if (!answer) {
        lpm_migration_log(migration, LPM_LOG_WARNING, "post-copy",
                          "whether the target has started is not known: %s", reason->message);
        return GO_ON;
    }
    gboolean aborted = json_is_true(json_object_get(answer, "aborted"));
    gboolean switched = json_is_true(json_object_get(answer, "switched"));
    json_decref(answer);
    if (aborted) {
        lpm_source_copy_failed(migration, error);
        *outcome = LPM_OUTCOME_KEPT;
        return OVER;
    }
    if (!switched)
        return GO_ON;
    lpm_migration_let_go(migration);
    return repair(migration, state, outcome);
}

/* Asks the target, and goes where its answer leads. */
static enum verdict look(LpmMigration *migration, enum lpm_outcome *outcome, GError **error)
{
    g_autoptr(GError) reason = NULL;
    json_t *answer = lpm_handover_say(migration, "prepared", NULL, &reason);

    if (answer) {
        gboolean switched = json_is_true(json_object_get(answer, "switched"));

        json_decref(answer);
        if (switched) /* QEMU may know that its migration is complete */
            lpm_migration_let_go(migration);
        /* It may have converged before the switch came: then it is as without post-copy. */
        *outcome = switched ? lpm_handover_source_switched(migration)
                            : lpm_handover_source(migration, error);
        return OVER;
    }
    switch (lpm_handover_read_refusal(migration, reason)) {
    case LPM_TOLD_RUNS:
        lpm_migration_let_go(migration);
        *outcome = lpm_handover_source_switched(migration);
        return OVER;
    case LPM_TOLD_ENDED:
        *outcome = lpm_handover_source_lost(migration);
        return OVER;
    case LPM_TOLD_ABORTED:
        lpm_source_copy_failed(migration, error);
        *outcome = LPM_OUTCOME_KEPT;
        return OVER;
    case LPM_TOLD_NOTHING:
        break;
    }
    return look_closer(migration, outcome, error);
}

/* With no news: is there nothing to look closer at? A libvirtd that is away is no such thing. */
static gboolean seems_well(LpmMigration *migration)
{
    enum lpm_partition_state state;

    if (lpm_host_state(migration->daemon->host, migration->uuid, &state, NULL) &&
        is_broken(migration, state))
        return FALSE;
    return !own_qemu_gone(migration) && !lpm_migration_fenced(migration);
}

enum lpm_outcome lpm_source_post_copy(LpmMigration *migration, GError **error)
{
    enum lpm_outcome outcome;

    if (!lpm_migration_enter(migration, LPM_STATE_POST_COPY, NULL))
        lpm_migration_log(migration, LPM_LOG_WARNING, "journal", "the state cannot be written");
    for (;;) {
        enum lpm_wake why = lpm_source_wait_copying(migration);

        if (lpm_migrations_closing(migration->daemon->migrations))
            return LPM_OUTCOME_CLOSING;
        if (why == LPM_WAKE_TICK && seems_well(migration)) {
            ask_for_switch(migration);
            continue;
        }
        if (look(migration, &outcome, error) == OVER)
            return outcome;
        if (!lpm_migration_pause(migration, PAUSE_US))
            return LPM_OUTCOME_CLOSING;
    }
}
