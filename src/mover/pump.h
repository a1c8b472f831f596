/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * What the four pumps of a mover have in common: a reader moves bytes from a local program's socket
 * into the session, a writer moves frames from the session to it. Each runs in a thread of its own
 * until its direction has ended or the session is over.
 */
#ifndef LPM_MOVER_PUMP_H
#define LPM_MOVER_PUMP_H

#include "base/log.h"
#include "mover/endpoint.h"
#include "transport/session.h"

/* One channel of one mover. All borrowed and immutable. */
struct lpm_pump {
    LpmSession *session;
    LpmEndpoint *endpoint;
    enum lpm_channel channel;
    enum lpm_side side;
    gboolean hold_end; /* lpmd says when the program learns that the other side's has ended */
    struct lpm_log_context log;
};

/* Waits for the program's socket; the source says OPEN. -1: over. */
int lpm_pump_begin_reading(const struct lpm_pump *pump);

/* Waits until `fd` can be read, then takes up to `room` bytes within the window into `data`.
 * Returns how many, all of them reserved; 0: the direction has ended and nothing is reserved: call
 * lpm_pump_end_reading with `*failure` (errno, or 0 at end of file) once all is pushed. */
gsize lpm_pump_read(const struct lpm_pump *pump, int fd, guint8 *data, gsize room, int *failure);
void lpm_pump_end_reading(const struct lpm_pump *pump, int failure);

/* May change the bytes in place, and may wait: nothing of them has gone on yet. */
typedef void (*lpm_watch)(gpointer user, guint8 *bytes, gsize length);

/* Reads until the end and sends everything as `watch` leaves it. */
void lpm_pump_read_raw(const struct lpm_pump *pump, lpm_watch watch, gpointer user);

enum lpm_delivery {
    LPM_DELIVERY_DONE,
    LPM_DELIVERY_BROKEN,  /* the program does not take it: errno says why */
    LPM_DELIVERY_DAMAGED, /* the error is set: the session fails */
};

/* Gives the original bytes of a DATA frame to the program on `fd`; is shown KEPT frames too. */
typedef enum lpm_delivery (*lpm_deliver)(gpointer user, int fd, const LpmFrame *frame,
                                         GError **error);

/* Nothing more will be given to the program: the direction has ended, or the program is gone. */
typedef void (*lpm_ended)(gpointer user);

/* The next frame of the channel in order, waiting for it; NULL: the session is over. */
typedef LpmFrame *(*lpm_take)(gpointer user);

/* What a writer is made of. `take` and `ended` may be NULL: frames are taken from the session, and
 * nobody is told. `ended` is called once at most, and not if the session is over before. */
struct lpm_pump_writer {
    lpm_take take;
    lpm_deliver deliver;
    lpm_ended ended;
};

/* Delivers frames until the session is over. After the program is gone they are dropped. */
void lpm_pump_write(const struct lpm_pump *pump, const struct lpm_pump_writer *writer,
                    gpointer user);

/* A deliverer of bytes as they are; `user` is not used. */
enum lpm_delivery lpm_pump_deliver_raw(gpointer user, int fd, const LpmFrame *frame,
                                       GError **error);

/* Writes all; FALSE with errno. */
gboolean lpm_pump_write_all(int fd, const void *data, gsize length);

#endif
