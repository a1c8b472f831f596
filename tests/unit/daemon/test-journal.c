/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "hosts.h"

#include "host/page-feeder.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct fixture {
    char *folder, *path;
    struct lpm_journal *journal;
};

static int set_up(void **state)
{
    struct fixture *fixture = g_new0(struct fixture, 1);

    fixture->folder = test_folder();
    fixture->path = g_build_filename(fixture->folder, "lpmd.db", NULL);
    fixture->journal = lpm_journal_open(fixture->path, NULL);
    *state = fixture;
    return fixture->journal ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    lpm_journal_close(fixture->journal);
    test_remove_folder(fixture->folder);
    g_free(fixture->path);
    g_free(fixture);
    return 0;
}

static void insert(struct lpm_journal *journal, const char *id, const char *partition)
{
    g_autoptr(GError) error = NULL;
    json_auto_t *doc = json_pack("{s:i}", "bandwidth", 7);
    const LpmMigrationRow row = {
        .id = (char *)id,
        .role = (char *)"source",
        .partition = (char *)partition,
        .uuid = (char *)"3f0c",
        .peer = (char *)"b",
        .state = (char *)"validating",
        .started_ms = 1700000000123,
        .doc = doc,
    };

    lpm_journal_migration_insert(journal, &row, &error);
    assert_null(error);
}

/* Runs SQL behind the journal's back; returns SQLite's result. */
static int run_sql(const struct fixture *fixture, const char *sql)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(fixture->path, &db), SQLITE_OK);
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_close(db);
    return rc;
}

static void test_migration_round_trip(void **state)
{
    struct lpm_journal *journal = ((struct fixture *)*state)->journal;
    g_autoptr(GError) error = NULL;
    json_auto_t *report = json_pack("{s:i}", "total_ms", 1234);

    insert(journal, "m1", "db1");
    insert(journal, "m2", "web");
    assert_int_equal(lpm_journal_active_count(journal, NULL, NULL), 2);
    assert_int_equal(lpm_journal_active_count(journal, "b", NULL), 2);
    assert_int_equal(lpm_journal_active_count(journal, "c", NULL), 0);
    assert_true(lpm_journal_migration_state(journal, "m1", "copying", &error));
    assert_true(
        lpm_journal_migration_finish(journal, "m1", "done", 1700000009999, NULL, report, &error));
    g_autoptr(LpmMigrationRow) row = lpm_journal_migration_get(journal, "m1", &error);
    assert_non_null(row);
    assert_string_equal(row->state, "done");
    assert_int_equal(row->started_ms, 1700000000123);
    assert_int_equal(row->ended_ms, 1700000009999);
    assert_int_equal(json_integer_value(json_object_get(row->doc, "bandwidth")), 7);
    assert_int_equal(json_integer_value(json_object_get(row->report, "total_ms")), 1234);
    assert_null(row->error);

    g_autoptr(GPtrArray) all = lpm_journal_migrations(journal, NULL, FALSE, 0, &error);
    assert_int_equal(all->len, 2);
    assert_string_equal(((LpmMigrationRow *)all->pdata[0])->id, "m2"); /* the newest first */
    g_autoptr(GPtrArray) active = lpm_journal_migrations(journal, "web", TRUE, 0, &error);
    assert_int_equal(active->len, 1);
    g_autoptr(GPtrArray) by_uuid = lpm_journal_migrations(journal, "3f0c", FALSE, 1, &error);
    assert_int_equal(by_uuid->len, 1);
}

static void test_unknown_migration(void **state)
{
    struct lpm_journal *journal = ((struct fixture *)*state)->journal;
    g_autoptr(GError) a = NULL, b = NULL, c = NULL;

    assert_null(lpm_journal_migration_get(journal, "none", &a));
    test_assert_error(a, LPM_E_MIGRATION_NOT_FOUND);
    assert_false(lpm_journal_decide(journal, "none", "prepared", NULL, NULL, &b));
    test_assert_error(b, LPM_E_MIGRATION_NOT_FOUND);
    assert_false(lpm_journal_migration_state(journal, "none", "done", &c));
    test_assert_error(c, LPM_E_MIGRATION_NOT_FOUND);
}

static void test_decisions_in_order(void **state)
{
    struct lpm_journal *journal = ((struct fixture *)*state)->journal;
    g_autoptr(GError) error = NULL;
    json_auto_t *facts = json_pack("{s:i}", "pid", 42);

    insert(journal, "m1", "db1");
    insert(journal, "m2", "db2");
    assert_true(lpm_journal_decide(journal, "m1", "prepared", facts, "committing", &error));
    assert_true(lpm_journal_decide(journal, "m2", "prepared", NULL, NULL, &error));
    assert_true(lpm_journal_decide(journal, "m1", "committed", NULL, "cleaning", &error));
    g_autoptr(GPtrArray) list = lpm_journal_decisions(journal, "m1", &error);
    assert_int_equal(list->len, 2);
    LpmDecision *first = list->pdata[0], *second = list->pdata[1];
    assert_int_equal(first->seq, 1);
    assert_int_equal(second->seq, 2);
    assert_string_equal(second->what, "committed");
    assert_int_equal(json_integer_value(json_object_get(first->facts, "pid")), 42);
    assert_true(json_is_object(second->facts));
    assert_true(first->wall_us > 1700000000000000);
    g_autoptr(LpmMigrationRow) row = lpm_journal_migration_get(journal, "m1", &error);
    assert_string_equal(row->state, "cleaning");
    assert_true(lpm_journal_decided(journal, "m1", "prepared", &error));
    assert_false(lpm_journal_decided(journal, "m2", "committed", &error));
    assert_null(error);
}

static void test_decisions_stay(void **state)
{
    struct fixture *fixture = *state;

    insert(fixture->journal, "m1", "db1");
    assert_true(lpm_journal_decide(fixture->journal, "m1", "prepared", NULL, NULL, NULL));
    assert_int_equal(run_sql(fixture, "UPDATE decisions SET what = 'x'"), SQLITE_CONSTRAINT);
    assert_int_equal(run_sql(fixture, "DELETE FROM decisions"), SQLITE_CONSTRAINT);
    assert_true(lpm_journal_decided(fixture->journal, "m1", "prepared", NULL));
}

/* A child decides and tells each number only after the journal said so; it is killed in the midst.
 * What it told must be there. */
static void test_decisions_survive_kill(void **state)
{
    struct fixture *fixture = *state;
    int told[2], last = 0, number;

    insert(fixture->journal, "m1", "db1");
    g_clear_pointer(&fixture->journal, lpm_journal_close);
    assert_int_equal(pipe(told), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct lpm_journal *journal = lpm_journal_open(fixture->path, NULL);

        for (int i = 1;; i++) {
            if (!journal || !lpm_journal_decide(journal, "m1", "step", NULL, NULL, NULL) ||
                write(told[1], &i, sizeof(i)) != sizeof(i))
                _exit(1);
        }
    }
    close(told[1]);
    while (last < 50 && read(told[0], &number, sizeof(number)) == sizeof(number))
        last = number;
    kill(pid, SIGKILL);
    while (read(told[0], &number, sizeof(number)) == sizeof(number))
        last = number;
    close(told[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(last >= 50);
    fixture->journal = lpm_journal_open(fixture->path, NULL);
    assert_non_null(fixture->journal);
    g_autoptr(GPtrArray) list = lpm_journal_decisions(fixture->journal, "m1", NULL);
    assert_true((int)list->len == last || (int)list->len == last + 1);
    for (guint i = 0; i < list->len; i++)
        assert_int_equal(((LpmDecision *)list->pdata[i])->seq, i + 1);
}

static gboolean has_copy(const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;
    gboolean found = FALSE;

    while ((name = g_dir_read_name(dir)))
        found = found || g_str_has_prefix(name, "lpmd.db.damaged-");
    return found;
}

/* Overwrites the file from `at` on; returns how opening fails. */
static void damage_and_open(struct fixture *fixture, long at)
{
    g_autoptr(GError) error = NULL;
    char noise[3000];

    for (int i = 0; i < 200; i++) {
        g_autofree char *id = g_strdup_printf("m%d", i);
        insert(fixture->journal, id, "db1");
    }
    g_clear_pointer(&fixture->journal, lpm_journal_close);
    memset(noise, 0xa5, sizeof(noise));
    FILE *file = fopen(fixture->path, "r+b");
    assert_non_null(file);
    fseek(file, at, SEEK_SET);
    assert_int_equal(fwrite(noise, sizeof(noise), 1, file), 1);
    fclose(file);
    assert_null(lpm_journal_open(fixture->path, &error));
    test_assert_error(error, LPM_E_JOURNAL);
    assert_non_null(strstr(error->message, "damaged"));
    assert_true(has_copy(fixture->folder));
}

static void test_damaged_header_refused(void **state)
{
    damage_and_open(*state, 0);
}

static void test_damaged_page_refused(void **state)
{
    damage_and_open(*state, 3 * 4096);
}

static void test_newer_version_refused(void **state)
{
    struct fixture *fixture = *state;
    g_autoptr(GError) error = NULL;

    assert_int_equal(run_sql(fixture, "PRAGMA user_version=1000"), SQLITE_OK);
    g_clear_pointer(&fixture->journal, lpm_journal_close);
    assert_null(lpm_journal_open(fixture->path, &error));
    test_assert_error(error, LPM_E_JOURNAL);
    assert_non_null(strstr(error->message, "newer"));
    assert_false(has_copy(fixture->folder));
}

static void test_mode_is_private(void **state)
{
    struct fixture *fixture = *state;
    GStatBuf status;

    assert_int_equal(g_stat(fixture->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void test_phases(void **state)
{
    struct lpm_journal *journal = ((struct fixture *)*state)->journal;

    insert(journal, "m1", "db1");
    assert_true(lpm_journal_phase_begin(journal, "m1", "validating", 100, NULL));
    assert_true(lpm_journal_phase_begin(journal, "m1", "preparing", 250, NULL));
    json_auto_t *open = lpm_journal_phases(journal, "m1", NULL);
    json_auto_t *expected_open =
        json_pack("[{s:s, s:i, s:i}, {s:s, s:i, s:n}]", "name", "validating", "begin_us", 100,
                  "end_us", 250, "name", "preparing", "begin_us", 250, "end_us");
    assert_true(json_equal(open, expected_open));
    assert_true(lpm_journal_phase_end(journal, "m1", 300, NULL));
    json_auto_t *closed = lpm_journal_phases(journal, "m1", NULL);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(closed, 1), "end_us")), 300);
}

static void add_line(struct lpm_journal *journal, const char *migration, const char *text)
{
    const struct lpm_log_entry entry = {
        .time_us = 5,
        .host = "a",
        .migration = migration,
        .partition = "db1",
        .level = "info",
        .event = "test",
        .text = text,
    };

    assert_true(lpm_journal_log_add(journal, &entry, NULL));
}

static void test_log_is_filtered_and_bounded(void **state)
{
    struct fixture *fixture = *state;
    g_autofree char *jump = g_strdup_printf(
        "UPDATE sqlite_sequence SET seq = %d WHERE name = 'log'", LPM_JOURNAL_LOG_KEEP + 1);

    add_line(fixture->journal, NULL, "first");
    add_line(fixture->journal, "m1", "second");
    json_auto_t *of_m1 = lpm_journal_log_list(fixture->journal, "db1", "m1", 0, NULL);
    assert_int_equal(json_array_size(of_m1), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(of_m1, 0), "text")),
                        "second");
    json_auto_t *newest = lpm_journal_log_list(fixture->journal, NULL, NULL, 1, NULL);
    assert_true(json_equal(newest, of_m1));
#ifdef LPM_FAULT_POINTS
    skip(); /* the connection of run_sql() does not see what the journal has not synced */
#endif
    /* As if as many lines as are kept had come: the two above are beyond the bound then. */
    assert_int_equal(run_sql(fixture, jump), SQLITE_OK);
    add_line(fixture->journal, NULL, "last");
    json_auto_t *left = lpm_journal_log_list(fixture->journal, NULL, NULL, 0, NULL);
    assert_int_equal(json_array_size(left), 1);
    assert_true(json_is_null(json_object_get(json_array_get(left, 0), "migration")));
}

static void test_timelines_are_replaced_and_bounded(void **state)
{
    struct lpm_journal *journal = ((struct fixture *)*state)->journal;
    json_auto_t *first = json_pack("[{s:i}]", "at_us", 1);
    json_auto_t *second = json_pack("[{s:i}, {s:i}]", "at_us", 1, "at_us", 2);

    insert(journal, "m1", "db1");
    assert_true(lpm_journal_timeline_set(journal, "m1", first, NULL));
    assert_true(lpm_journal_timeline_set(journal, "m1", second, NULL));
    json_auto_t *found = lpm_journal_timeline_get(journal, "m1", NULL);
    assert_true(json_equal(found, second));
    assert_false(lpm_journal_timeline_set(journal, "of nobody", first, NULL));
    json_auto_t *none = lpm_journal_timeline_get(journal, "of nobody", NULL);
    assert_int_equal(json_array_size(none), 0);
    for (int i = 0; i < LPM_JOURNAL_TIMELINES_KEEP; i++) {
        g_autofree char *id = g_strdup_printf("later%d", i);

        insert(journal, id, "db1");
        assert_true(lpm_journal_timeline_set(journal, id, first, NULL));
    }
    json_auto_t *gone = lpm_journal_timeline_get(journal, "m1", NULL);
    assert_int_equal(json_array_size(gone), 0);
    json_auto_t *oldest_kept = lpm_journal_timeline_get(journal, "later0", NULL);
    assert_true(json_equal(oldest_kept, first));
}

static GArray *fed_of(struct lpm_journal *journal, const char *id)
{
    GArray *fed = lpm_journal_fed(journal, id, NULL);

    assert_non_null(fed);
    return fed;
}

static void test_fed_pages_stay_until_the_end(void **state)
{
    struct lpm_journal *journal = ((struct fixture *)*state)->journal;
    static const struct lpm_fed_page pages[] = {{1 << 30, 8192}, {1 << 24, 4096}, {1 << 30, 0}};

    insert(journal, "m1", "db1");
    insert(journal, "m2", "db2");
    assert_true(lpm_journal_fed_add(journal, "m1", pages, 3, NULL));
    assert_true(lpm_journal_fed_add(journal, "m1", pages + 1, 1, NULL));
    assert_true(lpm_journal_fed_add(journal, "m2", pages, 1, NULL));
    assert_false(lpm_journal_fed_add(journal, "of nobody", pages, 1, NULL));
    g_autoptr(GArray) fed = fed_of(journal, "m1");
    assert_int_equal(fed->len, 3);
    assert_memory_equal(fed->data, &pages[1], sizeof(pages[0]));
    assert_memory_equal(fed->data + sizeof(pages[0]), &pages[2], sizeof(pages[0]));
    assert_memory_equal(fed->data + 2 * sizeof(pages[0]), &pages[0], sizeof(pages[0]));
    assert_true(lpm_journal_migration_state(journal, "m1", "post-copy", NULL));
    g_autoptr(GArray) still = fed_of(journal, "m1");
    assert_int_equal(still->len, 3);
    assert_true(lpm_journal_migration_finish(journal, "m1", "done", 5, NULL, NULL, NULL));
    g_autoptr(GArray) none = fed_of(journal, "m1"), other = fed_of(journal, "m2");
    assert_int_equal(none->len, 0);
    assert_int_equal(other->len, 1);
}

static void test_peers(void **state)
{
    struct lpm_journal *journal = ((struct fixture *)*state)->journal;
    g_autoptr(GError) taken = NULL, unknown = NULL;
    LpmPeer peer = {.name = (char *)"b",
                    .address = (char *)"192.0.2.1",
                    .control_port = 1,
                    .data_port = 2,
                    .fingerprint = (char *)"f1",
                    .paired_ms = 3};

    assert_true(lpm_journal_peer_add(journal, &peer, FALSE, NULL));
    assert_false(lpm_journal_peer_add(journal, &peer, FALSE, &taken));
    test_assert_error(taken, LPM_E_PEER_EXISTS);
    g_clear_error(&taken);
    peer.name = (char *)"c"; /* the same key under another name */
    assert_false(lpm_journal_peer_add(journal, &peer, TRUE, &taken));
    test_assert_error(taken, LPM_E_PEER_EXISTS);
    peer.name = (char *)"b";
    peer.address = (char *)"192.0.2.9";
    assert_true(lpm_journal_peer_add(journal, &peer, TRUE, NULL));
    g_autoptr(GPtrArray) list = lpm_journal_peers(journal, NULL);
    assert_int_equal(list->len, 1);
    assert_string_equal(((LpmPeer *)list->pdata[0])->address, "192.0.2.9");
    assert_true(lpm_journal_peer_remove(journal, "b", NULL));
    assert_false(lpm_journal_peer_remove(journal, "b", &unknown));
    test_assert_error(unknown, LPM_E_PEER_UNKNOWN);
}

static gpointer decide_many(gpointer journal)
{
    for (int i = 0; i < 25; i++) {
        if (!lpm_journal_decide(journal, "m1", "step", NULL, NULL, NULL))
            return NULL;
        lpm_journal_phase_begin(journal, "m1", "copying", i, NULL);
    }
    return journal;
}

static void test_threads(void **state)
{
    struct lpm_journal *journal = ((struct fixture *)*state)->journal;
    GThread *threads[4];

    insert(journal, "m1", "db1");
    for (int i = 0; i < 4; i++)
        threads[i] = g_thread_new("decide", decide_many, journal);
    for (int i = 0; i < 4; i++)
        assert_non_null(g_thread_join(threads[i]));
    g_autoptr(GPtrArray) list = lpm_journal_decisions(journal, "m1", NULL);
    assert_int_equal(list->len, 100);
    assert_int_equal(((LpmDecision *)list->pdata[99])->seq, 100);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_migration_round_trip),
        TEST(test_unknown_migration),
        TEST(test_decisions_in_order),
        TEST(test_decisions_stay),
        TEST(test_decisions_survive_kill),
        TEST(test_damaged_header_refused),
        TEST(test_damaged_page_refused),
        TEST(test_newer_version_refused),
        TEST(test_mode_is_private),
        TEST(test_phases),
        TEST(test_log_is_filtered_and_bounded),
        TEST(test_timelines_are_replaced_and_bounded),
        TEST(test_fed_pages_stay_until_the_end),
        TEST(test_peers),
        TEST(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
