/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Private to http.c and http-dispatch.c. */
#ifndef LPM_DAEMON_HTTP_PRIVATE_H
#define LPM_DAEMON_HTTP_PRIVATE_H

#include "daemon/http.h"

#include <microhttpd.h>

typedef struct lpm_http_match LpmHttpMatch;

struct lpm_http {
    struct lpm_daemon *daemon; /* immutable */
    GPtrArray *tables;         /* const struct lpm_route *; immutable once serving */
    /* Set by start and stop, which do not overlap. */
    struct MHD_Daemon *local, *control;
    char *socket_path;
    gint group; /* of the unix socket; -1: none */

    GMutex lock;      /* guards the list and its members' fingerprints */
    GQueue tls_links; /* struct tls_link, the connections on the control port */
};

/* {"error": ...} and its HTTP status; a new reference. */
json_t *lpm_http_error_answer(const GError *error, unsigned *status);

#endif
