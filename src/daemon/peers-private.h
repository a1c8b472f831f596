/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Private to peers.c and peer-client.c: the pool of connections. */
#ifndef LPM_DAEMON_PEERS_PRIVATE_H
#define LPM_DAEMON_PEERS_PRIVATE_H

#include "daemon/peers.h"

#include <curl/curl.h>

/* A libcurl handle with the connection that it keeps; owned by the pool or by one call. */
struct lpm_peer_handle {
    CURL *curl;
    gboolean warm; /* a call succeeded on it: it may hold an open connection */
};

struct lpm_peers {
    struct lpm_journal *journal;         /* immutable */
    const struct lpm_identity *identity; /* immutable */
    GMutex lock;                         /* guards what follows */
    GPtrArray *table;                    /* LpmPeer, in order of name */
    GHashTable *pools;                   /* fingerprint -> GQueue of idle handles, newest first */
};

/* Takes an idle handle of that peer, or makes one. */
struct lpm_peer_handle *lpm_peers_take_handle(struct lpm_peers *peers, const char *fingerprint);
/* Gives it back; freed instead if it is not `good`, the peer is gone or enough are idle. */
void lpm_peers_return_handle(struct lpm_peers *peers, const char *fingerprint,
                             struct lpm_peer_handle *handle, gboolean good);

#endif
