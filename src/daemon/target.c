/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The target's side: it acts on the source's words (prepare, prepared, commit, abort, finish), each
 * of which may be said twice, and one at a time (`act`). A thread watches over each migration and
 * asks the source what became of it when nothing has been heard for a while, so that a lost word
 * leaves nothing behind. It never starts a partition because of silence.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/fault-point.h"
#include "daemon/feed.h"
#include "daemon/handover.h"
#include "daemon/inactive.h"
#include "daemon/peer-client.h"
#include "daemon/reservations.h"
#include "daemon/target-internal.h"

#include <string.h>
#include <unistd.h>

#define WATCH_PAUSE_US (2 * G_USEC_PER_SEC) /* between looks; the source is asked as often */

static void give_up(LpmMigration *migration, const char *cause);

/* ---- watching ---- */

/* Is there a reason to ask? As long as the movers are connected the source is there and speaks for
 * itself. */
static gboolean wants_asking(LpmMigration *migration)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    return !migration->link_up || migration->mover_gone || migration->mover_error;
}

/* Has the silence lasted so long that a copy which was never prepared may be given up? */
static gboolean too_long(LpmMigration *migration, gint64 silent_since)
{
    gint64 limit = (gint64)migration->daemon->config->link_timeout_s * G_USEC_PER_SEC;

    return lpm_monotonic_us() - silent_since > limit;
}

static void mark_doubt(LpmMigration *migration, const char *cause)
{
    if (migration->state != LPM_STATE_COMMITTING)
        return;
    lpm_migration_enter(migration, LPM_STATE_IN_DOUBT, NULL);
    lpm_migration_log(migration, LPM_LOG_WARNING, "in-doubt",
                      "the partition is complete and paused here; whether it was handed over is "
                      "not known: %s",
                      cause);
}

/* Has this side agreed to post-copy, and nothing come of it yet? The source may have gone over
 * since, and then cannot be gone back to: the copy waits for it, however long the silence
 * (handover.h, P1). */
static gboolean waits_for_switch(LpmMigration *migration)
{
    return lpm_migration_decided(migration, LPM_DECIDED_SWITCHING) &&
           !lpm_migration_switched(migration) &&
           !lpm_migration_decided(migration, LPM_DECIDED_PREPARED);
}

/* A source that knows that the partition runs here still needs the movers, until it has ended. */
static void act_on(LpmMigration *migration, const char *decision, gboolean ended)
{
    g_autoptr(GError) error = NULL;
    json_t *answer = NULL;

    if (strcmp(decision, LPM_DECIDED_ABORTED) == 0)
        answer = lpm_target_abort(migration, "the source has given the migration up", &error);
    else if (strcmp(decision, LPM_DECIDED_COMMITTED) == 0)
        answer = lpm_target_commit(migration, &error);
    else if (strcmp(decision, LPM_DECIDED_RUNNING) == 0 && ended)
        answer = lpm_target_finish(migration, &error);
    if (answer)
        json_decref(answer);
    if (error)
        lpm_migration_log(migration, LPM_LOG_WARNING, "asking", "%s", error->message);
}

/* It runs here, and that is all that was to be reached; a source that comes back reads so. */
static void end_alone(LpmMigration *migration)
{
    json_t *answer = lpm_target_finish(migration, NULL);

    if (answer)
        json_decref(answer);
}

/* One look; *silent_since is 0 while the source answers. */
static void look(LpmMigration *migration, gint64 *silent_since)
{
    g_autoptr(GError) error = NULL;
    gboolean ended = FALSE;
    g_autofree char *decision = lpm_migration_ask_decision(migration, &ended, &error);

    if (decision) {
        *silent_since = 0;
        act_on(migration, decision, ended);
        return;
    }
    if (!*silent_since)
        *silent_since = lpm_monotonic_us();
    mark_doubt(migration, error ? error->message : "the source's answer holds no decision");
    if (!too_long(migration, *silent_since))
        return;
    if (lpm_migration_decided(migration, LPM_DECIDED_RUNNING)) {
        end_alone(migration);
    } else if (waits_for_switch(migration)) {
        *silent_since = 0; /* said again after as long a silence */
        lpm_migration_log(migration, LPM_LOG_WARNING, "waiting",
                          "the copy here is kept for a source that may have gone over to post-copy "
                          "and is silent; if it never comes back: lpm recover %s --fenced %s",
                          migration->partition, migration->peer);
    } else {
        give_up(migration, "the source was silent for too long");
    }
}

/* In post-copy, for the source that cannot ask any more. */
static gboolean complete_by_now(LpmMigration *migration)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);

    return lpm_migration_switched(migration) && lpm_handover_target_prepared(migration, NULL);
}

/* The source is off for good, as an operator has sworn: a complete copy is the partition from now
 * on. An incomplete one is worth nothing. */
static void act_on_fencing(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;
    json_t *answer = NULL;

    if (lpm_migration_decided(migration, LPM_DECIDED_RUNNING))
        answer = lpm_target_finish(migration, &error);
    else if (lpm_migration_decided(migration, LPM_DECIDED_PREPARED) || complete_by_now(migration))
        answer = lpm_target_commit(migration, &error);
    else if (lpm_migration_switched(migration))
        answer = lpm_target_lost(migration, "the source is fenced", &error);
    else
        answer = lpm_target_abort(migration, "the source is fenced and the copy is not complete",
                                  &error);
    if (answer)
        json_decref(answer);
    if (error)
        lpm_migration_log(migration, LPM_LOG_WARNING, "fenced", "%s", error->message);
}

/* Without its mover this side can never be complete; as long as it is not prepared the source
 * cannot have decided to hand over, so giving up is safe. The source asks when its link is gone. */
static void give_up_without_mover(LpmMigration *migration)
{
    g_mutex_lock(&migration->lock);
    g_autofree char *cause =
        migration->mover_error ? g_strdup(migration->mover_error->message)
        : migration->mover_gone
            ? g_strdup_printf("the mover on %s ended", migration->daemon->config->name)
            : NULL;
    g_mutex_unlock(&migration->lock);
    if (cause)
        give_up(migration, cause);
}

/* What this host has decided and not finished, because lpmd died in between: it needs nobody's word
 * for that. */
static void finish_own_decision(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL, failure = NULL;
    json_t *answer = NULL;

    if (lpm_migration_decided(migration, LPM_DECIDED_ENDED)) {
        g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);
        lpm_fail(&failure, LPM_E_PARTITION_ENDED, "the QEMU of partition '%s' ended on %s",
                 migration->partition, migration->daemon->config->name);
        if (!lpm_state_is_final(migration->state))
            lpm_target_end_without_copy(migration, failure);
    } else if (lpm_migration_decided(migration, LPM_DECIDED_ABORTED)) {
        answer = lpm_target_abort(migration, "given up before lpmd was restarted", &error);
    } else if (lpm_migration_decided(migration, LPM_DECIDED_COMMITTED) &&
               !lpm_migration_decided(migration, LPM_DECIDED_RUNNING)) {
        answer = lpm_target_commit(migration, &error);
    }
    if (answer)
        json_decref(answer);
    if (error)
        lpm_migration_log(migration, LPM_LOG_WARNING, "recovering", "%s", error->message);
}

void lpm_target_look(LpmMigration *migration)
{
    gint64 silent_since = 0;

    if (migration->inactive) {
        lpm_target_inactive_look(migration);
        return;
    }
    finish_own_decision(migration);
    if (lpm_migration_fenced(migration))
        act_on_fencing(migration);
    else
        look(migration, &silent_since);
}

static void watch(LpmMigration *migration)
{
    gint64 silent_since = 0;

    for (;;) {
        gint64 until = g_get_monotonic_time() + WATCH_PAUSE_US;

        g_mutex_lock(&migration->lock);
        while (!lpm_state_is_final(migration->state) &&
               !lpm_migrations_closing(migration->daemon->migrations) &&
               g_cond_wait_until(&migration->changed, &migration->lock, until))
            continue;
        gboolean over = lpm_state_is_final(migration->state) ||
                        lpm_migrations_closing(migration->daemon->migrations);
        g_mutex_unlock(&migration->lock);
        if (over)
            return;
        finish_own_decision(migration);
        give_up_without_mover(migration);
        lpm_target_look_after_switch(migration);
        if (lpm_migration_fenced(migration))
            act_on_fencing(migration);
        else if (wants_asking(migration))
            look(migration, &silent_since);
        else
            silent_since = 0;
    }
}

/* ---- prepare ---- */

static const char *text_of(const json_t *body, const char *name)
{
    return json_string_value(json_object_get(body, name));
}

/* The id becomes part of paths, so its form is checked and not only its presence. */
static gboolean check_body(struct lpm_daemon *daemon, const json_t *body, GError **error)
{
    guint8 id[6], session[LPM_SESSION_ID_BYTES], psk[LPM_SESSION_PSK_BYTES];
    gboolean ok = lpm_unhex(text_of(body, "id"), id, sizeof(id)) &&
                  lpm_unhex(text_of(body, "session"), session, sizeof(session)) &&
                  lpm_unhex(text_of(body, "psk"), psk, sizeof(psk)) &&
                  g_uuid_string_is_valid(text_of(body, "uuid"));

    explicit_bzero(psk, sizeof(psk));
    if (!ok)
        return lpm_fail(error, LPM_E_BAD_REQUEST,
                        "id, session, psk or uuid is not of the form that lpmd sends");
    g_autofree char *folder = g_path_get_dirname(text_of(body, "data_socket"));
    g_autofree char *outer = g_path_get_dirname(folder);
    if (strcmp(outer, daemon->config->socket_dir) != 0)
        return lpm_fail(error, LPM_E_BAD_REQUEST,
                        "the source's socket_dir is %s and this host's %s: both must be the same",
                        outer, daemon->config->socket_dir);
    return TRUE;
}

static gboolean check_free(struct lpm_daemon *daemon, const json_t *body, GError **error)
{
    gboolean used = FALSE;

    if (!lpm_host_name_used(daemon->host, text_of(body, "partition"), text_of(body, "uuid"), &used,
                            error))
        return FALSE;
    if (used)
        return lpm_fail(error, LPM_E_NAME_IN_USE,
                        "%s has a partition named '%s' or with UUID %s already",
                        daemon->config->name, text_of(body, "partition"), text_of(body, "uuid"));
    return TRUE;
}

static gboolean insert_row(LpmMigration *migration, GError **error)
{
    json_t *doc = lpm_target_parameters(migration);
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

static gboolean set_up(LpmMigration *migration, const json_t *body, GError **error)
{
    guint64 backlog = (guint64)json_integer_value(json_object_get(body, "backlog_bytes"));

    if (!lpm_migration_enter(migration, LPM_STATE_PREPARING, error) ||
        !lpm_migration_make_folder(migration, error) ||
        !lpm_target_start_mover(migration, CLAMP(backlog, LPM_BACKLOG_MIN, LPM_BACKLOG_MAX), TRUE,
                                error))
        return FALSE;
    LPM_FAULT_POINT("target", "mover-started");
    lpm_target_open_door(migration);
    return lpm_migration_enter(migration, LPM_STATE_COPYING, error);
}

json_t *lpm_target_prepare(struct lpm_daemon *daemon, const char *peer, const json_t *body,
                           GError **error)
{
    if (!check_body(daemon, body, error))
        return NULL;
    g_autoptr(LpmMigration) known = lpm_migrations_get(daemon->migrations, text_of(body, "id"));
    if (known) /* said twice */
        return json_pack("{s:s}", "id", known->id);
    if (!check_free(daemon, body, error))
        return NULL;
    g_autoptr(LpmMigration) migration =
        lpm_migration_new(daemon, LPM_SIDE_TARGET, text_of(body, "id"), text_of(body, "partition"),
                          text_of(body, "uuid"), peer);
    migration->persistent = json_is_true(json_object_get(body, "persistent"));
    migration->autostart = json_is_true(json_object_get(body, "autostart"));
    if (json_is_true(json_object_get(body, "post_copy")))
        migration->post_copy = LPM_POST_COPY_AUTO; /* when, the source decides */
    migration->memory_bytes = (guint64)json_integer_value(json_object_get(body, "memory_bytes"));
    migration->vcpus = (guint)json_integer_value(json_object_get(body, "vcpus"));
    migration->hugepages = json_is_true(json_object_get(body, "hugepages"));
    migration->node_demands = json_incref(json_object_get(body, "memory_nodes"));
    migration->links = lpm_target_links(daemon, body);
    lpm_unhex(text_of(body, "session"), migration->session, LPM_SESSION_ID_BYTES);
    lpm_unhex(text_of(body, "psk"), migration->psk, LPM_SESSION_PSK_BYTES);
    if (!lpm_migrations_add(daemon->migrations, migration, error))
        return NULL;
    if (!lpm_reserve(migration, insert_row, error)) {
        lpm_migrations_remove(daemon->migrations, migration);
        return NULL;
    }
    g_autoptr(GError) failure = NULL;
    if (!set_up(migration, body, &failure)) {
        lpm_target_drop_means(migration);
        lpm_migration_end(migration, LPM_STATE_FAILED, failure, NULL);
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    lpm_migrations_run(daemon->migrations, migration, watch);
    return json_pack("{s:s}", "id", migration->id);
}

/* ---- the other words ---- */

json_t *lpm_target_prepared(LpmMigration *migration, GError **error)
{
    if (migration->inactive)
        return lpm_target_inactive_prepared(migration, error);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);

    if (lpm_migration_fenced(migration)) { /* a late word of a source that is off */
        lpm_fail(error, LPM_E_NOT_PREPARED, "%s is fenced", migration->peer);
        return NULL;
    }
    if (!lpm_handover_target_prepared(migration, error))
        return NULL;
    gboolean switched = lpm_migration_switched(migration);
    g_autoptr(GError) failure = NULL;
    json_t *stats = lpm_mover_ask_stats(migration->mover, LPM_TARGET_QUIT_TIMEOUT_MS, &failure);
    json_t *hash = json_object_get(stats, "stream_hash");
    json_t *answer = json_pack("{s:b, s:b, s:O}", "prepared", TRUE, "switched", switched,
                               "stream_hash", hash ? hash : json_null());
    /* Once it runs it needs no proof of what was sent to it. Before, the source must know that
     * there will be none, and that the copy does not run: it can take the partition back then. */
    if (!stats && !switched)
        json_object_set_new(answer, "mover_error", json_string(failure->message));
    json_decref(stats);
    return answer;
}

void lpm_target_end_without_copy(LpmMigration *migration, const GError *failure)
{
    g_autoptr(GError) error = NULL;
    gboolean ok = lpm_migration_decided(migration, LPM_DECIDED_ENDED) ||
                  lpm_migration_decide(migration, LPM_DECIDED_ENDED,
                                       json_pack("{s:s}", "cause", failure->message), &error);

    if (ok) {
        /* Its mover first: a QEMU that waits for pages does not end on a polite word. */
        lpm_target_drop_means(migration);
        ok = lpm_host_discard(migration->daemon->host, migration->uuid, TRUE, &error);
    }
    if (ok)
        lpm_migration_end(migration, LPM_STATE_FAILED, failure, NULL);
    else
        lpm_migration_log(migration, LPM_LOG_WARNING, "ended", "%s", error->message);
}

static void take_autostart(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;

    if (migration->autostart && migration->persistent &&
        !lpm_host_set_autostart(migration->daemon->host, migration->uuid, TRUE, &error))
        lpm_migration_log(migration, LPM_LOG_WARNING, "autostart", "%s", error->message);
}

json_t *lpm_target_commit(LpmMigration *migration, GError **error)
{
    if (migration->inactive)
        return lpm_target_inactive_commit(migration, error);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);
    g_autoptr(GError) failure = NULL;
    gint64 resumed_us = 0;

    if (!lpm_handover_target_commit(migration, &resumed_us, &failure)) {
        if (g_error_matches(failure, LPM_ERROR, LPM_E_PARTITION_ENDED))
            lpm_target_end_without_copy(migration, failure);
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    if (migration->state == LPM_STATE_IN_DOUBT || migration->state == LPM_STATE_COMMITTING) {
        lpm_migration_enter(migration, LPM_STATE_CLEANING, NULL);
        take_autostart(migration);
    }
    return json_pack("{s:I}", "resumed_us", (json_int_t)resumed_us);
}

json_t *lpm_target_discard(LpmMigration *migration, const char *cause, GError **error)
{
    g_autoptr(GError) failure = NULL;

    if (lpm_migration_decided(migration, LPM_DECIDED_COMMITTED) ||
        lpm_migration_switched(migration)) {
        lpm_fail(error, LPM_E_PAST_DECISION, "partition '%s' was handed over to %s",
                 migration->partition, migration->daemon->config->name);
        return NULL;
    }
    if (lpm_state_is_final(migration->state))
        return json_pack("{s:b}", "aborted", TRUE);
    if (!lpm_migration_enter(migration, LPM_STATE_ROLLING_BACK, error) ||
        !lpm_target_end_unstarted(migration, error) ||
        (!lpm_migration_decided(migration, LPM_DECIDED_ABORTED) &&
         !lpm_migration_decide(migration, LPM_DECIDED_ABORTED, json_pack("{s:s}", "cause", cause),
                               error)))
        return NULL;
    /* The sockets first: libvirt's incoming call ends with them and removes its half-made copy. */
    lpm_target_drop_means(migration);
    LPM_FAULT_POINT("target", "discarding");
    if (!lpm_host_discard(migration->daemon->host, migration->uuid, !migration->keep_definition,
                          error))
        return NULL;
    LPM_FAULT_POINT("target", "discarded");
    lpm_fail(&failure, LPM_E_STOPPED, "%s", cause);
    lpm_migration_end(migration, LPM_STATE_STOPPED, failure, NULL);
    return json_pack("{s:b}", "aborted", TRUE);
}

json_t *lpm_target_abort(LpmMigration *migration, const char *cause, GError **error)
{
    if (migration->inactive)
        return lpm_target_inactive_abort(migration, cause, error);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);

    return lpm_target_discard(migration, cause, error);
}

json_t *lpm_target_abandon(LpmMigration *migration, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);

    if (lpm_migration_switched(migration))
        return json_pack("{s:b, s:b}", "aborted", FALSE, "switched", TRUE);
    if (lpm_migration_decided(migration, LPM_DECIDED_PREPARED))
        return json_pack("{s:b, s:b}", "aborted", FALSE, "switched", FALSE);
    json_t *answer = lpm_target_discard(migration, "the way between the movers broke", error);
    if (answer)
        json_object_set_new(answer, "switched", json_false());
    return answer;
}

static json_t *discard_for_disks(LpmMigration *migration, const char *cause, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);

    migration->keep_definition = TRUE;
    return lpm_target_discard(migration, cause, error);
}

gboolean lpm_target_discard_copy(LpmMigration *migration, GError **error)
{
    static const char cause[] = "an operator gave the copy up for the disks";

    /* `aborted` first: with the oath alone in the journal the next lpmd would start the copy. */
    json_t *answer = migration->inactive ? lpm_target_inactive_abort(migration, cause, error)
                                         : discard_for_disks(migration, cause, error);
    if (!answer)
        return FALSE;
    json_decref(answer);
    return lpm_migration_fence(migration, error);
}

/* Of its own accord, without the source's word: only while it has not said "prepared", which the
 * source needs before it can decide to hand over. The look and the act are one under `act`, as is
 * the saying of that word, or the source could decide between them and the partition be lost. */
static gboolean decided_not_alone(LpmMigration *migration, GError **error)
{
    static const char *const words[] = {LPM_DECIDED_PREPARED, LPM_DECIDED_SWITCHING,
                                        LPM_DECIDED_SWITCHED};
    gboolean found = FALSE;

    for (gsize i = 0; i < G_N_ELEMENTS(words) && !found && !*error; i++)
        found = lpm_journal_decided(migration->daemon->journal, migration->id, words[i], error);
    return found;
}

static void give_up(LpmMigration *migration, const char *cause)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);
    g_autoptr(GError) error = NULL;
    gboolean prepared = decided_not_alone(migration, &error);
#ifdef LPM_MUTANT_GIVE_UP_PREPARED /* breaks rule 2, for the test that must notice it */
    prepared = FALSE;
#endif
    json_t *answer = NULL;

    if (!prepared && !error)
        answer = lpm_target_discard(migration, cause, &error);
    if (answer)
        json_decref(answer);
    if (error)
        lpm_migration_log(migration, LPM_LOG_WARNING, "giving-up", "%s", error->message);
}

json_t *lpm_target_finish(LpmMigration *migration, GError **error)
{
    if (migration->inactive)
        return lpm_target_inactive_finish(migration, error);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);
    json_t *stats = NULL;

    LPM_FAULT_POINT("target", "finish-asked");
    if (!lpm_state_is_final(migration->state)) {
        if (!lpm_migration_decided(migration, LPM_DECIDED_RUNNING)) {
            lpm_fail(error, LPM_E_NOT_PREPARED, "partition '%s' does not run on %s yet",
                     migration->partition, migration->daemon->config->name);
            return NULL;
        }
        if (migration->mover)
            stats = lpm_mover_ask_stats(migration->mover, LPM_TARGET_QUIT_TIMEOUT_MS, NULL);
        lpm_target_drop_means(migration);
        lpm_migration_end(migration, LPM_STATE_DONE, NULL, NULL);
    }
    return json_pack("{s:o}", "stats", stats ? stats : json_null());
}

/* ---- after a restart of lpmd ---- */

static void recover_target(LpmMigration *migration)
{
    lpm_migration_set_mover(migration, lpm_mover_find(migration->daemon->config, migration->id,
                                                      LPM_SIDE_TARGET, lpm_migration_on_mover_event,
                                                      migration, NULL));
    if (migration->mover)
        lpm_target_open_door(migration);
    else
        lpm_migration_on_mover_event(NULL, migration);
    lpm_target_let_started_go(migration);
    finish_own_decision(migration);
    if (!lpm_state_is_final(migration->state))
        lpm_feed_begin(migration);
    watch(migration);
}

void lpm_target_recover(LpmMigration *migration)
{
    lpm_migrations_run(migration->daemon->migrations, migration,
                       migration->inactive ? lpm_target_inactive_recover : recover_target);
}
