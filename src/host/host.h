/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The managed system: what libvirt and QEMU know and do. The only code that includes libvirt.
 *
 * One control connection serves short questions and events, and is opened again when libvirtd was
 * restarted. The migrate call, which lasts as long as the migration, has a connection of its own
 * (libvirtd serves five requests of a connection at a time). libvirt's event loop runs in one
 * thread from lpm_host_open on, always, or libvirt's own keepalive would end connections.
 *
 * All functions may be called from any thread and block for the time of one libvirt call.
 */
#ifndef LPM_HOST_HOST_H
#define LPM_HOST_HOST_H

#include "base/config.h"

#include <glib.h>
#include <jansson.h>

struct lpm_host;

/* An event of a partition's QEMU: STOP, RESUME, MIGRATION, SHUTDOWN ... with QEMU's own stamp of
 * CLOCK_REALTIME in microseconds. Called in the event thread: must not block or call lpm_host_*. */
typedef void (*lpm_host_event_fn)(const char *uuid, const char *event, gint64 at_us, void *user);

/* Starts the event thread and connects to config->libvirt_uri. A libvirtd that is down is not an
 * error: each call tries again. `config` is borrowed for the host's life. One host per process. */
struct lpm_host *lpm_host_open(const LpmConfig *config, lpm_host_event_fn on_event, void *user,
                               GError **error);
void lpm_host_close(struct lpm_host *host);

/* The digests of files that this program remembers (digests.h), for as long as the host. */
struct lpm_digests *lpm_host_digests(struct lpm_host *host);

/* {"libvirt": "9.0.0", "qemu": "7.2.22"}; NULL with LPM_E_LIBVIRT_UNREACHABLE. */
json_t *lpm_host_versions(struct lpm_host *host, GError **error);

/* Array of {name, uuid, id, state, memory_bytes, vcpus, persistent}. */
json_t *lpm_host_partitions(struct lpm_host *host, GError **error);

/* One of them with {os_type, arch, machine, hypervisor, disks, adapters}; LPM_E_PARTITION_NOT_FOUND
 * when `name` is neither a name nor a UUID here. */
json_t *lpm_host_partition(struct lpm_host *host, const char *name, GError **error);

/* What the hand-over asks of a partition. libvirt's words for a paused one are the same on both
 * sides, so two of the states read differently on each: see their comments. */
enum lpm_partition_state {
    LPM_PARTITION_ABSENT,    /* libvirt knows no such UUID */
    LPM_PARTITION_DEFINED,   /* defined, nothing runs */
    LPM_PARTITION_RUNNING,   /* processors run */
    LPM_PARTITION_MIGRATING, /* paused (migrating): target, not fully loaded; source, at the end of
                                the copy */
    LPM_PARTITION_LOADED,    /* paused (user): target of a migration, fully loaded and never run;
                                elsewhere, paused by a user */
    LPM_PARTITION_POST_COPY, /* in post-copy: source, serves pages and never runs again; target,
                                runs, and needs pages that the source has */
    LPM_PARTITION_POST_COPY_FAILED, /* the same with the connection between the two QEMUs broken */
    LPM_PARTITION_PAUSED,           /* paused for another reason */
    LPM_PARTITION_OTHER             /* crashed, shutting down, suspended by the guest */
};

/* How often libvirtd has been connected to: between two of its answers, the same number tells that
 * it was the same libvirtd. */
guint lpm_host_connections(struct lpm_host *host);

/* The state by UUID. FALSE only when libvirt cannot be asked. */
gboolean lpm_host_state(struct lpm_host *host, const char *uuid, enum lpm_partition_state *state,
                        GError **error);
const char *lpm_partition_state_name(enum lpm_partition_state state);

/* TRUE in *used if a partition, running or only defined, has the name or the UUID. */
gboolean lpm_host_name_used(struct lpm_host *host, const char *name, const char *uuid,
                            gboolean *used, GError **error);

/* Parameters of the migrate call; strings are borrowed. */
struct lpm_migrate_params {
    const char *uuid;
    const char *rpc_socket;  /* unix socket that leads to the target's libvirtd */
    const char *data_socket; /* same path on both hosts: the source's QEMU connects here */
    gboolean persistent;     /* keep a definition on the target, drop the source's */
    gboolean post_copy;      /* lpm_host_start_post_copy may follow; see lpm_host_migrate */
    const json_t *adapters;  /* names on the target (mapping.h); NULL or the same: none changes */
    gboolean resume;         /* goes on with a post-copy that failed (POST_COPY_FAILED) */
};

/* Runs libvirt's peer-to-peer migration with the target left paused. With `post_copy` libvirt
 * refuses that flag (seen with 9.0), so the mover adds it to Finish on the way. Returns when the
 * call does: TRUE, or FALSE with LPM_E_LIBVIRT. An error here is a fact about the call, not about
 * the partition: ask lpm_host_state. */
gboolean lpm_host_migrate(struct lpm_host *host, const struct lpm_migrate_params *params,
                          GError **error);

/* Progress of the running job, in bytes, bytes/s and milliseconds; all 0 when there is no job, and
 * all but `active` on the target. */
struct lpm_job {
    gboolean active;
    guint64 memory_total, memory_done, memory_left;
    guint64 rate;       /* as QEMU measures it: bytes of the stream before compression */
    guint64 dirty_rate; /* bytes/s that the guest wrote in the last round */
    guint64 page_size;
    guint64 iteration; /* rounds so far */
    guint64 expected_suspend_ms;
};
gboolean lpm_host_job(struct lpm_host *host, const char *uuid, struct lpm_job *job, GError **error);

/* Sets QEMU's downtime limit of the running job. */
gboolean lpm_host_set_max_suspend(struct lpm_host *host, const char *uuid, guint milliseconds,
                                  GError **error);

/* Lets the running job, begun with `post_copy`, go over to post-copy at once. The processors then
 * stop here for good and start on the target. LPM_E_LIBVIRT when there is no such job. */
gboolean lpm_host_start_post_copy(struct lpm_host *host, const char *uuid, GError **error);

/* Aborts the job. The partition then runs on here unless its processors were already stopped for
 * good, which lpm_host_state tells. */
gboolean lpm_host_abort(struct lpm_host *host, const char *uuid, GError **error);

/* Lets a migration that QEMU was told to cancel, by whomever, come to its end. Between stopping the
 * processors and showing `pre-switchover` QEMU (7.2) lets go of its lock for an instant: a
 * cancellation that is dealt with then is not seen by its thread, which waits for ever for the word
 * to go on, and everybody for it, with the partition suspended. FALSE, with an error, when QEMU is
 * not cancelling, or cannot be asked: nothing was done then. */
gboolean lpm_host_wake_cancelled(struct lpm_host *host, const char *uuid, GError **error);

/* Starts the processors of a paused partition. */
gboolean lpm_host_resume(struct lpm_host *host, const char *uuid, GError **error);

/* Source, in a post-copy whose copy is known never to run (the target has journalled so): makes
 * QEMU give the migration up and go on here. `fd` is QEMU's connection, lent by the mover and read
 * by nobody else now (borrowed; -1: none). TRUE when it runs, or ran already. FALSE with *possible
 * FALSE when it can never be, because the connection broke before; else try again. Takes up to 12
 * s. */
gboolean lpm_host_take_back(struct lpm_host *host, const char *uuid, int fd, gboolean *possible,
                            GError **error);
/* After that, and after libvirt's call has ended: libvirt still says "running (post-copy)". A
 * suspend and a resume, a few milliseconds, make it say "running", and take the disks' locks again
 * where a lock manager is set up. */
gboolean lpm_host_relabel(struct lpm_host *host, const char *uuid, GError **error);

/* Does the host start the partition when it boots? FALSE also for a transient one. */
gboolean lpm_host_autostart(struct lpm_host *host, const char *uuid, gboolean *autostart,
                            GError **error);
/* Not during libvirt's migration job, which would hold the call up for 30 s. */
gboolean lpm_host_set_autostart(struct lpm_host *host, const char *uuid, gboolean autostart,
                                GError **error);

/* Ends the partition's QEMU on this host and, if `undefine`, drops its definition (keeping NVRAM
 * and images). Absent is success. Only for a copy that must not run: see daemon/handover.h. */
gboolean lpm_host_discard(struct lpm_host *host, const char *uuid, gboolean undefine,
                          GError **error);

#endif
