/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/mover-process.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fdio.h"
#include "base/log.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CONTROL_FD 3 /* where the mover finds its listening socket */
#define DISMISS_LIMIT_MS 1000

/* How many of our struct lpm_mover have each control socket, by its path. One is counted before its
 * socket is there, so that who looks at the folder never takes it for nobody's. */
static GMutex served_lock;
static GHashTable *served; /* under served_lock */

struct lpm_mover {
    char *socket_path;           /* immutable */
    lpm_mover_event_fn on_event; /* immutable */
    void *user;                  /* immutable */
    int socket;                  /* immutable; shut down to end the thread, closed in free */
    GThread *thread;             /* until detach, whose caller owns it */
    GMutex send_lock;            /* one packet at a time */
    guint64 asked;               /* under send_lock: how often statistics were asked for */
    GMutex lock;
    GCond changed;
    gboolean gone;       /* under lock */
    json_t *stats;       /* under lock: the newest answer */
    guint64 stats_count; /* under lock: answers so far */
};

static gpointer receive_events(gpointer user)
{
    struct lpm_mover *mover = user;
    gboolean alive = TRUE;

    while (alive) {
        g_auto(LpmMoverEvent) event = {.fd = -1};
        g_autoptr(GError) error = NULL;

        alive = lpm_mover_event_receive(mover->socket, &event, &error);
        if (error)
            lpm_log(LPM_LOG_WARNING, NULL, "mover %s: %s", mover->socket_path, error->message);
        if (alive && event.type == LPM_MOVER_STATS) {
            g_mutex_lock(&mover->lock);
            g_clear_pointer(&mover->stats, json_decref);
            mover->stats = g_steal_pointer(&event.stats);
            mover->stats_count++;
            g_cond_broadcast(&mover->changed);
            g_mutex_unlock(&mover->lock);
        } else if (alive) {
            mover->on_event(&event, mover->user);
        }
    }
    g_mutex_lock(&mover->lock);
    mover->gone = TRUE;
    g_cond_broadcast(&mover->changed);
    g_mutex_unlock(&mover->lock);
    mover->on_event(NULL, mover->user);
    return NULL;
}

static gboolean fill_address(struct sockaddr_un *address, const char *path, GError **error)
{
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    if (g_strlcpy(address->sun_path, path, sizeof(address->sun_path)) >= sizeof(address->sun_path))
        return lpm_fail(error, LPM_E_MOVER_START, "the path %s is too long for a socket", path);
    return TRUE;
}

static char *control_path(const LpmConfig *config, const char *id, enum lpm_side side)
{
    return g_strdup_printf("%s/mover/%s.%s.sock", config->run_dir, id, lpm_side_name(side));
}

static int listen_control(const LpmConfig *config, const char *path, GError **error)
{
    g_autofree char *folder = g_build_filename(config->run_dir, "mover", NULL);
    g_autofree char *empty = g_build_filename(config->run_dir, "empty", NULL);
    struct sockaddr_un address;
    lpm_autofd fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (g_mkdir_with_parents(folder, 0700) < 0 || g_mkdir_with_parents(empty, 0755) < 0) {
        lpm_fail(error, LPM_E_MOVER_START, "%s cannot be made: %s", folder, g_strerror(errno));
        return -1;
    }
    if (!fill_address(&address, path, error))
        return -1;
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4) < 0) {
        lpm_fail(error, LPM_E_MOVER_START, "listening on %s: %s", path, g_strerror(errno));
        return -1;
    }
    return lpm_steal_fd(&fd);
}

static int connect_control(const char *path, GError **error)
{
    struct sockaddr_un address;
    lpm_autofd fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (!fill_address(&address, path, error))
        return -1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        lpm_fail(error, LPM_E_MOVER_FAILED, "no mover answers on %s: %s", path, g_strerror(errno));
        return -1;
    }
    return lpm_steal_fd(&fd);
}

static void serve(const char *path)
{
    g_mutex_lock(&served_lock);
    if (!served)
        served = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    guint count = GPOINTER_TO_UINT(g_hash_table_lookup(served, path));

    g_hash_table_insert(served, g_strdup(path), GUINT_TO_POINTER(count + 1));
    g_mutex_unlock(&served_lock);
}

static void serve_no_more(const char *path)
{
    g_mutex_lock(&served_lock);
    guint count = GPOINTER_TO_UINT(g_hash_table_lookup(served, path));

    if (count > 1)
        g_hash_table_insert(served, g_strdup(path), GUINT_TO_POINTER(count - 1));
    else
        g_hash_table_remove(served, path);
    g_mutex_unlock(&served_lock);
}

gboolean lpm_mover_is_served(const LpmConfig *config, const char *id, enum lpm_side side)
{
    g_autofree char *path = control_path(config, id, side);

    g_mutex_lock(&served_lock);
    gboolean found = served && g_hash_table_contains(served, path);

    g_mutex_unlock(&served_lock);
    return found;
}

static struct lpm_mover *new_mover(const char *path, int socket, lpm_mover_event_fn on_event,
                                   void *user)
{
    struct lpm_mover *mover = g_new0(struct lpm_mover, 1);

    mover->socket_path = g_strdup(path);
    mover->on_event = on_event;
    mover->user = user;
    mover->socket = socket;
    g_mutex_init(&mover->send_lock);
    g_mutex_init(&mover->lock);
    g_cond_init(&mover->changed);
    mover->thread = g_thread_new("mover-events", receive_events, mover);
    return mover;
}

struct lpm_mover *lpm_mover_find(const LpmConfig *config, const char *id, enum lpm_side side,
                                 lpm_mover_event_fn on_event, void *user, GError **error)
{
    g_autofree char *path = control_path(config, id, side);

    serve(path);
    int fd = connect_control(path, error);

    if (fd >= 0)
        return new_mover(path, fd, on_event, user);
    serve_no_more(path);
    return NULL;
}

static gboolean spawn(const LpmConfig *config, const char *id, enum lpm_side side, const char *path,
                      GError **error)
{
    g_autofree char *empty = g_build_filename(config->run_dir, "empty", NULL);
    lpm_autofd listener = listen_control(config, path, error);
    g_autoptr(GError) reason = NULL;
    int target_fd = CONTROL_FD;
    g_autofree char *nice = g_strdup_printf("%u", config->nice);
    const char *argv[] = {config->mover_path,
                          "--user",
                          config->mover_user,
                          "--root",
                          empty,
                          "--id",
                          id,
                          "--side",
                          lpm_side_name(side),
                          "--nice",
                          nice,
                          *config->cpus ? "--cpus" : NULL,
                          config->cpus,
                          NULL};

    if (listener < 0)
        return FALSE;
    /* Without DO_NOT_REAP GLib forks twice: the mover is nobody's child here, so that it is the
     * same to lpmd whether it started the mover or found it again. */
    if (!g_spawn_async_with_pipes_and_fds(NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, -1, -1, -1,
                                          &listener, &target_fd, 1, NULL, NULL, NULL, NULL,
                                          &reason)) {
        unlink(path);
        return lpm_fail(error, LPM_E_MOVER_START, "%s", reason->message);
    }
    return TRUE;
}

struct lpm_mover *lpm_mover_spawn(const LpmConfig *config, const char *id, enum lpm_side side,
                                  lpm_mover_event_fn on_event, void *user, GError **error)
{
    g_autofree char *path = control_path(config, id, side);
    struct lpm_mover *mover = NULL;

    serve(path);
    if (spawn(config, id, side, path, error))
        mover = lpm_mover_find(config, id, side, on_event, user, error);
    serve_no_more(path);
    return mover;
}

void lpm_mover_detach(struct lpm_mover *mover)
{
    if (!mover->thread)
        return;
    shutdown(mover->socket, SHUT_RDWR);
    g_thread_join(mover->thread);
    mover->thread = NULL;
}

void lpm_mover_free(struct lpm_mover *mover)
{
    if (!mover)
        return;
    lpm_mover_detach(mover);
    close(mover->socket);
    g_clear_pointer(&mover->stats, json_decref);
    g_mutex_clear(&mover->send_lock);
    g_mutex_clear(&mover->lock);
    g_cond_clear(&mover->changed);
    serve_no_more(mover->socket_path);
    g_free(mover->socket_path);
    g_free(mover);
}

int lpm_mover_lock(struct lpm_mover *mover)
{
    g_mutex_lock(&mover->send_lock);
    return mover->socket;
}

void lpm_mover_unlock(struct lpm_mover *mover)
{
    g_mutex_unlock(&mover->send_lock);
}

json_t *lpm_mover_ask_stats(struct lpm_mover *mover, guint timeout_ms, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
    json_t *stats = NULL;

    /* Answers come in the order of the questions, so the answer to this one is known by its number
     * even when other threads ask, or an earlier question was given up. */
    int fd = lpm_mover_lock(mover);
    guint64 number = ++mover->asked;
    gboolean sent = lpm_mover_send_stats(fd, error);
    lpm_mover_unlock(mover);
    if (!sent)
        return NULL;
    g_mutex_lock(&mover->lock);
    while (!mover->gone && mover->stats_count < number) {
        if (!g_cond_wait_until(&mover->changed, &mover->lock, deadline))
            break;
    }
    if (mover->stats_count >= number)
        stats = json_incref(mover->stats);
    g_mutex_unlock(&mover->lock);
    if (!stats)
        lpm_fail(error, LPM_E_MOVER_FAILED, "the mover on %s does not answer", mover->socket_path);
    return stats;
}

static void await_end(struct lpm_mover *mover, guint timeout_ms)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;

    g_mutex_lock(&mover->lock);
    while (!mover->gone && g_cond_wait_until(&mover->changed, &mover->lock, deadline))
        continue;
    g_mutex_unlock(&mover->lock);
    unlink(mover->socket_path);
}

void lpm_mover_quit(struct lpm_mover *mover, guint timeout_ms)
{
    lpm_mover_send_quit(lpm_mover_lock(mover), NULL);
    lpm_mover_unlock(mover);
    await_end(mover, timeout_ms);
}

void lpm_mover_leave(struct lpm_mover *mover, guint timeout_ms)
{
    lpm_mover_send_leave(lpm_mover_lock(mover), NULL);
    lpm_mover_unlock(mover);
    await_end(mover, timeout_ms);
}

/* Reads what the mover says until it closes: a socket that is closed with something unread would
 * take the word to quit back. */
static void await_close(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    gint64 deadline = lpm_monotonic_us() + DISMISS_LIMIT_MS * 1000;
    gint64 left;
    char greeting[256];

    while ((left = deadline - lpm_monotonic_us()) > 0)
        if (poll(&item, 1, (int)(left / 1000) + 1) > 0 &&
            recv(fd, greeting, sizeof(greeting), MSG_DONTWAIT) <= 0)
            return;
}

void lpm_mover_dismiss(const LpmConfig *config, const char *id, enum lpm_side side)
{
    g_autofree char *path = control_path(config, id, side);
    lpm_autofd fd = connect_control(path, NULL);

    /* The mover ends on this word whether or not it has said what it begins a connection with. */
    if (fd >= 0 && lpm_mover_send_quit(fd, NULL))
        await_close(fd);
    unlink(path);
}
