/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * `lpm recover`: whose partition is it, why, and what was done about it.
 *
 * lpmd takes up by itself whatever needs no human, at its start and while the peer answers
 * (source.c, target.c); recover does it now rather than at the next look, waits for the end, and
 * explains. The one thing that only a human can add is the knowledge that the other host is off:
 * `fenced`. It is journalled (decision `fenced`) before anything is done because of it.
 */
#ifndef LPM_DAEMON_RECOVER_H
#define LPM_DAEMON_RECOVER_H

#include "daemon/daemon.h"

#include <glib.h>
#include <jansson.h>

struct lpm_recover_request {
    const char *partition; /* name or UUID; NULL: everything unfinished */
    gboolean discard;      /* with fenced: the copy here is older than the disks and goes */
    const char *fenced;    /* this host's name of the other host, or NULL */
};

/* {"recoveries": [...]}, see docs/api.yaml; waits some seconds for ends that are near. A new
 * reference, NULL with PARTITION_NOT_FOUND when the partition was never in a migration here, or
 * BAD_REQUEST when `fenced` is not the other host of it. */
json_t *lpm_recover(struct lpm_daemon *daemon, const struct lpm_recover_request *request,
                    GError **error);

/* Removes what no active migration owns: socket folders, movers. Once at start, after the journal
 * was read, and by recover. */
void lpm_recover_sweep(struct lpm_daemon *daemon);

#endif
