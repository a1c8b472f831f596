/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Whether a migration ended as pre-copy or went over to post-copy, and what waits for that to be
 * known: libvirt's call of Finish at the target, which decides whether its processors start, and
 * QEMU's package with the word to run (docs/mover-protocol.md, "Post-copy").
 *
 * The outcome is a fact of QEMU's stream and never of a clock. It is known once and for good: the
 * first of the two counts. Any function from any thread.
 */
#ifndef LPM_MOVER_SWITCHOVER_H
#define LPM_MOVER_SWITCHOVER_H

#include <glib.h>

typedef struct lpm_switchover LpmSwitchover;

enum lpm_outcome {
    LPM_OUTCOME_UNKNOWN,  /* the stream goes on (PRECOPY, POSTCOPY) */
    LPM_OUTCOME_PRECOPY,  /* the stream has ended, or broke, without the word to run */
    LPM_OUTCOME_POSTCOPY, /* the word to run has come; in a stream that resumes a post-copy, QEMU
                             on the target has acknowledged that it goes on */
};

/* What can be asked at any time. */
struct lpm_switchover_state {
    enum lpm_outcome outcome;
    gboolean waiting; /* the package, and Finish, wait for lpm_switchover_allow */
    gboolean
        incomplete; /* the package waits and Finish, which starts the processors, is not here */
};

/* `gated`: the word to run must be allowed. `changed` (any thread) is called after each change of
 * the state. */
LpmSwitchover *lpm_switchover_new(gboolean gated, void (*changed)(gpointer user), gpointer user);
void lpm_switchover_free(LpmSwitchover *switchover);

void lpm_switchover_note(LpmSwitchover *switchover, enum lpm_outcome outcome);
/* lpmd's word, also before there is anything to allow. */
void lpm_switchover_allow(LpmSwitchover *switchover);
/* QEMU has loaded the processors' and devices' state, so that nothing is left to do but to start.
 */
void lpm_switchover_note_loaded(LpmSwitchover *switchover);
/* Waits for the outcome and, after the switch, until it is allowed. UNKNOWN: cancelled. */
enum lpm_outcome lpm_switchover_wait_outcome(LpmSwitchover *switchover);
/* Ends every wait for good. */
void lpm_switchover_cancel(LpmSwitchover *switchover);

void lpm_switchover_get(LpmSwitchover *switchover, struct lpm_switchover_state *state);

#endif
