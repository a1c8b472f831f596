/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Two sessions in one process, over plain links with a wire between them that can be cut after any
 * number of bytes (in the midst of a frame, as networks do), fall silent, or turn a bit over.
 */
#ifndef LPM_TEST_SCENE_H
#define LPM_TEST_SCENE_H

#include "transport/session.h"

#define SCENE_STREAMS 4 /* both channels, both directions */

struct wire {
    int ends[2];    /* our ends of two socket pairs */
    gint64 budget;  /* bytes carried before it is cut; < 0: without end */
    gint64 flip_at; /* which byte has a bit turned over; < 0: none */
    gboolean mute;  /* not cut: from then on it carries nothing */
    gboolean slow;  /* it takes some time for each few bytes */
    gint stop;      /* atomic: a mute one ends */
    GThread *thread;
};

struct stream {
    LpmSession *session; /* of the sender, or of the receiver */
    enum lpm_channel channel;
    GByteArray *bytes;
    gint done; /* atomic */
    GThread *thread;
};

struct scene {
    LpmSession *session[2];
    GPtrArray *wires;
    struct stream out[SCENE_STREAMS], in[SCENE_STREAMS];
    gint64 flip_at; /* of the next wire; then -1 */
    gboolean mute;  /* of the next wire; then FALSE */
    gboolean slow;  /* of those to come */
};

/* Sessions that take so many links at a time. */
void scene_open(struct scene *scene, guint64 window, guint links_first, guint links_second);
/* Everything in all streams begins to flow. */
void scene_start(struct scene *scene, gsize bytes);
/* A connection that carries `budget` bytes and is cut then (< 0: never). */
void scene_link(struct scene *scene, gint64 budget);
/* Either session asks for one. */
gboolean scene_needs_link(struct scene *scene);
gboolean scene_done(struct scene *scene);
/* Waits until it is done. FALSE: not in that time. */
gboolean scene_await(struct scene *scene, guint seconds);
/* What came is what went in. */
gboolean scene_exact(const struct scene *scene);
/* Waits until damage has failed both sessions, stops them, and asserts that nothing damaged was
 * delivered: what came is a beginning of what went in. */
void scene_assert_damage(struct scene *scene);
void scene_close(struct scene *scene);

#endif
