/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/pump.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define RAW_CHUNK (64u << 10)

int lpm_pump_begin_reading(const struct lpm_pump *pump)
{
    int fd = lpm_endpoint_wait(pump->endpoint);

    if (fd >= 0 && pump->side == LPM_SIDE_SOURCE)
        lpm_session_mark(pump->session, pump->channel, LPM_FRAME_OPEN);
    return fd;
}

gsize lpm_pump_read(const struct lpm_pump *pump, int fd, guint8 *data, gsize room, int *failure)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};

    *failure = 0;
    /* Poll first: a reservation held while waiting would make the window smaller for nothing. */
    while (poll(&item, 1, -1) < 0 && errno == EINTR)
        ;
    gsize reserved = lpm_session_reserve(pump->session, pump->channel, room);
    ssize_t n;

    if (!reserved)
        return 0;
    do {
        n = read(fd, data, reserved);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        *failure = errno;
    gsize got = n > 0 ? (gsize)n : 0;

    lpm_session_unreserve(pump->session, pump->channel, reserved - got);
    return got;
}

void lpm_pump_end_reading(const struct lpm_pump *pump, int failure)
{
    g_autofree char *cause =
        failure ? g_strdup_printf("reading from the local program: %s", g_strerror(failure)) : NULL;

    lpm_session_mark(pump->session, pump->channel, failure ? LPM_FRAME_RESET : LPM_FRAME_CLOSE);
    lpm_endpoint_read_done(pump->endpoint, cause);
}

void lpm_pump_read_raw(const struct lpm_pump *pump, lpm_watch watch, gpointer user)
{
    g_autofree guint8 *buffer = g_malloc(RAW_CHUNK);
    int fd = lpm_pump_begin_reading(pump);
    int failure;
    gsize n;

    if (fd < 0)
        return;
    while ((n = lpm_pump_read(pump, fd, buffer, RAW_CHUNK, &failure))) {
        watch(user, buffer, n);
        lpm_session_push(pump->session,
                         lpm_frame_new_raw(LPM_FRAME_DATA, pump->channel, buffer, n));
    }
    lpm_pump_end_reading(pump, failure);
}

gboolean lpm_pump_write_all(int fd, const void *data, gsize length)
{
    gsize done = 0;

    while (done < length) {
        ssize_t n = send(fd, (const guint8 *)data + done, length - done, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return FALSE;
        done += (gsize)n;
    }
    return TRUE;
}

enum lpm_delivery lpm_pump_deliver_raw(gpointer user, int fd, const LpmFrame *frame, GError **error)
{
    (void)user;
    if (!lpm_frame_verify(frame, error))
        return LPM_DELIVERY_DAMAGED;
    return lpm_pump_write_all(fd, frame->body, frame->length) ? LPM_DELIVERY_DONE
                                                              : LPM_DELIVERY_BROKEN;
}

/* The program is gone: end our reading of it too, and tell the other side. */
static void broken(const struct lpm_pump *pump, int failure)
{
    g_autofree char *cause =
        g_strdup_printf("writing to the local program: %s", g_strerror(failure));

    lpm_session_mark(pump->session, pump->channel, LPM_FRAME_RESET);
    lpm_endpoint_shutdown(pump->endpoint, SHUT_RDWR);
    lpm_endpoint_write_done(pump->endpoint, cause);
}

/* Delivers one frame; `*fd` becomes -1 once nothing more can be written. FALSE: session failed. */
static gboolean handle(const struct lpm_pump *pump, const LpmFrame *frame, int *fd,
                       lpm_deliver deliver, gpointer user, GError **error)
{
    enum lpm_delivery result = LPM_DELIVERY_DONE;

    switch (frame->type) {
    case LPM_FRAME_DATA:
    case LPM_FRAME_KEPT:
        if (*fd >= 0)
            result = deliver(user, *fd, frame, error);
        break;
    case LPM_FRAME_CLOSE:
    case LPM_FRAME_RESET:
        if (pump->hold_end)
            lpm_endpoint_await_end(pump->endpoint);
        lpm_endpoint_shutdown(pump->endpoint, frame->type == LPM_FRAME_CLOSE ? SHUT_WR : SHUT_RDWR);
        if (*fd >= 0)
            lpm_endpoint_write_done(pump->endpoint, frame->type == LPM_FRAME_CLOSE
                                                        ? NULL
                                                        : "the other side's program is gone");
        *fd = -1;
        break;
    default: /* OPEN: lpmd was told by the frame's arrival */
        break;
    }
    if (result == LPM_DELIVERY_BROKEN) {
        broken(pump, errno);
        *fd = -1;
    }
    return result != LPM_DELIVERY_DAMAGED;
}

static LpmFrame *take(const struct lpm_pump *pump, const struct lpm_pump_writer *writer,
                      gpointer user)
{
    return writer->take ? writer->take(user) : lpm_session_take(pump->session, pump->channel);
}

void lpm_pump_write(const struct lpm_pump *pump, const struct lpm_pump_writer *writer,
                    gpointer user)
{
    int fd = lpm_endpoint_wait(pump->endpoint);
    LpmFrame *frame;

    if (fd < 0)
        return;
    while ((frame = take(pump, writer, user))) {
        g_autoptr(GError) error = NULL;
        gboolean was_open = fd >= 0;

        if (!handle(pump, frame, &fd, writer->deliver, user, &error))
            lpm_session_fail(pump->session, error->code, error->message);
        lpm_session_delivered(pump->session, frame);
        if (was_open && fd < 0 && writer->ended)
            writer->ended(user);
    }
    if (fd >= 0)
        lpm_endpoint_write_done(pump->endpoint, NULL);
}
