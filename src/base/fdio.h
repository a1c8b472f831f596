/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Descriptors: whole reads and writes, and JSON messages that carry descriptors over a unix
 * SOCK_SEQPACKET socket (one message, one packet). Used between lpmd and its movers.
 */
#ifndef LPM_BASE_FDIO_H
#define LPM_BASE_FDIO_H

#include <glib.h>
#include <jansson.h>

/* The largest JSON message, in bytes; a larger one is refused on either side. */
#define LPM_MESSAGE_MAX 65536

/* g_autofd-like: closes on leaving the scope. Steal with g_steal_fd-like lpm_steal_fd(). */
typedef int lpm_fd;
/* Closes unless -1. */
void lpm_fd_close_value(lpm_fd fd);
/* The same, and sets it to -1. */
void lpm_fd_clear(lpm_fd *fd);
G_DEFINE_AUTO_CLEANUP_FREE_FUNC(lpm_fd, lpm_fd_close_value, -1)
#define lpm_autofd g_auto(lpm_fd)

/* Returns *fd and sets it to -1. */
int lpm_steal_fd(lpm_fd *fd);

/* Reads or writes exactly `length` bytes on a blocking descriptor. TRUE when done. FALSE with an
 * error otherwise; end of file before the last byte is an error ("ended after N of M bytes"). */
gboolean lpm_read_all(int fd, void *data, gsize length, GError **error);
gboolean lpm_write_all(int fd, const void *data, gsize length, GError **error);

/* Sends `message` (borrowed) and, unless `fd` is -1, the descriptor (borrowed; the receiver gets a
 * duplicate). Blocks while the socket is full. Any thread, but one at a time per socket. */
gboolean lpm_message_send(int socket, const json_t *message, int fd, GError **error);

/* Receives one message. Returns a new reference, or NULL: at end of file `*error` stays unset, else
 * it is set. `*fd` is the descriptor that came along (the caller owns it) or -1. A packet that is
 * not one JSON object is an error; more than one descriptor: the surplus is closed. */
json_t *lpm_message_receive(int socket, int *fd, GError **error);

#endif
