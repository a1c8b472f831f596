/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * A link: one connection between two movers, made of a descriptor and a variant of how its bytes
 * are protected. Variants: lpm_link_tls (TLS 1.3, pre-shared key) and lpm_link_plain (as they are;
 * for tests, never offered by a program). Non-blocking; a link belongs to one thread at a time.
 */
#ifndef LPM_TRANSPORT_LINK_H
#define LPM_TRANSPORT_LINK_H

#include "base/fdio.h"

#include <glib.h>

enum lpm_link_result {
    LPM_LINK_OK,    /* done, or some bytes moved */
    LPM_LINK_AGAIN, /* poll the descriptor, then call again */
    LPM_LINK_EOF,   /* the other side ended in order (read only) */
    LPM_LINK_ERROR, /* the error is set */
};

/* What both ends must agree on. `identity` is public, `key` is not. Borrowed, copied by open. */
struct lpm_link_secret {
    const char *identity;
    const guint8 *key;
    gsize key_length;
};

struct lpm_link_ops {
    const char *name;
    /* A link over `fd` (taken over, also on error), made non-blocking. `server`: the accepting
     * side. */
    gpointer (*open)(int fd, gboolean server, const struct lpm_link_secret *secret, GError **error);
    enum lpm_link_result (*handshake)(gpointer link, GError **error);
    /* Which of POLLIN and POLLOUT an AGAIN of the handshake waits for. */
    short (*handshake_events)(gpointer link);
    /* `*done` bytes moved when OK. A write that said AGAIN must be repeated with the same bytes
     * first. */
    enum lpm_link_result (*read)(gpointer link, void *data, gsize length, gsize *done,
                                 GError **error);
    enum lpm_link_result (*write)(gpointer link, const void *data, gsize length, gsize *done,
                                  GError **error);
    /* TRUE when read would give bytes without the descriptor being readable. */
    gboolean (*pending)(gpointer link);
    /* Ends the connection (with a notice if that is possible without waiting) and frees. */
    void (*close)(gpointer link);
};

extern const struct lpm_link_ops lpm_link_tls;
extern const struct lpm_link_ops lpm_link_plain;

#endif
