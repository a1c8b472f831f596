/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/bitmap-gate.h"

#include <pthread.h>

struct lpm_bitmap_gate {
    /* immutable */
    void (*changed)(gpointer user);
    gpointer user;

    pthread_mutex_t lock;
    pthread_cond_t moved;
    /* guarded by lock */
    gboolean open, cancelled;
    gboolean seen, waiting;

    /* guarded by lock until it is open, then the return path's thread's */
    LpmBitmapMarks *marks;
};

LpmBitmapGate *lpm_bitmap_gate_new(gboolean closed, void (*changed)(gpointer user), gpointer user)
{
    LpmBitmapGate *gate = g_new0(LpmBitmapGate, 1);

    gate->changed = changed;
    gate->user = user;
    gate->open = !closed;
    gate->marks = lpm_bitmap_marks_new();
    pthread_mutex_init(&gate->lock, NULL);
    pthread_cond_init(&gate->moved, NULL);
    return gate;
}

void lpm_bitmap_gate_free(LpmBitmapGate *gate)
{
    if (!gate)
        return;
    pthread_mutex_destroy(&gate->lock);
    pthread_cond_destroy(&gate->moved);
    lpm_bitmap_marks_free(gate->marks);
    g_free(gate);
}

gboolean lpm_bitmap_gate_mark(LpmBitmapGate *gate, const char *block, guint64 first, guint64 count)
{
    pthread_mutex_lock(&gate->lock);
    gboolean ok = !gate->open && lpm_bitmap_marks_add(gate->marks, block, first, count);
    pthread_mutex_unlock(&gate->lock);
    return ok;
}

void lpm_bitmap_gate_pass(LpmBitmapGate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->open = TRUE;
    gate->waiting = FALSE;
    pthread_cond_broadcast(&gate->moved);
    pthread_mutex_unlock(&gate->lock);
    gate->changed(gate->user);
}

void lpm_bitmap_gate_cancel(LpmBitmapGate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->cancelled = TRUE;
    gate->waiting = FALSE;
    pthread_cond_broadcast(&gate->moved);
    pthread_mutex_unlock(&gate->lock);
}

gboolean lpm_bitmap_gate_waiting(LpmBitmapGate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gboolean waiting = gate->waiting;
    pthread_mutex_unlock(&gate->lock);
    return waiting;
}

gboolean lpm_bitmap_gate_seen(LpmBitmapGate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gboolean seen = gate->seen;
    pthread_mutex_unlock(&gate->lock);
    return seen;
}

static void wait_open(LpmBitmapGate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gboolean first = !gate->seen;

    gate->seen = TRUE;
    gate->waiting = !gate->open && !gate->cancelled;
    pthread_mutex_unlock(&gate->lock);
    if (first)
        gate->changed(gate->user);
    pthread_mutex_lock(&gate->lock);
    while (!gate->open && !gate->cancelled)
        pthread_cond_wait(&gate->moved, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
}

void lpm_bitmap_gate_take(LpmBitmapGate *gate, const struct lpm_return_event *event, guint8 *bytes)
{
    if (event->type == LPM_RETURN_RECV_BITMAP)
        wait_open(gate);
    lpm_bitmap_marks_apply(gate->marks, event, bytes);
}
