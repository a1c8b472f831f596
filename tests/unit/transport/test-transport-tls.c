/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* TLS with a pre-shared key: works, refuses wrong keys and identities, and does not wait for ever.
 */
#include "base/clock.h"
#include "base/error.h"
#include "transport/psk-tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct party {
    int fd;
    const char *identity;
    guint8 key[32];
    gboolean ok;
    int failure;
};

static gpointer run_server(gpointer opaque)
{
    struct party *party = opaque;
    g_autoptr(GError) error = NULL;
    g_autoptr(LpmPskTls) tls = lpm_psk_tls_server(party->fd, party->identity, party->key,
                                                  sizeof(party->key), 5000, &error);
    char word[5] = "";

    party->ok = tls && lpm_psk_tls_read_all(tls, word, 4, 5000, &error) &&
                strcmp(word, "ping") == 0 && lpm_psk_tls_write_all(tls, "pong", 4, 5000, &error);
    party->failure = error ? error->code : 0;
    return NULL;
}

/* Client and server with the given identities and first bytes of keys. */
static void meet(const char *client_identity, guint8 client_key, const char *server_identity,
                 guint8 server_key, struct party *client, struct party *server)
{
    int sockets[2];
    char word[5] = "";

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    *client = (struct party){.fd = sockets[0], .identity = client_identity};
    *server = (struct party){.fd = sockets[1], .identity = server_identity};
    memset(client->key, client_key, sizeof(client->key));
    memset(server->key, server_key, sizeof(server->key));
    GThread *thread = g_thread_new("server", run_server, server);
    g_autoptr(GError) error = NULL;
    g_autoptr(LpmPskTls) tls = lpm_psk_tls_client(client->fd, client->identity, client->key,
                                                  sizeof(client->key), 5000, &error);

    client->ok = tls && lpm_psk_tls_write_all(tls, "ping", 4, 5000, &error) &&
                 lpm_psk_tls_read_all(tls, word, 4, 5000, &error) && strcmp(word, "pong") == 0;
    client->failure = error ? error->code : 0;
    g_thread_join(thread);
    g_clear_pointer(&tls, lpm_psk_tls_free);
    close(sockets[0]);
    close(sockets[1]);
}

static void test_same_key(void **state)
{
    struct party client, server;

    (void)state;
    meet("id", 1, "id", 1, &client, &server);
    assert_true(client.ok && server.ok);
}

static void test_wrong_key(void **state)
{
    struct party client, server;

    (void)state;
    meet("id", 1, "id", 2, &client, &server);
    assert_false(client.ok || server.ok);
    assert_int_equal(client.failure, LPM_E_LINK_LOST);
    assert_int_equal(server.failure, LPM_E_LINK_LOST);
}

static void test_wrong_identity(void **state)
{
    struct party client, server;

    (void)state;
    meet("one", 1, "other", 1, &client, &server);
    assert_false(client.ok || server.ok);
    assert_int_equal(client.failure, LPM_E_LINK_LOST);
    assert_int_equal(server.failure, LPM_E_LINK_LOST);
}

static void test_mute_peer(void **state)
{
    gint64 begun = lpm_monotonic_us();
    g_autoptr(GError) error = NULL;
    guint8 key[32] = {1};
    int sockets[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    assert_null(lpm_psk_tls_server(sockets[0], "id", key, sizeof(key), 300, &error));
    assert_int_equal(error->code, LPM_E_LINK_LOST);
    assert_true(lpm_monotonic_us() - begun < 5 * G_USEC_PER_SEC);
    close(sockets[0]);
    close(sockets[1]);
}

static void test_garbage(void **state)
{
    g_autoptr(GError) error = NULL;
    guint8 key[32] = {1};
    char noise[600];
    int sockets[2];

    (void)state;
    memset(noise, 'G', sizeof(noise));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    assert_int_equal(write(sockets[1], noise, sizeof(noise)), sizeof(noise));
    assert_null(lpm_psk_tls_server(sockets[0], "id", key, sizeof(key), 3000, &error));
    assert_int_equal(error->code, LPM_E_LINK_LOST);
    close(sockets[0]);
    close(sockets[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_key),       cmocka_unit_test(test_wrong_key),
        cmocka_unit_test(test_wrong_identity), cmocka_unit_test(test_mute_peer),
        cmocka_unit_test(test_garbage),
    };

    (void)lpm_error_quark(); /* before there are threads */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
