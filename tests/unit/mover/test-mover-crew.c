/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Jobs done side by side leave in their order, whatever becomes of the threads meanwhile, and never
 * more of them exist than the header says. */
#include "mover/crew.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct job {
    guint number;
    guint result;
};

static gint jobs_alive, jobs_most, working, working_most; /* atomic */
static guint next_expected;                               /* of hand_on, one at a time */
static guint out_of_order;

static void note_most(gint value, gint *most)
{
    gint before;

    while ((before = g_atomic_int_get(most)) < value &&
           !g_atomic_int_compare_and_exchange(most, before, value))
        continue;
}

static gpointer job_new(gpointer user)
{
    (void)user;
    note_most(g_atomic_int_add(&jobs_alive, 1) + 1, &jobs_most);
    return g_new0(struct job, 1);
}

static void job_free(gpointer job)
{
    g_atomic_int_add(&jobs_alive, -1);
    g_free(job);
}

static gpointer tool_new(gpointer user)
{
    (void)user;
    return g_new0(guint, 1);
}

/* Later jobs are often done before earlier ones. */
static void work(gpointer user, gpointer tool, gpointer opaque)
{
    struct job *job = opaque;

    (void)user;
    note_most(g_atomic_int_add(&working, 1) + 1, &working_most);
    ++*(guint *)tool;
    g_usleep(job->number * 7919 % 13 * 40);
    job->result = job->number * 3;
    g_atomic_int_add(&working, -1);
}

static void hand_on(gpointer user, gpointer opaque)
{
    const struct job *job = opaque;

    (void)user;
    out_of_order += job->number != next_expected || job->result != 3 * job->number;
    next_expected++;
}

static const struct lpm_crew_ops pushing = {.name = "test",
                                            .job_new = job_new,
                                            .job_free = job_free,
                                            .tool_new = tool_new,
                                            .tool_free = g_free,
                                            .work = work,
                                            .hand_on = hand_on};
static const struct lpm_crew_ops pulling = {.name = "test",
                                            .job_new = job_new,
                                            .job_free = job_free,
                                            .tool_new = tool_new,
                                            .tool_free = g_free,
                                            .work = work};

static int begin(void **state)
{
    (void)state;
    jobs_alive = jobs_most = working = working_most = 0;
    next_expected = out_of_order = 0;
    return 0;
}

static void give(LpmCrew *crew, guint number)
{
    struct job *job = lpm_crew_open(crew);

    assert_non_null(job);
    job->number = number;
    lpm_crew_give(crew, job);
}

static void test_order(void **state)
{
    LpmCrew *crew = lpm_crew_new(&pushing, NULL, 4);

    (void)state;
    for (guint i = 0; i < 400; i++)
        give(crew, i);
    lpm_crew_drain(crew);
    assert_int_equal(next_expected, 400);
    assert_int_equal(out_of_order, 0);
    assert_true(working_most >= 2 && working_most <= 4);
    assert_true(jobs_most <= 2 * 4 + 2);
    lpm_crew_free(crew);
    assert_int_equal(jobs_alive, 0);
}

/* Threads come and go in the middle: nothing is lost, and the bound follows. */
static void test_threads_change(void **state)
{
    static const guint counts[] = {1, 8, 3, 1, 32, 2, 0, 5};
    LpmCrew *crew = lpm_crew_new(&pushing, NULL, 2);
    struct lpm_crew_state seen;
    guint given = 0;

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(counts); i++) {
        lpm_crew_set_threads(crew, counts[i]);
        lpm_crew_get(crew, &seen);
        assert_int_equal(seen.threads, MAX(counts[i], 1));
        for (guint n = 0; n < 60; n++)
            give(crew, given++);
    }
    lpm_crew_set_threads(crew, 1);
    lpm_crew_drain(crew);
    g_atomic_int_set(&working_most, 0);
    for (guint n = 0; n < 70; n++)
        give(crew, given++);
    lpm_crew_drain(crew);
    assert_int_equal(working_most, 1);
    assert_true(jobs_alive <= 2 * 1 + 2);
    assert_int_equal(next_expected, given);
    assert_int_equal(out_of_order, 0);
    lpm_crew_free(crew);
    assert_int_equal(jobs_alive, 0);
}

static gpointer run_taker(gpointer opaque)
{
    LpmCrew *crew = opaque;
    struct job *job;

    while ((job = lpm_crew_take(crew))) {
        hand_on(NULL, job);
        lpm_crew_release(crew, job);
    }
    return NULL;
}

static void test_taker(void **state)
{
    LpmCrew *crew = lpm_crew_new(&pulling, NULL, 3);
    GThread *taker = g_thread_new("taker", run_taker, crew);

    (void)state;
    for (guint i = 0; i < 300; i++)
        give(crew, i);
    lpm_crew_end(crew);
    g_thread_join(taker);
    assert_int_equal(next_expected, 300);
    assert_int_equal(out_of_order, 0);
    assert_true(jobs_most <= 2 * 3 + 2);
    lpm_crew_free(crew);
    assert_int_equal(jobs_alive, 0);
}

static gpointer run_closer(gpointer crew)
{
    g_usleep(20000);
    lpm_crew_close(crew);
    return NULL;
}

/* Nobody takes: the giver waits within the bound, and is let go by close. */
static void test_close(void **state)
{
    LpmCrew *crew = lpm_crew_new(&pulling, NULL, 2);
    GThread *closer = g_thread_new("closer", run_closer, crew);
    struct job *job;
    guint given = 0;

    (void)state;
    while ((job = lpm_crew_open(crew))) {
        job->number = given++;
        lpm_crew_give(crew, job);
    }
    assert_int_equal(given, 2 * 2 + 2);
    assert_null(lpm_crew_take(crew));
    lpm_crew_drain(crew);
    g_thread_join(closer);
    lpm_crew_free(crew);
    assert_int_equal(jobs_alive, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_order, begin),
        cmocka_unit_test_setup(test_threads_change, begin),
        cmocka_unit_test_setup(test_taker, begin),
        cmocka_unit_test_setup(test_close, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
