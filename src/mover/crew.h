/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * A crew: threads that do jobs side by side, and hand them on in the order in which they were
 * given. What a job is, the owner says (struct lpm_crew_ops); the source's crew encodes batches,
 * the target's decodes frames.
 *
 * Jobs are the crew's: it makes one when none is idle, and never more than two for each thread and
 * two besides, so what they hold is bounded. One thread opens and gives (the giver). Either the
 * crew hands on by `hand_on`, called by its threads, one at a time; or one thread takes
 * (the taker) and gives back. The number of threads can be changed at any time.
 */
#ifndef LPM_MOVER_CREW_H
#define LPM_MOVER_CREW_H

#include <glib.h>

#define LPM_CREW_THREADS_MAX 32u

typedef struct lpm_crew LpmCrew;

struct lpm_crew_ops {
    const char *name; /* of the threads */
    gpointer (*job_new)(gpointer user);
    void (*job_free)(gpointer job);
    /* What a thread has for itself: a compressor's context, say. */
    gpointer (*tool_new)(gpointer user);
    void (*tool_free)(gpointer tool);
    /* Any thread of the crew, several at a time. */
    void (*work)(gpointer user, gpointer tool, gpointer job);
    /* In order, one at a time, after `work`; must not wait for the crew. NULL: there is a taker. */
    void (*hand_on)(gpointer user, gpointer job);
};

struct lpm_crew_state {
    guint threads;  /* wanted */
    guint waiting;  /* jobs that no thread has begun */
    guint working;  /* jobs in work, or done and not handed on */
    gint64 busy_us; /* spent in `work` so far, all threads together */
};

/* `threads` is clamped to 1 .. LPM_CREW_THREADS_MAX, here and in set_threads. */
LpmCrew *lpm_crew_new(const struct lpm_crew_ops *ops, gpointer user, guint threads);
/* Closes, joins and frees; jobs not handed on are freed. The giver and the taker have ended. */
void lpm_crew_free(LpmCrew *crew);
/* Ends every wait for good: open and take return NULL, drain returns. Any thread. */
void lpm_crew_close(LpmCrew *crew);

/* Begins threads, or ends some after the job that each has in hand and waits for that. One caller
 * at a time, none of the crew's threads. */
void lpm_crew_set_threads(LpmCrew *crew, guint threads);
/* The processors that this process may use. */
guint lpm_crew_processors(void);

/* Giver: a job to fill, waiting for one. NULL: closed. Only one is open at a time; one that is not
 * given is the giver's to free. */
gpointer lpm_crew_open(LpmCrew *crew);
/* Giver: the open job goes to work and keeps its place in the order. Closed: it is freed. */
void lpm_crew_give(LpmCrew *crew, gpointer job);
/* Giver: waits until everything given was handed on (or taken and released). */
void lpm_crew_drain(LpmCrew *crew);
/* Giver: nothing more will be given; take returns NULL once all is taken. */
void lpm_crew_end(LpmCrew *crew);

/* Taker: the next job, done, in order; waits for it. NULL: closed, or ended and empty. */
gpointer lpm_crew_take(LpmCrew *crew);
/* Taker: the job taken last is idle again. */
void lpm_crew_release(LpmCrew *crew, gpointer job);

/* Any thread. */
void lpm_crew_get(LpmCrew *crew, struct lpm_crew_state *state);

#endif
