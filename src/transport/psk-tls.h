/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * TLS 1.3 with an external pre-shared key and (EC)DHE over a connected descriptor: no certificates,
 * no tickets, no other version. Both ends prove that they know the key, and a recorded session
 * cannot be read later by who learns it. Used blocking by the pairing of two lpmd, and non-blocking
 * by the movers' links. A session belongs to one thread at a time.
 */
#ifndef LPM_TRANSPORT_PSK_TLS_H
#define LPM_TRANSPORT_PSK_TLS_H

#include "transport/link.h"

typedef struct lpm_psk_tls LpmPskTls;

/* ---- blocking: the whole of each call ends within `timeout_ms`, whatever the other side does ----
 */

/* Handshakes over the connected socket `fd` (borrowed, must outlive the session; it becomes
 * non-blocking). The identity goes over the wire in clear; the key (16 to 64 bytes) is copied. NULL
 * with LPM_E_LINK_LOST: the other side went away, or one does not know the other's key or identity.
 */
LpmPskTls *lpm_psk_tls_client(int fd, const char *identity, const guint8 *key, gsize key_length,
                              guint timeout_ms, GError **error);
/* The same for the accepting side: one identity is known, any other fails. */
LpmPskTls *lpm_psk_tls_server(int fd, const char *identity, const guint8 *key, gsize key_length,
                              guint timeout_ms, GError **error);

/* Whole writes and reads. After FALSE (LPM_E_LINK_LOST) the session is of no use any more. */
gboolean lpm_psk_tls_write_all(LpmPskTls *tls, const void *data, gsize length, guint timeout_ms,
                               GError **error);
gboolean lpm_psk_tls_read_all(LpmPskTls *tls, void *data, gsize length, guint timeout_ms,
                              GError **error);

/* ---- non-blocking, what link-tls.c is made of; results as in link.h ---- */

LpmPskTls *lpm_psk_tls_new(int fd, gboolean server, const struct lpm_link_secret *secret,
                           GError **error);
enum lpm_link_result lpm_psk_tls_handshake(LpmPskTls *tls, GError **error);
/* POLLIN or POLLOUT: what the last AGAIN waits for. */
short lpm_psk_tls_events(LpmPskTls *tls);
enum lpm_link_result lpm_psk_tls_read(LpmPskTls *tls, void *data, gsize length, gsize *done,
                                      GError **error);
enum lpm_link_result lpm_psk_tls_write(LpmPskTls *tls, const void *data, gsize length, gsize *done,
                                       GError **error);
gboolean lpm_psk_tls_pending(LpmPskTls *tls);

/* Says good-bye if that needs no waiting, wipes the key and frees. Does not close the descriptor.
 */
void lpm_psk_tls_free(LpmPskTls *tls);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmPskTls, lpm_psk_tls_free)

#endif
