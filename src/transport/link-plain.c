/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The null variant of a link: the bytes as they are. */
#include "base/error.h"
#include "transport/link.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

static gpointer plain_open(int fd, gboolean server, const struct lpm_link_secret *secret,
                           GError **error)
{
    (void)server;
    (void)secret;
    (void)error;
    int *link = g_new(int, 1);

    *link = fd;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return link;
}

static enum lpm_link_result plain_handshake(gpointer link, GError **error)
{
    (void)link;
    (void)error;
    return LPM_LINK_OK;
}

static short plain_handshake_events(gpointer link)
{
    (void)link;
    return 0;
}

static enum lpm_link_result result(ssize_t n, gsize *done, const char *what, GError **error)
{
    *done = n > 0 ? (gsize)n : 0;
    if (n >= 0)
        return LPM_LINK_OK;
    if (errno == EAGAIN || errno == EINTR)
        return LPM_LINK_AGAIN;
    lpm_fail(error, LPM_E_LINK_LOST, "%s failed: %s", what, g_strerror(errno));
    return LPM_LINK_ERROR;
}

static enum lpm_link_result plain_read(gpointer link, void *data, gsize length, gsize *done,
                                       GError **error)
{
    ssize_t n = recv(*(int *)link, data, length, 0);

    return n == 0 ? LPM_LINK_EOF : result(n, done, "receiving", error);
}

static enum lpm_link_result plain_write(gpointer link, const void *data, gsize length, gsize *done,
                                        GError **error)
{
    return result(send(*(int *)link, data, length, MSG_NOSIGNAL), done, "sending", error);
}

static gboolean plain_pending(gpointer link)
{
    (void)link;
    return FALSE;
}

static void plain_close(gpointer link)
{
    lpm_fd_clear(link);
    g_free(link);
}

const struct lpm_link_ops lpm_link_plain = {
    .name = "plain",
    .open = plain_open,
    .handshake = plain_handshake,
    .handshake_events = plain_handshake_events,
    .read = plain_read,
    .write = plain_write,
    .pending = plain_pending,
    .close = plain_close,
};
