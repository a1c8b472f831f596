/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The hosts that this one is paired with: the table, in memory and in the journal. The pool of
 * connections to them is used through peer-client.h. Any thread.
 */
#ifndef LPM_DAEMON_PEERS_H
#define LPM_DAEMON_PEERS_H

#include "daemon/identity.h"
#include "daemon/journal.h"

struct lpm_peers;

/* Loads the table. `journal` and `identity` must live longer. NULL on error (JOURNAL). */
struct lpm_peers *lpm_peers_new(struct lpm_journal *journal, const struct lpm_identity *identity,
                                GError **error);
/* No call may be under way. NULL is allowed. */
void lpm_peers_free(struct lpm_peers *peers);

/* A copy, owned by the caller. PEER_UNKNOWN if there is none of that name. */
LpmPeer *lpm_peers_get(struct lpm_peers *peers, const char *name, GError **error);
/* The same by fingerprint; NULL if nobody paired has it. */
LpmPeer *lpm_peers_by_fingerprint(struct lpm_peers *peers, const char *fingerprint);
/* Copies of all (LpmPeer, freed with the array), in order of name. */
GPtrArray *lpm_peers_list(struct lpm_peers *peers);

/* Adds a peer; on disk on return. PEER_EXISTS if its name or its fingerprint is taken, except that
 * with `refresh` one with both the same is replaced (its address and ports may have changed). */
gboolean lpm_peers_add(struct lpm_peers *peers, const LpmPeer *peer, gboolean refresh,
                       GError **error);
/* Removes one and closes the idle connections to it. On disk on return. PEER_UNKNOWN. */
gboolean lpm_peers_remove(struct lpm_peers *peers, const char *name, GError **error);

/* TRUE if `name` is fit for a host: 1 to 64 letters, digits, '.', '_' and '-', none of '.' and '-'
 * first. FALSE with BAD_REQUEST otherwise. */
gboolean lpm_peer_name_check(const char *name, GError **error);

#endif
