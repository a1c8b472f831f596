/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* One direction of a socket, driven by a thread: bytes written to one end, bytes read from the
 * other. */
#ifndef LPM_TEST_FLOW_H
#define LPM_TEST_FLOW_H

#include <glib.h>

struct flow {
    int from, to;           /* borrowed */
    const GByteArray *sent; /* borrowed */
    GByteArray *received;   /* complete once `done`; may be looked at after flow_finish only */
    gint64 begun_us, done_us;
    gint received_bytes; /* atomic, in KiB: how far it is */
    gint done;           /* atomic: the receiver saw the end of file */
    gint held;           /* atomic: nothing is read while it is set */
    GThread *writer, *reader;
};

/* Starts writing `sent` into `from`, then shuts its writing half; reads `to` until end of file. */
void flow_start(struct flow *flow, int from, int to, const GByteArray *sent);
/* The same, but reads only after `held` was cleared. */
void flow_start_held(struct flow *flow, int from, int to, const GByteArray *sent);
/* Joins; the caller has waited for `done`. Then `received` may be looked at. */
void flow_join(struct flow *flow);
void flow_free(struct flow *flow);
/* Both. */
void flow_finish(struct flow *flow);

#endif
