/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* API paths of partitions, migrations and movers, for local users and for peers. */
#include "base/error.h"
#include "daemon/feed.h"
#include "daemon/http.h"
#include "daemon/inactive.h"
#include "daemon/migration.h"
#include "daemon/queue.h"
#include "daemon/recover.h"

#include <string.h>

#define STATS_TIMEOUT_MS 1000

/* ---- partitions ---- */

/* While a migration lasts the partition shows it, on both hosts (R3.10). */
static void show_migration(struct lpm_daemon *daemon, json_t *partition)
{
    const char *uuid = json_string_value(json_object_get(partition, "uuid"));
    g_autoptr(LpmMigration) migration = lpm_migrations_by_uuid(daemon->migrations, uuid);

    json_object_set_new(partition, "migration", json_null());
    if (!migration)
        return;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
    if (lpm_state_is_final(migration->state))
        return; /* what is left to be put away is not the partition's */
    json_object_set_new(partition, "migration", json_string(migration->id));
    if (migration->state == LPM_STATE_QUEUED)
        return; /* nothing is done with it yet */
    json_object_set_new(partition, "state",
                        json_string(lpm_state_shown_of(migration->state, migration->inactive)));
}

static json_t *list_partitions(struct lpm_request *request, GError **error)
{
    json_t *list = lpm_host_partitions(request->daemon->host, error);
    json_t *partition;
    size_t i;

    if (!list)
        return NULL;
    json_array_foreach (list, i, partition)
        show_migration(request->daemon, partition);
    return json_pack("{s:o}", "partitions", list);
}

static json_t *show_partition(struct lpm_request *request, GError **error)
{
    json_t *partition =
        lpm_host_partition(request->daemon->host, lpm_request_param(request, "name"), error);

    if (partition)
        show_migration(request->daemon, partition);
    return partition;
}

/* ---- migrations ---- */

static json_t *start(struct lpm_request *request, GError **error)
{
    const char *partition = json_string_value(json_object_get(request->body, "partition"));
    const char *to = json_string_value(json_object_get(request->body, "to"));
    json_int_t bandwidth = json_integer_value(json_object_get(request->body, "bandwidth"));
    json_int_t suspend = json_integer_value(json_object_get(request->body, "max_suspend_ms"));
    const char *post_copy = json_string_value(json_object_get(request->body, "post_copy"));
    struct lpm_source_options options = {.bandwidth = (guint64)bandwidth,
                                         .max_suspend_ms = (guint)suspend,
                                         .force =
                                             json_is_true(json_object_get(request->body, "force")),
                                         .map = json_object_get(request->body, "map")};

    if (bandwidth < 0 || suspend < 0 || suspend > 2000000) {
        lpm_fail(error, LPM_E_BAD_REQUEST,
                 "bandwidth %" JSON_INTEGER_FORMAT " or max_suspend_ms %" JSON_INTEGER_FORMAT
                 " is out of range (bytes/s from 0; milliseconds from 1 to 2000000)",
                 bandwidth, suspend);
        return NULL;
    }
    if (!lpm_post_copy_from_name(post_copy ? post_copy : request->daemon->config->post_copy,
                                 &options.post_copy)) {
        lpm_fail(error, LPM_E_BAD_REQUEST, "post_copy is '%s': never, auto or now", post_copy);
        return NULL;
    }
    const json_t *persistent = json_object_get(request->body, "persistent");
    if (persistent)
        options.persist = json_is_true(persistent) ? LPM_PERSIST_YES : LPM_PERSIST_NO;
    options.queue = !json_is_false(json_object_get(request->body, "queue"));
    if (!lpm_priority_from_json(json_object_get(request->body, "priority"), &options.priority,
                                error))
        return NULL;
    g_autoptr(LpmMigration) migration =
        lpm_source_start(request->daemon, partition, to, &options, error);
    if (!migration)
        return NULL;
    request->status = 202;
    return lpm_migration_to_json(migration);
}

/* The live one, or the row of one that has ended. */
static json_t *one(struct lpm_daemon *daemon, const char *id, GError **error)
{
    g_autoptr(LpmMigration) migration = lpm_migrations_get(daemon->migrations, id);

    if (migration)
        return lpm_migration_to_json(migration);
    g_autoptr(LpmMigrationRow) row = lpm_journal_migration_get(daemon->journal, id, error);
    return row ? lpm_migration_row_to_json(daemon, row) : NULL;
}

static json_t *list(struct lpm_request *request, GError **error)
{
    const char *active = lpm_request_query(request, "active");
    g_autoptr(GPtrArray) rows =
        lpm_journal_migrations(request->daemon->journal, lpm_request_query(request, "partition"),
                               active && strcmp(active, "0") != 0, 0, error);

    if (!rows)
        return NULL;
    json_t *entries = json_array();
    for (guint i = 0; i < rows->len; i++) {
        const LpmMigrationRow *row = rows->pdata[i];
        json_t *entry = one(request->daemon, row->id, NULL);
        if (entry)
            json_array_append_new(entries, entry);
    }
    return json_pack("{s:o}", "migrations", entries);
}

static json_t *show(struct lpm_request *request, GError **error)
{
    return one(request->daemon, lpm_request_param(request, "id"), error);
}

static json_t *timeline(struct lpm_request *request, GError **error)
{
    const char *id = lpm_request_param(request, "id");
    g_autoptr(LpmMigration) live = lpm_migrations_get(request->daemon->migrations, id);
    json_t *migration = one(request->daemon, id, error);

    if (!migration)
        return NULL;
    json_t *samples = live ? lpm_timeline_samples(live->timeline)
                           : lpm_journal_timeline_get(request->daemon->journal, id, error);
    if (!samples) {
        json_decref(migration);
        return NULL;
    }
    return json_pack("{s:o, s:o}", "migration", migration, "samples", samples);
}

static json_t *stop(struct lpm_request *request, GError **error)
{
    const char *id = lpm_request_param(request, "id");
    g_autoptr(LpmMigration) migration = lpm_migrations_get(request->daemon->migrations, id);

    if (!migration) {
        g_autoptr(LpmMigrationRow) row =
            lpm_journal_migration_get(request->daemon->journal, id, error);
        if (row)
            lpm_fail(error, LPM_E_NOT_MIGRATING, "migration %s has ended (%s)", id, row->state);
        return NULL;
    }
    if (migration->side != LPM_SIDE_SOURCE) {
        lpm_fail(error, LPM_E_NOT_PERMITTED, "migration %s is stopped from its source, %s", id,
                 migration->peer);
        return NULL;
    }
    if (!lpm_source_stop(migration, error))
        return NULL;
    lpm_queue_kick(request->daemon->migrations);
    return lpm_migration_to_json(migration);
}

static json_t *recover(struct lpm_request *request, GError **error)
{
    const struct lpm_recover_request what = {
        .partition = json_string_value(json_object_get(request->body, "partition")),
        .fenced = json_string_value(json_object_get(request->body, "fenced")),
        .discard = json_is_true(json_object_get(request->body, "discard")),
    };

    if (what.discard && !what.fenced) {
        lpm_fail(error, LPM_E_BAD_REQUEST, "discard needs fenced: the host that is switched off");
        return NULL;
    }
    if (what.fenced && !what.partition) {
        lpm_fail(error, LPM_E_BAD_REQUEST, "fencing is sworn for one partition at a time");
        return NULL;
    }
    return lpm_recover(request->daemon, &what, error);
}

/* ---- movers ---- */

static json_t *list_movers(struct lpm_request *request, GError **error G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) active = lpm_migrations_active(request->daemon->migrations);
    json_t *movers = json_array();

    for (guint i = 0; i < active->len; i++) {
        LpmMigration *migration = active->pdata[i];
        g_mutex_lock(&migration->lock);
        struct lpm_mover *mover = migration->mover;
        g_mutex_unlock(&migration->lock);
        json_t *stats = mover ? lpm_mover_ask_stats(mover, STATS_TIMEOUT_MS, NULL) : NULL;
        json_t *operations = json_object_get(stats, "operations");

        if (!stats)
            continue;
        /* The mover knows of its own operation only; the host's limit and count are lpmd's. */
        if (json_is_object(operations)) {
            json_object_set_new(operations, "maximum",
                                json_integer(request->daemon->config->max_migrations));
            json_object_set_new(operations, "active", json_integer(active->len));
        }
        json_array_append(movers, stats);
        json_decref(stats);
    }
    return json_pack("{s:o}", "movers", movers);
}

/* What the body asks for; FALSE: it is refused. */
static gboolean read_setting(const json_t *body, enum lpm_side side, struct lpm_mover_set *set,
                             GError **error)
{
    const json_t *threads = json_object_get(body, "threads");
    const json_t *bandwidth = json_object_get(body, "bandwidth");
    json_int_t count = json_integer_value(threads), rate = json_integer_value(bandwidth);

    if (!threads && !bandwidth)
        return lpm_fail(error, LPM_E_BAD_REQUEST, "neither threads nor bandwidth is given");
    if (count < 0 || count > LPM_MOVER_THREADS_MAX || rate < 0)
        return lpm_fail(error, LPM_E_BAD_REQUEST,
                        "threads %" JSON_INTEGER_FORMAT " or bandwidth %" JSON_INTEGER_FORMAT
                        " is out of range (0 to %d; bytes/s from 0)",
                        count, rate, LPM_MOVER_THREADS_MAX);
    if (bandwidth && side != LPM_SIDE_SOURCE)
        return lpm_fail(error, LPM_E_NOT_OF_THIS_SIDE,
                        "this host is the migration's target, whose mover sends next to nothing");
    *set = (struct lpm_mover_set){.has_threads = threads != NULL,
                                  .threads = (guint)count,
                                  .has_bandwidth = bandwidth != NULL,
                                  .bandwidth = (guint64)rate};
    return TRUE;
}

static json_t *set_mover(struct lpm_request *request, GError **error)
{
    const char *id = lpm_request_param(request, "id");
    g_autoptr(LpmMigration) migration = lpm_migrations_get(request->daemon->migrations, id);
    struct lpm_mover *mover = NULL;
    struct lpm_mover_set set;

    if (migration) {
        g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
        mover = migration->mover;
    }
    if (!mover) {
        lpm_fail(error, LPM_E_SESSION_UNKNOWN, "no mover works for migration %s here", id);
        return NULL;
    }
    if (!read_setting(request->body, migration->side, &set, error))
        return NULL;
    gboolean sent = lpm_mover_send_set(lpm_mover_lock(mover), &set, error);
    lpm_mover_unlock(mover);
    if (!sent)
        return NULL;
    if (set.has_bandwidth) { /* for a mover that takes this one's place */
        g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
        migration->bandwidth = set.bandwidth;
    }
    if (set.has_threads)
        lpm_migration_log(migration, LPM_LOG_INFO, "mover-set", "threads %u", set.threads);
    if (set.has_bandwidth)
        lpm_migration_log(migration, LPM_LOG_INFO, "mover-set", "bandwidth %" G_GUINT64_FORMAT,
                          set.bandwidth);
    return lpm_mover_ask_stats(mover, STATS_TIMEOUT_MS, error);
}

/* ---- a peer's words ---- */

static json_t *peer_prepare(struct lpm_request *request, GError **error)
{
    return lpm_target_prepare(request->daemon, request->peer, request->body, error);
}

/* A migration in which this host has `side` and who calls is the other host. */
static LpmMigration *find(struct lpm_request *request, enum lpm_side side, GError **error)
{
    const char *id = lpm_request_param(request, "id");
    g_autoptr(LpmMigration) migration = lpm_migrations_get(request->daemon->migrations, id);

    if (!migration || migration->side != side || strcmp(migration->peer, request->peer) != 0) {
        lpm_fail(error, LPM_E_MIGRATION_NOT_FOUND, "no migration %s with %s is active on %s", id,
                 request->peer, request->daemon->config->name);
        return NULL;
    }
    return g_steal_pointer(&migration);
}

static json_t *say_abort(LpmMigration *migration, const json_t *body, GError **error)
{
    const char *cause = json_string_value(json_object_get(body, "cause"));

    return lpm_target_abort(migration, cause ? cause : "no cause", error);
}

static json_t *say_lost(LpmMigration *migration, const json_t *body G_GNUC_UNUSED, GError **error)
{
    g_autofree char *cause = g_strdup_printf("its QEMU ended on %s", migration->peer);

    return lpm_target_lost(migration, cause, error);
}

static json_t *peer_define(struct lpm_request *request, GError **error)
{
    return lpm_target_inactive_prepare(request->daemon, request->peer, request->body, error);
}

/* Which migrations a word is of. */
enum kind { ANY, RUNNING, POWERED_OFF };

static gboolean is_of(const LpmMigration *migration, enum kind kind, GError **error)
{
    if (kind == ANY || migration->inactive == (kind == POWERED_OFF))
        return TRUE;
    return lpm_fail(error, LPM_E_BAD_REQUEST, "the partition of migration %s is %s", migration->id,
                    migration->inactive ? "powered off" : "running");
}

/* The words that a source says of a migration, each the last part of its path. */
static json_t *peer_word(struct lpm_request *request, GError **error)
{
    static const struct {
        const char *word;
        enum kind kind;
        json_t *(*act)(LpmMigration *, GError **);
        json_t *(*act_on_body)(LpmMigration *, const json_t *, GError **);
    } words[] = {
        {"prepared", ANY, lpm_target_prepared, NULL},
        {"commit", ANY, lpm_target_commit, NULL},
        {"finish", ANY, lpm_target_finish, NULL},
        {"abort", ANY, NULL, say_abort},
        {"switching", RUNNING, lpm_target_switching, NULL},
        {"abandon", RUNNING, lpm_target_abandon, NULL},
        {"resume", RUNNING, NULL, lpm_target_resume},
        {"lost", RUNNING, NULL, say_lost},
        {"file", POWERED_OFF, NULL, lpm_target_inactive_write},
    };
    g_autofree char *word = g_path_get_basename(request->path);
    g_autoptr(LpmMigration) migration = find(request, LPM_SIDE_TARGET, error);

    for (gsize i = 0; migration && i < G_N_ELEMENTS(words); i++) {
        if (strcmp(words[i].word, word) != 0)
            continue;
        if (!is_of(migration, words[i].kind, error))
            return NULL;
        return words[i].act ? words[i].act(migration, error)
                            : words[i].act_on_body(migration, request->body, error);
    }
    if (migration)
        lpm_fail(error, LPM_E_NOT_FOUND, "'%s' is no word of a migration", word);
    return NULL;
}

static json_t *peer_pages(struct lpm_request *request, GError **error)
{
    g_autoptr(LpmMigration) migration = find(request, LPM_SIDE_SOURCE, error);

    return migration ? lpm_feed_read(migration, request->body, error) : NULL;
}

static gboolean is_mover_gone(struct lpm_daemon *daemon, const char *id)
{
    g_autoptr(LpmMigration) migration =
        daemon->migrations ? lpm_migrations_get(daemon->migrations, id) : NULL;

    if (!migration)
        return FALSE;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
    return migration->mover_gone || migration->mover_error;
}

/* What the target asks when it has heard nothing: the source's newest decision, from the journal,
 * also of a migration that has ended. */
static json_t *peer_show(struct lpm_request *request, GError **error)
{
    static const char *const decisions[] = {
        LPM_DECIDED_ABORTED, LPM_DECIDED_ENDED,    LPM_DECIDED_RUNNING,  LPM_DECIDED_COMMITTED,
        LPM_DECIDED_ENDING,  LPM_DECIDED_SWITCHED, LPM_DECIDED_SWITCHING};
    const char *id = lpm_request_param(request, "id"), *decision = "none";
    g_autoptr(LpmMigrationRow) row = lpm_journal_migration_get(request->daemon->journal, id, error);

    if (!row)
        return NULL;
    if (strcmp(row->peer, request->peer) != 0) {
        lpm_fail(error, LPM_E_MIGRATION_NOT_FOUND, "no migration %s with %s on %s", id,
                 request->peer, request->daemon->config->name);
        return NULL;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(decisions) && strcmp(decision, "none") == 0; i++) {
        g_autoptr(GError) reason = NULL;

        if (lpm_journal_decided(request->daemon->journal, id, decisions[i], &reason))
            decision = decisions[i];
        if (reason) {
            g_propagate_error(error, g_steal_pointer(&reason));
            return NULL;
        }
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:b}", "id", id, "role", row->role, "state", row->state,
                     "decision", decision, "mover_gone", is_mover_gone(request->daemon, id));
}

#define PEER_PREPARE_BODY                                                                          \
    "id:s partition:s uuid:s memory_bytes:i vcpus:i? hugepages:b? memory_nodes:a? persistent:b "   \
    "autostart:b "                                                                                 \
    "post_copy:b session:s psk:s data_socket:s backlog_bytes:i links:i?"

const struct lpm_route *lpm_migrations_routes(void)
{
    static const struct lpm_route routes[] = {
        {"GET", "/v1/partitions", LPM_SCOPE_LOCAL, NULL, NULL, list_partitions},
        {"GET", "/v1/partitions/{name}", LPM_SCOPE_LOCAL, NULL, NULL, show_partition},
        {"POST", "/v1/migrations", LPM_SCOPE_LOCAL,
         "partition:s to:s bandwidth:i? max_suspend_ms:i? post_copy:s? queue:b? priority:i? "
         "force:b? map:o? persistent:b?",
         NULL, start},
        {"GET", "/v1/migrations", LPM_SCOPE_LOCAL, NULL, "partition active", list},
        {"GET", "/v1/migrations/{id}", LPM_SCOPE_LOCAL, NULL, NULL, show},
        {"GET", "/v1/migrations/{id}/timeline", LPM_SCOPE_LOCAL, NULL, NULL, timeline},
        {"POST", "/v1/migrations/{id}/stop", LPM_SCOPE_LOCAL, NULL, NULL, stop},
        {"POST", "/v1/recover", LPM_SCOPE_LOCAL, "partition:s? fenced:s? discard:b?", NULL,
         recover},
        {"GET", "/v1/movers", LPM_SCOPE_LOCAL, NULL, NULL, list_movers},
        {"POST", "/v1/movers/{id}", LPM_SCOPE_LOCAL, "threads:i? bandwidth:i?", NULL, set_mover},
        {"POST", "/v1/peer/migrations", LPM_SCOPE_PEER, PEER_PREPARE_BODY, NULL, peer_prepare},
        {"POST", "/v1/peer/definitions", LPM_SCOPE_PEER,
         "id:s partition:s uuid:s definition:s autostart:b memory_bytes:i vcpus:i files:a", NULL,
         peer_define},
        {"POST", "/v1/peer/migrations/{id}/file", LPM_SCOPE_PEER, "file:i offset:i data:s", NULL,
         peer_word},
        {"GET", "/v1/peer/migrations/{id}", LPM_SCOPE_PEER, NULL, NULL, peer_show},
        {"POST", "/v1/peer/migrations/{id}/prepared", LPM_SCOPE_PEER, NULL, NULL, peer_word},
        {"POST", "/v1/peer/migrations/{id}/commit", LPM_SCOPE_PEER, NULL, NULL, peer_word},
        {"POST", "/v1/peer/migrations/{id}/abort", LPM_SCOPE_PEER, "cause:s?", NULL, peer_word},
        {"POST", "/v1/peer/migrations/{id}/finish", LPM_SCOPE_PEER, NULL, NULL, peer_word},
        {"POST", "/v1/peer/migrations/{id}/resume", LPM_SCOPE_PEER,
         "session:s psk:s backlog_bytes:i links:i?", NULL, peer_word},
        {"POST", "/v1/peer/migrations/{id}/switching", LPM_SCOPE_PEER, NULL, NULL, peer_word},
        {"POST", "/v1/peer/migrations/{id}/abandon", LPM_SCOPE_PEER, NULL, NULL, peer_word},
        {"POST", "/v1/peer/migrations/{id}/lost", LPM_SCOPE_PEER, NULL, NULL, peer_word},
        {"POST", "/v1/peer/migrations/{id}/pages", LPM_SCOPE_PEER, "lengths:a pages:a size:i", NULL,
         peer_pages},
        {NULL, NULL, LPM_SCOPE_LOCAL, NULL, NULL, NULL},
    };

    return routes;
}
