/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Post-copy, the target's side: see "Post-copy" in handover.h. */
#include "base/error.h"
#include "base/fault-point.h"
#include "daemon/data-port.h"
#include "daemon/feed.h"
#include "daemon/handover.h"
#include "daemon/target-internal.h"

#include <string.h>

/* Both together are less than LPM_SAY_LIMIT_S, so that the source hears what is in the way. */
#define BREAK_LIMIT_US (4 * G_USEC_PER_SEC)
#define START_LIMIT_US (4 * G_USEC_PER_SEC)
#define POLL_US 20000
#define LINK_POLL_US 20000

enum readiness { READY, NO_LINK, NEVER };

static enum readiness readiness(LpmMigration *migration)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    if (lpm_state_is_final(migration->state) || migration->mover_gone || migration->rpc_lost ||
        lpm_migrations_closing(migration->daemon->migrations))
        return NEVER;
    return migration->link_up ? READY : NO_LINK;
}

/* A copy that starts while nothing can be fetched stands at its first page, where QEMU may hold the
 * lock that a repair needs. So it starts over a link that is there; until then the source may still
 * ask for all of it to be given up, for which `act` is free. */
static void allow_run(LpmMigration *migration)
{
    gboolean again;

    do {
        g_mutex_lock(&migration->act);
        LPM_FAULT_POINT("target", "run-waits");
        enum readiness now = readiness(migration);
        again = now == NO_LINK || (now == READY && !lpm_handover_target_switch(migration));
        g_mutex_unlock(&migration->act);
    } while (again && lpm_migration_pause(migration, LINK_POLL_US));
}

void lpm_target_on_run_waits(LpmMigration *migration)
{
    lpm_migrations_run(migration->daemon->migrations, migration, allow_run);
}

static void give_back_unstarted(LpmMigration *migration)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);

    if (lpm_state_is_final(migration->state))
        return;
    lpm_feed_keep_memory(migration);
    if (lpm_migration_decided(migration, LPM_DECIDED_SWITCHED) ||
        lpm_migration_decided(migration, LPM_DECIDED_ABORTED))
        return;
    lpm_target_give_back(migration, "the copy was not let go before lpmd was restarted");
}

/* Whoever has allowed it has decided by the time that `act` is free, or is gone, and the gate with
 * him: nobody can start this copy any more. */
void lpm_target_on_run_passed(LpmMigration *migration)
{
    lpm_migrations_run(migration->daemon->migrations, migration, give_back_unstarted);
}

json_t *lpm_target_switching(LpmMigration *migration, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);

    LPM_FAULT_POINT("target", "switching-asked");
    if (lpm_state_is_final(migration->state) ||
        lpm_migration_decided(migration, LPM_DECIDED_ABORTED)) {
        lpm_fail(error, LPM_E_NOT_PREPARED, "the migration of '%s' was given up on %s",
                 migration->partition, migration->daemon->config->name);
        return NULL;
    }
    if (!lpm_migration_decided(migration, LPM_DECIDED_SWITCHING) &&
        !lpm_migration_decide(migration, LPM_DECIDED_SWITCHING, NULL, error))
        return NULL;
    return json_pack("{s:b}", "switching", TRUE);
}

static gboolean runs_incomplete(LpmMigration *migration, GError **error)
{
    gboolean complete = TRUE;

    if (!lpm_migration_switched(migration))
        return lpm_fail(error, LPM_E_NOT_PREPARED, "partition '%s' does not run on %s",
                        migration->partition, migration->daemon->config->name);
    if (!lpm_migration_decided(migration, LPM_DECIDED_PREPARED) &&
        !lpm_handover_target_complete(migration, &complete, error))
        return FALSE;
    if (complete)
        return lpm_fail(error, LPM_E_PAST_DECISION, "partition '%s' has all of its memory on %s",
                        migration->partition, migration->daemon->config->name);
    return TRUE;
}

/* QEMU bears a broken connection only once it runs: between the word to run and that moment an end
 * of file makes it fail. So the old mover is kept for as long as the start may take; if it does not
 * come, libvirt's Finish was lost with the source's mover and never will. */
static void await_start(LpmMigration *migration)
{
    gint64 deadline = g_get_monotonic_time() + START_LIMIT_US;
    enum lpm_partition_state state;

    while (lpm_host_state(migration->daemon->host, migration->uuid, &state, NULL) &&
           state == LPM_PARTITION_MIGRATING && g_get_monotonic_time() < deadline)
        g_usleep(POLL_US);
}

static gboolean take_session(LpmMigration *migration, const json_t *body, GError **error)
{
    guint8 session[LPM_SESSION_ID_BYTES], psk[LPM_SESSION_PSK_BYTES];
    const char *session_text = json_string_value(json_object_get(body, "session"));
    const char *psk_text = json_string_value(json_object_get(body, "psk"));

    if (!session_text || !psk_text || !lpm_unhex(session_text, session, sizeof(session)) ||
        !lpm_unhex(psk_text, psk, sizeof(psk)))
        return lpm_fail(error, LPM_E_BAD_REQUEST,
                        "session or psk is not of the form that lpmd sends");
    lpm_data_port_unregister(migration->daemon->data_port, migration->session);
    lpm_migration_retire_mover(migration);
    migration->links = lpm_target_links(migration->daemon, body);
    memcpy(migration->session, session, sizeof(session));
    memcpy(migration->psk, psk, sizeof(psk));
    explicit_bzero(psk, sizeof(psk));
    json_t *doc = lpm_target_parameters(migration);
    gboolean ok = lpm_journal_migration_doc(migration->daemon->journal, migration->id, doc, error);
    json_decref(doc);
    return ok;
}

/* libvirt takes another connection only once it knows that the old one broke, and lets a call that
 * comes before wait for half a minute. */
static gboolean await_break(LpmMigration *migration, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + BREAK_LIMIT_US;
    enum lpm_partition_state state;

    for (;;) {
        if (!lpm_host_state(migration->daemon->host, migration->uuid, &state, error))
            return FALSE;
        if (state == LPM_PARTITION_POST_COPY_FAILED)
            return TRUE;
        if (state != LPM_PARTITION_POST_COPY)
            return lpm_fail(error, LPM_E_NOT_PREPARED, "partition '%s' is %s on %s",
                            migration->partition, lpm_partition_state_name(state),
                            migration->daemon->config->name);
        if (g_get_monotonic_time() > deadline)
            return lpm_fail(error, LPM_E_NOT_PREPARED,
                            "libvirt on %s has not seen that the connection of '%s' broke",
                            migration->daemon->config->name, migration->partition);
        g_usleep(POLL_US);
    }
}

json_t *lpm_target_resume(LpmMigration *migration, const json_t *body, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);
    guint64 backlog = (guint64)json_integer_value(json_object_get(body, "backlog_bytes"));

    LPM_FAULT_POINT("target", "resume-asked");
    if (!runs_incomplete(migration, error))
        return NULL;
    await_start(migration);
    if (!take_session(migration, body, error))
        return NULL;
    lpm_feed_begin(migration);
    lpm_migration_remove_folder(migration);
    if (!await_break(migration, error) || !lpm_migration_make_folder(migration, error) ||
        !lpm_target_start_mover(migration, CLAMP(backlog, LPM_BACKLOG_MIN, LPM_BACKLOG_MAX), FALSE,
                                error))
        return NULL;
    lpm_target_open_door(migration);
    return json_pack("{s:b}", "resumed", TRUE);
}

json_t *lpm_target_lost(LpmMigration *migration, const char *cause, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);
    g_autoptr(GError) failure = NULL, reason = NULL;

    if (!runs_incomplete(migration, &reason) &&
        !g_error_matches(reason, LPM_ERROR, LPM_E_PARTITION_ENDED)) {
        g_propagate_error(error, g_steal_pointer(&reason));
        return NULL;
    }
    lpm_fail(&failure, LPM_E_PARTITION_ENDED,
             "%s; partition '%s' lost the part of its memory that was not on %s yet", cause,
             migration->partition, migration->daemon->config->name);
    lpm_target_end_without_copy(migration, failure);
    if (!lpm_migration_decided(migration, LPM_DECIDED_ENDED)) {
        lpm_fail(error, LPM_E_JOURNAL, "the end of partition '%s' cannot be journalled",
                 migration->partition);
        return NULL;
    }
    return json_pack("{s:b}", "ended", TRUE);
}

void lpm_target_look_after_switch(LpmMigration *migration)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);
    g_autoptr(GError) error = NULL;
    gboolean complete;

    if (lpm_state_is_final(migration->state) || !lpm_migration_switched(migration) ||
        lpm_migration_decided(migration, LPM_DECIDED_PREPARED))
        return;
    if (!lpm_handover_target_complete(migration, &complete, &error) &&
        g_error_matches(error, LPM_ERROR, LPM_E_PARTITION_ENDED))
        lpm_target_end_without_copy(migration, error);
}
