/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/migration.h"
#include "daemon/retain.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fault-point.h"
#include "daemon/peer-client.h"
#include "daemon/queue.h"

#include <gnutls/crypto.h>
#include <string.h>

#define ASK_TIMEOUT_S 10
#define JOURNAL_PAUSE_US 500000 /* between two attempts at a journal that cannot be written */

static const struct state_text {
    const char *name;  /* in the API and the journal */
    const char *shown; /* to operators: the models' words (R3.10) */
} state_texts[] = {
    [LPM_STATE_VALIDATING] = {"validating", "Migrating - Validating"},
    [LPM_STATE_PREPARING] = {"preparing", "Migrating - Preparing"},
    [LPM_STATE_COPYING] = {"copying", "Migrating - Running"},
    [LPM_STATE_POST_COPY] = {"post-copy", "Migrating - Post-Copy"},
    [LPM_STATE_SUSPENDING] = {"suspending", "Migrating - Suspended"},
    [LPM_STATE_COMMITTING] = {"committing", "Migrating - Suspended"},
    [LPM_STATE_CLEANING] = {"cleaning", "Migrating - Cleaning Up"},
    [LPM_STATE_ROLLING_BACK] = {"rolling-back", "Migrating - Rolling Back"},
    [LPM_STATE_QUEUED] = {"queued", "Queued"},
    [LPM_STATE_IN_DOUBT] = {"in-doubt", "Migrating - In Doubt"},
    [LPM_STATE_DONE] = {"done", "Migrated"},
    [LPM_STATE_FAILED] = {"failed", "Migration Failed"},
    [LPM_STATE_STOPPED] = {"stopped", "Migration Stopped"},
};

const char *lpm_state_name(enum lpm_state state)
{
    return state_texts[state].name;
}

const char *lpm_state_shown(enum lpm_state state)
{
    return state_texts[state].shown;
}

const char *lpm_state_shown_of(enum lpm_state state, gboolean inactive)
{
    if (inactive && (state == LPM_STATE_COPYING || state == LPM_STATE_COMMITTING))
        return "Migrating - Not Activated";
    return lpm_state_shown(state);
}

gboolean lpm_state_from_name(const char *name, enum lpm_state *state)
{
    for (gsize i = 0; i < G_N_ELEMENTS(state_texts); i++) {
        if (strcmp(name, state_texts[i].name) == 0) {
            *state = (enum lpm_state)i;
            return TRUE;
        }
    }
    return FALSE;
}

static const char *const post_copy_names[] = {"never", "auto", "now"};

gboolean lpm_post_copy_from_name(const char *name, enum lpm_post_copy *when)
{
    for (gsize i = 0; name && i < G_N_ELEMENTS(post_copy_names); i++) {
        if (strcmp(name, post_copy_names[i]) == 0) {
            *when = (enum lpm_post_copy)i;
            return TRUE;
        }
    }
    return FALSE;
}

const char *lpm_post_copy_name(enum lpm_post_copy when)
{
    return post_copy_names[when];
}

gboolean lpm_state_is_final(enum lpm_state state)
{
    return state == LPM_STATE_DONE || state == LPM_STATE_FAILED || state == LPM_STATE_STOPPED;
}

LpmMigration *lpm_migration_ref(LpmMigration *migration)
{
    g_atomic_int_inc(&migration->references);
    return migration;
}

void lpm_migration_unref(LpmMigration *migration)
{
    if (!migration || !g_atomic_int_dec_and_test(&migration->references))
        return;
    lpm_mover_free(migration->mover);
    g_ptr_array_unref(migration->retired);
    for (guint i = 0; i < LPM_CHANNEL_COUNT; i++)
        lpm_fd_clear(&migration->program_fd[i]);
    lpm_qemu_process_free(migration->qemu);
    g_clear_error(&migration->call_error);
    g_clear_error(&migration->mover_error);
    g_clear_error(&migration->failure);
    g_clear_pointer(&migration->report, json_decref);
    g_clear_pointer(&migration->findings, json_decref);
    g_clear_pointer(&migration->forecast, json_decref);
    g_free(migration->objection);
    g_clear_pointer(&migration->adapters, json_decref);
    g_clear_pointer(&migration->map, json_decref);
    g_clear_pointer(&migration->node_demands, json_decref);
    g_clear_pointer(&migration->target_stats, json_decref);
    g_clear_pointer(&migration->source_stats, json_decref);
    g_clear_pointer(&migration->manifest, json_decref);
    g_clear_pointer(&migration->marks, json_decref);
    g_clear_pointer(&migration->memory, json_decref);
    lpm_guest_pages_free(migration->guest_pages);
    lpm_timeline_free(migration->timeline);
    g_free(migration->waits_for);
    explicit_bzero(migration->psk, sizeof(migration->psk));
    g_mutex_clear(&migration->lock);
    g_mutex_clear(&migration->act);
    g_cond_clear(&migration->changed);
    g_free(migration->id);
    g_free(migration->partition);
    g_free(migration->uuid);
    g_free(migration->peer);
    g_free(migration);
}

/* 48 random bits: short enough to type, and unique among all that two journals will ever hold. */
static char *make_id(void)
{
    guint8 bytes[6];

    gnutls_rnd(GNUTLS_RND_NONCE, bytes, sizeof(bytes));
    return lpm_hex(bytes, sizeof(bytes));
}

LpmMigration *lpm_migration_new(struct lpm_daemon *daemon, enum lpm_side side, const char *id,
                                const char *partition, const char *uuid, const char *peer)
{
    LpmMigration *migration = g_new0(LpmMigration, 1);

    migration->references = 1;
    for (guint i = 0; i < LPM_CHANNEL_COUNT; i++)
        migration->program_fd[i] = -1;
    migration->daemon = daemon;
    migration->side = side;
    migration->id = id ? g_strdup(id) : make_id();
    migration->partition = g_strdup(partition);
    migration->uuid = g_strdup(uuid);
    migration->peer = g_strdup(peer);
    migration->started_ms = lpm_wall_us() / 1000;
    migration->timeline = lpm_timeline_new();
    migration->retired = g_ptr_array_new_with_free_func((GDestroyNotify)lpm_mover_free);
    g_mutex_init(&migration->lock);
    g_mutex_init(&migration->act);
    g_cond_init(&migration->changed);
    return migration;
}

gboolean lpm_migration_enter(LpmMigration *migration, enum lpm_state state, GError **error)
{
    struct lpm_journal *journal = migration->daemon->journal;

    LPM_FAULT_POINT_BEFORE(lpm_side_name(migration->side), lpm_state_name(state));
    if (!lpm_journal_migration_state(journal, migration->id, lpm_state_name(state), error) ||
        !lpm_journal_phase_begin(journal, migration->id, lpm_state_name(state), lpm_wall_us(),
                                 error))
        return FALSE;
    g_mutex_lock(&migration->lock);
    migration->state = state;
    g_cond_broadcast(&migration->changed);
    g_mutex_unlock(&migration->lock);
    lpm_migration_log(migration, LPM_LOG_INFO, lpm_state_name(state), "%s", lpm_state_shown(state));
    LPM_FAULT_POINT_AFTER(lpm_side_name(migration->side), lpm_state_name(state));
    return TRUE;
}

gboolean lpm_migration_decide(LpmMigration *migration, const char *what, json_t *facts,
                              GError **error)
{
    LPM_FAULT_POINT_BEFORE(lpm_side_name(migration->side), what);
    gboolean ok =
        lpm_journal_decide(migration->daemon->journal, migration->id, what, facts, NULL, error);

    if (facts)
        json_decref(facts);
    if (ok)
        lpm_migration_log(migration, LPM_LOG_INFO, "decided", "%s", what);
    LPM_FAULT_POINT_AFTER(lpm_side_name(migration->side), what);
    return ok;
}

gboolean lpm_migration_decide_for_sure(LpmMigration *migration, const char *what)
{
    while (!lpm_migration_decided(migration, what)) {
        g_autoptr(GError) error = NULL;

        if (lpm_migration_decide(migration, what, NULL, &error))
            return TRUE;
        lpm_migration_log(migration, LPM_LOG_ERROR, "journal", "%s", error->message);
        if (!lpm_migration_pause(migration, JOURNAL_PAUSE_US))
            return FALSE;
    }
    return TRUE;
}

gboolean lpm_migration_fence(LpmMigration *migration, GError **error)
{
    if (!lpm_migration_decide(migration, LPM_DECIDED_FENCED,
                              json_pack("{s:s}", "host", migration->peer), error))
        return FALSE;
    lpm_migration_log(migration, LPM_LOG_WARNING, "fenced",
                      "an operator says that %s is off and stays off", migration->peer);
    return TRUE;
}

gboolean lpm_migration_fenced(LpmMigration *migration)
{
    return lpm_migration_decided(migration, LPM_DECIDED_FENCED);
}

gboolean lpm_migration_pause(LpmMigration *migration, gint64 microseconds)
{
    gint64 until = g_get_monotonic_time() + microseconds;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    if (!lpm_migrations_closing(migration->daemon->migrations))
        g_cond_wait_until(&migration->changed, &migration->lock, until);
    return !lpm_migrations_closing(migration->daemon->migrations);
}

char *lpm_peer_decision(struct lpm_peers *peers, const char *peer, const char *id, gboolean *ended,
                        GError **error)
{
    g_autofree char *path = g_strdup_printf("/v1/peer/migrations/%s", id);
    json_t *answer = lpm_peer_call(peers, peer, "GET", path, NULL, ASK_TIMEOUT_S, NULL, error);
    char *decision = g_strdup(json_string_value(json_object_get(answer, "decision")));
    const char *state_name = json_string_value(json_object_get(answer, "state"));
    enum lpm_state state;

    if (ended)
        *ended = state_name && lpm_state_from_name(state_name, &state) && lpm_state_is_final(state);

    if (answer)
        json_decref(answer);
    return decision;
}

char *lpm_migration_ask_decision(LpmMigration *migration, gboolean *ended, GError **error)
{
    return lpm_peer_decision(migration->daemon->peers, migration->peer, migration->id, ended,
                             error);
}

gboolean lpm_migration_decided(LpmMigration *migration, const char *what)
{
    g_autoptr(GError) error = NULL;
    gboolean decided = lpm_journal_decided(migration->daemon->journal, migration->id, what, &error);

    if (error)
        lpm_migration_log(migration, LPM_LOG_ERROR, "journal", "%s", error->message);
    return decided;
}

gboolean lpm_migration_switched(LpmMigration *migration)
{
    return lpm_migration_decided(migration, LPM_DECIDED_SWITCHED) &&
           !lpm_migration_decided(migration, LPM_DECIDED_ABORTED);
}

static gboolean write_end(LpmMigration *migration, enum lpm_state state, json_t *failure,
                          json_t *report, GError **error)
{
    struct lpm_journal *journal = migration->daemon->journal;
    gint64 now = lpm_wall_us();

    return lpm_journal_phase_end(journal, migration->id, now, error) &&
           lpm_journal_migration_finish(journal, migration->id, lpm_state_name(state), now / 1000,
                                        failure, report, error);
}

void lpm_migration_end(LpmMigration *migration, enum lpm_state state, const GError *failure,
                       json_t *report)
{
    json_t *failure_json = failure ? lpm_error_to_json(failure, NULL) : NULL;
    g_autoptr(GError) error = NULL;

    LPM_FAULT_POINT_BEFORE(lpm_side_name(migration->side), lpm_state_name(state));
    lpm_migration_sample_last(migration);
    while (!write_end(migration, state, failure_json, report, &error)) {
        lpm_migration_log(migration, LPM_LOG_ERROR, "journal", "%s", error->message);
        g_clear_error(&error);
        if (!lpm_migration_pause(migration, JOURNAL_PAUSE_US))
            break; /* the next start finds it unfinished and ends it */
    }
    if (failure_json)
        json_decref(failure_json);
    g_mutex_lock(&migration->lock);
    migration->state = state;
    migration->report = report;
    if (failure && !migration->failure)
        migration->failure = g_error_copy(failure);
    g_cond_broadcast(&migration->changed);
    g_mutex_unlock(&migration->lock);
    if (failure)
        lpm_migration_log(migration, LPM_LOG_WARNING, lpm_state_name(state), "%s: %s",
                          lpm_state_shown(state), failure->message);
    else
        lpm_migration_log(migration, LPM_LOG_INFO, lpm_state_name(state), "%s",
                          lpm_state_shown(state));
    LPM_FAULT_POINT_AFTER(lpm_side_name(migration->side), lpm_state_name(state));
    lpm_retain_end(migration, state, failure);
    lpm_migrations_remove(migration->daemon->migrations, migration);
}

void lpm_migration_log(LpmMigration *migration, enum lpm_log_level level, const char *event,
                       const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    lpm_event_log(migration->daemon, level, migration->id, migration->partition, event, "%s", text);
}

/* What is left and how long it takes; null where nothing can be said. */
static json_t *progress_json(const LpmMigration *migration)
{
    const struct lpm_job *job = &migration->job;
    gboolean copying = migration->state == LPM_STATE_COPYING && job->rate > 0;
    json_t *eta =
        copying ? json_integer((json_int_t)(job->memory_left * 1000 / job->rate)) : json_null();
    json_t *suspend = copying ? json_integer((json_int_t)job->expected_suspend_ms) : json_null();

    return json_pack("{s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "percent", migration->percent,
                     "bytes_total", (json_int_t)job->memory_total, "bytes_done",
                     (json_int_t)job->memory_done, "bytes_left", (json_int_t)job->memory_left,
                     "rate", (json_int_t)job->rate, "dirty_rate", (json_int_t)job->dirty_rate,
                     "iteration", (json_int_t)job->iteration, "eta_ms", eta, "suspend_estimate_ms",
                     suspend);
}

static json_t *phases_json(struct lpm_daemon *daemon, const char *id)
{
    json_t *phases = lpm_journal_phases(daemon->journal, id, NULL);

    return phases ? phases : json_array();
}

/* A new reference. */
static json_t *array_or_none(json_t *array)
{
    return json_is_array(array) ? json_incref(array) : json_array();
}

json_t *lpm_migration_to_json(LpmMigration *migration)
{
    json_t *phases = phases_json(migration->daemon, migration->id);
    json_t *queue = lpm_queue_describe(migration);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
    json_t *failure =
        migration->failure ? lpm_error_to_json(migration->failure, NULL) : json_null();

    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:O, s:o, s:o, s:o}", "id",
        migration->id, "partition", migration->partition, "uuid", migration->uuid, "role",
        lpm_side_name(migration->side), "peer", migration->peer, "state",
        lpm_state_name(migration->state), "shown",
        lpm_state_shown_of(migration->state, migration->inactive), "started_ms",
        (json_int_t)migration->started_ms, "ended_ms", json_null(), "phases", phases, "progress",
        progress_json(migration), "error", failure, "report",
        migration->report ? migration->report : json_null(), "findings",
        array_or_none(migration->findings), "adapters", array_or_none(migration->adapters), "queue",
        queue);
}

json_t *lpm_migration_row_to_json(struct lpm_daemon *daemon, const LpmMigrationRow *row)
{
    enum lpm_state state = LPM_STATE_FAILED;
    LpmMigration none = {0};

    lpm_state_from_name(row->state, &state);
    none.state = state;
    none.percent = state == LPM_STATE_DONE ? 100.0 : 0.0;
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:O, s:O, s:o, s:o, s:n}", "id",
        row->id, "partition", row->partition, "uuid", row->uuid, "role", row->role, "peer",
        row->peer, "state", row->state, "shown", lpm_state_shown(state), "started_ms",
        (json_int_t)row->started_ms, "ended_ms",
        row->ended_ms ? json_integer((json_int_t)row->ended_ms) : json_null(), "phases",
        phases_json(daemon, row->id), "progress", progress_json(&none), "error",
        row->error ? row->error : json_null(), "report", row->report ? row->report : json_null(),
        "findings", array_or_none(json_object_get(row->doc, "findings")), "adapters",
        array_or_none(json_object_get(row->doc, "adapters")), "queue");
}
