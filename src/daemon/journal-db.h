/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Private to the journal: statements and transactions. All need the journal's lock held. */
#ifndef LPM_DAEMON_JOURNAL_DB_H
#define LPM_DAEMON_JOURNAL_DB_H

#include "daemon/journal.h"

#include <sqlite3.h>

struct lpm_journal {
    GMutex lock; /* guards everything below */
    sqlite3 *db;
    char *path;
    gboolean full; /* whether synchronous is FULL now */
};

typedef sqlite3_stmt LpmStatement;
static inline void lpm_statement_free(LpmStatement *statement)
{
    sqlite3_finalize(statement);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmStatement, lpm_statement_free)

/* Sets JOURNAL with SQLite's reason; returns FALSE. */
gboolean lpm_journal_db_fail(struct lpm_journal *journal, const char *doing, GError **error);

/* A statement with its values bound: one letter each, s text (NULL allowed), i int64_t, u unsigned,
 * j json_t* (NULL allowed). NULL on error. */
LpmStatement *lpm_journal_db_query(struct lpm_journal *journal, GError **error, const char *sql,
                                   const char *types, ...);
/* The next row: TRUE. At the end FALSE, error unset; on failure FALSE, error set. */
gboolean lpm_journal_db_row(struct lpm_journal *journal, LpmStatement *statement, GError **error);
/* Runs a statement that has no rows. `*changed` (may be NULL): how many rows it touched. */
gboolean lpm_journal_db_run(struct lpm_journal *journal, LpmStatement *statement, int *changed,
                            GError **error);

/* A transaction; `full`: its commit returns after the fsync. lpm_journal_db_end commits if `ok`,
 * else rolls back; returns whether it committed. */
gboolean lpm_journal_db_begin(struct lpm_journal *journal, gboolean full, GError **error);
gboolean lpm_journal_db_end(struct lpm_journal *journal, gboolean ok, GError **error);

/* Columns: text (a copy, NULL if null) and JSON (NULL if null or damaged). */
char *lpm_journal_db_text(LpmStatement *statement, int column);
json_t *lpm_journal_db_json(LpmStatement *statement, int column);

/* A migration from a row whose first columns are these. */
#define LPM_MIGRATION_COLUMNS                                                                      \
    "id, role, partition, uuid, peer, state, started_ms, ended_ms, doc, error, report"
LpmMigrationRow *lpm_journal_db_migration(LpmStatement *statement);

#endif
