/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The data port: accepts, reads the 16-byte id that each connection begins with, and gives the
 * descriptor to who registered that id. Connections whose id nobody knows, or does not arrive
 * within 5 seconds, are closed without an answer. One thread; at most 64 connections wait for their
 * id, the oldest goes when one more comes.
 */
#ifndef LPM_DAEMON_DATA_PORT_H
#define LPM_DAEMON_DATA_PORT_H

#include <glib.h>
#include <stdint.h>

#define LPM_DATA_ID_BYTES 16
#define LPM_DATA_ID_TIMEOUT_MS 5000
#define LPM_DATA_PENDING_MAX 64

struct lpm_data_port;

/* Takes over `fd`, a connected blocking TCP socket from which exactly the id was read. Called on
 * the data port's thread: brief, no waiting; what takes longer gets a thread of its own. `from` is
 * the address of the other end ("192.0.2.1", "fe80::1%eth0"), borrowed. */
typedef void (*lpm_data_callback)(int fd, const char *from, void *user);

/* Listens on listen_address (:: means all, both families) and `port` (0: any, for tests) and starts
 * the thread. NULL on error (CONFIG). */
struct lpm_data_port *lpm_data_port_new(const char *address, guint port, GError **error);
/* Stops the thread, closes what waits. NULL is allowed. */
void lpm_data_port_free(struct lpm_data_port *data_port);
/* The port listened on. */
guint lpm_data_port_number(const struct lpm_data_port *data_port);

/* From now on connections with `id` go to `callback`, any number of them, until unregistered.
 * `free_user` (may be NULL) is called on `user` once it is unregistered and no callback with it
 * runs any more. An id that is registered is replaced. Any thread, also within a callback. */
void lpm_data_port_register(struct lpm_data_port *data_port, const uint8_t id[LPM_DATA_ID_BYTES],
                            lpm_data_callback callback, void *user, GDestroyNotify free_user);
/* Does not wait: a callback that has begun may still run, its `user` alive. Unknown: nothing. */
void lpm_data_port_unregister(struct lpm_data_port *data_port, const uint8_t id[LPM_DATA_ID_BYTES]);

/* A listening TCP socket (close-on-exec, not blocking) on an IPv4 or IPv6 address, or on "::" for
 * both families; -1 with CONFIG. For the two ports of lpmd. */
int lpm_listen_tcp(const char *address, guint port, GError **error);

/* The address of a socket's other end as text, IPv4-mapped ones as IPv4; "unknown" if there is
 * none. Owned by the caller. */
char *lpm_socket_peer_address(int fd);

#endif
