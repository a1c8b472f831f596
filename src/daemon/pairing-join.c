/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The joining side of pairing: who has got a code. */
#include "base/error.h"
#include "base/fdio.h"
#include "daemon/pairing-code.h"
#include "daemon/pairing-private.h"
#include "daemon/pairing-talk.h"
#include "daemon/peers.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

static gboolean check_address(const char *address, GError **error)
{
    gsize length = strlen(address);
    gboolean fit = length >= 1 && length <= 255 && address[0] != '-';

    for (gsize i = 0; fit && i < length; i++)
        fit = g_ascii_isalnum(address[i]) || strchr(".:%_-", address[i]);
    return fit ? TRUE
               : lpm_fail(error, LPM_E_BAD_REQUEST, "'%s' is not an address or a host's name",
                          address);
}

/* Connects within LPM_PAIRING_STEP_MS; the descriptor is blocking again. -1 with errno. */
static int connect_one(const struct addrinfo *to)
{
    lpm_autofd fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int reason = 0;
    socklen_t size = sizeof(reason);

    if (fd < 0)
        return -1;
    if (connect(fd, to->ai_addr, to->ai_addrlen) < 0) {
        if (errno != EINPROGRESS)
            return -1;
        if (poll(&wait, 1, LPM_PAIRING_STEP_MS) <= 0) {
            errno = ETIMEDOUT;
            return -1;
        }
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &size);
        if (reason) {
            errno = reason;
            return -1;
        }
    }
    return fcntl(fd, F_SETFL, 0) < 0 ? -1 : lpm_steal_fd(&fd);
}

static int connect_to(const char *address, guint port, GError **error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    g_autofree char *service = g_strdup_printf("%u", port);
    int rc = getaddrinfo(address, service, &hints, &found);
    int fd = -1;

    if (rc != 0) {
        lpm_fail(error, LPM_E_PEER_UNREACHABLE, "'%s': %s", address, gai_strerror(rc));
        return -1;
    }
    for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next)
        fd = connect_one(at);
    if (fd < 0)
        lpm_fail(error, LPM_E_PEER_UNREACHABLE, "%s port %u: %s", address, port, g_strerror(errno));
    freeaddrinfo(found);
    return fd;
}

/* Sends the invite's id and shakes hands. Whoever does not know the code closes without a word. */
static LpmPskTls *greet(int fd, const char *address, const uint8_t *id, const uint8_t *key,
                        GError **error)
{
    g_autofree char *identity = g_base64_encode(id, LPM_DATA_ID_BYTES);
    g_autoptr(GError) reason = NULL;
    LpmPskTls *tls = NULL;

    if (send(fd, id, LPM_DATA_ID_BYTES, MSG_NOSIGNAL) == LPM_DATA_ID_BYTES)
        tls =
            lpm_psk_tls_client(fd, identity, key, LPM_CODE_KEY_BYTES, LPM_PAIRING_STEP_MS, &reason);
    if (!tls)
        lpm_fail(error, LPM_E_PAIRING_FAILED, "%s does not take the code (%s)", address,
                 reason ? reason->message : g_strerror(errno));
    return tls;
}

/* Stores the peer and has the other side do so too. */
static gboolean finish(LpmPskTls *tls, struct lpm_daemon *daemon, const LpmPeer *peer,
                       GError **error)
{
    g_autoptr(GError) reason = NULL;

    if (!lpm_peers_add(daemon->peers, peer, FALSE, &reason)) {
        lpm_pairing_send_error(tls, reason);
        g_propagate_error(error, g_steal_pointer(&reason));
        return FALSE;
    }
    if (lpm_pairing_send_stored(tls, error) && lpm_pairing_receive_stored(tls, error))
        return TRUE;
    /* Nothing may stay half done on this side, which is the one that reports. */
    if (!lpm_peers_remove(daemon->peers, peer->name, &reason))
        lpm_log(LPM_LOG_ERROR, NULL, "%s could not be removed again: %s", peer->name,
                reason->message);
    return FALSE;
}

static LpmPeer *exchange(LpmPskTls *tls, struct lpm_daemon *daemon, const char *name,
                         const char *address, GError **error)
{
    if (!lpm_pairing_send_hello(tls, daemon, error))
        return NULL;
    g_autoptr(GError) reason = NULL;
    g_autoptr(LpmPeer) peer = lpm_pairing_receive_hello(tls, daemon, &reason);
    if (!peer) {
        lpm_pairing_send_error(tls, reason);
        g_propagate_error(error, g_steal_pointer(&reason));
        return NULL;
    }
    g_free(peer->address);
    peer->address = g_strdup(address);
    if (name) {
        g_free(peer->name);
        peer->name = g_strdup(name);
    }
    return finish(tls, daemon, peer, error) ? g_steal_pointer(&peer) : NULL;
}

/* What can be known to fail before anything is sent. */
static gboolean check_request(struct lpm_daemon *daemon, const char *name, const char *address,
                              GError **error)
{
    if (!check_address(address, error))
        return FALSE;
    if (!name)
        return TRUE;
    if (!lpm_peer_name_check(name, error))
        return FALSE;
    g_autoptr(LpmPeer) named = lpm_peers_get(daemon->peers, name, NULL);
    return named ? lpm_fail(error, LPM_E_PEER_EXISTS, "a peer '%s' is already paired", name) : TRUE;
}

LpmPeer *lpm_pairing_join(struct lpm_pairing *pairing, const char *name, const char *address,
                          guint data_port, const char *code, GError **error)
{
    struct lpm_daemon *daemon = pairing->daemon;
    uint8_t secret[LPM_CODE_SECRET_BYTES], id[LPM_DATA_ID_BYTES], key[LPM_CODE_KEY_BYTES];

    if (!check_request(daemon, name, address, error) || !lpm_code_parse(code, secret, error))
        return NULL;
    gboolean ok = lpm_code_derive(secret, id, key, error);
    gnutls_memset(secret, 0, sizeof(secret));
    if (!ok)
        return NULL;
    lpm_autofd fd = connect_to(address, data_port, error);
    g_autoptr(LpmPskTls) tls = fd >= 0 ? greet(fd, address, id, key, error) : NULL;
    gnutls_memset(key, 0, sizeof(key));
    g_autoptr(LpmPeer) peer = tls ? exchange(tls, daemon, name, address, error) : NULL;
    if (peer)
        lpm_event_log(daemon, LPM_LOG_INFO, NULL, NULL, "paired", "paired with %s at %s (key %s)",
                      peer->name, peer->address, peer->fingerprint);
    return g_steal_pointer(&peer);
}
