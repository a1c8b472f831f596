/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Private to pairing: the messages inside TLS, for both sides. One thread per connection. */
#ifndef LPM_DAEMON_PAIRING_TALK_H
#define LPM_DAEMON_PAIRING_TALK_H

#include "daemon/daemon.h"
#include "daemon/journal.h"
#include "transport/psk-tls.h"

/* Waiting for each step of the other side. */
#define LPM_PAIRING_STEP_MS 5000

/* Sends this host's hello; or that the other's word is stored; or why not. */
gboolean lpm_pairing_send_hello(LpmPskTls *tls, const struct lpm_daemon *daemon, GError **error);
gboolean lpm_pairing_send_stored(LpmPskTls *tls, GError **error);
void lpm_pairing_send_error(LpmPskTls *tls, const GError *reason);

/* Receives a hello as a peer without address (address "", paired_ms now), owned by the caller; or
 * NULL with the other side's error, PEER_ANSWER or PEER_IS_SELF. */
LpmPeer *lpm_pairing_receive_hello(LpmPskTls *tls, const struct lpm_daemon *daemon, GError **error);
/* Receives that the other side has stored this host; FALSE with its error or PEER_ANSWER. */
gboolean lpm_pairing_receive_stored(LpmPskTls *tls, GError **error);

#endif
