/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/ring.h"

#include <pthread.h>

struct lpm_ring {
    pthread_mutex_t lock;
    /* guarded by lock */
    pthread_cond_t moved;
    guint64 put, released; /* slots, in total */
    gboolean ended, closed;
    gboolean drained; /* the link has nothing to do */
    guint under_way;  /* sent, and not given to the link yet */
    gboolean nudged;
    gboolean asks; /* the consumer wants to know of acknowledgements */

    /* slot put % SLOTS is the producer's, slot released % SLOTS the consumer's while it holds one
     */
    struct lpm_ring_slot slots[LPM_RING_SLOTS];
};

LpmRing *lpm_ring_new(void)
{
    LpmRing *ring = g_new0(LpmRing, 1);

    pthread_mutex_init(&ring->lock, NULL);
    pthread_cond_init(&ring->moved, NULL);
    ring->drained = TRUE;
    return ring;
}

void lpm_ring_free(LpmRing *ring)
{
    if (!ring)
        return;
    pthread_mutex_destroy(&ring->lock);
    pthread_cond_destroy(&ring->moved);
    g_free(ring);
}

/* Lock held. */
static gboolean idle(const LpmRing *ring)
{
    return ring->drained && !ring->under_way;
}

struct lpm_ring_slot *lpm_ring_room(LpmRing *ring)
{
    pthread_mutex_lock(&ring->lock);
    while (!ring->closed && ring->put - ring->released >= LPM_RING_SLOTS)
        pthread_cond_wait(&ring->moved, &ring->lock);
    struct lpm_ring_slot *slot = ring->closed ? NULL : &ring->slots[ring->put % LPM_RING_SLOTS];

    pthread_mutex_unlock(&ring->lock);
    return slot;
}

void lpm_ring_put(LpmRing *ring)
{
    pthread_mutex_lock(&ring->lock);
    ring->put++;
    pthread_cond_broadcast(&ring->moved);
    pthread_mutex_unlock(&ring->lock);
}

void lpm_ring_end(LpmRing *ring)
{
    pthread_mutex_lock(&ring->lock);
    ring->ended = TRUE;
    pthread_cond_broadcast(&ring->moved);
    pthread_mutex_unlock(&ring->lock);
}

enum lpm_ring_result lpm_ring_take(LpmRing *ring, gboolean holding, struct lpm_ring_slot **slot)
{
    enum lpm_ring_result result = LPM_RING_END;

    pthread_mutex_lock(&ring->lock);
    while (!ring->closed && !ring->ended && ring->put == ring->released && !ring->nudged &&
           !(holding && idle(ring)))
        pthread_cond_wait(&ring->moved, &ring->lock);
    if (ring->closed) {
        result = LPM_RING_CLOSED;
    } else if (ring->put != ring->released) {
        *slot = &ring->slots[ring->released % LPM_RING_SLOTS];
        result = LPM_RING_SLOT;
    } else if (!ring->ended) {
        ring->nudged = FALSE;
        result = LPM_RING_FLUSH;
    }
    pthread_mutex_unlock(&ring->lock);
    return result;
}

void lpm_ring_release(LpmRing *ring)
{
    pthread_mutex_lock(&ring->lock);
    ring->released++;
    pthread_cond_broadcast(&ring->moved);
    pthread_mutex_unlock(&ring->lock);
}

gboolean lpm_ring_wait(LpmRing *ring, gboolean holding)
{
    pthread_mutex_lock(&ring->lock);
    while (!ring->closed && !ring->nudged && !(holding && idle(ring)))
        pthread_cond_wait(&ring->moved, &ring->lock);
    gboolean go_on = !ring->closed;

    ring->nudged = FALSE;
    pthread_mutex_unlock(&ring->lock);
    return go_on;
}

void lpm_ring_sending(LpmRing *ring)
{
    pthread_mutex_lock(&ring->lock);
    ring->under_way++;
    pthread_mutex_unlock(&ring->lock);
}

void lpm_ring_pushing(LpmRing *ring)
{
    pthread_mutex_lock(&ring->lock);
    ring->under_way--;
    ring->drained = FALSE;
    pthread_mutex_unlock(&ring->lock);
}

void lpm_ring_drained(LpmRing *ring)
{
    pthread_mutex_lock(&ring->lock);
    ring->drained = TRUE;
    pthread_cond_broadcast(&ring->moved);
    pthread_mutex_unlock(&ring->lock);
}

gboolean lpm_ring_idle(LpmRing *ring)
{
    pthread_mutex_lock(&ring->lock);
    gboolean result = idle(ring);

    ring->asks = TRUE;
    pthread_mutex_unlock(&ring->lock);
    return result;
}

static void nudge(LpmRing *ring, gboolean unasked)
{
    pthread_mutex_lock(&ring->lock);
    if (unasked || ring->asks) {
        ring->nudged = TRUE;
        pthread_cond_broadcast(&ring->moved);
    }
    pthread_mutex_unlock(&ring->lock);
}

void lpm_ring_nudge(LpmRing *ring)
{
    nudge(ring, TRUE);
}

void lpm_ring_acknowledged(LpmRing *ring)
{
    nudge(ring, FALSE);
}

void lpm_ring_close(LpmRing *ring)
{
    pthread_mutex_lock(&ring->lock);
    ring->closed = TRUE;
    pthread_cond_broadcast(&ring->moved);
    pthread_mutex_unlock(&ring->lock);
}
