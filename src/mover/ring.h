/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * A bounded queue of buffers between the thread that reads QEMU's socket and the one that encodes,
 * so that reading overlaps compressing. It also tells the encoder when it should send what it
 * holds: when there is nothing more to read at the moment and the link has nothing else to do.
 *
 * One producer, one consumer; `drained` and `close` from any thread.
 */
#ifndef LPM_MOVER_RING_H
#define LPM_MOVER_RING_H

#include <glib.h>

#define LPM_RING_SLOTS 4
#define LPM_RING_SLOT_BYTES (256u << 10)

typedef struct lpm_ring LpmRing;

struct lpm_ring_slot {
    gsize length; /* bytes of data */
    guint8 data[LPM_RING_SLOT_BYTES];
};

LpmRing *lpm_ring_new(void);
void lpm_ring_free(LpmRing *ring);

/* Producer: a slot to fill, waiting for one; NULL when the ring is closed. Then put it. */
struct lpm_ring_slot *lpm_ring_room(LpmRing *ring);
void lpm_ring_put(LpmRing *ring);
/* Producer: nothing more will come. */
void lpm_ring_end(LpmRing *ring);

enum lpm_ring_result {
    LPM_RING_SLOT,  /* `*slot` is the next; give it back with lpm_ring_release */
    LPM_RING_FLUSH, /* `holding` and the link idle, or nudged: look what can be sent */
    LPM_RING_END,   /* the producer has ended and everything was taken */
    LPM_RING_CLOSED,
};
/* Consumer: waits. `holding`: there is something that could be sent. */
enum lpm_ring_result lpm_ring_take(LpmRing *ring, gboolean holding, struct lpm_ring_slot **slot);
void lpm_ring_release(LpmRing *ring);
/* Consumer, after END: waits as `take` does before it returns FLUSH. FALSE: closed. */
gboolean lpm_ring_wait(LpmRing *ring, gboolean holding);
/* Consumer: something is on its way to the link, which is not idle before that was pushed and
 * `drained` was said after it. */
void lpm_ring_sending(LpmRing *ring);
/* Any thread, before it gives to the link what was so announced. */
void lpm_ring_pushing(LpmRing *ring);

/* Consumer: whether the link has nothing to do. From then on acknowledgements nudge. */
gboolean lpm_ring_idle(LpmRing *ring);

/* Wakes the consumer, now or the next time it waits. Neither of the two waits. */
void lpm_ring_nudge(LpmRing *ring);
void lpm_ring_acknowledged(LpmRing *ring);
/* The link has nothing to do. Does not wait. */
void lpm_ring_drained(LpmRing *ring);
/* Ends every wait for good. */
void lpm_ring_close(LpmRing *ring);

#endif
