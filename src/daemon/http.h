/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The HTTP API: one server on run_dir/lpmd.sock for local users, one with TLS 1.3 on the control
 * port for paired hosts. Each has its scope of the routes; a route names everything that can be
 * checked before its handler runs: method, path, body members with their types, query arguments.
 *
 * Who is let in: on the unix socket root, lpmd's own user and the socket group (by the peer
 * credentials of the kernel). On the control port only who shows, in the TLS handshake, a
 * certificate whose fingerprint is paired; each request checks again, so that a revoked peer is out
 * at once even on a connection that was open.
 */
#ifndef LPM_DAEMON_HTTP_H
#define LPM_DAEMON_HTTP_H

#include "daemon/daemon.h"

#include <glib.h>
#include <jansson.h>

struct lpm_http;

/* A request larger than this is refused. */
#define LPM_HTTP_BODY_MAX (1024 * 1024)

enum lpm_scope { LPM_SCOPE_LOCAL, LPM_SCOPE_PEER };

/* One request, valid during the handler's call. Immutable but for `status`. */
struct lpm_request {
    struct lpm_daemon *daemon;
    enum lpm_scope scope;
    const char *method;
    const char *path;
    const char *peer; /* scope PEER: this host's name for who calls; NULL otherwise */
    json_t *body;     /* checked against the route's `body`; an empty object if there was none */
    unsigned status;  /* of the answer when the handler succeeds; 200, the handler may set 202 */
    const struct lpm_http_match *match; /* for the two functions below */
};

/* The path's part at {name} in the route's pattern, percent-decoded; "" never, NULL if the pattern
 * has no such part. */
const char *lpm_request_param(const struct lpm_request *request, const char *name);
/* The query argument, decoded; NULL if absent. */
const char *lpm_request_query(const struct lpm_request *request, const char *name);

/* Answers with a new reference to an object, or NULL and an error, which becomes
 * {"error": {...}} with the catalogue's HTTP status. Called on a thread of the connection's own, so
 * it may block; several run at once. */
typedef json_t *(*lpm_handler)(struct lpm_request *request, GError **error);

struct lpm_route {
    const char *method; /* "GET"; NULL ends a table */
    const char *path;   /* "/v1/migrations/{id}/stop": a {name} matches one part */
    enum lpm_scope scope;
    /* Members that the body may have, "partition:s to:s bandwidth:i? more:o?": s string, i integer,
     * n number, b boolean, o object, a array, ? optional. NULL or "": none. Anything else in the
     * body is refused with BAD_REQUEST before the handler runs. */
    const char *body;
    const char *query; /* arguments that the query may have, "partition active"; NULL: none */
    lpm_handler handler;
};

/* Neither listens yet. `daemon` must live longer. */
struct lpm_http *lpm_http_new(struct lpm_daemon *daemon);
/* Adds a table that ends with method NULL and stays valid (static). Before lpm_http_start. */
void lpm_http_add_routes(struct lpm_http *http, const struct lpm_route *routes);
/* Listens and serves on both sockets. Needs daemon->identity and ->peers. Errors: CONFIG (address,
 * port in use), INTERNAL. */
gboolean lpm_http_start(struct lpm_http *http, GError **error);
/* Closes the connections that a peer of that fingerprint has open. Any thread. */
void lpm_http_drop_peer(struct lpm_http *http, const char *fingerprint);
/* Stops serving; waits for the handlers under way. */
void lpm_http_stop(struct lpm_http *http);
/* Stops if needed. NULL is allowed. */
void lpm_http_free(struct lpm_http *http);

/* Answers without a connection, as the servers do: for tests and internal use. `query` is
 * "name=value&..." or NULL, `body` text or NULL. Sets *status; a new reference, never NULL. */
json_t *lpm_http_dispatch(struct lpm_http *http, enum lpm_scope scope, const char *peer,
                          const char *method, const char *path, const char *query, const char *body,
                          gsize body_length, unsigned *status);

#endif
