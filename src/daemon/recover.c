/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/recover.h"

#include "base/error.h"
#include "daemon/bundle.h"
#include "daemon/migration.h"

#include <string.h>

#define WAIT_US (10 * G_USEC_PER_SEC) /* for migrations that are about to end by themselves */
#define POLL_US 50000

/* ---- whose it is ---- */

/* One answer while it is made. Arrays hold sentences for the operator. */
struct answer {
    const LpmMigrationRow *row; /* borrowed */
    const char *here;           /* this host's name */
    const char *owner;          /* NULL: not known */
    const char *verdict;
    json_t *why, *did;
};

static void say(json_t *list, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void say(json_t *list, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    json_array_append_new(list, json_string(valid));
}

static void rule(struct answer *answer, gboolean here, const char *reason)
{
    answer->owner = here ? answer->here : answer->row->peer;
    answer->verdict = here ? "owned-here" : "owned-by-peer";
    say(answer->why, "%s: %s owns the partition", reason, answer->owner);
}

static void doubt(struct answer *answer, const char *reason)
{
    answer->owner = NULL;
    answer->verdict = "in-doubt";
    say(answer->why,
        "%s; bring %s back, or make sure that it is switched off and stays so, then: "
        "lpm recover %s --fenced %s",
        reason, answer->row->peer, answer->row->partition, answer->row->peer);
}

/* A decision of the own journal settles it but in the moment between the two words of the
 * hand-over, for which the peer's journal has to be asked. `there`: its decision, NULL: silent. */
static void judge_source(struct answer *answer, GHashTable *decided, const char *there)
{
    if (g_hash_table_contains(decided, LPM_DECIDED_ABORTED))
        rule(answer, TRUE, "this journal says aborted, so the target never runs");
    else if (g_hash_table_contains(decided, LPM_DECIDED_ENDED))
        rule(answer, TRUE, "the copy on the target ended in the hand-over");
    else if (g_hash_table_contains(decided, LPM_DECIDED_RUNNING))
        rule(answer, FALSE, "this journal says that the target runs");
    else if (g_hash_table_contains(decided, LPM_DECIDED_ENDING) && there)
        rule(answer, FALSE, "the source was given up for the target, which answers");
    else if (g_hash_table_contains(decided, LPM_DECIDED_ENDING))
        doubt(answer, "the source was given up for the target, which does not answer");
    else if (!g_hash_table_contains(decided, LPM_DECIDED_SWITCHING))
        rule(answer, TRUE, "nothing is decided yet");
    else if (!there)
        doubt(answer, "post-copy was asked for, and the target does not tell whether it has begun");
    else if (strcmp(there, LPM_DECIDED_SWITCHED) == 0 || strcmp(there, LPM_DECIDED_RUNNING) == 0 ||
             strcmp(there, LPM_DECIDED_COMMITTED) == 0)
        rule(answer, FALSE, "the target was started in post-copy");
    else
        rule(answer, TRUE, "the target was not started");
}

/* Knowing that the source is off is not enough for the oath: it may have been rolled back to, and
 * have run on, after the copy here was complete. */
static void doubt_prepared(struct answer *answer, const gint64 *prepared_us)
{
    gboolean off = json_is_true(json_object_get(answer->row->doc, "inactive"));
    g_autoptr(GDateTime) utc = g_date_time_new_from_unix_utc(*prepared_us / G_USEC_PER_SEC);
    g_autofree char *when = utc ? g_date_time_format(utc, "%Y-%m-%dT%H:%M:%SZ") : g_strdup("?");

    if (off) {
        doubt(answer, "all of the powered-off partition is here, and the source does not answer");
        say(answer->why, "swear this only if it was not started on %s since %s", answer->row->peer,
            when);
        return;
    }
    doubt(answer, "the copy here is complete and paused, and the source does not answer");
    say(answer->why,
        "swear this only if the partition has served nobody since %s, when the copy became "
        "complete; if it has, it ran on %s, its disks are newer than the copy, and the way is: "
        "lpm recover %s --fenced %s --discard, then start it from its disks",
        when, answer->row->peer, answer->row->partition, answer->row->peer);
}

static void judge_target(struct answer *answer, GHashTable *decided, const char *there)
{
    /* `ended` follows `committed` when the copy's QEMU was gone before it could be resumed. */
    if (g_hash_table_contains(decided, LPM_DECIDED_ABORTED) ||
        g_hash_table_contains(decided, LPM_DECIDED_ENDED))
        rule(answer, FALSE, "this journal says that the copy here was given up");
    else if (g_hash_table_contains(decided, LPM_DECIDED_RUNNING) ||
             g_hash_table_contains(decided, LPM_DECIDED_COMMITTED))
        rule(answer, TRUE, "this journal says that the partition was handed over");
    else if (g_hash_table_contains(decided, LPM_DECIDED_SWITCHED))
        rule(answer, TRUE, "the partition was started here in post-copy");
    else if (!g_hash_table_contains(decided, LPM_DECIDED_PREPARED))
        rule(answer, FALSE, "the copy here is not complete");
    else if (there)
        rule(answer, FALSE, "the source answers and has not handed it over");
    else
        doubt_prepared(answer, g_hash_table_lookup(decided, LPM_DECIDED_PREPARED));
}

/* Name -> when, in microseconds. */
static GHashTable *decisions_of(struct lpm_daemon *daemon, struct answer *answer, GError **error)
{
    g_autoptr(GPtrArray) list = lpm_journal_decisions(daemon->journal, answer->row->id, error);
    g_autoptr(GString) text = g_string_new(NULL);

    if (!list)
        return NULL;
    GHashTable *set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (guint i = 0; i < list->len; i++) {
        const LpmDecision *decision = list->pdata[i];
        gint64 *when = g_new(gint64, 1);

        *when = decision->wall_us;
        g_hash_table_replace(set, g_strdup(decision->what), when);
        g_string_append_printf(text, "%s%s", i ? ", " : "", decision->what);
    }
    say(answer->why, "journal of %s (%s): %s", answer->here, answer->row->role,
        list->len ? text->str : "nothing decided");
    return set;
}

static gboolean judge(struct lpm_daemon *daemon, struct answer *answer, GError **error)
{
    const LpmMigrationRow *row = answer->row;
    g_autoptr(GHashTable) decided = decisions_of(daemon, answer, error);
    g_autoptr(GError) silence = NULL, reason = NULL;
    enum lpm_partition_state state;

    if (!decided)
        return FALSE;
    g_autofree char *there = lpm_peer_decision(daemon->peers, row->peer, row->id, NULL, &silence);
    if (there)
        say(answer->why, "journal of %s: %s", row->peer, there);
    else
        say(answer->why, "%s does not tell: %s", row->peer,
            silence ? silence->message : "no answer");
    if (lpm_host_state(daemon->host, row->uuid, &state, &reason))
        say(answer->why, "libvirt on %s: %s", answer->here, lpm_partition_state_name(state));
    else
        say(answer->why, "libvirt on %s: %s", answer->here, reason->message);
    if (strcmp(row->role, "source") == 0)
        judge_source(answer, decided, there);
    else
        judge_target(answer, decided, there);
    return TRUE;
}

/* ---- doing ---- */

static gboolean fence(LpmMigration *migration, const struct lpm_recover_request *request,
                      json_t *did, GError **error)
{
    if (strcmp(request->fenced, migration->peer) != 0)
        return lpm_fail(error, LPM_E_BAD_REQUEST,
                        "the other host of partition '%s' is %s, not '%s'", migration->partition,
                        migration->peer, request->fenced);
    if (request->discard && migration->side != LPM_SIDE_TARGET)
        return lpm_fail(error, LPM_E_BAD_REQUEST, "only the target of a migration has a copy");
    if (!(request->discard ? lpm_target_discard_copy(migration, error)
                           : lpm_migration_fence(migration, error)))
        return FALSE;
    say(did, "journalled that %s is fenced", request->fenced);
    if (request->discard)
        say(did, "ended the copy; the partition's definition is kept on %s",
            migration->daemon->config->name);
    return TRUE;
}

/* Lets its thread look now, whatever it waits for, and act on what has become known. */
static gboolean act(LpmMigration *migration, const struct lpm_recover_request *request, json_t *did,
                    GError **error)
{
    if (request->fenced && !fence(migration, request, did, error))
        return FALSE;
    if (migration->side == LPM_SIDE_TARGET)
        lpm_target_look(migration);
    else
        lpm_source_look(migration);
    return TRUE;
}

static void wait_for_end(LpmMigration *migration, json_t *did)
{
    gint64 deadline = g_get_monotonic_time() + WAIT_US;
    enum lpm_state state;

    for (;;) {
        g_mutex_lock(&migration->lock);
        state = migration->state;
        g_mutex_unlock(&migration->lock);
        if (lpm_state_is_final(state) || state == LPM_STATE_QUEUED ||
            g_get_monotonic_time() > deadline)
            break;
        g_usleep(POLL_US);
    }
    if (lpm_state_is_final(state))
        say(did, "the migration has ended: %s", lpm_state_shown(state));
    else
        say(did, "the migration goes on: %s", lpm_state_shown(state));
}

static json_t *one(struct lpm_daemon *daemon, const struct lpm_recover_request *request,
                   const char *id, GError **error)
{
    g_autoptr(LpmMigration) migration = lpm_migrations_get(daemon->migrations, id);
    json_auto_t *why = json_array(), *did = json_array();

    if (migration) {
        if (!act(migration, request, did, error))
            return NULL;
        wait_for_end(migration, did);
    }
    g_autoptr(LpmMigrationRow) row = lpm_journal_migration_get(daemon->journal, id, error);
    struct answer answer = {.row = row, .here = daemon->config->name, .why = why, .did = did};
    if (!row || !judge(daemon, &answer, error))
        return NULL;
    gboolean ended = row->ended_ms != 0;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?, s:s, s:s, s:b, s:O, s:O}", "partition",
                     row->partition, "uuid", row->uuid, "migration", row->id, "role", row->role,
                     "peer", row->peer, "owner", answer.owner, "verdict", answer.verdict, "state",
                     row->state, "ended", ended, "why", why, "did", did);
}

/* What is unfinished; for a partition that was named, else the last migration that it was in. */
static GPtrArray *choose(struct lpm_daemon *daemon, const char *partition, GError **error)
{
    g_autoptr(GPtrArray) rows = lpm_journal_migrations(daemon->journal, partition, TRUE, 0, error);

    if (!rows || rows->len || !partition)
        return g_steal_pointer(&rows);
    g_ptr_array_unref(rows);
    rows = lpm_journal_migrations(daemon->journal, partition, FALSE, 1, error);
    if (rows && !rows->len) {
        lpm_fail(error, LPM_E_PARTITION_NOT_FOUND,
                 "partition '%s' was never in a migration with %s", partition,
                 daemon->config->name);
        return NULL;
    }
    return g_steal_pointer(&rows);
}

json_t *lpm_recover(struct lpm_daemon *daemon, const struct lpm_recover_request *request,
                    GError **error)
{
    g_autoptr(GPtrArray) rows = choose(daemon, request->partition, error);
    json_auto_t *list = json_array();

    if (!rows)
        return NULL;
    for (guint i = 0; i < rows->len; i++) {
        json_t *entry = one(daemon, request, ((LpmMigrationRow *)rows->pdata[i])->id, error);
        if (!entry)
            return NULL;
        json_array_append_new(list, entry);
    }
    lpm_recover_sweep(daemon);
    return json_pack("{s:O}", "recoveries", list);
}

/* ---- leftovers ---- */

static gboolean is_active(struct lpm_daemon *daemon, const char *id)
{
    g_autoptr(LpmMigration) migration = lpm_migrations_get(daemon->migrations, id);

    return migration != NULL;
}

static void sweep_folder(struct lpm_daemon *daemon, const char *id, const char *name G_GNUC_UNUSED)
{
    LpmMigration gone = {.daemon = daemon, .id = (char *)id};

    lpm_migration_remove_folder(&gone);
    lpm_event_log(daemon, LPM_LOG_INFO, id, NULL, "swept", "sockets of no migration removed");
}

/* ID.SIDE.sock */
static void sweep_mover(struct lpm_daemon *daemon, const char *id, const char *name)
{
    const char *text = strchr(name, '.');
    g_autofree char *side_text = text ? g_strndup(text + 1, strcspn(text + 1, ".")) : NULL;
    enum lpm_side side;

    /* A check before a move has movers, and no migration. */
    if (!lpm_side_from_name(side_text, &side) || lpm_mover_is_served(daemon->config, id, side))
        return;
    lpm_mover_dismiss(daemon->config, id, side);
    lpm_event_log(daemon, LPM_LOG_INFO, id, NULL, "swept", "mover of no migration told to quit");
}

/* Of a powered-off partition; whose it is was decided, or the migration would be active. */
static void sweep_bundle(struct lpm_daemon *daemon, const char *id, const char *name G_GNUC_UNUSED)
{
    g_autofree char *folder = lpm_bundle_folder(daemon->config, id);

    lpm_bundle_remove(folder);
    lpm_event_log(daemon, LPM_LOG_INFO, id, NULL, "swept", "files of no migration removed");
}

/* `remove` is called with what begins with the id of no migration that has not ended. */
static void sweep(struct lpm_daemon *daemon, const char *path,
                  void (*remove)(struct lpm_daemon *, const char *id, const char *name))
{
    g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
    const char *name;

    while (folder && (name = g_dir_read_name(folder))) {
        g_autofree char *id = g_strndup(name, strcspn(name, "."));
        guint8 bytes[6];

        if (!lpm_unhex(id, bytes, sizeof(bytes)) || is_active(daemon, id))
            continue;
        remove(daemon, id, name);
    }
}

void lpm_recover_sweep(struct lpm_daemon *daemon)
{
    g_autofree char *movers = g_build_filename(daemon->config->run_dir, "mover", NULL);
    g_autofree char *bundles = g_build_filename(daemon->config->state_dir, "bundles", NULL);

    sweep(daemon, daemon->config->socket_dir, sweep_folder);
    sweep(daemon, movers, sweep_mover);
    sweep(daemon, bundles, sweep_bundle);
}
