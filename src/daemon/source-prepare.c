/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The source's side up to a connected pair of movers: questions first, then sockets. */
#include "base/clock.h"
#include "base/error.h"
#include "base/fault-point.h"
#include "base/fdio.h"
#include "daemon/node-demands.h"
#include "daemon/peer-client.h"
#include "daemon/source-internal.h"
#include "host/inspect.h"

#include <string.h>

#define DIAL_TIMEOUT_S 5
#define DIAL_PAUSE_US 500000
#define DIAL_MORE_PAUSE_US (5 * G_USEC_PER_SEC) /* while there is a link: one more is no hurry */
#define LINK_LIMIT_US (20 * G_USEC_PER_SEC)     /* for the first link; later ones: link_timeout_s */

/* ---- validating ---- */

gboolean lpm_source_check_partition(struct lpm_daemon *daemon, const char *name, json_t **out,
                                    GError **error)
{
    json_t *partition = lpm_host_partition(daemon->host, name, error);
    const char *state = json_string_value(json_object_get(partition, "state"));

    if (!partition)
        return FALSE;
    gboolean off = g_strcmp0(state, "Not Activated") == 0 &&
                   json_is_true(json_object_get(partition, "persistent"));
    if (g_strcmp0(state, "Running") != 0 && !off) {
        lpm_fail(error, LPM_E_PARTITION_NOT_RUNNING, "partition '%s' is %s", name, state);
        json_decref(partition);
        return FALSE;
    }
    *out = partition;
    return TRUE;
}

gboolean lpm_source_measure_clock(LpmMigration *migration, GError **error)
{
    struct lpm_peer_clock clock;

    if (!lpm_peer_clock(migration->daemon->peers, migration->peer, LPM_SOURCE_CALL_TIMEOUT_S,
                        &clock, error))
        return FALSE;
    migration->clock_offset_us = clock.offset_us;
    migration->clock_error_us = clock.error_us;
    return TRUE;
}

gboolean lpm_source_validate(LpmMigration *migration, GError **error)
{
    json_t *host = lpm_peer_call(migration->daemon->peers, migration->peer, "GET", "/v1/peer/host",
                                 NULL, LPM_SOURCE_CALL_TIMEOUT_S, NULL, error);
    if (!host)
        return FALSE;
    json_int_t protocol = json_integer_value(json_object_get(host, "protocol"));
    /* An older host does not say it, and would not take it. */
    json_int_t links = json_integer_value(json_object_get(host, "links"));
    migration->links =
        (guint)CLAMP(links, 1, (json_int_t)lpm_config_links(migration->daemon->config, NULL));
    json_decref(host);
    if (protocol != LPM_API_PROTOCOL)
        return lpm_fail(error, LPM_E_PEER_ANSWER,
                        "%s speaks protocol %" JSON_INTEGER_FORMAT ", this host %d",
                        migration->peer, protocol, LPM_API_PROTOCOL);
    if (!lpm_source_measure_clock(migration, error))
        return FALSE;
    migration->qemu = lpm_qemu_process_open(migration->daemon->config->qemu_run_dir,
                                            migration->partition, migration->uuid, error);
    if (!migration->qemu)
        return FALSE;
    if (!lpm_host_autostart(migration->daemon->host, migration->uuid, &migration->autostart, error))
        return FALSE;
    migration->qemu_pid = lpm_qemu_process_pid(migration->qemu);
    migration->qemu_start_time = lpm_qemu_process_start_time(migration->qemu);
    return lpm_source_prove(migration, error);
}

/* ---- preparing ---- */

/* The journal keeps what a restarted lpmd needs; never the key. */
json_t *lpm_source_parameters(const LpmMigration *migration)
{
    g_autofree char *session = lpm_hex(migration->session, LPM_SESSION_ID_BYTES);

    json_t *doc = json_pack(
        "{s:s, s:I, s:i, s:i, s:b, s:s, s:b, s:I, s:i, s:I}", "session", session, "bandwidth",
        (json_int_t)migration->bandwidth, "max_suspend_ms", (int)migration->max_suspend_ms,
        "limit_ms", (int)migration->limit_ms, "persistent", migration->persistent, "post_copy",
        lpm_post_copy_name(migration->post_copy), "autostart", migration->autostart, "memory_bytes",
        (json_int_t)migration->memory_bytes, "pid", (int)migration->qemu_pid, "start_time",
        (json_int_t)migration->qemu_start_time);
    json_object_set_new(doc, "force", json_boolean(migration->force));
    if (migration->map)
        json_object_set(doc, "map", migration->map);
    if (migration->findings)
        json_object_set(doc, "findings", migration->findings);
    if (migration->adapters)
        json_object_set(doc, "adapters", migration->adapters);
    if (migration->inactive)
        json_object_set_new(doc, "inactive", json_true());
    if (migration->persist != LPM_PERSIST_AS_IT_IS)
        json_object_set_new(doc, "persist", json_integer(migration->persist));
    if (migration->force)
        json_object_set_new(doc, "force", json_true());
    if (migration->may_queue) {
        json_object_set_new(doc, "queue", json_true());
        json_object_set_new(doc, "priority", json_integer(migration->priority));
        json_object_set_new(doc, "place", json_integer((json_int_t)migration->place));
    }
    if (migration->manifest)
        json_object_set(doc, "manifest", migration->manifest);
    if (migration->marks)
        json_object_set(doc, "marks", migration->marks);
    return doc;
}

static gboolean prepare_target(LpmMigration *migration, GError **error)
{
    json_t *model = lpm_host_model(migration->daemon->host, migration->uuid, error);
    if (!model)
        return FALSE;
    json_t *demands = lpm_node_demands(model);
    json_decref(model);
    g_autofree char *session = lpm_hex(migration->session, LPM_SESSION_ID_BYTES);
    g_autofree char *psk = lpm_hex(migration->psk, LPM_SESSION_PSK_BYTES);
    g_autofree char *data = lpm_migration_data_path(migration);
    json_t *body = json_pack("{s:s, s:s, s:s, s:I, s:i, s:b, s:b, s:b, s:b, s:s, s:s, s:s, s:I}",
                             "id", migration->id, "partition", migration->partition, "uuid",
                             migration->uuid, "memory_bytes", (json_int_t)migration->memory_bytes,
                             "vcpus", (int)migration->vcpus, "hugepages", migration->hugepages,
                             "persistent", migration->persistent, "autostart", migration->autostart,
                             "post_copy", migration->post_copy != LPM_POST_COPY_NEVER, "session",
                             session, "psk", psk, "data_socket", data, "backlog_bytes",
                             (json_int_t)migration->daemon->config->backlog_bytes);
    if (migration->links > 1)
        json_object_set_new(body, "links", json_integer(migration->links));
    if (json_array_size(demands) > 0)
        json_object_set(body, "memory_nodes", demands);
    json_decref(demands);
    json_t *answer =
        lpm_peer_call(migration->daemon->peers, migration->peer, "POST", "/v1/peer/migrations",
                      body, LPM_SOURCE_CALL_TIMEOUT_S, NULL, error);

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
    g_autofree char *data = lpm_migration_data_path(migration);
    g_autofree char *rpc = lpm_migration_rpc_path(migration);
    LpmMoverStart start = {.backlog_bytes = migration->daemon->config->backlog_bytes,
                           .hold_ends = migration->post_copy != LPM_POST_COPY_NEVER};

    return lpm_migration_start_mover(migration, &start, error) &&
           give_listener(migration, LPM_CHANNEL_DATA, data, error) &&
           give_listener(migration, LPM_CHANNEL_RPC, rpc, error);
}

/* One pair of movers, as long as it is the migration's. */
struct pair {
    struct lpm_mover *mover; /* this side's: freed with the migration, not before */
    guint8 session[LPM_SESSION_ID_BYTES];
};

/* Connects the movers once. */
static gboolean dial(LpmMigration *migration, const struct pair *pair, GError **error)
{
    g_autoptr(LpmPeer) peer = lpm_peers_get(migration->daemon->peers, migration->peer, error);

    if (!peer)
        return FALSE;
    lpm_autofd fd = lpm_dial_session(peer, pair->session, DIAL_TIMEOUT_S, error);
    if (fd < 0)
        return FALSE;
    gboolean ok = lpm_mover_send_link(lpm_mover_lock(pair->mover), FALSE, fd, error);
    lpm_mover_unlock(pair->mover);
    return ok;
}

/* While there is no link the target may have given up (its mover died): it says so when asked. */
static void ask_target(LpmMigration *migration, const struct pair *pair)
{
    g_autofree char *path = g_strdup_printf("/v1/peer/migrations/%s", migration->id);
    json_t *answer = lpm_peer_call(migration->daemon->peers, migration->peer, "GET", path, NULL,
                                   LPM_SOURCE_CALL_TIMEOUT_S, NULL, NULL);
    const char *decision = json_string_value(json_object_get(answer, "decision"));
    gboolean given_up = g_strcmp0(decision, LPM_DECIDED_ABORTED) == 0;

    if (given_up || json_is_true(json_object_get(answer, "mover_gone"))) {
        g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
        if (!migration->mover_error)
            lpm_fail(&migration->mover_error, LPM_E_MOVER_FAILED,
                     given_up ? "%s gave the migration up" : "the mover on %s ended",
                     migration->peer);
        g_cond_broadcast(&migration->changed);
        /* Its use is over, and a QEMU that waits for it to read lets nobody else work; but an end
         * of its connection closes the way back from post-copy, which is seen to when rolling back.
         */
        if (!migration->may_go_back) {
            lpm_mover_send_quit(lpm_mover_lock(pair->mover), NULL);
            lpm_mover_unlock(pair->mover);
        }
    }
    if (answer)
        json_decref(answer);
}

/* Under lock. */
static gboolean pair_is_over(LpmMigration *migration, const struct pair *pair)
{
    return migration->mover != pair->mover || migration->mover_gone ||
           lpm_state_is_final(migration->state) ||
           lpm_migrations_closing(migration->daemon->migrations);
}

/* Waits for the mover's word on the connection that was dialled, before another attempt. TRUE: it
 * has no link, and did not get one. */
static gboolean dialled_in_vain(LpmMigration *migration, const struct pair *pair, guint came,
                                gint64 begun_us)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
    gboolean more = migration->link_up;
    gint64 until = begun_us + (more ? DIAL_MORE_PAUSE_US : DIAL_PAUSE_US);

    while (migration->link_wanted && migration->links_came == came && migration->link_up == more &&
           !pair_is_over(migration, pair) &&
           g_cond_wait_until(&migration->changed, &migration->lock, until))
        continue;
    return migration->link_wanted && migration->links_came == came && !migration->link_up &&
           migration->mover == pair->mover;
}

/* Serves the mover's wish for a link for as long as the migration lasts: an outage of any length
 * is a pause. Thread of its own; the copying loop decides when an outage has lasted too long. */
void lpm_source_keep_linked(LpmMigration *migration)
{
    struct pair pair;

    g_mutex_lock(&migration->lock);
    pair.mover = migration->mover;
    memcpy(pair.session, migration->session, sizeof(pair.session));
    g_mutex_unlock(&migration->lock);
    for (;;) {
        g_autoptr(GError) error = NULL;
        gint64 begun_us;

        g_mutex_lock(&migration->lock);
        while (!migration->link_wanted && !pair_is_over(migration, &pair)) {
            g_cond_wait_until(&migration->changed, &migration->lock,
                              g_get_monotonic_time() + DIAL_PAUSE_US);
        }
        gboolean over = pair_is_over(migration, &pair);
        guint came = migration->links_came;
        g_mutex_unlock(&migration->lock);
        if (over)
            return;
        begun_us = g_get_monotonic_time();
        if (!dial(migration, &pair, &error))
            lpm_migration_log(migration, LPM_LOG_WARNING, "link", "%s", error->message);
        if (dialled_in_vain(migration, &pair, came, begun_us))
            ask_target(migration, &pair);
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

gboolean lpm_source_connect(LpmMigration *migration, GError **error)
{
    if (!lpm_migration_make_folder(migration, error) || !start_mover(migration, error))
        return FALSE;
    lpm_migrations_run(migration->daemon->migrations, migration, lpm_source_keep_linked);
    return wait_link(migration, error);
}

/* The host must not start the partition when it boots while that may run on the target. libvirt
 * lets nobody change it during its own job, so it is taken back now, and given back or handed on
 * when it is known where the partition stays. */
static gboolean hold_autostart(LpmMigration *migration, GError **error)
{
    return !migration->autostart ||
           lpm_host_set_autostart(migration->daemon->host, migration->uuid, FALSE, error);
}

gboolean lpm_source_prepare(LpmMigration *migration, GError **error)
{
    if (!lpm_migration_enter(migration, LPM_STATE_PREPARING, error))
        return FALSE;
    json_t *doc = lpm_source_parameters(migration);
    gboolean ok = lpm_journal_migration_doc(migration->daemon->journal, migration->id, doc, error);
    json_decref(doc);
    return ok && hold_autostart(migration, error) && prepare_target(migration, error) &&
           lpm_source_connect(migration, error);
}
