/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The VFS of fault builds: what was not synced is lost with the process that wrote it, what was
 * synced is not. A child writes and is killed; the parent reads with SQLite's own VFS. */
#include "daemon/journal-crash-vfs.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MAKE "CREATE TABLE rows (name TEXT, bulk BLOB)"
#define BULK_BYTES 1000000

struct fixture {
    char *folder, *path;
};

static sqlite3 *open_with(const char *path, const char *vfs)
{
    sqlite3 *db = NULL;

    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs) != SQLITE_OK)
        g_error("opening %s: %s", path, sqlite3_errmsg(db));
    return db;
}

static void execute(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        g_error("%s: %s", sql, sqlite3_errmsg(db));
}

static int number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;

    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        g_error("%s: %s", sql, sqlite3_errmsg(db));
    int value = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

static int set_up(void **state)
{
    struct fixture *fixture = g_new0(struct fixture, 1);

    fixture->folder = g_dir_make_tmp("lpm-test-XXXXXX", NULL);
    fixture->path = g_build_filename(fixture->folder, "x.db", NULL);
    sqlite3 *db = open_with(fixture->path, NULL);
    execute(db, "PRAGMA journal_mode=WAL");
    execute(db, MAKE);
    sqlite3_close(db);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    struct fixture *fixture = *state;

    for (gsize i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        g_autofree char *path = g_strconcat(fixture->path, suffixes[i], NULL);
        g_unlink(path);
    }
    assert_int_equal(g_rmdir(fixture->folder), 0);
    g_free(fixture->folder);
    g_free(fixture->path);
    g_free(fixture);
    return 0;
}

/* A child runs the statements (NULL ends them), reads its own rows, and is killed. */
static void write_and_die(const struct fixture *fixture, gboolean crash, const char *const *sql,
                          int expected)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        sqlite3 *db = open_with(fixture->path, crash ? lpm_crash_vfs() : NULL);
        for (; *sql; sql++)
            execute(db, *sql);
        if (number(db, "SELECT count(*) FROM rows") != expected)
            _exit(3);
        kill(getpid(), SIGKILL);
        _exit(4);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

/* How much is there afterwards, in a sound file. */
static void assert_rows(const struct fixture *fixture, int expected, int bytes)
{
    sqlite3 *db = open_with(fixture->path, NULL);

    assert_int_equal(number(db, "SELECT count(*) FROM pragma_integrity_check WHERE "
                                "integrity_check = 'ok'"),
                     1);
    assert_int_equal(number(db, "SELECT count(*) FROM rows"), expected);
    assert_int_equal(number(db, "SELECT coalesce(sum(length(bulk)), 0) FROM rows"), bytes);
    sqlite3_close(db);
}

#define FULL "PRAGMA synchronous=FULL"
#define NORMAL "PRAGMA synchronous=NORMAL"
#define OFF "PRAGMA synchronous=OFF"
#define ONE "INSERT INTO rows VALUES ('one', NULL)"
#define BULK "INSERT INTO rows VALUES ('bulk', randomblob(1000000))"

static void test_unsynced_is_lost(void **state)
{
    write_and_die(*state, TRUE, (const char *const[]){OFF, ONE, ONE, NULL}, 2);
    assert_rows(*state, 0, 0);
}

/* The control: it is the VFS that loses it, not the kill. */
static void test_unsynced_survives_without_it(void **state)
{
    write_and_die(*state, FALSE, (const char *const[]){OFF, ONE, ONE, NULL}, 2);
    assert_rows(*state, 2, 0);
}

static void test_synced_survives(void **state)
{
    write_and_die(*state, TRUE, (const char *const[]){FULL, ONE, NULL}, 1);
    assert_rows(*state, 1, 0);
}

/* NORMAL does not sync a commit; the next FULL one takes it to the disk with its own. */
static void test_sync_takes_what_was_before(void **state)
{
    write_and_die(*state, TRUE, (const char *const[]){NORMAL, ONE, FULL, ONE, NORMAL, ONE, NULL},
                  3);
    assert_rows(*state, 2, 0);
}

/* Longer than what SQLite's own VFS takes in one piece. */
static void test_much_at_once_survives(void **state)
{
    write_and_die(*state, TRUE, (const char *const[]){FULL, BULK, NULL}, 1);
    assert_rows(*state, 1, BULK_BYTES);
}

/* The log is written into the file and cut to nothing, both synced. */
static void test_checkpoint_survives(void **state)
{
    write_and_die(*state, TRUE,
                  (const char *const[]){FULL, BULK, ONE, "PRAGMA wal_checkpoint(TRUNCATE)", NULL},
                  2);
    assert_rows(*state, 2, BULK_BYTES);
    write_and_die(*state, TRUE,
                  (const char *const[]){FULL, "DELETE FROM rows WHERE name = 'bulk'", "VACUUM",
                                        "PRAGMA wal_checkpoint(TRUNCATE)", OFF, ONE, NULL},
                  2);
    assert_rows(*state, 1, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_unsynced_is_lost),      TEST(test_unsynced_survives_without_it),
        TEST(test_synced_survives),       TEST(test_sync_takes_what_was_before),
        TEST(test_much_at_once_survives), TEST(test_checkpoint_survives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
