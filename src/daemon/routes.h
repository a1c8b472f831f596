/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The tables of routes that are about the host itself; each ends with method NULL. */
#ifndef LPM_DAEMON_ROUTES_H
#define LPM_DAEMON_ROUTES_H

#include "daemon/http.h"

extern const struct lpm_route lpm_routes_host[];  /* host, log, and their peer counterparts */
extern const struct lpm_route lpm_routes_peers[]; /* invites, pairing, peers */
extern const struct lpm_route lpm_routes_queue[];
extern const struct lpm_route lpm_routes_validate[];  /* and the peer's half */
extern const struct lpm_route lpm_routes_forecasts[]; /* what was expected, and what came */
extern const struct lpm_route lpm_routes_retain[];    /* retained images */

#endif
