/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The target of a partition that is powered off. The steps T1 to T4 are named in inactive.h. */
#include "base/clock.h"
#include "base/error.h"
#include "base/fault-point.h"
#include "base/fdio.h"
#include "daemon/bundle.h"
#include "daemon/inactive.h"

#include <string.h>

#define WATCH_PAUSE_US (2 * G_USEC_PER_SEC) /* between looks */
#define HEARD_US (5 * G_USEC_PER_SEC)       /* a source that spoke so lately is not asked */

static const LpmConfig *config_of(const LpmMigration *migration)
{
    return migration->daemon->config;
}

static char *folder_of(const LpmMigration *migration)
{
    return lpm_bundle_folder(config_of(migration), migration->id);
}

static void drop_bundle(LpmMigration *migration)
{
    g_autofree char *folder = folder_of(migration);

    lpm_bundle_remove(folder);
}

static void note_heard(LpmMigration *migration)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    migration->heard_us = lpm_monotonic_us();
}

/* NAME_IN_USE, or why it is not known. */
static gboolean is_free(struct lpm_daemon *daemon, const char *name, const char *uuid,
                        GError **error)
{
    gboolean used = FALSE;

    if (!lpm_host_name_used(daemon->host, name, uuid, &used, error))
        return FALSE;
    return !used || lpm_fail(error, LPM_E_NAME_IN_USE,
                             "%s has a partition named '%s' or with UUID %s already",
                             daemon->config->name, name, uuid);
}

/* ---- prepare ---- */

static const char *text_of(const json_t *body, const char *name)
{
    return json_string_value(json_object_get(body, name));
}

/* The id becomes part of a path; name and UUID must be those that the definition itself has, since
 * by these all looks at libvirt go. */
static LpmDefinition *check_body(const json_t *body, GError **error)
{
    guint8 id[6];
    gboolean ok = lpm_unhex(text_of(body, "id"), id, sizeof(id)) &&
                  g_uuid_string_is_valid(text_of(body, "uuid"));
    g_autoptr(LpmDefinition) definition =
        ok ? lpm_definition_parse(text_of(body, "definition"), error) : NULL;

    if (ok && !definition)
        return NULL;
    if (!ok || strcmp(definition->name, text_of(body, "partition")) != 0 ||
        g_ascii_strcasecmp(definition->uuid, text_of(body, "uuid")) != 0) {
        lpm_fail(error, LPM_E_BAD_REQUEST,
                 "id, name or UUID is not of the form that lpmd sends, or not the definition's");
        return NULL;
    }
    return g_steal_pointer(&definition);
}

static gboolean insert_row(LpmMigration *migration, GError **error)
{
    json_t *doc = json_pack("{s:b, s:b, s:b, s:I, s:i, s:O}", "inactive", TRUE, "persistent", TRUE,
                            "autostart", migration->autostart, "memory_bytes",
                            (json_int_t)migration->memory_bytes, "vcpus", (int)migration->vcpus,
                            "manifest", migration->manifest);
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

static void watch(LpmMigration *migration);

static gboolean set_up(LpmMigration *migration, const LpmDefinition *definition, GError **error)
{
    g_autofree char *folder = folder_of(migration);

    return lpm_migration_enter(migration, LPM_STATE_PREPARING, error) &&
           lpm_bundle_begin(config_of(migration), definition, migration->manifest, folder, error) &&
           lpm_migration_enter(migration, LPM_STATE_COPYING, error);
}

static LpmMigration *make(struct lpm_daemon *daemon, const char *peer, const json_t *body)
{
    LpmMigration *migration =
        lpm_migration_new(daemon, LPM_SIDE_TARGET, text_of(body, "id"), text_of(body, "partition"),
                          text_of(body, "uuid"), peer);

    migration->inactive = migration->persistent = TRUE;
    migration->autostart = json_is_true(json_object_get(body, "autostart"));
    migration->memory_bytes = (guint64)json_integer_value(json_object_get(body, "memory_bytes"));
    migration->vcpus = (guint)json_integer_value(json_object_get(body, "vcpus"));
    migration->manifest = json_deep_copy(json_object_get(body, "files"));
    migration->heard_us = lpm_monotonic_us();
    return migration;
}

json_t *lpm_target_inactive_prepare(struct lpm_daemon *daemon, const char *peer, const json_t *body,
                                    GError **error)
{
    g_autoptr(LpmDefinition) definition = check_body(body, error);

    if (!definition)
        return NULL;
    g_autoptr(LpmMigration) known = lpm_migrations_get(daemon->migrations, text_of(body, "id"));
    if (known) /* said twice */
        return json_pack("{s:s}", "id", known->id);
    if (!is_free(daemon, definition->name, definition->uuid, error))
        return NULL;
    g_autoptr(LpmMigration) migration = make(daemon, peer, body);
    if (!lpm_migrations_add(daemon->migrations, migration, error))
        return NULL;
    if (!insert_row(migration, error)) {
        lpm_migrations_remove(daemon->migrations, migration);
        return NULL;
    }
    g_autoptr(GError) failure = NULL;
    if (!set_up(migration, definition, &failure)) {
        drop_bundle(migration);
        lpm_migration_end(migration, LPM_STATE_FAILED, failure, NULL);
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    lpm_migrations_run(daemon->migrations, migration, watch);
    return json_pack("{s:s}", "id", migration->id);
}

/* ---- the other words ---- */

/* With `act` held: nothing may be written or prepared any more once something else is decided. */
static gboolean is_open(LpmMigration *migration, GError **error)
{
    if (lpm_migration_fenced(migration))
        return lpm_fail(error, LPM_E_NOT_PREPARED, "%s is fenced", migration->peer);
    if (lpm_state_is_final(migration->state) ||
        lpm_migration_decided(migration, LPM_DECIDED_ABORTED) ||
        lpm_migration_decided(migration, LPM_DECIDED_ENDED))
        return lpm_fail(error, LPM_E_NOT_PREPARED, "migration %s was given up on %s", migration->id,
                        config_of(migration)->name);
    return TRUE;
}

json_t *lpm_target_inactive_write(LpmMigration *migration, const json_t *body, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);
    json_int_t number = json_integer_value(json_object_get(body, "file"));
    json_int_t offset = json_integer_value(json_object_get(body, "offset"));
    g_autofree char *folder = folder_of(migration);
    gsize length = 0;

    note_heard(migration);
    if (!is_open(migration, error))
        return NULL;
    if (number < 0 || number >= LPM_BUNDLE_FILES_MAX || offset < 0 ||
        lpm_migration_decided(migration, LPM_DECIDED_PREPARED)) {
        lpm_fail(error, LPM_E_BAD_REQUEST, "no file to write to");
        return NULL;
    }
    g_autofree guint8 *data = g_base64_decode(text_of(body, "data"), &length);
    gboolean ok = lpm_bundle_write(folder, migration->manifest, (guint)number, (guint64)offset,
                                   data, length, error);
    explicit_bzero(data, length);
    if (!ok)
        return NULL;
    g_mutex_lock(&migration->lock);
    migration->job.memory_total = lpm_bundle_bytes(migration->manifest);
    migration->job.memory_done += length;
    g_mutex_unlock(&migration->lock);
    return json_object();
}

/* T1 and T2 */
json_t *lpm_target_inactive_prepared(LpmMigration *migration, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);
    g_autofree char *folder = folder_of(migration);

    note_heard(migration);
    LPM_FAULT_POINT("target", "prepared-asked");
    if (!is_open(migration, error))
        return NULL;
    if (!lpm_migration_decided(migration, LPM_DECIDED_PREPARED)) {
        if (!lpm_bundle_check(folder, migration->manifest, error) ||
            !is_free(migration->daemon, migration->partition, migration->uuid, error) ||
            !lpm_migration_decide(migration, LPM_DECIDED_PREPARED, NULL, error) ||
            !lpm_migration_enter(migration, LPM_STATE_COMMITTING, error))
            return NULL;
    }
    return json_pack("{s:b, s:b, s:n}", "prepared", TRUE, "switched", FALSE, "stream_hash");
}

/* With `act` held: this host never defines it. Whatever was placed goes first; the source puts its
 * own back after it has heard. FALSE: not written, and to be repeated. */
static gboolean end_without(LpmMigration *migration, const GError *failure, GError **error)
{
    g_autofree char *folder = folder_of(migration);
    g_autoptr(LpmDefinition) definition = lpm_bundle_definition(folder, NULL);

    if (!lpm_migration_decided(migration, LPM_DECIDED_ENDED)) {
        if (definition)
            lpm_bundle_unplace(config_of(migration), definition, migration->manifest, NULL);
        if (!lpm_migration_decide(migration, LPM_DECIDED_ENDED,
                                  json_pack("{s:s}", "cause", failure->message), error))
            return FALSE;
    }
    lpm_bundle_remove(folder);
    lpm_migration_end(migration, LPM_STATE_FAILED, failure, NULL);
    return TRUE;
}

static void take_autostart(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;

    if (migration->autostart &&
        !lpm_host_set_autostart(migration->daemon->host, migration->uuid, TRUE, &error))
        lpm_migration_log(migration, LPM_LOG_WARNING, "autostart", "%s", error->message);
}

/* T4 but for its decision. What is defined already was placed before, and may have run since. */
static gboolean install(LpmMigration *migration, GError **error)
{
    g_autofree char *folder = folder_of(migration);
    enum lpm_partition_state state;

    if (!lpm_host_state(migration->daemon->host, migration->uuid, &state, error))
        return FALSE;
    if (state == LPM_PARTITION_ABSENT) {
        g_autoptr(LpmDefinition) definition = lpm_bundle_definition(folder, error);
        if (!definition ||
            !lpm_bundle_place(config_of(migration), definition, migration->manifest, folder, error))
            return FALSE;
        LPM_FAULT_POINT("target", "placed");
        if (!lpm_host_define(migration->daemon->host, definition->xml, error))
            return FALSE;
        LPM_FAULT_POINT("target", "defined");
    }
    take_autostart(migration);
    return TRUE;
}

/* Reasons that do not pass by waiting. */
static gboolean is_refusal(const GError *error)
{
    return g_error_matches(error, LPM_ERROR, LPM_E_NAME_IN_USE) ||
           g_error_matches(error, LPM_ERROR, LPM_E_DEFINITION_REFUSED) ||
           g_error_matches(error, LPM_ERROR, LPM_E_DEFINITION_FILES);
}

/* With `act` held. T3 and T4; each that is done already is skipped. */
static gboolean commit(LpmMigration *migration, GError **error)
{
    g_autoptr(GError) reason = NULL;

    if (!lpm_migration_decided(migration, LPM_DECIDED_PREPARED))
        return lpm_fail(error, LPM_E_NOT_PREPARED, "partition '%s' is not complete on %s",
                        migration->partition, config_of(migration)->name);
    gboolean ok = lpm_migration_decided(migration, LPM_DECIDED_COMMITTED) ||
                  (is_free(migration->daemon, migration->partition, migration->uuid, &reason) &&
                   lpm_migration_decide(migration, LPM_DECIDED_COMMITTED, NULL, &reason));
    ok = ok && install(migration, &reason);
    if (!ok && is_refusal(reason) && !end_without(migration, reason, error))
        return FALSE;
    if (!ok) {
        g_propagate_error(error, g_steal_pointer(&reason));
        return FALSE;
    }
    return lpm_migration_decide(migration, LPM_DECIDED_RUNNING, NULL, error);
}

json_t *lpm_target_inactive_commit(LpmMigration *migration, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);

    note_heard(migration);
    LPM_FAULT_POINT("target", "commit-asked");
    if (!lpm_migration_decided(migration, LPM_DECIDED_RUNNING)) {
        if (lpm_state_is_final(migration->state) ||
            lpm_migration_decided(migration, LPM_DECIDED_ABORTED) ||
            lpm_migration_decided(migration, LPM_DECIDED_ENDED)) {
            lpm_fail(error, LPM_E_DEFINITION_REFUSED, "migration %s was given up on %s",
                     migration->id, config_of(migration)->name);
            return NULL;
        }
        if (!commit(migration, error))
            return NULL;
        lpm_migration_enter(migration, LPM_STATE_CLEANING, NULL);
    }
    return json_pack("{s:I}", "resumed_us", (json_int_t)0);
}

/* With `act` held. */
static json_t *discard(LpmMigration *migration, const char *cause, GError **error)
{
    g_autoptr(GError) failure = NULL;

    if (lpm_migration_decided(migration, LPM_DECIDED_COMMITTED)) {
        lpm_fail(error, LPM_E_PAST_DECISION, "partition '%s' was handed over to %s",
                 migration->partition, config_of(migration)->name);
        return NULL;
    }
    if (!lpm_state_is_final(migration->state)) {
        if (!lpm_migration_enter(migration, LPM_STATE_ROLLING_BACK, error) ||
            (!lpm_migration_decided(migration, LPM_DECIDED_ABORTED) &&
             !lpm_migration_decide(migration, LPM_DECIDED_ABORTED,
                                   json_pack("{s:s}", "cause", cause), error)))
            return NULL;
        LPM_FAULT_POINT("target", "discarding");
        drop_bundle(migration);
        lpm_fail(&failure, LPM_E_STOPPED, "%s", cause);
        lpm_migration_end(migration, LPM_STATE_STOPPED, failure, NULL);
    }
    return json_pack("{s:b}", "aborted", TRUE);
}

json_t *lpm_target_inactive_abort(LpmMigration *migration, const char *cause, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);

    return discard(migration, cause, error);
}

json_t *lpm_target_inactive_finish(LpmMigration *migration, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);

    LPM_FAULT_POINT("target", "finish-asked");
    if (!lpm_state_is_final(migration->state)) {
        if (!lpm_migration_decided(migration, LPM_DECIDED_RUNNING)) {
            lpm_fail(error, LPM_E_NOT_PREPARED, "partition '%s' is not defined on %s yet",
                     migration->partition, config_of(migration)->name);
            return NULL;
        }
        drop_bundle(migration);
        lpm_migration_end(migration, LPM_STATE_DONE, NULL, NULL);
    }
    return json_pack("{s:n}", "stats");
}

/* ---- watching ---- */

static void release(json_t *answer)
{
    if (answer)
        json_decref(answer);
}

/* The source was told by its operator that this host is off, and has put the partition back. */
static void yield(LpmMigration *migration, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);
    g_autoptr(GError) failure = NULL;

    if (lpm_migration_decided(migration, LPM_DECIDED_RUNNING)) {
        lpm_fail(error, LPM_E_IN_DOUBT,
                 "%s has put partition '%s' back although it is defined here", migration->peer,
                 migration->partition);
        return;
    }
    lpm_fail(&failure, LPM_E_DEFINITION_REFUSED, "%s has put partition '%s' back", migration->peer,
             migration->partition);
    end_without(migration, failure, error);
}

static void act_on(LpmMigration *migration, const char *decision, gboolean ended, GError **error)
{
    if (strcmp(decision, LPM_DECIDED_ABORTED) == 0)
        release(
            lpm_target_inactive_abort(migration, "the source has given the migration up", error));
    else if (strcmp(decision, LPM_DECIDED_COMMITTED) == 0)
        release(lpm_target_inactive_commit(migration, error));
    else if (strcmp(decision, LPM_DECIDED_ENDED) == 0)
        yield(migration, error);
    else if (strcmp(decision, LPM_DECIDED_RUNNING) == 0)
        release(ended ? lpm_target_inactive_finish(migration, error)
                      : lpm_target_inactive_commit(migration, error));
}

/* What needs nobody's word. TRUE if there was such a thing. */
static gboolean finish_own(LpmMigration *migration, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);
    g_autoptr(GError) failure = NULL;

    if (lpm_state_is_final(migration->state))
        return TRUE;
    if (lpm_migration_decided(migration, LPM_DECIDED_ENDED)) {
        lpm_fail(&failure, LPM_E_DEFINITION_REFUSED, "partition '%s' was given up on %s",
                 migration->partition, config_of(migration)->name);
        end_without(migration, failure, error);
        return TRUE;
    }
    if (!lpm_migration_decided(migration, LPM_DECIDED_ABORTED))
        return FALSE;
    release(discard(migration, "given up before lpmd was restarted", error));
    return TRUE;
}

/* The source is off for good, as an operator has sworn: what is complete is the partition. */
static void act_on_fencing(LpmMigration *migration, GError **error)
{
    if (lpm_migration_decided(migration, LPM_DECIDED_RUNNING))
        release(lpm_target_inactive_finish(migration, error));
    else if (lpm_migration_decided(migration, LPM_DECIDED_PREPARED))
        release(lpm_target_inactive_commit(migration, error));
    else
        release(lpm_target_inactive_abort(migration, "the source is fenced and nothing is complete",
                                          error));
}

static gboolean silent_too_long(const LpmMigration *migration, gint64 silent_since)
{
    return lpm_monotonic_us() - silent_since >
           (gint64)config_of(migration)->link_timeout_s * G_USEC_PER_SEC;
}

/* Nobody answers. What was not prepared may be given up, since the source cannot have decided. */
static void act_on_silence(LpmMigration *migration, gint64 silent_since, GError **error)
{
    if (lpm_migration_decided(migration, LPM_DECIDED_RUNNING)) {
        if (silent_too_long(migration, silent_since))
            release(lpm_target_inactive_finish(migration, error));
        return;
    }
    if (migration->state == LPM_STATE_COMMITTING) {
        lpm_migration_enter(migration, LPM_STATE_IN_DOUBT, NULL);
        lpm_migration_log(migration, LPM_LOG_WARNING, "in-doubt",
                          "everything is here; whether it was handed over is not known");
    }
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);
    g_autoptr(GError) unread = NULL;
    if (silent_too_long(migration, silent_since) &&
        !lpm_journal_decided(migration->daemon->journal, migration->id, LPM_DECIDED_PREPARED,
                             &unread) &&
        !unread)
        release(discard(migration, "the source was silent for too long", error));
}

/* One look; *silent_since is 0 while the source answers. */
static void look(LpmMigration *migration, gint64 *silent_since)
{
    g_autoptr(GError) error = NULL;
    gboolean ended = FALSE;

    if (finish_own(migration, &error)) {
        /* done */
    } else if (lpm_migration_fenced(migration)) {
        act_on_fencing(migration, &error);
    } else {
        g_autofree char *decision = lpm_migration_ask_decision(migration, &ended, NULL);

        if (decision) {
            *silent_since = 0;
            act_on(migration, decision, ended, &error);
        } else {
            if (!*silent_since)
                *silent_since = lpm_monotonic_us();
            act_on_silence(migration, *silent_since, &error);
        }
    }
    if (error)
        lpm_migration_log(migration, LPM_LOG_WARNING, "looking", "%s", error->message);
}

void lpm_target_inactive_look(LpmMigration *migration)
{
    gint64 silent_since = 0;

    look(migration, &silent_since);
}

/* Waits for the next look. FALSE: there is none. */
static gboolean wait_for_look(LpmMigration *migration)
{
    gint64 until = g_get_monotonic_time() + WATCH_PAUSE_US;
    struct lpm_migrations *migrations = migration->daemon->migrations;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    while (!lpm_state_is_final(migration->state) && !lpm_migrations_closing(migrations) &&
           g_cond_wait_until(&migration->changed, &migration->lock, until))
        continue;
    return !lpm_state_is_final(migration->state) && !lpm_migrations_closing(migrations);
}

static gboolean was_heard(LpmMigration *migration)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    return migration->heard_us && lpm_monotonic_us() - migration->heard_us < HEARD_US;
}

static void watch(LpmMigration *migration)
{
    gint64 silent_since = 0;

    while (wait_for_look(migration)) {
        if (!was_heard(migration) || lpm_migration_fenced(migration))
            look(migration, &silent_since);
    }
}

void lpm_target_inactive_recover(LpmMigration *migration)
{
    lpm_target_inactive_look(migration);
    watch(migration);
}
