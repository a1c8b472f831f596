/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Validation: everything that would stop or spoil a migration, found before a byte moves. See
 * check.h for how it is made up, docs/validation.md for what is checked.
 */
#ifndef LPM_DAEMON_VALIDATE_VALIDATE_H
#define LPM_DAEMON_VALIDATE_VALIDATE_H

#include "daemon/forecast-now.h"

struct lpm_validate_options {
    gboolean
        for_migration; /* by the partition's own migration, which is therefore not in its way */
    gboolean force;    /* loss of redundancy, and nothing else, is a warning instead of an error */
    const json_t *map; /* of names on the target (mapping.h), or NULL: roles of lpmd.conf only */
    gboolean sample_link; /* between the movers, where no other migration is disturbed */
    /* A forecast with these limits (the rest of it is filled in), for which link and dirty rate are
     * sampled; NULL: none. Not for_migration, which makes its own. */
    const struct lpm_forecast_query *forecast;
};

/* Validates moving `partition` (name or UUID, of this host) to `peer`. Nothing is changed on either
 * host. The report, a new reference: {partition, uuid, source, target, verdict: "may-be-possible"
 * or "not-possible", errors, warnings, took_ms, retained_bytes, checks: [{id, title, rule, verdict:
 * "pass", "warning", "error", "not-applicable" or "not-checked", elapsed_us, findings: [error],
 * facts: {source, target}}], adapters: [...], forecast: NULL or forecast.h's}. NULL only when there
 * is nothing to report on: PARTITION_NOT_FOUND, PEER_UNKNOWN, LIBVIRT_UNREACHABLE, MAP_WRONG here.
 * Blocks for a second or two; any thread. */
json_t *lpm_validate(struct lpm_daemon *daemon, const char *partition, const char *peer,
                     const struct lpm_validate_options *options, GError **error);

/* TRUE if the report's verdict lets the migration go on; else FALSE with the code of its first
 * error and the causes of all. */
gboolean lpm_validate_passed(const json_t *report, GError **error);

/* What the link to the target was seen to carry, bytes/s; 0: it was not sampled. */
double lpm_validate_link_rate(const json_t *report);

/* What the target keeps of the partition's pages from an earlier visit, bytes. */
guint64 lpm_validate_retained(const json_t *report);

/* Reports on several hosts, the best one first: by errors, then warnings, then the time that is
 * expected, then the name. Steals `reports`; a new reference. Pure. */
json_t *lpm_validate_rank(json_t *reports);

/* All findings of a report, errors first: an array, a new reference. */
json_t *lpm_validate_findings(const json_t *report);

/* The other host's half: POST /v1/peer/validate. {host, protocol, retained_bytes, facts: {id:
 * facts}}. */
json_t *lpm_validate_for_peer(struct lpm_daemon *daemon, const char *peer, const json_t *body,
                              GError **error);

/* Reading blocks of the partition's disks again: POST /v1/peer/validate/blocks. {samples}, of
 * lpm_disks_read_again. */
json_t *lpm_validate_blocks_for_peer(struct lpm_daemon *daemon, const json_t *body, GError **error);

/* Members of the first one's body, as struct lpm_route writes them. */
#define LPM_VALIDATE_PEER_BODY "model:o nonce:s session:s psk:s for_migration:b sample_link:b?"

#endif
