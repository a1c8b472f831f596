/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The journal of this host: state_dir/lpmd.db, SQLite in WAL mode with synchronous=FULL.
 *
 * What must survive a loss of power (decisions, states, peers) is on disk when its function
 * returns; what is only told to operators (phases, log lines) may lose the last moments then, but
 * nothing at a crash of lpmd. One connection, guarded by a lock inside: every function may be
 * called from any thread. Functions that return gboolean return FALSE with LPM_E_JOURNAL unless
 * they say otherwise.
 */
#ifndef LPM_DAEMON_JOURNAL_H
#define LPM_DAEMON_JOURNAL_H

#include <glib.h>
#include <jansson.h>
#include <stdint.h>

struct lpm_journal;

/* Log lines kept; the oldest go first. */
#define LPM_JOURNAL_LOG_KEEP 100000

/* Opens or creates the journal. NULL with LPM_E_JOURNAL when it cannot be opened, was written by a
 * newer lpmd, or is damaged; in the last case a copy is kept beside it and named in the cause, and
 * the file itself is left as it was. */
struct lpm_journal *lpm_journal_open(const char *path, GError **error);
/* NULL is allowed. No other call may be under way. */
void lpm_journal_close(struct lpm_journal *journal);
typedef struct lpm_journal LpmJournal;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmJournal, lpm_journal_close)

/* ---- migrations ---- */

/* One migration as this host knows it. Free with lpm_migration_row_free. */
typedef struct lpm_migration_row {
    char *id;
    char *role; /* "source" or "target" */
    char *partition;
    char *uuid;
    char *peer;         /* this host's name for the other host */
    char *state;        /* see docs/architecture.md */
    int64_t started_ms; /* since 1970 */
    int64_t ended_ms;   /* 0: has not ended */
    json_t *doc;        /* the parameters, an object; never NULL */
    json_t *error;      /* NULL: none */
    json_t *report;     /* NULL: none */
} LpmMigrationRow;
void lpm_migration_row_free(LpmMigrationRow *row);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmMigrationRow, lpm_migration_row_free)

/* Adds a migration that has begun; `ended_ms`, `error` and `report` of the row are not read. An id
 * that exists is an error. On disk on return. */
gboolean lpm_journal_migration_insert(struct lpm_journal *journal, const LpmMigrationRow *row,
                                      GError **error);
/* Sets the state, or the parameters (borrowed). On disk on return. MIGRATION_NOT_FOUND. */
gboolean lpm_journal_migration_state(struct lpm_journal *journal, const char *id, const char *state,
                                     GError **error);
gboolean lpm_journal_migration_doc(struct lpm_journal *journal, const char *id, json_t *doc,
                                   GError **error);
/* Ends a migration: state, instant, and error and report (borrowed, NULL for none) at once. Calling
 * it again replaces these. On disk on return. MIGRATION_NOT_FOUND if unknown. */
gboolean lpm_journal_migration_finish(struct lpm_journal *journal, const char *id,
                                      const char *state, int64_t ended_ms, json_t *failure,
                                      json_t *report, GError **error);
/* One migration, owned by the caller; NULL with MIGRATION_NOT_FOUND (or JOURNAL). */
LpmMigrationRow *lpm_journal_migration_get(struct lpm_journal *journal, const char *id,
                                           GError **error);
/* Rows (LpmMigrationRow, freed with the array), newest first, at most `limit` (0: 1000). With
 * `partition`, those of that name or UUID; with `active`, those that have not ended. */
GPtrArray *lpm_journal_migrations(struct lpm_journal *journal, const char *partition,
                                  gboolean active, guint limit, GError **error);
/* How many have not ended; with `peer`, those with that peer. -1 on error. */
int lpm_journal_active_count(struct lpm_journal *journal, const char *peer, GError **error);

/* ---- forecasts (journal-forecasts.c) ---- */

/* A migration of this host as the source, and the forecast that was made of it (NULL: none). */
typedef struct lpm_forecast_past {
    LpmMigrationRow *row;
    json_t *forecast;
} LpmForecastPast;
void lpm_forecast_past_free(LpmForecastPast *past);

/* Stores the forecast (borrowed) of a migration, in place of one that an earlier attempt had. */
gboolean lpm_journal_forecast_add(struct lpm_journal *journal, const char *id, int64_t made_ms,
                                  json_t *forecast, GError **error);
/* LpmForecastPast (freed with the array), newest first, at most `limit`: migrations from this host
 * that were done or have a forecast; with `partition`, those of that name or UUID. */
GPtrArray *lpm_journal_forecasts(struct lpm_journal *journal, const char *partition, guint limit,
                                 GError **error);

/* ---- decisions ---- */

/* One decision. `facts` is an object. */
typedef struct lpm_decision {
    int64_t seq; /* from 1, per migration, in the order decided */
    int64_t wall_us;
    char *what;
    json_t *facts;
} LpmDecision;

/* Appends a decision and, with `state`, sets the migration's state in the same transaction. Returns
 * TRUE only after the fsync of the commit: whoever acts on a decision calls this before. `facts` is
 * borrowed and may be NULL. Decisions are never changed or removed (the database refuses it).
 * MIGRATION_NOT_FOUND if unknown. */
gboolean lpm_journal_decide(struct lpm_journal *journal, const char *id, const char *what,
                            json_t *facts, const char *state, GError **error);
/* All decisions of a migration (LpmDecision, freed with the array) in order; empty if none. */
GPtrArray *lpm_journal_decisions(struct lpm_journal *journal, const char *id, GError **error);
/* TRUE if `what` was decided. FALSE with *error set if that cannot be read, unset if it was not. */
gboolean lpm_journal_decided(struct lpm_journal *journal, const char *id, const char *what,
                             GError **error);

/* ---- phases ---- */

/* Begins a phase and ends the one that is open, at `begin_us` (wall clock). */
gboolean lpm_journal_phase_begin(struct lpm_journal *journal, const char *id, const char *name,
                                 int64_t begin_us, GError **error);
/* Ends the open phase, if there is one. */
gboolean lpm_journal_phase_end(struct lpm_journal *journal, const char *id, int64_t end_us,
                               GError **error);
/* [{name, begin_us, end_us or null}] in order; a new reference, NULL on error. */
json_t *lpm_journal_phases(struct lpm_journal *journal, const char *id, GError **error);

/* ---- time lines (daemon/timeline.h) ---- */

/* Those of the newest migrations are kept: each has some 200 KiB at most. */
#define LPM_JOURNAL_TIMELINES_KEEP 100

/* Sets or replaces the samples, an array (borrowed), of a migration that the journal knows. */
gboolean lpm_journal_timeline_set(struct lpm_journal *journal, const char *id,
                                  const json_t *samples, GError **error);
/* The array, empty if there is none; a new reference, NULL on error. */
json_t *lpm_journal_timeline_get(struct lpm_journal *journal, const char *id, GError **error);

/* ---- pages that a copy was given beside its stream (daemon/feed.h) ---- */

struct lpm_fed_page; /* host/page-feeder.h */
/* Adds `count` pages of a migration, until its end; one that is there already is no matter. On disk
 * on return. */
gboolean lpm_journal_fed_add(struct lpm_journal *journal, const char *id,
                             const struct lpm_fed_page *pages, guint count, GError **error);
/* All of them (struct lpm_fed_page), by block and offset; empty if none; NULL on error. */
GArray *lpm_journal_fed(struct lpm_journal *journal, const char *id, GError **error);

/* ---- log ---- */

/* One line. Strings are borrowed; NULL stands for none (event: required). */
struct lpm_log_entry {
    int64_t time_us;
    const char *host;
    const char *migration;
    const char *partition;
    const char *level; /* debug, info, warning, error */
    const char *event; /* a short word: "paired", "suspended" */
    const char *text;
};
gboolean lpm_journal_log_add(struct lpm_journal *journal, const struct lpm_log_entry *entry,
                             GError **error);
/* [{time_us, host, migration, partition, level, event, text}], oldest first, the newest `limit` (0:
 * 1000) of those that match the partition and the migration given (NULL: any). A new reference. */
json_t *lpm_journal_log_list(struct lpm_journal *journal, const char *partition,
                             const char *migration, guint limit, GError **error);

/* ---- peers (src/daemon/peers.h is the way to use them) ---- */

typedef struct lpm_peer {
    char *name; /* this host's name for it, unique */
    char *address;
    guint control_port, data_port;
    char *fingerprint; /* base64 SHA-256 of its public key, unique */
    int64_t paired_ms;
} LpmPeer;
LpmPeer *lpm_peer_copy(const LpmPeer *peer);
void lpm_peer_free(LpmPeer *peer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmPeer, lpm_peer_free)

/* Adds a peer, or with `replace` overwrites the one of that name. On disk on return. PEER_EXISTS if
 * the name or the fingerprint is taken. */
gboolean lpm_journal_peer_add(struct lpm_journal *journal, const LpmPeer *peer, gboolean replace,
                              GError **error);
/* Removes one. On disk on return. PEER_UNKNOWN if there is none of that name. */
gboolean lpm_journal_peer_remove(struct lpm_journal *journal, const char *name, GError **error);
/* All peers (LpmPeer, freed with the array) in order of name; NULL on error. */
GPtrArray *lpm_journal_peers(struct lpm_journal *journal, GError **error);

#endif
