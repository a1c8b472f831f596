/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The thread of one link: handshake, then a loop of filling, writing, reading and waiting. It is
 * the only one that touches the link, so the TLS library needs no lock. Nothing in it waits but the
 * poll.
 */
#include "base/clock.h"
#include "base/error.h"
#include "transport/session-internal.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HANDSHAKE_US (10 * G_USEC_PER_SEC)
#define PING_US G_USEC_PER_SEC
#define SILENCE_US (5 * G_USEC_PER_SEC)
#define LAST_WORDS_US G_USEC_PER_SEC
/* New frames are appended while less than this waits to be written: what is urgent never has
 * more than this and one frame before it. */
#define OUT_LOW (64u << 10)
#define READ_CHUNK (64u << 10)
/* Most that is read before a look at what is to be written. */
#define READ_BUDGET (512u << 10)

void lpm_link_thread_free(struct lpm_link_thread *thread)
{
    g_byte_array_unref(thread->out);
    lpm_frame_decoder_free(thread->decoder);
    close(thread->wake_fd);
    g_free(thread);
}

static gboolean session_stopped(struct lpm_link_thread *thread)
{
    pthread_mutex_lock(&thread->session->lock);
    gboolean stopped = thread->session->stopped;

    thread->kicked = FALSE;
    pthread_mutex_unlock(&thread->session->lock);
    return stopped;
}

/* Waits for `events` on the link or a kick. */
static void wait_for(struct lpm_link_thread *thread, short events, gint64 until_us)
{
    struct pollfd items[2] = {{.fd = thread->fd, .events = events},
                              {.fd = thread->wake_fd, .events = POLLIN}};
    gint64 left = until_us - lpm_monotonic_us();
    guint64 count;

    poll(items, 2, left > 0 ? (int)(left / 1000 + 1) : 0);
    if (items[1].revents && read(thread->wake_fd, &count, sizeof(count)) < 0)
        return; /* somebody else's wake-up was read already: nothing to do */
}

static gboolean handshake(struct lpm_link_thread *thread, GError **error)
{
    gint64 deadline = lpm_monotonic_us() + HANDSHAKE_US;

    for (;;) {
        switch (thread->ops->handshake(thread->link, error)) {
        case LPM_LINK_OK:
            return TRUE;
        case LPM_LINK_AGAIN:
            break;
        case LPM_LINK_EOF:
            return lpm_fail(error, LPM_E_LINK_LOST, "the connection ended in the handshake");
        case LPM_LINK_ERROR:
            return FALSE;
        }
        if (session_stopped(thread))
            return lpm_fail(error, LPM_E_LINK_LOST, "the session was stopped");
        if (lpm_monotonic_us() >= deadline)
            return lpm_fail(error, LPM_E_LINK_LOST, "the handshake was not done in %d s",
                            (int)(HANDSHAKE_US / G_USEC_PER_SEC));
        wait_for(thread, thread->ops->handshake_events(thread->link), deadline);
    }
}

/* Writes until nothing is left or the link is full. */
static gboolean write_out(struct lpm_link_thread *thread, gsize *written, GError **error)
{
    while (thread->out_done < thread->out->len) {
        gsize n = 0;

        switch (thread->ops->write(thread->link, thread->out->data + thread->out_done,
                                   thread->out->len - thread->out_done, &n, error)) {
        case LPM_LINK_OK:
            thread->out_done += n;
            *written += n;
            break;
        case LPM_LINK_AGAIN:
            return TRUE;
        case LPM_LINK_EOF:
        case LPM_LINK_ERROR:
            return FALSE;
        }
    }
    return TRUE;
}

/* Adds what should go next once little of the old is left, which moves to the front. */
static enum lpm_fill fill(struct lpm_link_thread *thread)
{
    thread->paced_us = 0;
    if (thread->out->len - thread->out_done >= OUT_LOW)
        return lpm_session_link_wanted(thread) ? LPM_FILL_GO_ON : LPM_FILL_END;
    if (thread->out_done) {
        g_byte_array_remove_range(thread->out, 0, (guint)thread->out_done);
        thread->out_done = 0;
    }
    return lpm_session_link_fill(thread, OUT_LOW);
}

static gboolean decode(struct lpm_link_thread *thread, const guint8 *data, gsize length,
                       GError **error)
{
    while (length) {
        g_autoptr(LpmFrame) frame = NULL;
        g_autoptr(GError) reason = NULL;
        gsize taken;

        if (!lpm_frame_decoder_step(thread->decoder, data, length, &taken, &frame, &reason)) {
            lpm_session_link_breach(thread, reason);
            g_propagate_error(error, g_steal_pointer(&reason));
            return FALSE;
        }
        if (frame && !lpm_session_link_frame(thread, g_steal_pointer(&frame), error))
            return FALSE;
        data += taken;
        length -= taken;
    }
    return TRUE;
}

/* Reads until nothing is left or the budget is spent; `*more` tells the latter. */
static gboolean read_in(struct lpm_link_thread *thread, guint8 *buffer, gsize *received,
                        gboolean *more, GError **error)
{
    *more = FALSE;
    while (*received < READ_BUDGET) {
        gsize n = 0;

        switch (thread->ops->read(thread->link, buffer, READ_CHUNK, &n, error)) {
        case LPM_LINK_OK:
            *received += n;
            if (!decode(thread, buffer, n, error))
                return FALSE;
            break;
        case LPM_LINK_AGAIN:
            return TRUE;
        case LPM_LINK_EOF:
            return lpm_fail(error, LPM_E_LINK_LOST, "the other side closed the connection");
        case LPM_LINK_ERROR:
            return FALSE;
        }
    }
    *more = TRUE;
    return TRUE;
}

static gboolean look_at_clock(struct lpm_link_thread *thread, gint64 now, GError **error)
{
    if (now - thread->heard_us >= SILENCE_US)
        return lpm_fail(error, LPM_E_LINK_LOST, "nothing was heard from the other side for %d s",
                        (int)(SILENCE_US / G_USEC_PER_SEC));
    if (now - thread->ping_us >= PING_US) {
        g_autoptr(LpmFrame) ping = lpm_frame_ping(LPM_FRAME_PING, (guint64)now);

        thread->ping_us = now;
        lpm_session_link_append(thread, ping);
    }
    return TRUE;
}

/* One turn of the loop. FALSE: the link is over, with the error unless that is wanted. */
static gboolean turn(struct lpm_link_thread *thread, guint8 *buffer, GError **error)
{
    gsize written = 0, received = 0;
    gboolean more;

    if (fill(thread) != LPM_FILL_GO_ON)
        return FALSE;
    gboolean alive = write_out(thread, &written, error);

    thread->broke_sending = !alive;
    /* A connection that takes no more may still hold the other side's last words. */
    alive &= read_in(thread, buffer, &received, &more, alive ? error : NULL);
    gint64 now = lpm_monotonic_us();

    if (received)
        thread->heard_us = now;
    lpm_session_link_count(thread, received, written, thread->out->len - thread->out_done);
    if (!alive || !look_at_clock(thread, now, error))
        return FALSE;
    if (written || received || more || thread->ops->pending(thread->link))
        return TRUE;
    gboolean empty = thread->out_done == thread->out->len;

    gint64 until = MIN(thread->ping_us + PING_US, thread->heard_us + SILENCE_US);

    wait_for(thread, (short)(POLLIN | (empty ? 0 : POLLOUT)),
             thread->paced_us ? MIN(until, thread->paced_us) : until);
    return TRUE;
}

/* Tells the other side why the session has failed, and drops what it still sends until it closes:
 * to close with bytes unread would take the message back on its way. */
static void say_last_words(struct lpm_link_thread *thread, guint8 *buffer)
{
    gint64 deadline = lpm_monotonic_us() + LAST_WORDS_US;
    gboolean said = FALSE;
    gsize n = 0;

    lpm_session_link_append_fail(thread);
    while (lpm_session_link_wanted(thread) && lpm_monotonic_us() < deadline) {
        enum lpm_link_result result;

        if (!write_out(thread, &n, NULL))
            return;
        gboolean empty = thread->out_done == thread->out->len;

        if (empty && !said)
            shutdown(thread->fd, SHUT_WR);
        said |= empty;
        while ((result = thread->ops->read(thread->link, buffer, READ_CHUNK, &n, NULL)) ==
               LPM_LINK_OK)
            ;
        if (result != LPM_LINK_AGAIN)
            return;
        wait_for(thread, (short)(POLLIN | (empty ? 0 : POLLOUT)), deadline);
    }
}

gpointer lpm_link_thread_run(gpointer opaque)
{
    struct lpm_link_thread *thread = opaque;
    g_autofree guint8 *buffer = g_malloc(READ_CHUNK);
    g_autoptr(GError) error = NULL;
    g_autoptr(LpmFrame) hello = NULL;

    if (handshake(thread, &error) && lpm_session_link_begin(thread, &hello)) {
        lpm_session_link_append(thread, hello);
        thread->heard_us = thread->ping_us = lpm_monotonic_us();
        while (turn(thread, buffer, &error))
            ;
        if (lpm_session_link_failed(thread))
            say_last_words(thread, buffer);
    }
    thread->ops->close(thread->link);
    lpm_session_link_end(thread, error ? error->message : NULL);
    return NULL;
}
