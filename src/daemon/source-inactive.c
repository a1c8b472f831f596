/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The source of a partition that is powered off. The steps S1 to S8 are named in inactive.h. */
#include "base/clock.h"
#include "base/error.h"
#include "base/fault-point.h"
#include "daemon/bundle.h"
#include "daemon/inactive.h"
#include "daemon/peer-client.h"
#include "daemon/queue.h"
#include "daemon/report.h"
#include "daemon/source-internal.h"
#include "host/mapping.h"

#include <string.h>

#define PAUSE_US 500000 /* between two attempts at the same */
#define SAY_EVERY 20    /* of them, one is logged */
#define TELL_ABORT_TRIES 10

/* ---- small things ---- */

static const LpmConfig *config_of(const LpmMigration *migration)
{
    return migration->daemon->config;
}

static char *folder_of(const LpmMigration *migration)
{
    return lpm_bundle_folder(config_of(migration), migration->id);
}

static gboolean is_silence(const GError *error)
{
    return g_error_matches(error, LPM_ERROR, LPM_E_PEER_UNREACHABLE) ||
           g_error_matches(error, LPM_ERROR, LPM_E_PEER_REFUSED) ||
           g_error_matches(error, LPM_ERROR, LPM_E_PEER_ANSWER);
}

/* Has somebody ended it: an operator, or the oath that the target is off? */
static gboolean told_to_stop(LpmMigration *migration, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    if (migration->stop_requested)
        lpm_fail(error, LPM_E_STOPPED, "stopped by an operator");
    else if (migration->mover_error)
        g_propagate_error(error, g_error_copy(migration->mover_error));
    else
        return FALSE;
    return TRUE;
}

static gboolean closing(LpmMigration *migration)
{
    return lpm_migrations_closing(migration->daemon->migrations);
}

/* Says a word with a body; while the target is silent it is repeated, for at most `limit_us`. */
static json_t *say(LpmMigration *migration, const char *path, json_t *body, gint64 limit_us,
                   GError **error)
{
    gint64 until = lpm_monotonic_us() + limit_us;

    for (;;) {
        g_autoptr(GError) reason = NULL;
        json_t *answer = lpm_peer_call(migration->daemon->peers, migration->peer, "POST", path,
                                       body, LPM_SOURCE_CALL_TIMEOUT_S, NULL, &reason);

        if (answer || told_to_stop(migration, error))
            return answer;
        if (!is_silence(reason) || lpm_monotonic_us() > until ||
            !lpm_migration_pause(migration, PAUSE_US)) {
            g_propagate_error(error, g_steal_pointer(&reason));
            return NULL;
        }
    }
}

/* ---- up to a complete copy ---- */

static gboolean validate(LpmMigration *migration, GError **error)
{
    if (migration->persist == LPM_PERSIST_NO)
        return lpm_fail(error, LPM_E_BAD_REQUEST,
                        "partition '%s' is powered off: its definition is all that there is to "
                        "move",
                        migration->partition);
    migration->clock_error_us = -1; /* nothing is suspended, so the report needs no clock */
    return lpm_source_prove(migration, error);
}

static gboolean write_doc(LpmMigration *migration, GError **error)
{
    json_t *doc = lpm_source_parameters(migration);
    gboolean ok = lpm_journal_migration_doc(migration->daemon->journal, migration->id, doc, error);

    json_decref(doc);
    return ok;
}

/* Everything goes into the bundle; from here on only what is in it counts. */
static gboolean fill_bundle(LpmMigration *migration, LpmDefinition *definition, GError **error)
{
    g_autofree char *folder = folder_of(migration);

    if (definition->saved)
        return lpm_fail(error, LPM_E_SAVED_STATE, "partition '%s' has a managed save image",
                        migration->partition);
    migration->autostart = definition->autostart;
    json_t *manifest = lpm_bundle_fill(config_of(migration), definition, folder, error);
    if (!manifest)
        return FALSE;
    g_mutex_lock(&migration->lock);
    migration->manifest = manifest;
    migration->marks = lpm_bundle_marks(config_of(migration), definition, manifest);
    migration->job.memory_total = lpm_bundle_bytes(manifest);
    g_mutex_unlock(&migration->lock);
    return write_doc(migration, error);
}

static gboolean prepare(LpmMigration *migration, GError **error)
{
    g_autoptr(LpmDefinition) definition = NULL;

    if (!lpm_migration_enter(migration, LPM_STATE_PREPARING, error))
        return FALSE;
    definition = lpm_host_definition(migration->daemon->host, migration->uuid, error);
    if (!definition || !fill_bundle(migration, definition, error))
        return FALSE;
    /* The host must not start it at boot while that is open: given back when it stays. */
    if (migration->autostart &&
        !lpm_host_set_autostart(migration->daemon->host, migration->uuid, FALSE, error))
        return FALSE;
    /* With the target's names; the bundle here keeps it as it was, for the way back. */
    g_autofree char *mapped = lpm_map_description(definition->xml, migration->adapters, error);
    if (!mapped)
        return FALSE;
    json_t *body =
        json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:i, s:O}", "id", migration->id, "partition",
                  migration->partition, "uuid", migration->uuid, "definition", mapped, "autostart",
                  migration->autostart, "memory_bytes", (json_int_t)migration->memory_bytes,
                  "vcpus", (int)migration->vcpus, "files", migration->manifest);
    if (!body)
        return lpm_fail(error, LPM_E_DEFINITION_FILES, "the definition of '%s' is not UTF-8",
                        migration->partition);
    json_t *answer = say(migration, "/v1/peer/definitions", body, 0, error);
    json_decref(body);
    json_decref(answer);
    return answer != NULL;
}

static void note_progress(LpmMigration *migration, gsize more)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    migration->job.memory_done += more;
    migration->job.memory_left = migration->job.memory_total - migration->job.memory_done;
    if (migration->job.memory_total)
        migration->percent =
            100.0 * (double)migration->job.memory_done / (double)migration->job.memory_total;
}

static gboolean send_chunk(LpmMigration *migration, guint number, guint64 offset, GBytes *bytes,
                           GError **error)
{
    gint64 limit = (gint64)config_of(migration)->link_timeout_s * G_USEC_PER_SEC;
    g_autofree char *path = g_strdup_printf("/v1/peer/migrations/%s/file", migration->id);
    g_autofree char *text = g_base64_encode(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
    json_t *body = json_pack("{s:i, s:I, s:s}", "file", (int)number, "offset", (json_int_t)offset,
                             "data", text);
    json_t *answer = say(migration, path, body, limit, error);

    json_decref(body);
    explicit_bzero(text, strlen(text)); /* a TPM's state holds keys */
    json_decref(answer);
    return answer != NULL;
}

static gboolean send_file(LpmMigration *migration, guint number, GError **error)
{
    g_autofree char *folder = folder_of(migration);
    guint64 size = (guint64)json_integer_value(
        json_object_get(json_array_get(migration->manifest, number), "size"));

    for (guint64 offset = 0; offset < size;) {
        g_autoptr(GBytes) bytes = lpm_bundle_read(folder, number, offset, error);

        if (!bytes || told_to_stop(migration, error) ||
            !send_chunk(migration, number, offset, bytes, error))
            return FALSE;
        gsize length = g_bytes_get_size(bytes);
        if (!length)
            return lpm_fail(error, LPM_E_INTERNAL, "%s/%u became shorter", folder, number);
        offset += length;
        note_progress(migration, length);
    }
    return TRUE;
}

static gboolean copy(LpmMigration *migration, GError **error)
{
    if (!lpm_migration_enter(migration, LPM_STATE_COPYING, error))
        return FALSE;
    for (guint i = 0; i < json_array_size(migration->manifest); i++) {
        if (!send_file(migration, i, error))
            return FALSE;
    }
    return !told_to_stop(migration, error);
}

/* ---- the hand-over ---- */

static gboolean changed(LpmMigration *migration, const char *what, GError **error)
{
    return lpm_fail(error, LPM_E_PARTITION_STARTED, "partition '%s' %s on %s meanwhile",
                    migration->partition, what, config_of(migration)->name);
}

static gboolean same_files(LpmMigration *migration, const LpmDefinition *definition, GError **error)
{
    json_t *now = lpm_bundle_fill(config_of(migration), definition, NULL, NULL);
    gboolean same = now && json_equal(now, migration->manifest);

    json_decref(now);
    return same || changed(migration, "has got other firmware variables or TPM state", error);
}

/* Powered off, and still what is in the bundle. PARTITION_STARTED if not. */
static gboolean unchanged(LpmMigration *migration, GError **error)
{
    g_autofree char *folder = folder_of(migration);
    g_autoptr(LpmDefinition) sent = lpm_bundle_definition(folder, error);
    enum lpm_partition_state state;

    if (!sent || !lpm_host_state(migration->daemon->host, migration->uuid, &state, error))
        return FALSE;
    if (state != LPM_PARTITION_DEFINED)
        return changed(migration, state == LPM_PARTITION_ABSENT ? "was undefined" : "was started",
                       error);
    g_autoptr(LpmDefinition) now =
        lpm_host_definition(migration->daemon->host, migration->uuid, error);
    if (!now)
        return FALSE;
    if (strcmp(now->xml, sent->xml) != 0 || now->saved)
        return changed(migration, "was changed", error);
    return same_files(migration, now, error);
}

/* S3 */
static gboolean look_again(LpmMigration *migration, GError **error)
{
    if (!unchanged(migration, error) || told_to_stop(migration, error))
        return FALSE;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
    if (migration->stop_requested)
        return lpm_fail(error, LPM_E_STOPPED, "stopped by an operator");
    migration->decided = TRUE; /* from here `stop` is refused; the journal follows at once */
    return TRUE;
}

static void take_decision_back(LpmMigration *migration)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    migration->decided = FALSE;
}

/* libvirt's word that it knows no such partition, and no QEMU of it: a start that was under way
 * when it was undefined has one. */
static gboolean is_gone(LpmMigration *migration, enum lpm_partition_state state)
{
    g_autoptr(LpmQemuProcess) process = lpm_qemu_process_open(
        config_of(migration)->qemu_run_dir, migration->partition, migration->uuid, NULL);

    return state == LPM_PARTITION_ABSENT && !process;
}

/* S5 once. FALSE: not known yet, or with PARTITION_STARTED, it is to be kept here. */
static gboolean give_up_once(LpmMigration *migration, GError **error)
{
    struct lpm_host *host = migration->daemon->host;
    enum lpm_partition_state state;

    if (!lpm_host_state(host, migration->uuid, &state, error))
        return FALSE;
    if (state == LPM_PARTITION_ABSENT) { /* undefined before a restart of lpmd */
        g_autofree char *folder = folder_of(migration);
        g_autoptr(LpmDefinition) sent = lpm_bundle_definition(folder, error);
        if (!sent || !same_files(migration, sent, error))
            return FALSE;
    } else {
        if (!unchanged(migration, error) || !lpm_host_undefine(host, migration->uuid, error))
            return FALSE;
        LPM_FAULT_POINT("source", "undefined");
        if (!lpm_host_state(host, migration->uuid, &state, error))
            return FALSE;
    }
    return is_gone(migration, state) || changed(migration, "was started", error);
}

enum given_up { GONE, KEPT, CLOSING };

/* S5: until it is known which. */
static enum given_up give_definition_up(LpmMigration *migration, GError **error)
{
    for (guint tries = 0;; tries++) {
        g_autoptr(GError) reason = NULL;

        if (give_up_once(migration, &reason))
            return GONE;
        if (g_error_matches(reason, LPM_ERROR, LPM_E_PARTITION_STARTED)) {
            g_propagate_error(error, g_steal_pointer(&reason));
            return KEPT;
        }
        if (tries % SAY_EVERY == 0)
            lpm_migration_log(migration, LPM_LOG_ERROR, "undefining", "%s", reason->message);
        if (!lpm_migration_pause(migration, PAUSE_US))
            return CLOSING;
    }
}

/* What became of a commit that was not answered with success: the target's journal tells. */
static enum lpm_told read_decision(LpmMigration *migration)
{
    g_autofree char *decision = lpm_migration_ask_decision(migration, NULL, NULL);

    if (g_strcmp0(decision, LPM_DECIDED_RUNNING) == 0)
        return LPM_TOLD_RUNS;
    if (g_strcmp0(decision, LPM_DECIDED_ENDED) == 0 ||
        g_strcmp0(decision, LPM_DECIDED_ABORTED) == 0) /* by an oath: it never will */
        return LPM_TOLD_ENDED;
    return LPM_TOLD_NOTHING;
}

/* S7 */
static enum lpm_told tell_commit(LpmMigration *migration, GError **refusal)
{
    LPM_FAULT_POINT("source", "telling-commit");
    for (guint tries = 0;; tries++) {
        g_autoptr(GError) error = NULL;
        json_t *answer = lpm_handover_say(migration, "commit", NULL, &error);

        json_decref(answer);
        if (answer)
            return LPM_TOLD_RUNS;
        enum lpm_told told = is_silence(error) ? LPM_TOLD_NOTHING : read_decision(migration);
        if (told == LPM_TOLD_NOTHING && lpm_migration_fenced(migration))
            told = LPM_TOLD_ENDED;
        if (told == LPM_TOLD_ENDED)
            g_propagate_error(refusal, g_steal_pointer(&error));
        if (told != LPM_TOLD_NOTHING)
            return told;
        if (tries == 0)
            lpm_migration_enter(migration, LPM_STATE_IN_DOUBT, NULL);
        if (tries % SAY_EVERY == 0)
            lpm_migration_log(migration, LPM_LOG_ERROR, "in-doubt",
                              "the target does not say that it has the definition: %s",
                              error->message);
        if (!lpm_migration_pause(migration, PAUSE_US))
            return LPM_TOLD_NOTHING;
    }
}

/* S5 to S8. With KEPT and ENDED *error tells why. */
static enum lpm_outcome forward(LpmMigration *migration, GError **error)
{
    enum given_up given = give_definition_up(migration, error);

    if (given != GONE)
        return given == KEPT ? LPM_OUTCOME_KEPT : LPM_OUTCOME_CLOSING;
    if (!lpm_migration_decide_for_sure(migration, LPM_DECIDED_COMMITTED))
        return LPM_OUTCOME_CLOSING;
    migration->committed_us = lpm_wall_us();
    enum lpm_told told = tell_commit(migration, error);
    LPM_FAULT_POINT("source", "told-commit");
    if (told == LPM_TOLD_NOTHING ||
        !lpm_migration_decide_for_sure(migration, told == LPM_TOLD_RUNS ? LPM_DECIDED_RUNNING
                                                                        : LPM_DECIDED_ENDED))
        return LPM_OUTCOME_CLOSING;
    return told == LPM_TOLD_RUNS ? LPM_OUTCOME_HANDED_OVER : LPM_OUTCOME_ENDED;
}

/* S1 to S4 */
static gboolean decide(LpmMigration *migration, GError **error)
{
    g_autofree char *path = g_strdup_printf("/v1/peer/migrations/%s/prepared", migration->id);

    if (!lpm_migration_enter(migration, LPM_STATE_COMMITTING, error))
        return FALSE;
    json_t *answer = say(migration, path, NULL, G_MAXINT64 / 2, error);
    json_decref(answer);
    LPM_FAULT_POINT("source", "asked-prepared");
    if (!answer || !look_again(migration, error))
        return FALSE;
    return lpm_migration_decide(migration, LPM_DECIDED_ENDING,
                                json_pack("{s:s}", "target", migration->peer), error);
}

/* ---- the ends ---- */

/* Done for as long as it takes. FALSE: lpmd stops. */
static gboolean insist(LpmMigration *migration, gboolean (*step)(LpmMigration *, GError **))
{
    for (guint tries = 0;; tries++) {
        g_autoptr(GError) error = NULL;

        if (step(migration, &error))
            return TRUE;
        if (tries % SAY_EVERY == 0)
            lpm_migration_log(migration, LPM_LOG_ERROR, "restoring", "%s", error->message);
        if (!lpm_migration_pause(migration, PAUSE_US))
            return FALSE;
    }
}

/* Puts back what `ending` has taken away: on shared storage also files that the target removed when
 * it gave up. */
static gboolean restore(LpmMigration *migration, GError **error)
{
    g_autofree char *folder = folder_of(migration);
    struct lpm_host *host = migration->daemon->host;
    g_autoptr(GError) reason = NULL;
    g_autoptr(LpmDefinition) here = lpm_host_definition(host, migration->uuid, &reason);
    enum lpm_partition_state state;

    if (here)
        return TRUE;
    if (!g_error_matches(reason, LPM_ERROR, LPM_E_PARTITION_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&reason));
        return FALSE;
    }
    g_autoptr(LpmDefinition) definition = lpm_bundle_definition(folder, error);
    if (!definition || !lpm_host_state(host, migration->uuid, &state, error))
        return FALSE;
    if (state == LPM_PARTITION_ABSENT && !same_files(migration, definition, NULL) &&
        !lpm_bundle_place(config_of(migration), definition, migration->manifest, folder, error))
        return FALSE;
    /* Running as a transient partition it becomes a persistent one again. */
    return lpm_host_define(host, definition->xml, error);
}

static gboolean give_autostart_back(LpmMigration *migration, GError **error)
{
    enum lpm_partition_state state;

    if (!migration->autostart)
        return TRUE;
    if (!lpm_host_state(migration->daemon->host, migration->uuid, &state, error))
        return FALSE;
    return state == LPM_PARTITION_ABSENT ||
           lpm_host_set_autostart(migration->daemon->host, migration->uuid, TRUE, error);
}

static void drop_bundle(LpmMigration *migration)
{
    g_autofree char *folder = folder_of(migration);

    lpm_bundle_remove(folder);
}

/* A target that does not hear it asks. */
static void tell_abort(LpmMigration *migration, const char *cause)
{
    g_autofree char *path = g_strdup_printf("/v1/peer/migrations/%s/abort", migration->id);
    json_t *body = json_pack("{s:s}", "cause", cause);

    LPM_FAULT_POINT("source", "telling-abort");
    for (int i = 0; i < TELL_ABORT_TRIES && !lpm_migration_fenced(migration); i++) {
        g_autoptr(GError) error = NULL;
        json_t *answer = lpm_peer_call(migration->daemon->peers, migration->peer, "POST", path,
                                       body, LPM_SOURCE_CALL_TIMEOUT_S, NULL, &error);

        json_decref(answer);
        if (answer || !is_silence(error) || !lpm_migration_pause(migration, PAUSE_US))
            break;
        lpm_migration_log(migration, LPM_LOG_WARNING, "abort",
                          "the target cannot be told (it will ask): %s", error->message);
    }
    json_decref(body);
}

static void roll_back(LpmMigration *migration, const GError *failure)
{
    gboolean began = migration->state != LPM_STATE_VALIDATING;
    gboolean stopped = g_error_matches(failure, LPM_ERROR, LPM_E_STOPPED);

    take_decision_back(migration);
    lpm_migration_enter(migration, LPM_STATE_ROLLING_BACK, NULL);
    if (lpm_migration_decided(migration, LPM_DECIDED_ENDING) && !insist(migration, restore))
        return;
    if (!lpm_migration_decide_for_sure(migration, LPM_DECIDED_ABORTED))
        return;
    if (began) {
        if (!insist(migration, give_autostart_back))
            return;
        tell_abort(migration, failure->message);
        drop_bundle(migration);
    }
    lpm_migration_end(migration, stopped ? LPM_STATE_STOPPED : LPM_STATE_FAILED, failure, NULL);
}

/* The target gave it up for good. */
static void take_back(LpmMigration *migration, const GError *refusal)
{
    g_autoptr(GError) failure = NULL;

    if (refusal)
        failure = g_error_copy(refusal);
    else
        lpm_fail(&failure, LPM_E_DEFINITION_REFUSED, "%s could not take the definition of '%s'",
                 migration->peer, migration->partition);
    lpm_migration_enter(migration, LPM_STATE_ROLLING_BACK, NULL);
    if (!insist(migration, restore) || !insist(migration, give_autostart_back))
        return;
    drop_bundle(migration);
    lpm_migration_end(migration, LPM_STATE_FAILED, failure, NULL);
}

/* The target has it: what is left of it here goes, and only if it is still what was read. */
static void clean(LpmMigration *migration)
{
    g_autofree char *folder = folder_of(migration);
    g_autoptr(LpmDefinition) definition = lpm_bundle_definition(folder, NULL);
    g_autoptr(GError) error = NULL;

    lpm_migration_enter(migration, LPM_STATE_CLEANING, NULL);
    if (definition)
        lpm_bundle_unplace(config_of(migration), definition, migration->manifest, migration->marks);
    lpm_bundle_remove(folder);
    json_t *answer = lpm_handover_say(migration, "finish", NULL, &error);
    if (!answer)
        lpm_migration_log(migration, LPM_LOG_WARNING, "finish", "%s", error->message);
    json_decref(answer);
    json_t *report = lpm_report(migration);
    json_object_del(report, "stream_hash"); /* there was no stream; each file had its digest */
    json_object_set(report, "files", migration->manifest);
    lpm_migration_end(migration, LPM_STATE_DONE, NULL, report);
}

static void finish(LpmMigration *migration, enum lpm_outcome outcome, const GError *failure)
{
    switch (outcome) {
    case LPM_OUTCOME_HANDED_OVER:
        clean(migration);
        break;
    case LPM_OUTCOME_KEPT:
        roll_back(migration, failure);
        break;
    case LPM_OUTCOME_ENDED:
        take_back(migration, failure);
        break;
    case LPM_OUTCOME_CLOSING:
        break;
    }
}

void lpm_source_run_inactive(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;
    gboolean ready = validate(migration, &error) && prepare(migration, &error) &&
                     copy(migration, &error) && decide(migration, &error);
    enum lpm_outcome outcome = LPM_OUTCOME_KEPT;

    if (!ready && closing(migration) && !g_error_matches(error, LPM_ERROR, LPM_E_STOPPED))
        return; /* the next lpmd undoes it */
    if (!ready && lpm_queue_again(migration, error))
        return;
    if (ready)
        outcome = forward(migration, &error);
    finish(migration, outcome, error);
}

/* Somebody has sworn on the target that this host is off, and the target has taken it: this host
 * has no say any more. */
static gboolean lost_by_oath(LpmMigration *migration)
{
    return migration->state != LPM_STATE_VALIDATING && read_decision(migration) == LPM_TOLD_RUNS;
}

void lpm_source_recover_inactive(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;
    gboolean aborted = lpm_migration_decided(migration, LPM_DECIDED_ABORTED);
    gboolean ending = lpm_migration_decided(migration, LPM_DECIDED_ENDING);

    migration->clock_error_us = -1;
    if (!aborted && !ending && lost_by_oath(migration))
        ending = lpm_migration_decide_for_sure(migration, LPM_DECIDED_ENDING);
    if (lpm_migration_decided(migration, LPM_DECIDED_RUNNING)) {
        clean(migration);
    } else if (lpm_migration_decided(migration, LPM_DECIDED_ENDED)) {
        take_back(migration, NULL);
    } else if (ending && !aborted) {
        migration->decided = TRUE;
        enum lpm_outcome outcome = forward(migration, &error);
        finish(migration, outcome, error);
    } else {
        lpm_fail(&error, LPM_E_STOPPED, "lpmd was restarted before anything was decided");
        roll_back(migration, error);
    }
}
