/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/ring.h"

struct lpm_ring {
    GMutex lock;
    /* guarded by lock */
    GCond moved;
    guint64 put, released; /* slots, in total */
    gboolean ended, closed;
    gboolean idle; /* the link has nothing to do */

    /* slot put % SLOTS is the producer's, slot released % SLOTS the consumer's while it holds one */
    struct lpm_ring_slot slots[LPM_RING_SLOTS];
};

LpmRing *lpm_ring_new(void)
{
    LpmRing *ring = g_new0(LpmRing, 1);

    g_mutex_init(&ring->lock);
    g_cond_init(&ring->moved);
    ring->idle = TRUE;
    return ring;
}

void lpm_ring_free(LpmRing *ring)
{
    if (!ring)
        return;
    g_mutex_clear(&ring->lock);
    g_cond_clear(&ring->moved);
    g_free(ring);
}

struct lpm_ring_slot *lpm_ring_room(LpmRing *ring)
{
    g_mutex_lock(&ring->lock);
    while (!ring->closed && ring->put - ring->released >= LPM_RING_SLOTS)
        g_cond_wait(&ring->moved, &ring->lock);
    struct lpm_ring_slot *slot = ring->closed ? NULL : &ring->slots[ring->put % LPM_RING_SLOTS];

    g_mutex_unlock(&ring->lock);
    return slot;
}

void lpm_ring_put(LpmRing *ring)
{
    g_mutex_lock(&ring->lock);
    ring->put++;
    g_cond_broadcast(&ring->moved);
    g_mutex_unlock(&ring->lock);
}

void lpm_ring_end(LpmRing *ring)
{
    g_mutex_lock(&ring->lock);
    ring->ended = TRUE;
    g_cond_broadcast(&ring->moved);
    g_mutex_unlock(&ring->lock);
}

enum lpm_ring_result lpm_ring_take(LpmRing *ring, gboolean holding, struct lpm_ring_slot **slot)
{
    enum lpm_ring_result result = LPM_RING_END;

    g_mutex_lock(&ring->lock);
    while (!ring->closed && !ring->ended && ring->put == ring->released &&
           !(holding && ring->idle))
        g_cond_wait(&ring->moved, &ring->lock);
    if (ring->closed) {
        result = LPM_RING_CLOSED;
    } else if (ring->put != ring->released) {
        *slot = &ring->slots[ring->released % LPM_RING_SLOTS];
        result = LPM_RING_SLOT;
    } else if (!ring->ended) {
        result = LPM_RING_FLUSH;
    }
    g_mutex_unlock(&ring->lock);
    return result;
}

void lpm_ring_release(LpmRing *ring)
{
    g_mutex_lock(&ring->lock);
    ring->released++;
    g_cond_broadcast(&ring->moved);
    g_mutex_unlock(&ring->lock);
}

void lpm_ring_sending(LpmRing *ring)
{
    g_mutex_lock(&ring->lock);
    ring->idle = FALSE;
    g_mutex_unlock(&ring->lock);
}

void lpm_ring_drained(LpmRing *ring)
{
    g_mutex_lock(&ring->lock);
    ring->idle = TRUE;
    g_cond_broadcast(&ring->moved);
    g_mutex_unlock(&ring->lock);
}

void lpm_ring_close(LpmRing *ring)
{
    g_mutex_lock(&ring->lock);
    ring->closed = TRUE;
    g_cond_broadcast(&ring->moved);
    g_mutex_unlock(&ring->lock);
}
