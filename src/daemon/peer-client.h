/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Calls to paired hosts: HTTPS with this host's certificate, accepting only the key that was
 * learnt in pairing. Connections are kept open per peer, so that a call on a warm one costs one
 * round trip. Any thread; a call blocks the caller only.
 *
 * A call can reach the peer twice: when a kept connection turns out to have ended, it is made again
 * on a new one, for the peer may or may not have read the first. Handlers of peer paths are
 * idempotent for that reason.
 */
#ifndef LPM_DAEMON_PEER_CLIENT_H
#define LPM_DAEMON_PEER_CLIENT_H

#include "daemon/peers.h"

#include <jansson.h>

/* Connecting takes at most this long, within the call's own limit. */
#define LPM_PEER_CONNECT_S 5
/* An answer larger than this is refused (PEER_ANSWER). */
#define LPM_PEER_ANSWER_MAX (4 * 1024 * 1024)

/* Calls `method path` ("POST", "/v1/peer/migrations") of the peer with `body` (borrowed; NULL for
 * none) and waits at most `timeout_s` seconds for the whole answer. Returns the answer, an object,
 * as a new reference; or NULL and an error:
 *   PEER_UNKNOWN      no such peer;
 *   PEER_UNREACHABLE  no connection, or it broke, or no answer in time;
 *   PEER_REFUSED      refused in the TLS handshake, or it showed another key than in pairing;
 *   PEER_ANSWER       what came is not an answer of lpmd;
 *   any other         the peer's own error, its code and cause kept, its name put before.
 * `*maybe_delivered` (may be NULL) is set in every case: FALSE only if the peer cannot have acted
 * on the request (it was never sent); TRUE says that it may have or has, also on success. */
json_t *lpm_peer_call(struct lpm_peers *peers, const char *peer, const char *method,
                      const char *path, json_t *body, unsigned timeout_s, gboolean *maybe_delivered,
                      GError **error);

/* What a measurement of the peer's clock found, in microseconds. */
struct lpm_peer_clock {
    int64_t offset_us;     /* the peer's wall clock minus this host's */
    int64_t error_us;      /* half the least round trip: the true offset lies within +- this */
    int64_t round_trip_us; /* the least of 8 */
};
/* Measures it with 8 calls of GET /v1/peer/clock on one warm connection, taking the quickest; at
 * most `timeout_s` seconds each. Errors as lpm_peer_call. */
gboolean lpm_peer_clock(struct lpm_peers *peers, const char *peer, unsigned timeout_s,
                        struct lpm_peer_clock *clock, GError **error);

#endif
