/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/switchover.h"

#include <pthread.h>

struct lpm_switchover {
    /* immutable */
    gboolean gated;
    void (*changed)(gpointer user);
    gpointer user;

    pthread_mutex_t lock;
    /* guarded by lock */
    pthread_cond_t moved;
    enum lpm_outcome outcome;
    gboolean allowed, cancelled;
    gboolean loaded; /* QEMU has carried out what comes before the word to run */
    gboolean asked;  /* libvirt's Finish, which starts the processors, is here and waits */
};

LpmSwitchover *lpm_switchover_new(gboolean gated, void (*changed)(gpointer user), gpointer user)
{
    LpmSwitchover *switchover = g_new0(LpmSwitchover, 1);

    switchover->gated = gated;
    switchover->changed = changed;
    switchover->user = user;
    switchover->allowed = !gated;
    pthread_mutex_init(&switchover->lock, NULL);
    pthread_cond_init(&switchover->moved, NULL);
    return switchover;
}

void lpm_switchover_free(LpmSwitchover *switchover)
{
    if (!switchover)
        return;
    pthread_mutex_destroy(&switchover->lock);
    pthread_cond_destroy(&switchover->moved);
    g_free(switchover);
}

void lpm_switchover_note(LpmSwitchover *switchover, enum lpm_outcome outcome)
{
    pthread_mutex_lock(&switchover->lock);
    gboolean news = switchover->outcome == LPM_OUTCOME_UNKNOWN;

    if (news) {
        switchover->outcome = outcome;
        pthread_cond_broadcast(&switchover->moved);
    }
    pthread_mutex_unlock(&switchover->lock);
    if (news)
        switchover->changed(switchover->user);
}

void lpm_switchover_allow(LpmSwitchover *switchover)
{
    pthread_mutex_lock(&switchover->lock);
    switchover->allowed = TRUE;
    pthread_cond_broadcast(&switchover->moved);
    pthread_mutex_unlock(&switchover->lock);
    switchover->changed(switchover->user);
}

void lpm_switchover_note_loaded(LpmSwitchover *switchover)
{
    pthread_mutex_lock(&switchover->lock);
    switchover->loaded = TRUE;
    pthread_mutex_unlock(&switchover->lock);
    switchover->changed(switchover->user);
}

enum lpm_outcome lpm_switchover_wait_outcome(LpmSwitchover *switchover)
{
    pthread_mutex_lock(&switchover->lock);
    switchover->asked = TRUE;
    pthread_mutex_unlock(&switchover->lock);
    switchover->changed(switchover->user);
    pthread_mutex_lock(&switchover->lock);
    while (!switchover->cancelled &&
           (switchover->outcome == LPM_OUTCOME_UNKNOWN ||
            (switchover->outcome == LPM_OUTCOME_POSTCOPY && !switchover->allowed)))
        pthread_cond_wait(&switchover->moved, &switchover->lock);
    enum lpm_outcome outcome = switchover->cancelled ? LPM_OUTCOME_UNKNOWN : switchover->outcome;

    pthread_mutex_unlock(&switchover->lock);
    return outcome;
}

void lpm_switchover_cancel(LpmSwitchover *switchover)
{
    pthread_mutex_lock(&switchover->lock);
    switchover->cancelled = TRUE;
    pthread_cond_broadcast(&switchover->moved);
    pthread_mutex_unlock(&switchover->lock);
}

void lpm_switchover_get(LpmSwitchover *switchover, struct lpm_switchover_state *state)
{
    pthread_mutex_lock(&switchover->lock);
    state->outcome = switchover->outcome;
    gboolean held = switchover->outcome == LPM_OUTCOME_POSTCOPY && !switchover->allowed &&
                    !switchover->cancelled;
    state->waiting = held && switchover->asked && switchover->loaded;
    state->incomplete = held && !state->waiting;
    pthread_mutex_unlock(&switchover->lock);
}
