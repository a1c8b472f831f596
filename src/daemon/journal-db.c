/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/journal-db.h"

#include "base/error.h"
#include "base/fdio.h"

#ifdef LPM_FAULT_POINTS
#include "daemon/journal-crash-vfs.h"
#define VFS lpm_crash_vfs()
#else
#define VFS NULL /* SQLite's own */
#endif

#ifdef LPM_MUTANT_SKIP_FSYNC
#define DURABLE "PRAGMA synchronous=OFF"
#else
#define DURABLE "PRAGMA synchronous=FULL"
#endif

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>

/* Each entry brings the schema one version further; user_version counts them. Entries are never
 * changed once released, only added. */
static const char *const migrations[] = {
    "CREATE TABLE peers (name TEXT PRIMARY KEY, address TEXT NOT NULL, control_port INTEGER NOT "
    "NULL, data_port INTEGER NOT NULL, fingerprint TEXT NOT NULL UNIQUE, paired_ms INTEGER NOT "
    "NULL) STRICT;"
    "CREATE TABLE migrations (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, role TEXT NOT "
    "NULL, partition TEXT NOT NULL, uuid TEXT NOT NULL, peer TEXT NOT NULL, state TEXT NOT NULL, "
    "started_ms INTEGER NOT NULL, ended_ms INTEGER, doc TEXT NOT NULL, error TEXT, report TEXT) "
    "STRICT;"
    "CREATE TABLE decisions (migration TEXT NOT NULL REFERENCES migrations (id), seq INTEGER NOT "
    "NULL, wall_us INTEGER NOT NULL, what TEXT NOT NULL, facts TEXT NOT NULL, PRIMARY KEY "
    "(migration, seq)) STRICT;"
    "CREATE TRIGGER decisions_stay BEFORE UPDATE ON decisions BEGIN SELECT RAISE(ABORT, 'decisions "
    "are never changed'); END;"
    "CREATE TRIGGER decisions_remain BEFORE DELETE ON decisions BEGIN SELECT RAISE(ABORT, "
    "'decisions are never removed'); END;"
    "CREATE TABLE phases (number INTEGER PRIMARY KEY, migration TEXT NOT NULL REFERENCES "
    "migrations (id), name TEXT NOT NULL, begin_us INTEGER NOT NULL, end_us INTEGER) STRICT;"
    "CREATE INDEX phases_of ON phases (migration);"
    "CREATE TABLE log (number INTEGER PRIMARY KEY AUTOINCREMENT, time_us INTEGER NOT NULL, host "
    "TEXT, migration TEXT, partition TEXT, level TEXT NOT NULL, event TEXT NOT NULL, text TEXT) "
    "STRICT;"
    "CREATE INDEX log_of_partition ON log (partition);"
    "CREATE INDEX log_of_migration ON log (migration);",
    "CREATE TABLE forecasts (migration TEXT PRIMARY KEY REFERENCES migrations (id), made_ms "
    "INTEGER "
    "NOT NULL, document TEXT NOT NULL) STRICT;",
    ("CREATE TABLE timelines (number INTEGER PRIMARY KEY AUTOINCREMENT, migration TEXT NOT NULL "
     "UNIQUE REFERENCES migrations (id), samples TEXT NOT NULL) STRICT;"),
    ("CREATE TABLE fed (migration TEXT NOT NULL REFERENCES migrations (id), length INTEGER NOT "
     "NULL, offset INTEGER NOT NULL, PRIMARY KEY (migration, length, offset)) STRICT, WITHOUT "
     "ROWID;"
     "CREATE TRIGGER fed_until_the_end AFTER UPDATE OF ended_ms ON migrations WHEN NEW.ended_ms IS "
     "NOT NULL BEGIN DELETE FROM fed WHERE migration = NEW.id; END;"),
};

gboolean lpm_journal_db_fail(struct lpm_journal *journal, const char *doing, GError **error)
{
    return lpm_fail(error, LPM_E_JOURNAL, "%s: %s failed: %s", journal->path, doing,
                    journal->db ? sqlite3_errmsg(journal->db) : "out of memory");
}

static gboolean execute(struct lpm_journal *journal, const char *sql, const char *doing,
                        GError **error)
{
    if (sqlite3_exec(journal->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return lpm_journal_db_fail(journal, doing, error);
    return TRUE;
}

static int bind_json(LpmStatement *statement, int at, const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) : NULL;

    return sqlite3_bind_text(statement, at, text, -1, free);
}

LpmStatement *lpm_journal_db_query(struct lpm_journal *journal, GError **error, const char *sql,
                                   const char *types, ...)
{
    g_autoptr(LpmStatement) statement = NULL;
    va_list args;
    int rc = sqlite3_prepare_v2(journal->db, sql, -1, &statement, NULL);

    va_start(args, types);
    for (int i = 1; rc == SQLITE_OK && types[i - 1]; i++) {
        switch (types[i - 1]) {
        case 's':
            rc = sqlite3_bind_text(statement, i, va_arg(args, const char *), -1, SQLITE_TRANSIENT);
            break;
        case 'i':
            rc = sqlite3_bind_int64(statement, i, va_arg(args, int64_t));
            break;
        case 'u':
            rc = sqlite3_bind_int64(statement, i, va_arg(args, unsigned));
            break;
        default:
            rc = bind_json(statement, i, va_arg(args, const json_t *));
        }
    }
    va_end(args);
    if (rc != SQLITE_OK) {
        lpm_journal_db_fail(journal, "preparing a statement", error);
        return NULL;
    }
    return g_steal_pointer(&statement);
}

gboolean lpm_journal_db_row(struct lpm_journal *journal, LpmStatement *statement, GError **error)
{
    int rc = sqlite3_step(statement);

    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        lpm_journal_db_fail(journal, "reading", error);
    return rc == SQLITE_ROW;
}

gboolean lpm_journal_db_run(struct lpm_journal *journal, LpmStatement *statement, int *changed,
                            GError **error)
{
    if (sqlite3_step(statement) != SQLITE_DONE)
        return lpm_journal_db_fail(journal, "writing", error);
    if (changed)
        *changed = sqlite3_changes(journal->db);
    return TRUE;
}

gboolean lpm_journal_db_begin(struct lpm_journal *journal, gboolean full, GError **error)
{
    if (full != journal->full) {
        if (!execute(journal, full ? DURABLE : "PRAGMA synchronous=NORMAL", "setting synchronous",
                     error))
            return FALSE;
        journal->full = full;
    }
    return execute(journal, "BEGIN IMMEDIATE", "beginning a transaction", error);
}

gboolean lpm_journal_db_end(struct lpm_journal *journal, gboolean ok, GError **error)
{
    if (ok && execute(journal, "COMMIT", "committing", error))
        return TRUE;
    sqlite3_exec(journal->db, "ROLLBACK", NULL, NULL, NULL);
    return FALSE;
}

char *lpm_journal_db_text(LpmStatement *statement, int column)
{
    return g_strdup((const char *)sqlite3_column_text(statement, column));
}

json_t *lpm_journal_db_json(LpmStatement *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);

    return text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}

/* Copies one file of the damaged journal; one that is not there is no matter. */
static gboolean keep_file(const char *path, const char *suffix, const char *stamp, char **copy)
{
    g_autofree char *from = g_strconcat(path, suffix, NULL);
    g_autofree char *to = g_strdup_printf("%s.damaged-%s%s", path, stamp, suffix);
    g_autoptr(GFile) source = g_file_new_for_path(from);
    g_autoptr(GFile) target = g_file_new_for_path(to);

    if (!g_file_copy(source, target, G_FILE_COPY_OVERWRITE, NULL, NULL, NULL, NULL))
        return FALSE;
    if (copy)
        *copy = g_steal_pointer(&to);
    return TRUE;
}

static gboolean refuse_damaged(struct lpm_journal *journal, const char *reason, GError **error)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *stamp = g_date_time_format(now, "%Y%m%dT%H%M%SZ");
    g_autofree char *copy = NULL;

    keep_file(journal->path, "", stamp, &copy);
    keep_file(journal->path, "-wal", stamp, NULL);
    return lpm_fail(error, LPM_E_JOURNAL, "%s is damaged (%s); %s%s", journal->path, reason,
                    copy ? "a copy is kept as " : "it could not be copied", copy ? copy : "");
}

/* Reads the whole file once: damage is found at start, not at the decision that needs the page. */
static gboolean check_whole(struct lpm_journal *journal, GError **error)
{
    g_autoptr(LpmStatement) statement = NULL;
    int rc = sqlite3_prepare_v2(journal->db, "PRAGMA quick_check(1)", -1, &statement, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);

        if (text && strcmp(text, "ok") == 0)
            return TRUE;
        return refuse_damaged(journal, text ? text : "quick_check is silent", error);
    }
    if ((rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB)
        return refuse_damaged(journal, sqlite3_errmsg(journal->db), error);
    return lpm_journal_db_fail(journal, "checking it", error);
}

static gboolean bring_up_to_date(struct lpm_journal *journal, GError **error)
{
    g_autoptr(LpmStatement) statement =
        lpm_journal_db_query(journal, error, "PRAGMA user_version", "");

    if (!statement || !lpm_journal_db_row(journal, statement, error))
        return FALSE;
    int version = sqlite3_column_int(statement, 0);
    g_clear_pointer(&statement, lpm_statement_free);
    if (version < 0 || version > (int)G_N_ELEMENTS(migrations))
        return lpm_fail(error, LPM_E_JOURNAL,
                        "%s has version %d, written by a newer lpmd; this one knows %d",
                        journal->path, version, (int)G_N_ELEMENTS(migrations));
    for (; version < (int)G_N_ELEMENTS(migrations); version++) {
        g_autofree char *mark = g_strdup_printf("PRAGMA user_version=%d", version + 1);

        if (!lpm_journal_db_begin(journal, TRUE, error))
            return FALSE;
        gboolean ok = execute(journal, migrations[version], "making the tables", error) &&
                      execute(journal, mark, "marking the version", error);
        if (!lpm_journal_db_end(journal, ok, error))
            return FALSE;
    }
    return TRUE;
}

/* WAL lets readers of the file (sqlite3, backups) go on while lpmd writes; the answer of the pragma
 * tells whether the file system can do it. */
static gboolean set_wal(struct lpm_journal *journal, GError **error)
{
    g_autoptr(LpmStatement) statement =
        lpm_journal_db_query(journal, error, "PRAGMA journal_mode=WAL", "");

    if (!statement || !lpm_journal_db_row(journal, statement, error))
        return FALSE;
    if (g_strcmp0((const char *)sqlite3_column_text(statement, 0), "wal") != 0)
        return lpm_fail(error, LPM_E_JOURNAL,
                        "%s: its file system cannot hold a journal in WAL mode", journal->path);
    return TRUE;
}

struct lpm_journal *lpm_journal_open(const char *path, GError **error)
{
    /* Made here, since SQLite would give it the umask's mode. */
    lpm_autofd fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0) {
        lpm_fail(error, LPM_E_JOURNAL, "%s: %s", path, g_strerror(errno));
        return NULL;
    }
    g_autoptr(LpmJournal) journal = g_new0(struct lpm_journal, 1);
    g_mutex_init(&journal->lock);
    journal->path = g_strdup(path);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX;
    if (sqlite3_open_v2(path, &journal->db, flags, VFS) != SQLITE_OK) {
        lpm_journal_db_fail(journal, "opening", error);
        return NULL;
    }
    sqlite3_busy_timeout(journal->db, 5000);
    /* What is refused stays as it is: closing would otherwise move the log into the file. */
    sqlite3_db_config(journal->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (!check_whole(journal, error) || !set_wal(journal, error) ||
        !execute(journal, DURABLE "; PRAGMA foreign_keys=ON", "setting up", error))
        return NULL;
    journal->full = TRUE;
    if (!bring_up_to_date(journal, error))
        return NULL;
    sqlite3_db_config(journal->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return g_steal_pointer(&journal);
}

void lpm_journal_close(struct lpm_journal *journal)
{
    if (!journal)
        return;
    sqlite3_close(journal->db);
    g_mutex_clear(&journal->lock);
    g_free(journal->path);
    g_free(journal);
}
