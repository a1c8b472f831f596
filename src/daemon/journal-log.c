/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The journal's log and peers. */
#include "base/error.h"
#include "daemon/journal-db.h"

static gboolean write_entry(struct lpm_journal *journal, const struct lpm_log_entry *entry,
                            GError **error)
{
    g_autoptr(LpmStatement) insert = lpm_journal_db_query(
        journal, error,
        "INSERT INTO log (time_us, host, migration, partition, level, event, text) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        "issssss", entry->time_us, entry->host, entry->migration, entry->partition, entry->level,
        entry->event, entry->text);

    if (!insert || !lpm_journal_db_run(journal, insert, NULL, error))
        return FALSE;
    g_autoptr(LpmStatement) trim = lpm_journal_db_query(
        journal, error, "DELETE FROM log WHERE number <= ?", "i",
        (int64_t)sqlite3_last_insert_rowid(journal->db) - LPM_JOURNAL_LOG_KEEP);
    return trim && lpm_journal_db_run(journal, trim, NULL, error);
}

gboolean lpm_journal_log_add(struct lpm_journal *journal, const struct lpm_log_entry *entry,
                             GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);

    if (!lpm_journal_db_begin(journal, FALSE, error))
        return FALSE;
    return lpm_journal_db_end(journal, write_entry(journal, entry, error), error);
}

static json_t *read_entry(LpmStatement *statement)
{
    static const char *const names[] = {"host", "migration", "partition", "level", "event", "text"};
    json_t *entry = json_object();

    json_object_set_new(entry, "time_us", json_integer(sqlite3_column_int64(statement, 0)));
    for (int i = 0; i < (int)G_N_ELEMENTS(names); i++) {
        const char *text = (const char *)sqlite3_column_text(statement, i + 1);

        json_object_set_new(entry, names[i], text ? json_string(text) : json_null());
    }
    return entry;
}

json_t *lpm_journal_log_list(struct lpm_journal *journal, const char *partition,
                             const char *migration, guint limit, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    json_auto_t *list = json_array();
    g_autoptr(GError) reason = NULL;
    g_autoptr(LpmStatement) statement = lpm_journal_db_query(
        journal, &reason,
        "SELECT * FROM (SELECT time_us, host, migration, partition, level, event, text, number "
        "FROM log WHERE (?1 IS NULL OR partition = ?1) AND (?2 IS NULL OR migration = ?2) "
        "ORDER BY number DESC LIMIT ?3) ORDER BY number",
        "ssu", partition, migration, limit ? limit : 1000);

    while (statement && lpm_journal_db_row(journal, statement, &reason))
        json_array_append_new(list, read_entry(statement));
    if (reason) {
        g_propagate_error(error, g_steal_pointer(&reason));
        return NULL;
    }
    return g_steal_pointer(&list);
}

LpmPeer *lpm_peer_copy(const LpmPeer *peer)
{
    LpmPeer *copy = g_memdup2(peer, sizeof(*peer));

    copy->name = g_strdup(peer->name);
    copy->address = g_strdup(peer->address);
    copy->fingerprint = g_strdup(peer->fingerprint);
    return copy;
}

void lpm_peer_free(LpmPeer *peer)
{
    if (!peer)
        return;
    g_free(peer->name);
    g_free(peer->address);
    g_free(peer->fingerprint);
    g_free(peer);
}

gboolean lpm_journal_peer_add(struct lpm_journal *journal, const LpmPeer *peer, gboolean replace,
                              GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    g_autoptr(LpmStatement) statement = lpm_journal_db_query(
        journal, error,
        "INSERT INTO peers (name, address, control_port, data_port, fingerprint, paired_ms) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name) DO UPDATE SET address = ?2, "
        "control_port = ?3, data_port = ?4, fingerprint = ?5, paired_ms = ?6 WHERE ?7 = 1",
        "ssuusiu", peer->name, peer->address, peer->control_port, peer->data_port,
        peer->fingerprint, peer->paired_ms, replace ? 1U : 0U);
    int changed = 0;

    if (!statement || !lpm_journal_db_begin(journal, TRUE, error))
        return FALSE;
    int rc = sqlite3_step(statement);
    changed = sqlite3_changes(journal->db);
    gboolean taken = rc == SQLITE_CONSTRAINT || (rc == SQLITE_DONE && changed == 0);
    if (taken)
        lpm_fail(error, LPM_E_PEER_EXISTS, "a peer named '%s' or with its key is already paired",
                 peer->name);
    else if (rc != SQLITE_DONE)
        lpm_journal_db_fail(journal, "writing", error);
    g_clear_pointer(&statement, lpm_statement_free);
    return lpm_journal_db_end(journal, rc == SQLITE_DONE && !taken, error);
}

gboolean lpm_journal_peer_remove(struct lpm_journal *journal, const char *name, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    g_autoptr(LpmStatement) statement =
        lpm_journal_db_query(journal, error, "DELETE FROM peers WHERE name = ?", "s", name);
    int changed = 0;

    if (!statement || !lpm_journal_db_begin(journal, TRUE, error))
        return FALSE;
    gboolean ok = lpm_journal_db_run(journal, statement, &changed, error);
    if (!lpm_journal_db_end(journal, ok, error))
        return FALSE;
    if (changed == 0)
        return lpm_fail(error, LPM_E_PEER_UNKNOWN, "there is no peer '%s'", name);
    return TRUE;
}

GPtrArray *lpm_journal_peers(struct lpm_journal *journal, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)lpm_peer_free);
    g_autoptr(GError) reason = NULL;
    g_autoptr(LpmStatement) statement = lpm_journal_db_query(
        journal, &reason,
        "SELECT name, address, control_port, data_port, fingerprint, paired_ms FROM peers "
        "ORDER BY name",
        "");

    while (statement && lpm_journal_db_row(journal, statement, &reason)) {
        LpmPeer *peer = g_new0(LpmPeer, 1);

        peer->name = lpm_journal_db_text(statement, 0);
        peer->address = lpm_journal_db_text(statement, 1);
        peer->control_port = (guint)sqlite3_column_int(statement, 2);
        peer->data_port = (guint)sqlite3_column_int(statement, 3);
        peer->fingerprint = lpm_journal_db_text(statement, 4);
        peer->paired_ms = sqlite3_column_int64(statement, 5);
        g_ptr_array_add(list, peer);
    }
    if (reason) {
        g_propagate_error(error, g_steal_pointer(&reason));
        return NULL;
    }
    return g_steal_pointer(&list);
}
