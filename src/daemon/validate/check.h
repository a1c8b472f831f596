/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * One prerequisite of a migration is one check: a line in table.c and a file. A check has two
 * halves. `gather` runs on each host, at the same time, on a thread of the run's pool, and returns
 * what that host sees: facts, a JSON object, of which nothing is concluded yet. `judge` runs on the
 * source when the facts of both sides are there, and names every way in which they do not do.
 *
 * Both sides gather without having each other's facts, so all a validation costs between hosts is
 * one call; what needs both at once (frames on the wire, a session of the movers) meets by the
 * nonces of the run.
 */
#ifndef LPM_DAEMON_VALIDATE_CHECK_H
#define LPM_DAEMON_VALIDATE_CHECK_H

#include "base/error.h"
#include "daemon/daemon.h"
#include "transport/mover-control.h"

#include <glib.h>
#include <jansson.h>

#define LPM_NONCE_BYTES 16

/* One side's run. Immutable while checks gather, but for what the lock guards. */
struct lpm_validation {
    struct lpm_daemon *daemon;
    enum lpm_side side;
    const char *peer; /* this host's name of the other */
    /* Of the partition: host/inspect.h. On the target a peer's, so untrusted, and with the names
     * that this host has for its disks and networks (mapping.h). */
    const json_t *model;
    const json_t *mapping; /* target: what lpm_mapping_resolve said */
    gboolean for_migration;
    gboolean sample_link;
    gboolean force;                /* source: an operator accepts loss of redundancy */
    guint8 nonce[LPM_NONCE_BYTES]; /* goes over networks in clear */
    char nonce_text[2 * LPM_NONCE_BYTES + 1];
    guint8 session[LPM_SESSION_ID_BYTES]; /* of the movers' trial */
    guint8 psk[LPM_SESSION_PSK_BYTES];
    /* Atomic, source: the target has answered, or cannot. What both sides do at once the source
     * does until then, so that a target that begins late still meets it. */
    gint answered;
    GMutex lock;
    GPtrArray *marks; /* under lock: files to unlink when both sides are done */
};

/* The facts of both sides and what is found in them. */
struct lpm_judgement {
    const struct lpm_validation *validation;
    const json_t *model;
    const json_t *source, *target; /* never NULL; empty if the check gathers nothing there */
    const char *source_name, *target_name; /* of the hosts */
    const json_t *sources, *targets;       /* {id: facts} of all checks, for one that needs more */
    json_t *findings;                      /* array, owned by who judges */
    gboolean not_applicable;
};

struct lpm_check {
    const char *id;             /* stable word: "disks" */
    const char *title;          /* what is so when it passes */
    enum lpm_severity severity; /* of the worst that it finds */
    const char *rule;           /* of the requirements: "R2.3" */
    gboolean target;            /* needs facts of the target */
    /* An object, or NULL with the error that then is the finding. NULL: nothing to gather. */
    json_t *(*gather)(struct lpm_validation *validation, GError **error);
    /* Calls lpm_find() for each finding; none: pass. */
    void (*judge)(struct lpm_judgement *judgement);
    /* Source, or NULL: looks again at what both sides' facts, {id: facts} of all checks, leave
     * open; adds to this check's of the source. */
    void (*settle)(struct lpm_validation *validation, json_t *sources, const json_t *targets);
};

/* In the order of the report; ends with id NULL. */
extern const struct lpm_check lpm_checks[];

/* Adds a finding; the catalogue's severity of `code` makes it a warning or an error. */
void lpm_find(struct lpm_judgement *judgement, enum lpm_error_code code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
/* The same for a loss of redundancy (R2.13): with `force` it is a warning with member `forced`. */
void lpm_find_loss(struct lpm_judgement *judgement, enum lpm_error_code code, const char *format,
                   ...) G_GNUC_PRINTF(3, 4);
/* Nothing of the kind is there to be checked. */
void lpm_does_not_apply(struct lpm_judgement *judgement);

/* ---- small readers; absent members read as "", 0, FALSE ---- */

const char *lpm_fact(const json_t *object, const char *name);
gint64 lpm_fact_int(const json_t *object, const char *name);
gboolean lpm_fact_true(const json_t *object, const char *name);
/* Is the partition of a model powered off? Then only its definition is moved: inactive.h. */
gboolean lpm_is_off(const json_t *model);
/* "143 MiB", a new string. */
char *lpm_mib(gint64 bytes);

/* ---- runs (run.c) ---- */

/* Gathers this side's facts of all checks, in parallel: {id: facts}. A new reference. */
json_t *lpm_validation_gather(struct lpm_validation *validation);

/* ---- the forecast (expect.c) ---- */

struct lpm_validate_options;
/* Begins to sample what a forecast needs, if one is wanted; whether a sample was begun. */
gboolean lpm_expect_begin(struct lpm_daemon *daemon, const json_t *model,
                          const struct lpm_validate_options *options);
/* The forecast, a new reference; JSON's null if none is wanted or nothing runs. `begin_us`: when
 * the sample was begun; waits for it. */
json_t *lpm_expect_end(struct lpm_daemon *daemon, const json_t *model,
                       const struct lpm_validate_options *options, gboolean sampled,
                       gint64 begin_us, const json_t *report);

/* ---- the report (report.c) ---- */

/* Judges all checks. `target` may be NULL when the other host could not be asked: `failure` says
 * why then, and what needs it is "not-checked". A new reference. */
json_t *lpm_validation_report(struct lpm_validation *validation, const json_t *source,
                              const json_t *target, const GError *failure);

#endif
