/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The variant that programs use: TLS 1.3 with the session's pre-shared key. */
#include "transport/psk-tls.h"

struct tls_link {
    lpm_fd fd;
    LpmPskTls *tls;
};

static void tls_close(gpointer opaque)
{
    struct tls_link *link = opaque;

    lpm_psk_tls_free(link->tls);
    lpm_fd_clear(&link->fd);
    g_free(link);
}

static gpointer tls_open(int fd, gboolean server, const struct lpm_link_secret *secret,
                         GError **error)
{
    struct tls_link *link = g_new0(struct tls_link, 1);

    link->fd = fd;
    link->tls = lpm_psk_tls_new(fd, server, secret, error);
    if (link->tls)
        return link;
    tls_close(link);
    return NULL;
}

static enum lpm_link_result tls_handshake(gpointer link, GError **error)
{
    return lpm_psk_tls_handshake(((struct tls_link *)link)->tls, error);
}

static short tls_handshake_events(gpointer link)
{
    return lpm_psk_tls_events(((struct tls_link *)link)->tls);
}

static enum lpm_link_result tls_read(gpointer link, void *data, gsize length, gsize *done,
                                     GError **error)
{
    return lpm_psk_tls_read(((struct tls_link *)link)->tls, data, length, done, error);
}

static enum lpm_link_result tls_write(gpointer link, const void *data, gsize length, gsize *done,
                                      GError **error)
{
    return lpm_psk_tls_write(((struct tls_link *)link)->tls, data, length, done, error);
}

static gboolean tls_pending(gpointer link)
{
    return lpm_psk_tls_pending(((struct tls_link *)link)->tls);
}

const struct lpm_link_ops lpm_link_tls = {
    .name = "tls",
    .open = tls_open,
    .handshake = tls_handshake,
    .handshake_events = tls_handshake_events,
    .read = tls_read,
    .write = tls_write,
    .pending = tls_pending,
    .close = tls_close,
};
