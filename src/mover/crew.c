/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/crew.h"

#include "base/clock.h"

#include <pthread.h>
#include <sched.h>

/* Jobs for `n` threads: each has one in hand and one waiting; one is open, one is handed on. */
#define JOBS(n) (2 * (n) + 2)
#define PLACES JOBS(LPM_CREW_THREADS_MAX)

/* A job from give to the moment when it is idle again. */
struct place {
    gpointer job;
    gboolean done;
};

struct hand {
    LpmCrew *crew;
    guint number; /* of this thread, from 0 */
    GThread *thread;
};

struct lpm_crew {
    /* immutable */
    const struct lpm_crew_ops *ops;
    gpointer user;

    struct hand hands[LPM_CREW_THREADS_MAX]; /* owned by the caller of set_threads */

    pthread_mutex_t lock;
    /* guarded by lock */
    pthread_cond_t begin; /* there is something to begin, or a thread should end */
    pthread_cond_t moved; /* a job is done or idle again */
    guint threads;
    struct place places[PLACES];         /* job number n is at n % PLACES */
    guint64 given, begun, taken, handed; /* jobs, in total; handed: idle again */
    gpointer idle[PLACES];
    guint idle_jobs, jobs; /* jobs: that exist */
    gboolean handing;      /* a thread is in `hand_on` */
    gboolean ended, closed;
    gint64 busy_us;
};

/* ---- the threads; lock held unless said ---- */

static void make_idle(LpmCrew *crew, gpointer job)
{
    crew->handed++;
    if (crew->jobs > JOBS(crew->threads)) {
        crew->jobs--;
        crew->ops->job_free(job);
    } else {
        crew->idle[crew->idle_jobs++] = job;
    }
    pthread_cond_broadcast(&crew->moved);
}

/* Hands on what is done and next in order, unless somebody else is at it. */
static void hand_on(LpmCrew *crew)
{
    while (!crew->handing && crew->handed < crew->begun) {
        struct place *place = &crew->places[crew->handed % PLACES];

        if (!place->done)
            return;
        crew->handing = TRUE;
        pthread_mutex_unlock(&crew->lock);
        crew->ops->hand_on(crew->user, place->job);
        pthread_mutex_lock(&crew->lock);
        crew->handing = FALSE;
        make_idle(crew, place->job);
    }
}

static void do_one(LpmCrew *crew, gpointer tool)
{
    struct place *place = &crew->places[crew->begun++ % PLACES];

    pthread_mutex_unlock(&crew->lock);
    gint64 since = lpm_monotonic_us();

    crew->ops->work(crew->user, tool, place->job);
    gint64 took = lpm_monotonic_us() - since;

    pthread_mutex_lock(&crew->lock);
    crew->busy_us += took;
    place->done = TRUE;
    if (crew->ops->hand_on)
        hand_on(crew);
    else
        pthread_cond_broadcast(&crew->moved);
}

static gpointer run_hand(gpointer opaque)
{
    struct hand *hand = opaque;
    LpmCrew *crew = hand->crew;
    gpointer tool = crew->ops->tool_new(crew->user);

    pthread_mutex_lock(&crew->lock);
    while (!crew->closed && hand->number < crew->threads) {
        if (crew->begun < crew->given)
            do_one(crew, tool);
        else
            pthread_cond_wait(&crew->begin, &crew->lock);
    }
    pthread_mutex_unlock(&crew->lock);
    crew->ops->tool_free(tool);
    return NULL;
}

/* ---- the owner ---- */

LpmCrew *lpm_crew_new(const struct lpm_crew_ops *ops, gpointer user, guint threads)
{
    LpmCrew *crew = g_new0(LpmCrew, 1);

    crew->ops = ops;
    crew->user = user;
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->begin, NULL);
    pthread_cond_init(&crew->moved, NULL);
    for (guint i = 0; i < LPM_CREW_THREADS_MAX; i++) {
        crew->hands[i].crew = crew;
        crew->hands[i].number = i;
    }
    lpm_crew_set_threads(crew, threads);
    return crew;
}

void lpm_crew_set_threads(LpmCrew *crew, guint threads)
{
    threads = CLAMP(threads, 1, LPM_CREW_THREADS_MAX);
    pthread_mutex_lock(&crew->lock);
    crew->threads = threads;
    pthread_cond_broadcast(&crew->begin);
    pthread_cond_broadcast(&crew->moved);
    pthread_mutex_unlock(&crew->lock);
    for (guint i = 0; i < LPM_CREW_THREADS_MAX; i++) {
        struct hand *hand = &crew->hands[i];

        if (i < threads && !hand->thread)
            hand->thread = g_thread_new(crew->ops->name, run_hand, hand);
        else if (i >= threads && hand->thread)
            g_thread_join(g_steal_pointer(&hand->thread));
    }
}

guint lpm_crew_processors(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return 1;
    return CLAMP((guint)CPU_COUNT(&set), 1, LPM_CREW_THREADS_MAX);
}

void lpm_crew_close(LpmCrew *crew)
{
    pthread_mutex_lock(&crew->lock);
    crew->closed = TRUE;
    pthread_cond_broadcast(&crew->begin);
    pthread_cond_broadcast(&crew->moved);
    pthread_mutex_unlock(&crew->lock);
}

void lpm_crew_free(LpmCrew *crew)
{
    if (!crew)
        return;
    lpm_crew_close(crew);
    for (guint i = 0; i < LPM_CREW_THREADS_MAX; i++)
        if (crew->hands[i].thread)
            g_thread_join(crew->hands[i].thread);
    for (guint64 i = crew->handed; i < crew->given; i++)
        crew->ops->job_free(crew->places[i % PLACES].job);
    while (crew->idle_jobs)
        crew->ops->job_free(crew->idle[--crew->idle_jobs]);
    pthread_cond_destroy(&crew->begin);
    pthread_cond_destroy(&crew->moved);
    pthread_mutex_destroy(&crew->lock);
    g_free(crew);
}

void lpm_crew_get(LpmCrew *crew, struct lpm_crew_state *state)
{
    pthread_mutex_lock(&crew->lock);
    state->threads = crew->threads;
    state->waiting = (guint)(crew->given - crew->begun);
    state->working = (guint)(crew->begun - crew->handed);
    state->busy_us = crew->busy_us;
    pthread_mutex_unlock(&crew->lock);
}

/* ---- the giver ---- */

gpointer lpm_crew_open(LpmCrew *crew)
{
    gpointer job = NULL;

    pthread_mutex_lock(&crew->lock);
    while (!crew->closed && !crew->idle_jobs && crew->jobs >= JOBS(crew->threads))
        pthread_cond_wait(&crew->moved, &crew->lock);
    gboolean closed = crew->closed;

    if (!closed && crew->idle_jobs)
        job = crew->idle[--crew->idle_jobs];
    else if (!closed)
        crew->jobs++;
    pthread_mutex_unlock(&crew->lock);
    return closed || job ? job : crew->ops->job_new(crew->user);
}

void lpm_crew_give(LpmCrew *crew, gpointer job)
{
    pthread_mutex_lock(&crew->lock);
    gboolean closed = crew->closed;

    if (!closed) {
        crew->places[crew->given++ % PLACES] = (struct place){.job = job};
        pthread_cond_signal(&crew->begin);
    }
    pthread_mutex_unlock(&crew->lock);
    if (closed)
        crew->ops->job_free(job);
}

void lpm_crew_drain(LpmCrew *crew)
{
    pthread_mutex_lock(&crew->lock);
    while (!crew->closed && crew->handed < crew->given)
        pthread_cond_wait(&crew->moved, &crew->lock);
    pthread_mutex_unlock(&crew->lock);
}

void lpm_crew_end(LpmCrew *crew)
{
    pthread_mutex_lock(&crew->lock);
    crew->ended = TRUE;
    pthread_cond_broadcast(&crew->moved);
    pthread_mutex_unlock(&crew->lock);
}

/* ---- the taker ---- */

gpointer lpm_crew_take(LpmCrew *crew)
{
    gpointer job = NULL;

    pthread_mutex_lock(&crew->lock);
    for (;;) {
        struct place *place = &crew->places[crew->taken % PLACES];

        if (crew->closed || (crew->ended && crew->taken == crew->given))
            break;
        if (crew->taken < crew->begun && place->done) {
            job = place->job;
            crew->taken++;
            break;
        }
        pthread_cond_wait(&crew->moved, &crew->lock);
    }
    pthread_mutex_unlock(&crew->lock);
    return job;
}

void lpm_crew_release(LpmCrew *crew, gpointer job)
{
    pthread_mutex_lock(&crew->lock);
    make_idle(crew, job);
    pthread_mutex_unlock(&crew->lock);
}
