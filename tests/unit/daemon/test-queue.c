/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Who of those that wait goes next, with a registry that has no libvirt behind it. */
#include "daemon/migrations-internal.h"
#include "daemon/queue.h"

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    LpmConfig config;
    struct lpm_daemon daemon;
    struct lpm_migrations migrations;
    int made;
};

static int setup(void **state)
{
    struct fixture *fixture = g_new0(struct fixture, 1);

    fixture->config = (LpmConfig){.name = (char *)"alpha",
                                  .max_migrations = 8,
                                  .max_outgoing = 2,
                                  .max_incoming = 2,
                                  .max_per_peer = 1};
    fixture->daemon.config = &fixture->config;
    fixture->daemon.migrations = &fixture->migrations;
    fixture->migrations.daemon = &fixture->daemon;
    g_mutex_init(&fixture->migrations.lock);
    g_cond_init(&fixture->migrations.changed);
    fixture->migrations.by_id =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)lpm_migration_unref);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    g_hash_table_destroy(fixture->migrations.by_id);
    g_mutex_clear(&fixture->migrations.lock);
    g_cond_clear(&fixture->migrations.changed);
    g_free(fixture);
    return 0;
}

/* Asks for one; what lpmd does when the row is in the journal follows if `ready`. Borrowed. */
static LpmMigration *ask(struct fixture *fixture, const char *partition, const char *peer,
                         gint priority, gboolean ready)
{
    g_autofree char *id = g_strdup_printf("%012d", ++fixture->made);
    g_autofree char *uuid = g_strdup_printf("uuid-%d", fixture->made);
    g_autoptr(LpmMigration) migration =
        lpm_migration_new(&fixture->daemon, LPM_SIDE_SOURCE, id, partition, uuid, peer);

    migration->may_queue = TRUE;
    migration->priority = priority;
    assert_true(lpm_migrations_add(&fixture->migrations, migration, NULL));
    if (ready && g_atomic_int_get(&migration->queued))
        lpm_queue_ready(migration);
    return migration;
}

static void expect_next(struct fixture *fixture, LpmMigration *expected)
{
    assert_ptr_equal(lpm_queue_take(&fixture->migrations, 1), expected);
}

static void test_limits(void **state)
{
    struct fixture *fixture = *state;
    LpmMigration *a = ask(fixture, "a", "beta", 0, TRUE), *b = ask(fixture, "b", "beta", 0, TRUE);
    LpmMigration *c = ask(fixture, "c", "gamma", 0, TRUE);
    LpmMigration *d = ask(fixture, "d", "delta", 0, TRUE);

    assert_false(a->queued); /* one to beta, one to gamma: two leave */
    assert_true(b->queued);
    assert_false(c->queued);
    assert_true(d->queued);
    expect_next(fixture, NULL);
    lpm_migrations_remove(&fixture->migrations, c);
    expect_next(fixture, d); /* b would be next, and beta still has one: it holds up nobody */
    expect_next(fixture, NULL);
    lpm_migrations_remove(&fixture->migrations, a);
    expect_next(fixture, b);
    expect_next(fixture, NULL);
}

static void test_order(void **state)
{
    struct fixture *fixture = *state;
    LpmMigration *under_way = ask(fixture, "a", "beta", 0, TRUE);
    LpmMigration *old = ask(fixture, "b", "beta", 0, TRUE),
                 *young = ask(fixture, "c", "beta", 0, TRUE);
    LpmMigration *urgent = ask(fixture, "d", "beta", 5, TRUE);
    LpmMigration *writing = ask(fixture, "e", "beta", 9, FALSE);

    lpm_migrations_remove(&fixture->migrations, under_way);
    expect_next(fixture, urgent);
    lpm_migrations_remove(&fixture->migrations, urgent);
    expect_next(fixture, old);
    lpm_migrations_remove(&fixture->migrations, old);
    lpm_queue_ready(writing); /* its row is in the journal now */
    expect_next(fixture, writing);
    lpm_migrations_remove(&fixture->migrations, writing);
    expect_next(fixture, young);
}

/* A slot that is free is not taken by who comes now when others wait for it. */
static void test_nobody_jumps_the_queue(void **state)
{
    struct fixture *fixture = *state;
    LpmMigration *under_way = ask(fixture, "a", "beta", 0, TRUE);
    LpmMigration *first = ask(fixture, "b", "beta", 0, TRUE);

    lpm_migrations_remove(&fixture->migrations, under_way);
    LpmMigration *late = ask(fixture, "c", "beta", 0, TRUE);
    assert_true(late->queued);
    LpmMigration *urgent = ask(fixture, "d", "beta", 1, TRUE);
    assert_false(urgent->queued);
    lpm_migrations_remove(&fixture->migrations, urgent);
    expect_next(fixture, first);
    /* One whose target is asked again in a moment is not in the way of others. */
    lpm_migrations_remove(&fixture->migrations, first);
    late->retry_at = G_MAXINT64 / 2;
    assert_false(ask(fixture, "e", "beta", 0, TRUE)->queued);
}

static void test_stopped(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, "a", "beta", 0, TRUE);
    LpmMigration *waits = ask(fixture, "b", "beta", 0, TRUE);
    expect_next(fixture, NULL);
    assert_true(lpm_source_stop(waits, NULL));
    expect_next(fixture, waits); /* to be ended: it needs no slot for that */
}

static void test_refused(void **state)
{
    struct fixture *fixture = *state;
    g_autoptr(LpmMigration) second =
        lpm_migration_new(&fixture->daemon, LPM_SIDE_SOURCE, "0000000000ff", "b", "uuid-b", "beta");
    g_autoptr(GError) error = NULL;

    ask(fixture, "a", "beta", 0, TRUE);
    assert_false(lpm_migrations_add(&fixture->migrations, second, &error)); /* may not queue */
    assert_true(g_error_matches(error, LPM_ERROR, LPM_E_TOO_MANY));
    assert_non_null(strstr(error->message, "max_per_peer"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_jumps_the_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
