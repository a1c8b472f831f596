/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/peers.h"

#include "base/error.h"
#include "daemon/peers-private.h"

#include <string.h>

/* Idle connections kept per peer: calls at once are one per migration, and few. */
#define IDLE_MAX 4

static void handle_free(gpointer data)
{
    struct lpm_peer_handle *handle = data;

    curl_easy_cleanup(handle->curl);
    g_free(handle);
}

static void pool_free(gpointer data)
{
    g_queue_free_full(data, handle_free);
}

static gpointer init_curl(gpointer unused)
{
    (void)unused;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return NULL;
}

struct lpm_peers *lpm_peers_new(struct lpm_journal *journal, const struct lpm_identity *identity,
                                GError **error)
{
    static GOnce once = G_ONCE_INIT;
    GPtrArray *table = lpm_journal_peers(journal, error);

    if (!table)
        return NULL;
    g_once(&once, init_curl, NULL);
    struct lpm_peers *peers = g_new0(struct lpm_peers, 1);
    g_mutex_init(&peers->lock);
    peers->journal = journal;
    peers->identity = identity;
    peers->table = table;
    peers->pools = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, pool_free);
    return peers;
}

void lpm_peers_free(struct lpm_peers *peers)
{
    if (!peers)
        return;
    g_hash_table_unref(peers->pools);
    g_ptr_array_unref(peers->table);
    g_mutex_clear(&peers->lock);
    g_free(peers);
}

/* The index in the table, or -1. With the lock held. A NULL argument matches nothing. */
static int find(const struct lpm_peers *peers, const char *name, const char *fingerprint)
{
    for (guint i = 0; i < peers->table->len; i++) {
        const LpmPeer *peer = peers->table->pdata[i];

        if ((name && strcmp(peer->name, name) == 0) ||
            (fingerprint && strcmp(peer->fingerprint, fingerprint) == 0))
            return (int)i;
    }
    return -1;
}

LpmPeer *lpm_peers_get(struct lpm_peers *peers, const char *name, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&peers->lock);
    int at = find(peers, name, NULL);

    if (at >= 0)
        return lpm_peer_copy(peers->table->pdata[at]);
    lpm_fail(error, LPM_E_PEER_UNKNOWN, "there is no peer '%s'", name);
    return NULL;
}

LpmPeer *lpm_peers_by_fingerprint(struct lpm_peers *peers, const char *fingerprint)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&peers->lock);
    int at = find(peers, NULL, fingerprint);

    return at >= 0 ? lpm_peer_copy(peers->table->pdata[at]) : NULL;
}

static gpointer copy_peer(gconstpointer peer, gpointer unused)
{
    (void)unused;
    return lpm_peer_copy(peer);
}

GPtrArray *lpm_peers_list(struct lpm_peers *peers)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&peers->lock);
    GPtrArray *list = g_ptr_array_copy(peers->table, copy_peer, NULL);

    g_ptr_array_set_free_func(list, (GDestroyNotify)lpm_peer_free);
    return list;
}

/* Reads the table again after a change of the journal, whose word is final. */
static gboolean reload(struct lpm_peers *peers, GError **error)
{
    GPtrArray *table = lpm_journal_peers(peers->journal, error);

    if (!table)
        return FALSE;
    g_ptr_array_unref(peers->table);
    peers->table = table;
    return TRUE;
}

gboolean lpm_peers_add(struct lpm_peers *peers, const LpmPeer *peer, gboolean refresh,
                       GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&peers->lock);
    int by_name = find(peers, peer->name, NULL);
    int by_key = find(peers, NULL, peer->fingerprint);
    gboolean same = by_name >= 0 && by_name == by_key;

    if (by_name >= 0 && !(same && refresh))
        return lpm_fail(error, LPM_E_PEER_EXISTS, "a peer '%s' is already paired", peer->name);
    if (by_key >= 0 && !same) {
        const LpmPeer *other = peers->table->pdata[by_key];

        return lpm_fail(error, LPM_E_PEER_EXISTS, "the host '%s' is already paired, as '%s'",
                        peer->name, other->name);
    }
    if (!lpm_journal_peer_add(peers->journal, peer, refresh, error))
        return FALSE;
    g_hash_table_remove(peers->pools, peer->fingerprint);
    return reload(peers, error);
}

gboolean lpm_peers_remove(struct lpm_peers *peers, const char *name, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&peers->lock);
    int at = find(peers, name, NULL);

    if (at < 0)
        return lpm_fail(error, LPM_E_PEER_UNKNOWN, "there is no peer '%s'", name);
    if (!lpm_journal_peer_remove(peers->journal, name, error))
        return FALSE;
    g_hash_table_remove(peers->pools, ((LpmPeer *)peers->table->pdata[at])->fingerprint);
    /* From here on the peer is refused, also if the rest of the table cannot be read. */
    g_ptr_array_remove_index(peers->table, (guint)at);
    return TRUE;
}

struct lpm_peer_handle *lpm_peers_take_handle(struct lpm_peers *peers, const char *fingerprint)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&peers->lock);
    GQueue *pool = g_hash_table_lookup(peers->pools, fingerprint);
    struct lpm_peer_handle *handle = pool ? g_queue_pop_head(pool) : NULL;

    if (!handle) {
        handle = g_new0(struct lpm_peer_handle, 1);
        handle->curl = curl_easy_init();
        if (!handle->curl)
            g_error("out of memory");
    }
    return handle;
}

void lpm_peers_return_handle(struct lpm_peers *peers, const char *fingerprint,
                             struct lpm_peer_handle *handle, gboolean good)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&peers->lock);
    GQueue *pool = g_hash_table_lookup(peers->pools, fingerprint);

    if (!good || find(peers, NULL, fingerprint) < 0 || (pool && pool->length >= IDLE_MAX)) {
        handle_free(handle);
        return;
    }
    if (!pool) {
        pool = g_queue_new();
        g_hash_table_insert(peers->pools, g_strdup(fingerprint), pool);
    }
    handle->warm = TRUE;
    g_queue_push_head(pool, handle);
}

gboolean lpm_peer_name_check(const char *name, GError **error)
{
    gsize length = strlen(name);
    gboolean fit = length >= 1 && length <= 64 && name[0] != '-' && name[0] != '.';

    for (gsize i = 0; fit && i < length; i++)
        fit = g_ascii_isalnum(name[i]) || strchr("._-", name[i]);
    return fit ? TRUE
               : lpm_fail(error, LPM_E_BAD_REQUEST,
                          "'%s' is not a name of a host: 1 to 64 letters, digits, '.', '_' and '-'",
                          name);
}
