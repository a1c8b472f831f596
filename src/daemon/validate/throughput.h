/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * A sample of what the link between two movers carries: for half a second the source writes random
 * bytes into its mover as QEMU would, and the target counts what comes out of its own. They take
 * the way of a migration (data port, TLS, frames, acknowledgement) but for compression, so that the
 * figure is the link's. Bounded by its time; any thread.
 */
#ifndef LPM_DAEMON_VALIDATE_THROUGHPUT_H
#define LPM_DAEMON_VALIDATE_THROUGHPUT_H

#include <glib.h>

#define LPM_THROUGHPUT_US 500000
/* Of a migration, which waits for it: little more than what the other checks take. */
#define LPM_THROUGHPUT_BRIEF_US 200000

struct lpm_throughput {
    guint64 bytes; /* that arrived in all */
    guint64 rate;  /* bytes/s without the first fifth, in which TCP feels its way; 0: too little */
};

/* Writes to `fd` for `sample_us`, less when `stop` (atomic) becomes true or the socket fails,
 * and then ends the stream. How many bytes were taken. */
guint64 lpm_throughput_send(int fd, gint64 sample_us, const gint *stop);

/* Reads from `fd` until the end of the stream, a quarter of a second of silence, or a little longer
 * than the sample takes. */
void lpm_throughput_receive(int fd, struct lpm_throughput *result);

#endif
