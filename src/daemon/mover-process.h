/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * One mover of this host, seen from lpmd: its process is started, or found again after a restart of
 * lpmd, and spoken to over its control socket (transport/mover-control.h). A thread of its own
 * receives what the mover tells. The mover outlives lpmd unless it is told to quit.
 */
#ifndef LPM_DAEMON_MOVER_PROCESS_H
#define LPM_DAEMON_MOVER_PROCESS_H

#include "base/config.h"
#include "transport/mover-control.h"

struct lpm_mover;

/* Called on the mover's thread for each event but STATS; `event` is borrowed. NULL: the mover is
 * gone (its process ended or its socket broke); no call follows. Must not free the mover. */
typedef void (*lpm_mover_event_fn)(const LpmMoverEvent *event, void *user);

/* Starts a process and connects to it. LPM_E_MOVER_START. The events begin at once. */
struct lpm_mover *lpm_mover_spawn(const LpmConfig *config, const char *id, enum lpm_side side,
                                  lpm_mover_event_fn on_event, void *user, GError **error);

/* Connects to the mover that an earlier lpmd started; LPM_E_MOVER_FAILED when there is none. */
struct lpm_mover *lpm_mover_find(const LpmConfig *config, const char *id, enum lpm_side side,
                                 lpm_mover_event_fn on_event, void *user, GError **error);

/* Whether this process has, starts or is about to find that mover: it is nobody else's to end. Any
 * thread. */
gboolean lpm_mover_is_served(const LpmConfig *config, const char *id, enum lpm_side side);

/* Tells the mover of a migration that nobody serves any more to quit, waits for a second at most
 * for it to close, and removes its socket. */
void lpm_mover_dismiss(const LpmConfig *config, const char *id, enum lpm_side side);

/* No callback runs or follows after this; the rest can still be called, in vain. */
void lpm_mover_detach(struct lpm_mover *mover);

/* Forgets the mover without ending it, after waiting for a running callback. NULL is allowed. */
void lpm_mover_free(struct lpm_mover *mover);

/* The descriptor for the lpm_mover_send_* functions, -1 when the mover is gone. Hold the lock of
 * lpm_mover_lock while sending: one packet at a time. */
int lpm_mover_lock(struct lpm_mover *mover);
void lpm_mover_unlock(struct lpm_mover *mover);

/* Asks for statistics and waits at most `timeout_ms`: a new reference, or NULL with MOVER_FAILED.
 * An answer also proves that the mover was alive and held what it held until now. */
json_t *lpm_mover_ask_stats(struct lpm_mover *mover, guint timeout_ms, GError **error);

/* Tells the mover to quit and waits at most `timeout_ms` for its socket to close, then removes the
 * socket's file. Safe to repeat. */
void lpm_mover_quit(struct lpm_mover *mover, guint timeout_ms);

/* The mover ends as it would in a crash, and what it lent stays open: for at most `timeout_ms`. */
void lpm_mover_leave(struct lpm_mover *mover, guint timeout_ms);

#endif
