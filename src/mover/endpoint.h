/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The socket to a local program (QEMU or libvirtd) of one channel: it appears when lpmd attaches it
 * or when the program connects, one thread reads it, one writes it, and it is closed when both have
 * ended. Any thread.
 */
#ifndef LPM_MOVER_ENDPOINT_H
#define LPM_MOVER_ENDPOINT_H

#include "transport/mover-control.h"

typedef struct lpm_endpoint LpmEndpoint;

/* `changed` is called with no lock of the caller's world needed, after each change of state. */
LpmEndpoint *lpm_endpoint_new(void (*changed)(gpointer user), gpointer user);
void lpm_endpoint_free(LpmEndpoint *endpoint);

/* Takes `fd` over. FALSE (and `fd` is closed): there was one already, or it is cancelled. */
gboolean lpm_endpoint_attach(LpmEndpoint *endpoint, int fd);
/* Waits until attached: the descriptor (borrowed, valid until the caller's *_done), or -1 when
 * cancelled before. */
int lpm_endpoint_wait(LpmEndpoint *endpoint);
/* The reader (writer) will not use the descriptor again. `cause`: why, or NULL if in order. */
void lpm_endpoint_read_done(LpmEndpoint *endpoint, const char *cause);
void lpm_endpoint_write_done(LpmEndpoint *endpoint, const char *cause);
/* Shuts `how` (SHUT_RD, SHUT_WR, SHUT_RDWR) of the socket down, if it is still open. */
void lpm_endpoint_shutdown(LpmEndpoint *endpoint, int how);
/* The other side's program has ended: waits until this side's may learn it, or until cancelled. The
 * state is LPM_CHANNEL_ENDING meanwhile. */
void lpm_endpoint_await_end(LpmEndpoint *endpoint);
/* It may; said before, it is remembered. */
void lpm_endpoint_allow_end(LpmEndpoint *endpoint);
/* Another descriptor of the socket, the caller's, or -1: while somebody holds one the program does
 * not see that this process has ended. */
int lpm_endpoint_lend(LpmEndpoint *endpoint);
/* Ends waiting, and reading and writing too, for good. */
void lpm_endpoint_cancel(LpmEndpoint *endpoint, const char *cause);

/* `*cause` (may be NULL) is a new string or NULL. */
enum lpm_channel_state lpm_endpoint_state(LpmEndpoint *endpoint, char **cause);

#endif
