/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "transport/psk-tls.h"

#include "base/clock.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <string.h>

/* With TLS 1.3 both PSK methods mean psk_dhe_ke, over a curve or a finite field. The key's binder
 * is SHA-256, hence the suites with that hash; AES first, which processors do in hardware: NORMAL
 * would come down to ChaCha20 at a fifth of the speed. */
#define PRIORITIES                                                                                 \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK:+DHE-PSK"                                    \
    ":-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305"

struct lpm_psk_tls {
    int fd; /* borrowed */
    gboolean server, established, broken;
    char *identity;
    gnutls_datum_t key; /* owned, wiped */
    gnutls_session_t session;
    gnutls_psk_client_credentials_t client;
    gnutls_psk_server_credentials_t accept;
};

static gboolean tls_fail(GError **error, const char *what, int code)
{
    return lpm_fail(error, LPM_E_LINK_LOST, "%s failed: %s", what, gnutls_strerror(code));
}

/* GnuTLS asks for the key of the identity that the client named. */
static int find_key(gnutls_session_t session, const char *identity, gnutls_datum_t *key)
{
    const LpmPskTls *tls = gnutls_session_get_ptr(session);

    if (strcmp(identity, tls->identity) != 0)
        return -1;
    key->data = gnutls_malloc(tls->key.size);
    if (!key->data)
        return -1;
    key->size = tls->key.size;
    memcpy(key->data, tls->key.data, tls->key.size);
    return 0;
}

static int set_credentials(LpmPskTls *tls)
{
    int code;

    if (tls->server) {
        code = gnutls_psk_allocate_server_credentials(&tls->accept);
        if (code < 0)
            return code;
        gnutls_psk_set_server_credentials_function(tls->accept, find_key);
        return gnutls_credentials_set(tls->session, GNUTLS_CRD_PSK, tls->accept);
    }
    code = gnutls_psk_allocate_client_credentials(&tls->client);
    if (code < 0)
        return code;
    code = gnutls_psk_set_client_credentials(tls->client, tls->identity, &tls->key,
                                             GNUTLS_PSK_KEY_RAW);
    if (code < 0)
        return code;
    return gnutls_credentials_set(tls->session, GNUTLS_CRD_PSK, tls->client);
}

LpmPskTls *lpm_psk_tls_new(int fd, gboolean server, const struct lpm_link_secret *secret,
                           GError **error)
{
    g_autoptr(LpmPskTls) tls = g_new0(LpmPskTls, 1);
    unsigned flags = (server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK |
                     GNUTLS_NO_TICKETS | GNUTLS_NO_SIGNAL;
    int code;

    tls->fd = fd;
    tls->server = server;
    tls->identity = g_strdup(secret->identity);
    tls->key.data = g_memdup2(secret->key, secret->key_length);
    tls->key.size = (unsigned)secret->key_length;
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
        lpm_fail(error, LPM_E_INTERNAL, "a socket cannot be made non-blocking: %s",
                 g_strerror(errno));
        return NULL;
    }
    code = gnutls_init(&tls->session, flags);
    if (code >= 0)
        code = gnutls_priority_set_direct(tls->session, PRIORITIES, NULL);
    if (code >= 0)
        code = set_credentials(tls);
    if (code < 0) {
        tls_fail(error, "preparing TLS", code);
        return NULL;
    }
    gnutls_session_set_ptr(tls->session, tls);
    gnutls_transport_set_int(tls->session, fd);
    return g_steal_pointer(&tls);
}

void lpm_psk_tls_free(LpmPskTls *tls)
{
    if (!tls)
        return;
    if (tls->session) {
        if (tls->established && !tls->broken)
            gnutls_bye(tls->session, GNUTLS_SHUT_WR);
        gnutls_deinit(tls->session);
    }
    if (tls->client)
        gnutls_psk_free_client_credentials(tls->client);
    if (tls->accept)
        gnutls_psk_free_server_credentials(tls->accept);
    explicit_bzero(tls->key.data, tls->key.size);
    g_free(tls->key.data);
    g_free(tls->identity);
    g_free(tls);
}

enum lpm_link_result lpm_psk_tls_handshake(LpmPskTls *tls, GError **error)
{
    int code = gnutls_handshake(tls->session);

    if (code == GNUTLS_E_SUCCESS) {
        tls->established = TRUE;
        return LPM_LINK_OK;
    }
    if (!gnutls_error_is_fatal(code))
        return LPM_LINK_AGAIN;
    /* Tell the other side why, if that needs no waiting. */
    gnutls_alert_send_appropriate(tls->session, code);
    tls->broken = TRUE;
    if (code == GNUTLS_E_FATAL_ALERT_RECEIVED)
        lpm_fail(error, LPM_E_LINK_LOST, "the TLS handshake was refused: %s",
                 gnutls_alert_get_name(gnutls_alert_get(tls->session)));
    else
        tls_fail(error, "the TLS handshake", code);
    return LPM_LINK_ERROR;
}

short lpm_psk_tls_events(LpmPskTls *tls)
{
    return gnutls_record_get_direction(tls->session) ? POLLOUT : POLLIN;
}

enum lpm_link_result lpm_psk_tls_read(LpmPskTls *tls, void *data, gsize length, gsize *done,
                                      GError **error)
{
    ssize_t n = gnutls_record_recv(tls->session, data, length);

    *done = n > 0 ? (gsize)n : 0;
    if (n > 0)
        return LPM_LINK_OK;
    if (n == 0)
        return LPM_LINK_EOF;
    if (!gnutls_error_is_fatal((int)n))
        return LPM_LINK_AGAIN;
    tls->broken = TRUE;
    tls_fail(error, "receiving over TLS", (int)n);
    return LPM_LINK_ERROR;
}

enum lpm_link_result lpm_psk_tls_write(LpmPskTls *tls, const void *data, gsize length, gsize *done,
                                       GError **error)
{
    ssize_t n = gnutls_record_send(tls->session, data, length);

    *done = n > 0 ? (gsize)n : 0;
    if (n >= 0)
        return LPM_LINK_OK;
    if (!gnutls_error_is_fatal((int)n))
        return LPM_LINK_AGAIN;
    tls->broken = TRUE;
    tls_fail(error, "sending over TLS", (int)n);
    return LPM_LINK_ERROR;
}

gboolean lpm_psk_tls_pending(LpmPskTls *tls)
{
    return gnutls_record_check_pending(tls->session) > 0;
}

/* ---- blocking ---- */

/* Waits until the descriptor is ready or the deadline has passed (FALSE). */
static gboolean wait_ready(LpmPskTls *tls, short events, gint64 deadline_us, GError **error)
{
    for (;;) {
        struct pollfd item = {.fd = tls->fd, .events = events};
        gint64 left = deadline_us - lpm_monotonic_us();

        if (left <= 0) {
            tls->broken = TRUE;
            return lpm_fail(error, LPM_E_LINK_LOST, "the other side did not answer in time");
        }
        if (poll(&item, 1, (int)(left / 1000 + 1)) > 0)
            return TRUE;
    }
}

static LpmPskTls *establish(int fd, gboolean server, const struct lpm_link_secret *secret,
                            guint timeout_ms, GError **error)
{
    gint64 deadline = lpm_monotonic_us() + (gint64)timeout_ms * 1000;
    g_autoptr(LpmPskTls) tls = lpm_psk_tls_new(fd, server, secret, error);

    while (tls) {
        switch (lpm_psk_tls_handshake(tls, error)) {
        case LPM_LINK_OK:
            return g_steal_pointer(&tls);
        case LPM_LINK_AGAIN:
            if (wait_ready(tls, lpm_psk_tls_events(tls), deadline, error))
                continue;
            return NULL;
        case LPM_LINK_EOF:
        case LPM_LINK_ERROR:
            return NULL;
        }
    }
    return NULL;
}

LpmPskTls *lpm_psk_tls_client(int fd, const char *identity, const guint8 *key, gsize key_length,
                              guint timeout_ms, GError **error)
{
    struct lpm_link_secret secret = {.identity = identity, .key = key, .key_length = key_length};

    return establish(fd, FALSE, &secret, timeout_ms, error);
}

LpmPskTls *lpm_psk_tls_server(int fd, const char *identity, const guint8 *key, gsize key_length,
                              guint timeout_ms, GError **error)
{
    struct lpm_link_secret secret = {.identity = identity, .key = key, .key_length = key_length};

    return establish(fd, TRUE, &secret, timeout_ms, error);
}

gboolean lpm_psk_tls_write_all(LpmPskTls *tls, const void *data, gsize length, guint timeout_ms,
                               GError **error)
{
    gint64 deadline = lpm_monotonic_us() + (gint64)timeout_ms * 1000;
    gsize moved = 0;

    while (moved < length) {
        gsize n = 0;

        switch (lpm_psk_tls_write(tls, (const guint8 *)data + moved, length - moved, &n, error)) {
        case LPM_LINK_OK:
            moved += n;
            break;
        case LPM_LINK_AGAIN:
            if (!wait_ready(tls, POLLOUT, deadline, error))
                return FALSE;
            break;
        case LPM_LINK_EOF:
        case LPM_LINK_ERROR:
            return FALSE;
        }
    }
    return TRUE;
}

gboolean lpm_psk_tls_read_all(LpmPskTls *tls, void *data, gsize length, guint timeout_ms,
                              GError **error)
{
    gint64 deadline = lpm_monotonic_us() + (gint64)timeout_ms * 1000;
    gsize moved = 0;

    while (moved < length) {
        gsize n = 0;

        switch (lpm_psk_tls_read(tls, (guint8 *)data + moved, length - moved, &n, error)) {
        case LPM_LINK_OK:
            moved += n;
            break;
        case LPM_LINK_AGAIN:
            if (!wait_ready(tls, POLLIN, deadline, error))
                return FALSE;
            break;
        case LPM_LINK_EOF:
            return lpm_fail(error, LPM_E_LINK_LOST,
                            "the other side ended after %" G_GSIZE_FORMAT " of %" G_GSIZE_FORMAT
                            " bytes",
                            moved, length);
        case LPM_LINK_ERROR:
            return FALSE;
        }
    }
    return TRUE;
}
