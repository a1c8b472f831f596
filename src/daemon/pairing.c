/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/pairing.h"

#include "base/clock.h"
#include "base/error.h"
#include "daemon/data-port.h"
#include "daemon/pairing-code.h"
#include "daemon/pairing-private.h"
#include "daemon/pairing-talk.h"
#include "daemon/peers.h"

#include <gnutls/gnutls.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A connection that came with an invite's id; owned by its thread. */
struct guest {
    struct invite *invite;
    int fd;
    char *from;
};

static void invite_unref(gpointer data)
{
    struct invite *invite = data;

    if (!g_atomic_ref_count_dec(&invite->references))
        return;
    gnutls_memset(invite->key, 0, sizeof(invite->key));
    g_free(invite);
}

static struct invite *invite_ref(struct invite *invite)
{
    g_atomic_ref_count_inc(&invite->references);
    return invite;
}

struct lpm_pairing *lpm_pairing_new(struct lpm_daemon *daemon)
{
    struct lpm_pairing *pairing = g_new0(struct lpm_pairing, 1);

    pairing->daemon = daemon;
    pairing->invites = g_ptr_array_new_with_free_func(invite_unref);
    g_mutex_init(&pairing->lock);
    g_cond_init(&pairing->guest_left);
    g_queue_init(&pairing->guests);
    return pairing;
}

/* With the lock held. The data port never takes our lock within its own, so the order is safe. */
static void void_invite(struct invite *invite)
{
    if (invite->state == INVITE_VOID)
        return;
    invite->state = INVITE_VOID;
    lpm_data_port_unregister(invite->pairing->daemon->data_port, invite->id);
    g_ptr_array_remove_fast(invite->pairing->invites, invite);
}

static void void_expired(struct lpm_pairing *pairing)
{
    int64_t now = lpm_monotonic_us();

    for (guint i = pairing->invites->len; i-- > 0;) {
        struct invite *invite = pairing->invites->pdata[i];

        if (invite->expires_us <= now && invite->state == INVITE_OPEN)
            void_invite(invite);
    }
}

void lpm_pairing_free(struct lpm_pairing *pairing)
{
    if (!pairing)
        return;
    g_mutex_lock(&pairing->lock);
    while (pairing->invites->len > 0)
        void_invite(pairing->invites->pdata[0]);
    for (GList *at = pairing->guests.head; at; at = at->next)
        shutdown(GPOINTER_TO_INT(at->data), SHUT_RDWR);
    while (pairing->guests.length > 0)
        g_cond_wait(&pairing->guest_left, &pairing->lock);
    g_mutex_unlock(&pairing->lock);
    g_ptr_array_unref(pairing->invites);
    g_cond_clear(&pairing->guest_left);
    g_mutex_clear(&pairing->lock);
    g_free(pairing);
}

/* ---- the inviting side ---- */

/* Takes the invite for one pairing to be finished. */
static gboolean claim(struct invite *invite, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&invite->pairing->lock);

    if (invite->state != INVITE_OPEN || invite->expires_us <= lpm_monotonic_us())
        return lpm_fail(error, LPM_E_PAIRING_FAILED, "the code was used or expired meanwhile");
    invite->state = INVITE_CLAIMED;
    return TRUE;
}

static void settle(struct invite *invite, gboolean paired)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&invite->pairing->lock);

    if (invite->state != INVITE_CLAIMED)
        return;
    if (paired)
        void_invite(invite);
    else
        invite->state = INVITE_OPEN;
}

/* Whether the peer could be added, before both sides are told so. */
static gboolean check_clash(struct lpm_peers *peers, const LpmPeer *peer, GError **error)
{
    g_autoptr(LpmPeer) named = lpm_peers_get(peers, peer->name, NULL);
    g_autoptr(LpmPeer) keyed = lpm_peers_by_fingerprint(peers, peer->fingerprint);

    if (named && strcmp(named->fingerprint, peer->fingerprint) != 0)
        return lpm_fail(error, LPM_E_PEER_EXISTS, "another host is paired here as '%s' already",
                        peer->name);
    if (keyed && strcmp(keyed->name, peer->name) != 0)
        return lpm_fail(error, LPM_E_PEER_EXISTS, "'%s' is paired here already, as '%s'",
                        peer->name, keyed->name);
    return TRUE;
}

/* From B's hello to the end; with the invite claimed. */
static gboolean finish_guest(LpmPskTls *tls, struct lpm_daemon *daemon, const LpmPeer *peer,
                             GError **error)
{
    g_autoptr(GError) reason = NULL;

    if (!lpm_pairing_send_hello(tls, daemon, error) || !lpm_pairing_receive_stored(tls, error))
        return FALSE;
    if (!lpm_peers_add(daemon->peers, peer, TRUE, &reason)) {
        lpm_pairing_send_error(tls, reason);
        g_propagate_error(error, g_steal_pointer(&reason));
        return FALSE;
    }
    /* If this is lost, A says that pairing failed, and pairing again renews what is stored here. */
    return lpm_pairing_send_stored(tls, error);
}

static LpmPeer *talk_to_guest(struct guest *guest, GError **error)
{
    struct lpm_daemon *daemon = guest->invite->pairing->daemon;
    g_autofree char *identity = g_base64_encode(guest->invite->id, LPM_DATA_ID_BYTES);
    g_autoptr(LpmPskTls) tls = lpm_psk_tls_server(guest->fd, identity, guest->invite->key,
                                                  LPM_CODE_KEY_BYTES, LPM_PAIRING_STEP_MS, error);
    g_autoptr(GError) reason = NULL;

    if (!tls)
        return NULL;
    g_autoptr(LpmPeer) peer = lpm_pairing_receive_hello(tls, daemon, &reason);
    if (peer) {
        g_free(peer->address);
        peer->address = g_strdup(guest->from);
    }
    if (!peer || !check_clash(daemon->peers, peer, &reason) || !claim(guest->invite, &reason)) {
        lpm_pairing_send_error(tls, reason);
        g_propagate_error(error, g_steal_pointer(&reason));
        return NULL;
    }
    gboolean paired = finish_guest(tls, daemon, peer, error);
    settle(guest->invite, paired);
    return paired ? g_steal_pointer(&peer) : NULL;
}

static void leave(struct guest *guest)
{
    struct lpm_pairing *pairing = guest->invite->pairing;

    g_mutex_lock(&pairing->lock);
    if (guest->invite->attempts >= LPM_INVITE_ATTEMPTS && guest->invite->state == INVITE_OPEN)
        void_invite(guest->invite);
    invite_unref(guest->invite);
    g_queue_remove(&pairing->guests, GINT_TO_POINTER(guest->fd));
    close(guest->fd);
    g_cond_broadcast(&pairing->guest_left);
    g_mutex_unlock(&pairing->lock);
    g_free(guest->from);
    g_free(guest);
}

static gpointer serve_guest(gpointer data)
{
    struct guest *guest = data;
    struct lpm_daemon *daemon = guest->invite->pairing->daemon;
    g_autoptr(GError) error = NULL;
    g_autoptr(LpmPeer) peer = talk_to_guest(guest, &error);

    if (peer)
        lpm_event_log(daemon, LPM_LOG_INFO, NULL, NULL, "paired",
                      "paired with %s at %s (key %s), who used an invite", peer->name,
                      peer->address, peer->fingerprint);
    else
        lpm_event_log(daemon, LPM_LOG_WARNING, NULL, NULL, "pairing-failed",
                      "pairing with %s failed: %s", guest->from, error->message);
    leave(guest);
    return NULL;
}

/* On the data port's thread. */
static void on_guest(int fd, const char *from, void *user)
{
    struct invite *invite = user;
    struct lpm_pairing *pairing = invite->pairing;

    g_mutex_lock(&pairing->lock);
    if (invite->state == INVITE_OPEN && invite->expires_us <= lpm_monotonic_us())
        void_invite(invite);
    /* The last attempt is still served; the invite is void when it has failed. */
    gboolean welcome = invite->state != INVITE_VOID && invite->attempts < LPM_INVITE_ATTEMPTS;
    if (welcome) {
        invite->attempts++;
        g_queue_push_tail(&pairing->guests, GINT_TO_POINTER(fd));
        invite_ref(invite);
    }
    g_mutex_unlock(&pairing->lock);
    if (!welcome) {
        close(fd);
        return;
    }
    struct guest *guest = g_new0(struct guest, 1);
    guest->invite = invite;
    guest->fd = fd;
    guest->from = g_strdup(from);
    g_thread_unref(g_thread_new("pairing", serve_guest, guest));
}

char *lpm_pairing_invite(struct lpm_pairing *pairing, int64_t *expires_ms, GError **error)
{
    uint8_t secret[LPM_CODE_SECRET_BYTES];
    struct invite *invite = g_new0(struct invite, 1);
    g_autofree char *code = lpm_code_make(secret, error);

    g_atomic_ref_count_init(&invite->references);
    invite->pairing = pairing;
    invite->expires_us = lpm_monotonic_us() + (int64_t)LPM_INVITE_LIFE_S * 1000000;
    gboolean ok = code && lpm_code_derive(secret, invite->id, invite->key, error);
    gnutls_memset(secret, 0, sizeof(secret));
    g_mutex_lock(&pairing->lock);
    void_expired(pairing);
    if (ok && pairing->invites->len >= LPM_INVITES_MAX)
        ok = lpm_fail(error, LPM_E_TOO_MANY, "%d invites are open already; each lasts %d minutes",
                      LPM_INVITES_MAX, LPM_INVITE_LIFE_S / 60);
    if (ok) {
        g_ptr_array_add(pairing->invites, invite_ref(invite));
        lpm_data_port_register(pairing->daemon->data_port, invite->id, on_guest, invite_ref(invite),
                               invite_unref);
    }
    g_mutex_unlock(&pairing->lock);
    invite_unref(invite);
    *expires_ms = lpm_wall_us() / 1000 + (int64_t)LPM_INVITE_LIFE_S * 1000;
    return ok ? g_steal_pointer(&code) : NULL;
}
