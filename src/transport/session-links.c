/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The links of a session: which are in use, who is told that there is something to send, and what
 * happens to the frames of one that is gone. */
#include "base/clock.h"
#include "base/error.h"
#include "transport/session-internal.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

/* A PING comes once a second: on a link without any byte for this long something is wrong. */
#define QUIET_US (2500 * 1000)

guint lpm_session_live_locked(const LpmSession *session)
{
    guint live = 0;

    for (guint i = 0; i < LPM_LINKS_MOST; i++)
        live += session->slots[i].thread != NULL;
    return live;
}

gboolean lpm_session_up_locked(const LpmSession *session)
{
    for (guint i = 0; i < LPM_LINKS_MOST; i++)
        if (session->slots[i].thread && session->slots[i].thread->hello_received)
            return TRUE;
    return FALSE;
}

void lpm_session_offer_locked(LpmSession *session)
{
    struct lpm_link_thread *best = NULL;

    for (guint i = 0; i < LPM_LINKS_MOST; i++) {
        struct lpm_link_thread *thread = session->slots[i].thread;

        if (thread && thread->idle && (!best || thread->queued < best->queued))
            best = thread;
    }
    if (best)
        lpm_session_kick_locked(best);
}

/* Lock held. After a loss many frames wait at once. */
static void kick_live(LpmSession *session)
{
    for (guint i = 0; i < LPM_LINKS_MOST; i++)
        if (session->slots[i].thread)
            lpm_session_kick_locked(session->slots[i].thread);
}

/* Lock held. Of a thread that has not finished. */
static gint64 cpu_us(const struct lpm_link_thread *thread)
{
    struct timespec time = {0};

    clock_gettime(thread->cpu_clock, &time);
    return (gint64)time.tv_sec * G_USEC_PER_SEC + time.tv_nsec / 1000;
}

struct lpm_link_slot *lpm_session_slot_locked(const struct lpm_link_thread *thread)
{
    for (guint i = 0; i < LPM_LINKS_MOST; i++)
        if (thread->session->slots[i].thread == thread)
            return &thread->session->slots[i];
    return NULL;
}

gboolean lpm_session_trusted_locked(const struct lpm_link_thread *thread, gint64 now_us)
{
    const LpmSession *session = thread->session;

    if (now_us - thread->last_heard_us < QUIET_US)
        return TRUE;
    for (guint i = 0; i < LPM_LINKS_MOST; i++) {
        const struct lpm_link_thread *other = session->slots[i].thread;

        if (other && other->hello_received && now_us - other->last_heard_us < QUIET_US)
            return FALSE;
    }
    return TRUE;
}

void lpm_session_leave_locked(struct lpm_link_thread *thread)
{
    LpmSession *session = thread->session;
    struct lpm_link_slot *slot = lpm_session_slot_locked(thread);

    if (!slot)
        return;
    slot->cpu_us += cpu_us(thread);
    slot->thread = NULL;
    thread->live = thread->idle = FALSE;
    for (guint i = 1; i < LPM_CHANNEL_COUNT; i++) {
        lpm_outbox_lost(&session->outbox[i], thread->number);
        session->inbox[i].acked = G_MAXUINT64; /* it may have had the last ACK */
    }
    session->outages += lpm_session_live_locked(session) == 0;
    kick_live(session);
    lpm_session_kick_locked(thread);
}

void lpm_session_make_room_locked(LpmSession *session, guint most,
                                  const struct lpm_link_thread *keep)
{
    while (lpm_session_live_locked(session) > most) {
        struct lpm_link_thread *longest = NULL;

        for (guint i = 0; i < LPM_LINKS_MOST; i++) {
            struct lpm_link_thread *thread = session->slots[i].thread;

            if (thread && thread != keep &&
                (!longest || thread->last_heard_us < longest->last_heard_us))
                longest = thread;
        }
        if (!longest)
            return;
        lpm_session_leave_locked(longest);
    }
}

void lpm_session_join_locked(struct lpm_link_thread *thread)
{
    LpmSession *session = thread->session;
    guint free_slot = 0;

    lpm_session_make_room_locked(session, session->links_most - 1, NULL);
    while (session->slots[free_slot].thread)
        free_slot++;
    session->slots[free_slot].thread = thread;
    thread->live = TRUE;
    thread->last_heard_us = lpm_monotonic_us();
}

gboolean lpm_session_needs_link_locked(const LpmSession *session, gboolean complete)
{
    guint up = 0;

    if (complete || lpm_session_over_locked(session))
        return FALSE;
    for (guint i = 0; i < session->threads->len; i++) {
        const struct lpm_link_thread *thread = session->threads->pdata[i];

        if (!thread->finished && !(thread->live && thread->hello_received))
            return FALSE; /* one comes, or makes room */
        up += !thread->finished;
    }
    return up < MIN(session->links_wanted, session->links_most);
}

void lpm_session_set_links(LpmSession *session, guint links)
{
    pthread_mutex_lock(&session->lock);
    if (session->links_wanted != links)
        lpm_session_changed_locked(session);
    session->links_wanted = links;
    pthread_mutex_unlock(&session->lock);
}

/* ---- their threads ---- */

void lpm_session_reap(LpmSession *session, gboolean all)
{
    g_autoptr(GPtrArray) ended = g_ptr_array_new();

    pthread_mutex_lock(&session->lock);
    for (guint i = session->threads->len; i-- > 0;) {
        struct lpm_link_thread *thread = session->threads->pdata[i];

        if (all || thread->finished)
            g_ptr_array_add(ended, g_ptr_array_remove_index_fast(session->threads, i));
    }
    pthread_mutex_unlock(&session->lock);
    for (guint i = 0; i < ended->len; i++) {
        struct lpm_link_thread *thread = ended->pdata[i];

        g_thread_join(thread->thread);
        lpm_link_thread_free(thread);
    }
}

/* On a socket that is not TCP (tests) these fail, which is no harm. */
static void set_tcp_options(int fd)
{
    int yes = 1, user_timeout_ms = 10000, unsent_bytes = 128 << 10;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_bytes, sizeof(unsent_bytes));
}

/* Makes the thread's record; on error `fd` is closed. */
static struct lpm_link_thread *open_link(LpmSession *session, int fd, gboolean server,
                                         GError **error)
{
    struct lpm_link_secret secret = {.identity = session->identity,
                                     .key = session->config.psk,
                                     .key_length = sizeof(session->config.psk)};
    gpointer link = session->config.ops->open(fd, server, &secret, error);

    if (!link)
        return NULL;
    struct lpm_link_thread *thread = g_new0(struct lpm_link_thread, 1);

    thread->session = session;
    thread->ops = session->config.ops;
    thread->link = link;
    thread->fd = fd;
    thread->server = server;
    thread->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    thread->out = g_byte_array_new();
    thread->decoder = lpm_frame_decoder_new();
    return thread;
}

gboolean lpm_session_add_link(LpmSession *session, int fd, gboolean server, GError **error)
{
    lpm_autofd owned = fd;

    lpm_session_reap(session, FALSE);
    set_tcp_options(fd);
    pthread_mutex_lock(&session->lock);
    gboolean refused =
        session->stopped ||
        session->threads->len - lpm_session_live_locked(session) >= LPM_LINKS_PENDING_MOST;

    pthread_mutex_unlock(&session->lock);
    if (refused)
        return lpm_fail(error, LPM_E_LINK_LOST, "the session takes no more links at the moment");
    struct lpm_link_thread *thread = open_link(session, lpm_steal_fd(&owned), server, error);

    if (!thread)
        return FALSE;
    pthread_mutex_lock(&session->lock);
    thread->number = ++session->numbers;
    g_ptr_array_add(session->threads, thread);
    thread->thread = g_thread_new("link", lpm_link_thread_run, thread);
    lpm_session_changed_locked(session);
    pthread_mutex_unlock(&session->lock);
    return TRUE;
}

/* ---- observation ---- */

/* Lock held: the descriptor is open as long as its link is in use. FALSE: no TCP. */
static gboolean tcp_info(const struct lpm_link_thread *thread, struct tcp_info *info)
{
    socklen_t length = sizeof(*info);

    memset(info, 0, sizeof(*info));
    return getsockopt(thread->fd, IPPROTO_TCP, TCP_INFO, info, &length) == 0;
}

void lpm_session_look_at_link(const struct lpm_link_slot *slot, struct lpm_session_link *link)
{
    const struct lpm_link_thread *thread = slot->thread;
    struct tcp_info info;

    link->cpu_us = slot->cpu_us;
    if (!thread)
        return;
    link->up = thread->hello_received;
    link->cpu_us += cpu_us(thread);
    if (!tcp_info(thread, &info))
        return;
    link->tcp_round_trip_us = info.tcpi_rtt;
    link->tcp_least_round_trip_us = info.tcpi_min_rtt;
    link->tcp_busy_us = (gint64)info.tcpi_busy_time;
}

void lpm_session_link_use(LpmSession *session, struct lpm_link_use *use)
{
    struct tcp_info info;
    gint64 links = 0;

    *use = (struct lpm_link_use){0};
    pthread_mutex_lock(&session->lock);
    for (guint i = 0; i < LPM_LINKS_MOST; i++) {
        if (!session->slots[i].thread || !tcp_info(session->slots[i].thread, &info))
            continue;
        use->busy_us += (gint64)info.tcpi_busy_time;
        use->acknowledged += info.tcpi_bytes_acked;
        links++;
    }
    pthread_mutex_unlock(&session->lock);
    use->busy_us /= MAX(links, 1);
}
