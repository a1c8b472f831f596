/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/endpoint.h"

#include "base/fdio.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>

struct lpm_endpoint {
    /* immutable */
    void (*changed)(gpointer user);
    gpointer user;

    pthread_mutex_t lock;
    /* guarded by lock */
    pthread_cond_t attached; /* or cancelled, or may_end */
    lpm_fd fd;
    gboolean was_attached, cancelled, read_done, write_done;
    gboolean ending, may_end;
    char *cause;
};

LpmEndpoint *lpm_endpoint_new(void (*changed)(gpointer user), gpointer user)
{
    LpmEndpoint *endpoint = g_new0(LpmEndpoint, 1);

    endpoint->changed = changed;
    endpoint->user = user;
    endpoint->fd = -1;
    pthread_mutex_init(&endpoint->lock, NULL);
    pthread_cond_init(&endpoint->attached, NULL);
    return endpoint;
}

void lpm_endpoint_free(LpmEndpoint *endpoint)
{
    if (!endpoint)
        return;
    lpm_fd_clear(&endpoint->fd);
    pthread_mutex_destroy(&endpoint->lock);
    pthread_cond_destroy(&endpoint->attached);
    g_free(endpoint->cause);
    g_free(endpoint);
}

gboolean lpm_endpoint_attach(LpmEndpoint *endpoint, int fd)
{
    lpm_autofd owned = fd;

    pthread_mutex_lock(&endpoint->lock);
    gboolean ok = !endpoint->was_attached && !endpoint->cancelled;

    if (ok) {
        endpoint->was_attached = TRUE;
        endpoint->fd = lpm_steal_fd(&owned);
        pthread_cond_broadcast(&endpoint->attached);
    }
    pthread_mutex_unlock(&endpoint->lock);
    if (ok)
        endpoint->changed(endpoint->user);
    return ok;
}

int lpm_endpoint_wait(LpmEndpoint *endpoint)
{
    pthread_mutex_lock(&endpoint->lock);
    while (!endpoint->was_attached && !endpoint->cancelled)
        pthread_cond_wait(&endpoint->attached, &endpoint->lock);
    int fd = endpoint->fd;

    pthread_mutex_unlock(&endpoint->lock);
    return fd;
}

static void done(LpmEndpoint *endpoint, gboolean *flag, const char *cause)
{
    pthread_mutex_lock(&endpoint->lock);
    *flag = TRUE;
    if (cause && !endpoint->cause)
        endpoint->cause = g_strdup(cause);
    if (endpoint->read_done && endpoint->write_done)
        lpm_fd_clear(&endpoint->fd);
    pthread_mutex_unlock(&endpoint->lock);
    endpoint->changed(endpoint->user);
}

void lpm_endpoint_read_done(LpmEndpoint *endpoint, const char *cause)
{
    done(endpoint, &endpoint->read_done, cause);
}

void lpm_endpoint_write_done(LpmEndpoint *endpoint, const char *cause)
{
    done(endpoint, &endpoint->write_done, cause);
}

void lpm_endpoint_shutdown(LpmEndpoint *endpoint, int how)
{
    pthread_mutex_lock(&endpoint->lock);
    if (endpoint->fd >= 0)
        shutdown(endpoint->fd, how);
    pthread_mutex_unlock(&endpoint->lock);
}

void lpm_endpoint_await_end(LpmEndpoint *endpoint)
{
    pthread_mutex_lock(&endpoint->lock);
    endpoint->ending = TRUE;
    pthread_mutex_unlock(&endpoint->lock);
    endpoint->changed(endpoint->user);
    pthread_mutex_lock(&endpoint->lock);
    while (!endpoint->may_end && !endpoint->cancelled)
        pthread_cond_wait(&endpoint->attached, &endpoint->lock);
    endpoint->ending = FALSE;
    pthread_mutex_unlock(&endpoint->lock);
}

void lpm_endpoint_allow_end(LpmEndpoint *endpoint)
{
    pthread_mutex_lock(&endpoint->lock);
    endpoint->may_end = TRUE;
    pthread_cond_broadcast(&endpoint->attached);
    pthread_mutex_unlock(&endpoint->lock);
}

int lpm_endpoint_lend(LpmEndpoint *endpoint)
{
    pthread_mutex_lock(&endpoint->lock);
    int fd = endpoint->fd < 0 ? -1 : fcntl(endpoint->fd, F_DUPFD_CLOEXEC, 0);

    pthread_mutex_unlock(&endpoint->lock);
    return fd;
}

void lpm_endpoint_cancel(LpmEndpoint *endpoint, const char *cause)
{
    pthread_mutex_lock(&endpoint->lock);
    endpoint->cancelled = TRUE;
    if (endpoint->fd >= 0) {
        shutdown(endpoint->fd, SHUT_RDWR);
        if (!endpoint->cause)
            endpoint->cause = g_strdup(cause);
    }
    pthread_cond_broadcast(&endpoint->attached);
    pthread_mutex_unlock(&endpoint->lock);
}

enum lpm_channel_state lpm_endpoint_state(LpmEndpoint *endpoint, char **cause)
{
    pthread_mutex_lock(&endpoint->lock);
    enum lpm_channel_state state = !endpoint->was_attached ? LPM_CHANNEL_NONE
                                   : endpoint->fd < 0      ? LPM_CHANNEL_CLOSED
                                   : endpoint->ending      ? LPM_CHANNEL_ENDING
                                   : endpoint->read_done   ? LPM_CHANNEL_EOF
                                                           : LPM_CHANNEL_OPEN;

    if (cause)
        *cause = g_strdup(endpoint->cause);
    pthread_mutex_unlock(&endpoint->lock);
    return state;
}
