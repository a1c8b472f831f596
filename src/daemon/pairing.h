/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Pairing: two hosts learn each other's name, key and ports over a connection that both prove, by
 * TLS 1.3 with a pre-shared key, to hold a one-time code.
 *
 * The code is 128 random bits and 12 bits of check (a mistyped code is told from a wrong one before
 * anything is sent), in Crockford's base32, 28 characters in groups of four. From it HKDF-SHA-256
 * derives the invite's id, which is public, and the key, which is not; nobody can get from the one
 * to the other or to the code. An invite lives in memory for 10 minutes, is spent by one pairing
 * that succeeds, and void after 5 attempts.
 *
 * Inside TLS each message is a JSON object after its length (32 bits, big-endian, at most 4096):
 *   A -> B  hello {protocol, name, fingerprint, control_port, data_port}
 *   B -> A  hello of the same form, or {error}
 *   A -> B  {stored: true}, after A wrote B into its journal, or {error}
 *   B -> A  {stored: true}, after B did, or {error}: then A removes what it wrote.
 * If the last message is lost B may know A without A knowing B: A reports the failure, and pairing
 * again with a new code is enough, since B takes the same name with the same key as a renewal.
 */
#ifndef LPM_DAEMON_PAIRING_H
#define LPM_DAEMON_PAIRING_H

#include "daemon/daemon.h"
#include "daemon/journal.h"

struct lpm_pairing;

#define LPM_INVITE_LIFE_S 600
#define LPM_INVITE_ATTEMPTS 5
/* Invites open at once; one more is refused (TOO_MANY). */
#define LPM_INVITES_MAX 16

/* Uses daemon->config, identity, peers, journal and data_port, which must live longer. */
struct lpm_pairing *lpm_pairing_new(struct lpm_daemon *daemon);
/* Voids all invites and waits for the pairings under way (bounded by their 15 s limit). */
void lpm_pairing_free(struct lpm_pairing *pairing);

/* Makes an invite. Returns its code, owned by the caller and secret; `*expires_ms` since 1970. */
char *lpm_pairing_invite(struct lpm_pairing *pairing, int64_t *expires_ms, GError **error);

/* Pairs with the host at `address` and `data_port` that made `code`. `name` is what this host will
 * call it; NULL: what it calls itself. Returns the peer, owned by the caller; both sides have it on
 * disk. Errors: BAD_REQUEST (code mistyped, name unfit), PEER_EXISTS, PEER_IS_SELF,
 * PEER_UNREACHABLE, PAIRING_FAILED, or what the other side says. Blocks up to about 15 s. */
LpmPeer *lpm_pairing_join(struct lpm_pairing *pairing, const char *name, const char *address,
                          guint data_port, const char *code, GError **error);

#endif
