/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * One migration as one of its two hosts sees it, and the registry of those that have not ended.
 *
 * Facts come from several threads (the mover's, libvirt's event loop, the migrate call, the API);
 * each is a member that is set under the lock and announced with `changed`. The side's own thread
 * (source.c) or the peer's calls (target.c) act on them; nobody else changes the state.
 */
#ifndef LPM_DAEMON_MIGRATION_H
#define LPM_DAEMON_MIGRATION_H

#include "base/fdio.h"
#include "daemon/daemon.h"
#include "daemon/journal.h"
#include "daemon/mover-process.h"
#include "daemon/timeline.h"
#include "host/guest-pages.h"
#include "host/host.h"
#include "host/qemu-process.h"

/* What may happen in each state, and which follow. */
enum lpm_state {
    LPM_STATE_VALIDATING,   /* questions only; -> preparing, failed */
    LPM_STATE_PREPARING,    /* sockets and movers are made; -> copying, rolling-back */
    LPM_STATE_COPYING,      /* libvirt's call runs, the partition runs on the source;
                               -> post-copy, suspending, rolling-back */
    LPM_STATE_POST_COPY,    /* the target has been, or is about to be, started: it fetches what it
                               lacks, the source serves (handover.h); -> committing, cleaning,
                               in-doubt, rolling-back (only before the switch) */
    LPM_STATE_SUSPENDING,   /* the source's processors stand still; -> committing, rolling-back */
    LPM_STATE_COMMITTING,   /* handover.c alone acts; -> cleaning, in-doubt, rolling-back (only
                               before the decision) */
    LPM_STATE_CLEANING,     /* decided and done; what is left over goes; -> done */
    LPM_STATE_ROLLING_BACK, /* decided against; -> failed, stopped */
    LPM_STATE_QUEUED,   /* waits for a slot, nothing has been done (queue.h); -> validating, failed,
                           stopped; back from validating, preparing when the target is full */
    LPM_STATE_IN_DOUBT, /* the other side does not answer where it matters; stays until it does;
                           -> committing, cleaning, rolling-back */
    LPM_STATE_DONE,     /* ends */
    LPM_STATE_FAILED,
    LPM_STATE_STOPPED,
};

/* What is to become of the definition of a partition that runs. */
enum lpm_persist { LPM_PERSIST_AS_IT_IS, LPM_PERSIST_YES, LPM_PERSIST_NO };

/* When to go over to post-copy (R3.4): never; when the dirty pages no longer decrease; at once. */
enum lpm_post_copy { LPM_POST_COPY_NEVER, LPM_POST_COPY_AUTO, LPM_POST_COPY_NOW };
/* FALSE when `name` is none of never, auto, now. */
gboolean lpm_post_copy_from_name(const char *name, enum lpm_post_copy *when);
const char *lpm_post_copy_name(enum lpm_post_copy when);

/* "rolling-back" and so on, as in the API; and the operator's form ("Migrating - Running"), also
 * of a partition that is powered off ("Migrating - Not Activated"). */
const char *lpm_state_name(enum lpm_state state);
const char *lpm_state_shown_of(enum lpm_state state, gboolean inactive);
const char *lpm_state_shown(enum lpm_state state);
/* FALSE when `name` is none. */
gboolean lpm_state_from_name(const char *name, enum lpm_state *state);
gboolean lpm_state_is_final(enum lpm_state state);

/* Decisions in the journal, in the order in which they can follow each other. */
#define LPM_DECIDED_PREPARED "prepared"   /* target: has everything, is paused */
#define LPM_DECIDED_ENDING "ending"       /* source: its QEMU is about to be ended: no way back */
#define LPM_DECIDED_COMMITTED "committed" /* source: its QEMU is proved ended; target: may run */
#define LPM_DECIDED_RUNNING "running"     /* target runs (each side when it knows) */
/* Source: asks for post-copy, no stop any more; target: knows it, and gives up alone no more. */
#define LPM_DECIDED_SWITCHING "switching"
#define LPM_DECIDED_SWITCHED "switched" /* target: starts in post-copy; it owns the partition */
#define LPM_DECIDED_ABORTED "aborted"   /* source: the target shall never run; target: discarded */
#define LPM_DECIDED_ENDED                                                                          \
    "ended"                         /* past the decision the target's QEMU ended, or its host for  \
                                       good: neither copy runs, the source keeps the definition */
#define LPM_DECIDED_FENCED "fenced" /* an operator has sworn that the other host is off */

typedef struct lpm_migration {
    gint references; /* atomic */
    /* immutable once registered */
    struct lpm_daemon *daemon;
    enum lpm_side side;
    char *id, *partition, *uuid, *peer;
    gint64 started_ms;
    guint64 bandwidth;
    guint max_suspend_ms;
    gboolean limit_asked; /* source: max_suspend_ms is this migration's own */
    gboolean persistent;
    enum lpm_post_copy post_copy; /* on the target: never or not */
    gboolean autostart;           /* what the source had set for the partition */
    guint64 memory_bytes;
    guint vcpus;
    gboolean hugepages;   /* its memory is in the host's huge pages */
    gboolean inactive;    /* powered off: inactive.h */
    json_t *node_demands; /* target: of memory nodes (node-demands.h), or NULL */
    gint reserved;        /* atomic, target: room is promised to it (reservations.h) */
    gboolean force;       /* source: accepts a loss of redundancy */
    json_t *map;          /* source: names that an operator gave (validate/mapping.h), or NULL */
    gboolean recovered;   /* found in the journal at start */
    LpmTimeline *timeline;

    /* owned by the thread that runs the side */
    LpmQemuProcess *qemu; /* source */
    pid_t qemu_pid;       /* source: identifies it across a restart of lpmd; 0: not known yet */
    guint64 qemu_start_time;
    GThread *call_thread; /* source: libvirt's call */
    /* Of the movers' session; another one after a pair of movers was lost in post-copy. */
    guint8 session[LPM_SESSION_ID_BYTES];
    guint8 psk[LPM_SESSION_PSK_BYTES]; /* zero after a restart of lpmd: the mover has it */
    gboolean limit_set;                /* source: of the suspension, at libvirt */
    gboolean switching_told;           /* source: the target knows that post-copy is decided */
    gboolean switch_asked;             /* source: for post-copy, of libvirt, which agreed */
    gboolean resume_call;      /* source: the next call of libvirt goes on with a post-copy */
    guint64 round, round_left; /* source: the round seen last, what it began with */

    GMutex lock;
    GCond changed;
    /* under lock */
    struct lpm_mover *mover; /* set with lpm_migration_set_mover, read freely by who set it */
    GPtrArray *retired;      /* the movers before it, detached: others may still hold the pointer */
    enum lpm_state state;
    gboolean decided;        /* source: the way back is closed, `stop` is refused */
    gboolean stop_requested; /* source */
    gboolean finish_held;    /* source: the mover holds libvirt's Finish reply */
    gboolean finish_good;    /* and it tells of success */
    gint64 finish_held_us;   /* wall clock */
    gboolean call_returned;  /* source */
    GError *call_error;      /* source: of libvirt's call; NULL: it succeeded or runs */
    gboolean taken_back; /* source's thread: QEMU came back from post-copy, libvirt does not know */
    /* Source: what keeps the way back open after post-copy was asked for, see lpm_source_let_go */
    gboolean may_go_back;
    lpm_fd
        program_fd[LPM_CHANNEL_COUNT];  /* QEMU's and libvirt's sockets to the mover, lent, or -1 */
    gboolean ending[LPM_CHANNEL_COUNT]; /* the target's side of it has ended, untold */
    gboolean mover_gone;
    GError *mover_error; /* what the mover failed of */
    gboolean run_passed; /* source: QEMU has sent the word to run of post-copy */
    guint links;         /* most at a time, agreed by both hosts; 0: one */
    gboolean link_up;
    guint links_came;       /* times that the mover told of one */
    gboolean link_wanted;   /* source: the mover asks for a link, the first or one more */
    gint64 link_down_since; /* monotonic us; 0: up or never was */
    gboolean rpc_lost;      /* source: libvirt's own end of the RPC closed */
    /* The last event of QEMU's processors. Their order counts: the stamps are of a wall clock,
     * which can be set back between two of them. */
    enum { LPM_CPUS_UNKNOWN, LPM_CPUS_STOPPED, LPM_CPUS_RESUMED } cpus;
    gint64 stream_begin_us; /* source: wall clock, QEMU has connected to the mover; 0: not seen */
    gint64 stop_us, resume_us; /* QEMU's stamps, for the report; 0: not seen */
    gint64 opened_us; /* target, under act: wall clock, the gate was opened, behind RESUME; 0 */
    struct lpm_job job;
    double percent;
    GError *failure;
    json_t *adapters; /* source: the virtual adapter map of its validation; NULL: none yet */
    json_t *findings; /* source: of its validation, errors first; NULL: none yet */
    json_t *report;   /* source, at the end */
    /* source: the forecast, and with a limit of its own what speaks against it (NULL: nothing) */
    gboolean forecasting, forecast_made;
    gint64 begun_us;        /* wall clock: the attempt's, behind all waiting in the queue */
    gint64 proved_us;       /* monotonic: when the checks were over; 0: not yet */
    double link_rate;       /* as they sampled it, bytes/s; 0: not */
    guint64 retained_bytes; /* as the target told it */
    json_t *forecast;
    char *objection;
    gint64 sampling_us; /* what its samples have delayed the migration by */
    guint limit_ms;     /* QEMU's part of max_suspend_ms */
    /* source's figures for the report */
    gint64 clock_offset_us, clock_error_us; /* error -1: not measured */
    gint64 source_ended_us, committed_us, target_resumed_us;
    json_t *target_stats, *source_stats;
    /* Of a powered-off partition: its files (bundle.h), and which they were on the source. Set
     * once, while it is prepared. */
    json_t *manifest, *marks;
    enum lpm_persist persist; /* source, immutable */
    /* source: of the queue (queue.h) */
    gboolean may_queue;     /* immutable: it waits rather than be refused */
    gint queued;            /* atomic, written with the registry locked: it waits */
    gint priority;          /* registry locked, as the following */
    gint64 place, retry_at; /* among equals, the least first; monotonic us, not to begin before */
    char *waits_for;        /* under lock */
    gint64 heard_us; /* under lock, target of such a one: the source's last word, monotonic */
    gint64 timeline_saved_us; /* monotonic; 0: no sample was taken */
    json_t *memory; /* under lock, target: what the stream calls the memory (feed.h), or NULL */
    gboolean memory_kept;        /* target, under act: `memory` is in the journal */
    gboolean feeding, feed_stop; /* under lock, target: a thread feeds the copy, and shall end */
    LpmGuestPages *guest_pages;  /* source, under act: opened when first asked for */
    gboolean keep_definition;    /* target, under act: of a copy that is discarded */
    GMutex act;                  /* one word of the peer at a time; most are the target's */
} LpmMigration;

LpmMigration *lpm_migration_ref(LpmMigration *migration);
void lpm_migration_unref(LpmMigration *migration);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmMigration, lpm_migration_unref)

/* A new one with one reference, not registered. Strings are copied; `id` NULL makes one up. */
LpmMigration *lpm_migration_new(struct lpm_daemon *daemon, enum lpm_side side, const char *id,
                                const char *partition, const char *uuid, const char *peer);

/* Sets the state in memory and journal, begins the phase of that name and announces it. A journal
 * that cannot be written is an error: nothing may be acted on. Final states go through
 * lpm_migration_end instead. */
gboolean lpm_migration_enter(LpmMigration *migration, enum lpm_state state, GError **error);

/* Decides: on disk before it returns TRUE. `facts` is stolen, may be NULL. */
gboolean lpm_migration_decide(LpmMigration *migration, const char *what, json_t *facts,
                              GError **error);
/* What the journal says; errors count as "no" only where a caller may be careful: see each. */
gboolean lpm_migration_decided(LpmMigration *migration, const char *what);
/* Target: was the copy told to run in post-copy, and not taken back before that could be heard? */
gboolean lpm_migration_switched(LpmMigration *migration);

/* The same for a decision without which nothing can go on: a full disk is waited out. TRUE when it
 * is, or was already, decided; FALSE only when lpmd stops. */
gboolean lpm_migration_decide_for_sure(LpmMigration *migration, const char *what);
/* Journals that an operator has fenced the other host, and whether that was done. */
gboolean lpm_migration_fence(LpmMigration *migration, GError **error);
gboolean lpm_migration_fenced(LpmMigration *migration);
/* Waits; a change of the facts ends it early. FALSE when lpmd stops. */
gboolean lpm_migration_pause(LpmMigration *migration, gint64 microseconds);
/* The other host's newest decision about this migration ("none": it knows it and has not decided),
 * a new string; NULL when it does not answer or does not know it. *ended (or NULL): has the
 * migration ended there? */
char *lpm_migration_ask_decision(LpmMigration *migration, gboolean *ended, GError **error);
char *lpm_peer_decision(struct lpm_peers *peers, const char *peer, const char *id, gboolean *ended,
                        GError **error);

/* Ends it: final state, error (borrowed, NULL) and report (stolen, NULL) in the journal; leaves the
 * registry. A journal that cannot be written is waited for, until lpmd stops. */
void lpm_migration_end(LpmMigration *migration, enum lpm_state state, const GError *failure,
                       json_t *report);

/* Logs an event of this migration on this host (lpm log). */
void lpm_migration_log(LpmMigration *migration, enum lpm_log_level level, const char *event,
                       const char *format, ...) G_GNUC_PRINTF(4, 5);

/* The API's document, a new reference. */
json_t *lpm_migration_to_json(LpmMigration *migration);
json_t *lpm_migration_row_to_json(struct lpm_daemon *daemon, const LpmMigrationRow *row);

/* ---- the time line (timeline-sample.c), of the source ---- */

/* Takes a sample if one is due. Asks the mover, which may take half a second. */
void lpm_migration_sample(LpmMigration *migration);
/* The last one, with what the mover counted in the end; on its thread. */
void lpm_migration_sample_last(LpmMigration *migration);
/* Goes on with what the journal holds, after a restart of lpmd. */
void lpm_migration_take_up_timeline(LpmMigration *migration);

/* ---- sockets of a migration (sockets.c) ---- */

/* The folder of its sockets, for qemu_user alone, and the two paths in it; the same on both hosts
 * when socket_dir is. Strings are new. */
char *lpm_migration_folder(const LpmMigration *migration);
char *lpm_migration_data_path(const LpmMigration *migration);
char *lpm_migration_rpc_path(const LpmMigration *migration);
gboolean lpm_migration_make_folder(LpmMigration *migration, GError **error);
void lpm_migration_remove_folder(LpmMigration *migration);
/* A listening or a connected unix socket; -1 with MOVER_START. */
int lpm_unix_listen(const char *path, GError **error);
int lpm_unix_connect(const char *path, GError **error);
/* A TCP connection to a peer's data port on which the session's id was sent; -1 with
 * PEER_UNREACHABLE. Waits at most `timeout_s`. */
int lpm_dial_session(const LpmPeer *peer, const guint8 *session, guint timeout_s, GError **error);

/* ---- registry (migrations.c) ---- */

struct lpm_migrations;

/* Opens the host and takes up what the journal holds unfinished. */
struct lpm_migrations *lpm_migrations_new(struct lpm_daemon *daemon, GError **error);
/* Lets every thread go; migrations go on in movers and libvirt and are found again at start. */
void lpm_migrations_free(struct lpm_migrations *migrations);
const struct lpm_route *lpm_migrations_routes(void);

/* Adds it unless the partition (by UUID) is in one already (ALREADY_MIGRATING) or as many are
 * active as lpmd.conf allows: in all, on that side, and with that peer (TOO_MANY). One that may
 * queue is then added all the same, `queued`. Takes a reference. */
gboolean lpm_migrations_add(struct lpm_migrations *migrations, LpmMigration *migration,
                            GError **error);
/* Those limits and what they count: [{limit: its key, active, most}], without a migration of the
 * partition with UUID `but` (or NULL). A new reference. */
json_t *lpm_migrations_limits(struct lpm_migrations *migrations, enum lpm_side side,
                              const char *peer, const char *but);
void lpm_migrations_remove(struct lpm_migrations *migrations, LpmMigration *migration);
/* A reference or NULL. */
LpmMigration *lpm_migrations_get(struct lpm_migrations *migrations, const char *id);
LpmMigration *lpm_migrations_by_uuid(struct lpm_migrations *migrations, const char *uuid);
/* References (freed with the array) to all that have not ended. */
GPtrArray *lpm_migrations_active(struct lpm_migrations *migrations);
/* TRUE once lpmd is stopping: threads return and leave the rest to the next start. */
gboolean lpm_migrations_closing(struct lpm_migrations *migrations);
/* Runs `function(migration)` on a thread that lpm_migrations_free waits for. Takes a reference. */
void lpm_migrations_run(struct lpm_migrations *migrations, LpmMigration *migration,
                        void (*function)(LpmMigration *));

/* ---- the two sides ---- */

/* source.c: starts a migration to `peer`; a reference, or NULL with the reason. */
struct lpm_source_options {
    guint64 bandwidth;    /* bytes/s; 0: what lpmd.conf says */
    guint max_suspend_ms; /* 0: likewise */
    enum lpm_post_copy post_copy;
    gboolean force; /* accepts a loss of redundancy */
    json_t *map;    /* borrowed: names on the target (validate/mapping.h), or NULL */
    /* Of the target: has a definition (and the source none any more), or has none (and the source
     * keeps its own, powered off); or as it is now. */
    enum lpm_persist persist;
    gboolean queue; /* waits for a slot rather than be refused: queue.h */
    gint priority;  /* in the queue */
};
LpmMigration *lpm_source_start(struct lpm_daemon *daemon, const char *partition, const char *peer,
                               const struct lpm_source_options *options, GError **error);
/* Asks it to stop; PAST_DECISION when that is no longer possible. */
gboolean lpm_source_stop(LpmMigration *migration, GError **error);
/* Goes on with one found in the journal. */
void lpm_source_recover(LpmMigration *migration);
/* Makes its thread act at once on what has become known, a fencing above all. Any thread. */
void lpm_source_look(LpmMigration *migration);

/* target.c: the peer's words; answers are new references. All idempotent. */
json_t *lpm_target_prepare(struct lpm_daemon *daemon, const char *peer, const json_t *body,
                           GError **error);
json_t *lpm_target_prepared(LpmMigration *migration, GError **error);
json_t *lpm_target_commit(LpmMigration *migration, GError **error);
json_t *lpm_target_abort(LpmMigration *migration, const char *cause, GError **error);
json_t *lpm_target_finish(LpmMigration *migration, GError **error);
/* Post-copy is decided on the source: from here this side does not give up by itself. */
json_t *lpm_target_switching(LpmMigration *migration, GError **error);
/* As lpm_target_abort unless the copy is complete or was started: {aborted, switched}. */
json_t *lpm_target_abandon(LpmMigration *migration, GError **error);
/* In post-copy: a new pair of movers, whose session `body` names, takes the place of a lost one. */
json_t *lpm_target_resume(LpmMigration *migration, const json_t *body, GError **error);
/* In post-copy: the source's QEMU is gone. Unless the copy here is complete it is worth nothing and
 * is ended. */
json_t *lpm_target_lost(LpmMigration *migration, const char *cause, GError **error);
/* Fences the source and ends a complete copy that never ran, and keeps its definition.
 * PAST_DECISION once it was handed over. */
gboolean lpm_target_discard_copy(LpmMigration *migration, GError **error);
void lpm_target_recover(LpmMigration *migration);
/* The mover holds the word to run of post-copy: decides, and lets it pass. */
void lpm_target_on_run_waits(LpmMigration *migration);
/* That word has passed, as far as the mover knows. */
void lpm_target_on_run_passed(LpmMigration *migration);
/* Asks the source now what became of it, and acts on that or on a fencing. Any thread. */
void lpm_target_look(LpmMigration *migration);

/* Events of the mover of either side, and its handle (mover-events.c). `mover` is taken over. */
void lpm_migration_set_mover(LpmMigration *migration, struct lpm_mover *mover);
/* Starts the mover of this side, sets it, and gives it session and key; `start` says how the side
 * wants it (backlog_bytes, finish_by_outcome, gate_run, hold_ends), the rest is filled in from the
 * migration and the configuration. MOVER_FAILED. */
gboolean lpm_migration_start_mover(LpmMigration *migration, LpmMoverStart *start, GError **error);
/* Source: QEMU and libvirt may see what has ended. Closes what was lent, and lets the ends pass
 * that the mover held back. May be repeated. */
void lpm_migration_let_go(LpmMigration *migration);
/* The mover, waited for: after a restart of lpmd it tells its needs before its handle is stored.
 * NULL when it is gone or lpmd stops. Not in the thread that stores it. */
struct lpm_mover *lpm_migration_wait_mover(LpmMigration *migration);
/* Ends the mover, and forgets what it and libvirt's call have told: for another pair. */
void lpm_migration_retire_mover(LpmMigration *migration);
void lpm_migration_on_mover_event(const LpmMoverEvent *event, void *user);

#endif
