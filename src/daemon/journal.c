/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/journal.h"

#include "base/clock.h"
#include "base/error.h"
#include "daemon/journal-db.h"

#define LIST_DEFAULT 1000

void lpm_migration_row_free(LpmMigrationRow *row)
{
    if (!row)
        return;
    g_free(row->id);
    g_free(row->role);
    g_free(row->partition);
    g_free(row->uuid);
    g_free(row->peer);
    g_free(row->state);
    json_decref(row->doc);
    json_decref(row->error);
    json_decref(row->report);
    g_free(row);
}

static void decision_free(gpointer data)
{
    LpmDecision *decision = data;

    g_free(decision->what);
    json_decref(decision->facts);
    g_free(decision);
}

/* Runs `statement` (taken over, may be NULL) in a transaction of its own. */
static gboolean run_alone(struct lpm_journal *journal, LpmStatement *taken, gboolean full,
                          int *changed, GError **error)
{
    g_autoptr(LpmStatement) statement = taken;

    if (!statement || !lpm_journal_db_begin(journal, full, error))
        return FALSE;
    gboolean ok = lpm_journal_db_run(journal, statement, changed, error);
    g_clear_pointer(&statement, lpm_statement_free);
    return lpm_journal_db_end(journal, ok, error);
}

static gboolean not_found(const char *id, GError **error)
{
    return lpm_fail(error, LPM_E_MIGRATION_NOT_FOUND, "there is no migration '%s'", id);
}

/* The same for an UPDATE of one migration. */
static gboolean run_update(struct lpm_journal *journal, LpmStatement *taken, const char *id,
                           GError **error)
{
    int changed = 0;

    if (!run_alone(journal, taken, TRUE, &changed, error))
        return FALSE;
    return changed == 1 ? TRUE : not_found(id, error);
}

gboolean lpm_journal_migration_insert(struct lpm_journal *journal, const LpmMigrationRow *row,
                                      GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    LpmStatement *statement = lpm_journal_db_query(
        journal, error,
        "INSERT INTO migrations (id, role, partition, uuid, peer, state, started_ms, doc) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        "ssssssij", row->id, row->role, row->partition, row->uuid, row->peer, row->state,
        row->started_ms, row->doc);

    return run_alone(journal, statement, TRUE, NULL, error);
}

gboolean lpm_journal_migration_state(struct lpm_journal *journal, const char *id, const char *state,
                                     GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    LpmStatement *statement = lpm_journal_db_query(
        journal, error, "UPDATE migrations SET state = ? WHERE id = ?", "ss", state, id);

    return run_update(journal, statement, id, error);
}

gboolean lpm_journal_migration_doc(struct lpm_journal *journal, const char *id, json_t *doc,
                                   GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    LpmStatement *statement = lpm_journal_db_query(
        journal, error, "UPDATE migrations SET doc = ? WHERE id = ?", "js", doc, id);

    return run_update(journal, statement, id, error);
}

gboolean lpm_journal_migration_finish(struct lpm_journal *journal, const char *id,
                                      const char *state, int64_t ended_ms, json_t *failure,
                                      json_t *report, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    LpmStatement *statement = lpm_journal_db_query(
        journal, error,
        "UPDATE migrations SET state = ?, ended_ms = ?, error = ?, report = ? WHERE id = ?",
        "sijjs", state, ended_ms, failure, report, id);

    return run_update(journal, statement, id, error);
}

LpmMigrationRow *lpm_journal_db_migration(LpmStatement *statement)
{
    LpmMigrationRow *row = g_new0(LpmMigrationRow, 1);

    row->id = lpm_journal_db_text(statement, 0);
    row->role = lpm_journal_db_text(statement, 1);
    row->partition = lpm_journal_db_text(statement, 2);
    row->uuid = lpm_journal_db_text(statement, 3);
    row->peer = lpm_journal_db_text(statement, 4);
    row->state = lpm_journal_db_text(statement, 5);
    row->started_ms = sqlite3_column_int64(statement, 6);
    row->ended_ms = sqlite3_column_int64(statement, 7); /* NULL reads as 0 */
    row->doc = lpm_journal_db_json(statement, 8);
    if (!row->doc)
        row->doc = json_object();
    row->error = lpm_journal_db_json(statement, 9);
    row->report = lpm_journal_db_json(statement, 10);
    return row;
}

LpmMigrationRow *lpm_journal_migration_get(struct lpm_journal *journal, const char *id,
                                           GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    g_autoptr(GError) reason = NULL;
    g_autoptr(LpmStatement) statement = lpm_journal_db_query(
        journal, &reason, "SELECT " LPM_MIGRATION_COLUMNS " FROM migrations WHERE id = ?", "s", id);

    if (statement && lpm_journal_db_row(journal, statement, &reason))
        return lpm_journal_db_migration(statement);
    if (reason)
        g_propagate_error(error, g_steal_pointer(&reason));
    else
        not_found(id, error);
    return NULL;
}

GPtrArray *lpm_journal_migrations(struct lpm_journal *journal, const char *partition,
                                  gboolean active, guint limit, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    g_autoptr(GPtrArray) rows =
        g_ptr_array_new_with_free_func((GDestroyNotify)lpm_migration_row_free);
    g_autoptr(GError) reason = NULL;
    g_autoptr(LpmStatement) statement =
        lpm_journal_db_query(journal, &reason,
                             "SELECT " LPM_MIGRATION_COLUMNS
                             " FROM migrations WHERE (?1 IS NULL OR partition = ?1 OR uuid = ?1) "
                             "AND (?2 = 0 OR ended_ms IS NULL) ORDER BY number DESC LIMIT ?3",
                             "suu", partition, active ? 1U : 0U, limit ? limit : LIST_DEFAULT);

    while (statement && lpm_journal_db_row(journal, statement, &reason))
        g_ptr_array_add(rows, lpm_journal_db_migration(statement));
    if (reason) {
        g_propagate_error(error, g_steal_pointer(&reason));
        return NULL;
    }
    return g_steal_pointer(&rows);
}

int lpm_journal_active_count(struct lpm_journal *journal, const char *peer, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    g_autoptr(LpmStatement) statement = lpm_journal_db_query(
        journal, error,
        "SELECT count(*) FROM migrations WHERE ended_ms IS NULL AND (?1 IS NULL OR peer = ?1)", "s",
        peer);

    if (!statement || !lpm_journal_db_row(journal, statement, error))
        return -1;
    return sqlite3_column_int(statement, 0);
}

/* TRUE if the migration exists; FALSE with MIGRATION_NOT_FOUND or JOURNAL. */
static gboolean known(struct lpm_journal *journal, const char *id, GError **error)
{
    g_autoptr(GError) reason = NULL;
    g_autoptr(LpmStatement) statement =
        lpm_journal_db_query(journal, &reason, "SELECT 1 FROM migrations WHERE id = ?", "s", id);

    if (statement && lpm_journal_db_row(journal, statement, &reason))
        return TRUE;
    if (!reason)
        return not_found(id, error);
    g_propagate_error(error, g_steal_pointer(&reason));
    return FALSE;
}

/* One statement within a transaction; `taken` may be NULL. */
static gboolean run_inside(struct lpm_journal *journal, LpmStatement *taken, GError **error)
{
    g_autoptr(LpmStatement) statement = taken;

    return statement && lpm_journal_db_run(journal, statement, NULL, error);
}

static gboolean write_decision(struct lpm_journal *journal, const char *id, const char *what,
                               json_t *facts, const char *state, GError **error)
{
    json_auto_t *none = facts ? NULL : json_object();
    LpmStatement *statement;

    if (!known(journal, id, error))
        return FALSE;
    statement = lpm_journal_db_query(
        journal, error,
        "INSERT INTO decisions (migration, seq, wall_us, what, facts) VALUES (?1, 1 + (SELECT "
        "coalesce(max(seq), 0) FROM decisions WHERE migration = ?1), ?2, ?3, ?4)",
        "sisj", id, lpm_wall_us(), what, facts ? facts : none);
    if (!run_inside(journal, statement, error))
        return FALSE;
    if (!state)
        return TRUE;
    statement = lpm_journal_db_query(journal, error, "UPDATE migrations SET state = ? WHERE id = ?",
                                     "ss", state, id);
    return run_inside(journal, statement, error);
}

gboolean lpm_journal_decide(struct lpm_journal *journal, const char *id, const char *what,
                            json_t *facts, const char *state, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);

    if (!lpm_journal_db_begin(journal, TRUE, error))
        return FALSE;
    gboolean ok = write_decision(journal, id, what, facts, state, error);
    return lpm_journal_db_end(journal, ok, error);
}

GPtrArray *lpm_journal_decisions(struct lpm_journal *journal, const char *id, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(decision_free);
    g_autoptr(GError) reason = NULL;
    g_autoptr(LpmStatement) statement = lpm_journal_db_query(
        journal, &reason,
        "SELECT seq, wall_us, what, facts FROM decisions WHERE migration = ? ORDER BY seq", "s",
        id);

    while (statement && lpm_journal_db_row(journal, statement, &reason)) {
        LpmDecision *decision = g_new0(LpmDecision, 1);

        decision->seq = sqlite3_column_int64(statement, 0);
        decision->wall_us = sqlite3_column_int64(statement, 1);
        decision->what = lpm_journal_db_text(statement, 2);
        decision->facts = lpm_journal_db_json(statement, 3);
        g_ptr_array_add(list, decision);
        if (!decision->what || !decision->facts) {
            lpm_fail(error, LPM_E_JOURNAL,
                     "decision %" G_GINT64_FORMAT " of migration %s is damaged",
                     (gint64)decision->seq, id);
            return NULL;
        }
    }
    if (reason) {
        g_propagate_error(error, g_steal_pointer(&reason));
        return NULL;
    }
    return g_steal_pointer(&list);
}

gboolean lpm_journal_decided(struct lpm_journal *journal, const char *id, const char *what,
                             GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    g_autoptr(LpmStatement) statement = lpm_journal_db_query(
        journal, error, "SELECT 1 FROM decisions WHERE migration = ? AND what = ?", "ss", id, what);

    return statement && lpm_journal_db_row(journal, statement, error);
}

static gboolean end_phase(struct lpm_journal *journal, const char *id, int64_t end_us,
                          GError **error)
{
    LpmStatement *statement = lpm_journal_db_query(
        journal, error, "UPDATE phases SET end_us = ? WHERE migration = ? AND end_us IS NULL", "is",
        end_us, id);

    return run_inside(journal, statement, error);
}

static gboolean begin_phase(struct lpm_journal *journal, const char *id, const char *name,
                            int64_t begin_us, GError **error)
{
    LpmStatement *statement;

    if (!known(journal, id, error) || !end_phase(journal, id, begin_us, error))
        return FALSE;
    statement = lpm_journal_db_query(
        journal, error, "INSERT INTO phases (migration, name, begin_us) VALUES (?, ?, ?)", "ssi",
        id, name, begin_us);
    return run_inside(journal, statement, error);
}

gboolean lpm_journal_phase_begin(struct lpm_journal *journal, const char *id, const char *name,
                                 int64_t begin_us, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);

    if (!lpm_journal_db_begin(journal, FALSE, error))
        return FALSE;
    return lpm_journal_db_end(journal, begin_phase(journal, id, name, begin_us, error), error);
}

gboolean lpm_journal_phase_end(struct lpm_journal *journal, const char *id, int64_t end_us,
                               GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);

    if (!lpm_journal_db_begin(journal, FALSE, error))
        return FALSE;
    gboolean ok = known(journal, id, error) && end_phase(journal, id, end_us, error);
    return lpm_journal_db_end(journal, ok, error);
}

json_t *lpm_journal_phases(struct lpm_journal *journal, const char *id, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    json_auto_t *list = json_array();
    g_autoptr(GError) reason = NULL;
    g_autoptr(LpmStatement) statement = lpm_journal_db_query(
        journal, &reason,
        "SELECT name, begin_us, end_us FROM phases WHERE migration = ? ORDER BY number", "s", id);

    while (statement && lpm_journal_db_row(journal, statement, &reason)) {
        gboolean open = sqlite3_column_type(statement, 2) == SQLITE_NULL;
        json_t *end = open ? json_null() : json_integer(sqlite3_column_int64(statement, 2));

        json_array_append_new(list, json_pack("{s:s, s:I, s:o}", "name",
                                              sqlite3_column_text(statement, 0), "begin_us",
                                              (json_int_t)sqlite3_column_int64(statement, 1),
                                              "end_us", end));
    }
    if (reason) {
        g_propagate_error(error, g_steal_pointer(&reason));
        return NULL;
    }
    return g_steal_pointer(&list);
}
