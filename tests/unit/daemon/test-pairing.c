/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "hosts.h"

#include "daemon/pairing-code.h"
#include "daemon/pairing-private.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct fixture {
    struct test_host *a, *b;
};

static int set_up(void **state)
{
    struct fixture *fixture = g_new0(struct fixture, 1);

    fixture->a = test_host_new("a", "127.0.0.1", NULL);
    fixture->b = test_host_new("b", "127.0.0.2", NULL);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    test_host_free(fixture->a);
    test_host_free(fixture->b);
    g_free(fixture);
    return 0;
}

static char *invite(struct test_host *host)
{
    int64_t expires_ms;
    char *code = lpm_pairing_invite(host->daemon.pairing, &expires_ms, NULL);

    assert_non_null(code);
    return code;
}

static LpmPeer *join(struct test_host *from, struct test_host *to, const char *name,
                     const char *code, GError **error)
{
    return lpm_pairing_join(from->daemon.pairing, name, to->daemon.config->listen_address,
                            to->daemon.config->data_port, code, error);
}

static guint count_peers(struct test_host *host)
{
    g_autoptr(GPtrArray) list = lpm_peers_list(host->daemon.peers);

    return list->len;
}

static void test_both_learn_each_other(void **state)
{
    struct fixture *fixture = *state;

    test_pair(fixture->a, fixture->b);
    g_autoptr(LpmPeer) b = lpm_peers_get(fixture->a->daemon.peers, "b", NULL);
    g_autoptr(LpmPeer) a = lpm_peers_get(fixture->b->daemon.peers, "a", NULL);
    assert_non_null(a);
    assert_non_null(b);
    assert_string_equal(b->fingerprint, fixture->b->daemon.identity->fingerprint);
    assert_string_equal(a->fingerprint, fixture->a->daemon.identity->fingerprint);
    assert_string_equal(b->address, "127.0.0.2");
    assert_int_equal(a->control_port, fixture->a->daemon.config->control_port);
    assert_int_equal(b->data_port, fixture->b->daemon.config->data_port);
    /* On disk, not only in memory. */
    g_autoptr(GPtrArray) stored = lpm_journal_peers(fixture->b->daemon.journal, NULL);
    assert_int_equal(stored->len, 1);
}

static void test_own_name_for_peer(void **state)
{
    struct fixture *fixture = *state;
    g_autofree char *code = invite(fixture->b);
    g_autoptr(LpmPeer) peer = join(fixture->a, fixture->b, "rack-2.b", code, NULL);

    assert_string_equal(peer->name, "rack-2.b");
    g_autoptr(LpmPeer) a = lpm_peers_get(fixture->b->daemon.peers, "a", NULL);
    assert_non_null(a);
}

static void test_code_is_spent_by_success(void **state)
{
    struct fixture *fixture = *state;
    g_autofree char *code = invite(fixture->b);
    g_autoptr(GError) error = NULL;
    g_autoptr(LpmPeer) peer = join(fixture->a, fixture->b, NULL, code, NULL);
    struct test_host *c = test_host_new("c", "127.0.0.3", NULL);

    assert_non_null(peer);
    assert_null(join(c, fixture->b, NULL, code, &error));
    test_assert_error(error, LPM_E_PAIRING_FAILED);
    assert_int_equal(count_peers(c), 0);
    assert_int_equal(count_peers(fixture->b), 1);
    test_host_free(c);
}

static void test_wrong_code_fails(void **state)
{
    struct fixture *fixture = *state;
    g_autofree char *code = invite(fixture->b), *other = invite(fixture->a);
    g_autoptr(GError) error = NULL;

    (void)code;
    assert_null(join(fixture->a, fixture->b, NULL, other, &error));
    test_assert_error(error, LPM_E_PAIRING_FAILED);
    assert_int_equal(count_peers(fixture->a) + count_peers(fixture->b), 0);
}

static void test_mistyped_code_is_told(void **state)
{
    struct fixture *fixture = *state;
    g_autofree char *code = invite(fixture->b);
    g_autoptr(GError) error = NULL;

    code[6] = code[6] == '7' ? '8' : '7';
    assert_null(join(fixture->a, fixture->b, NULL, code, &error));
    test_assert_error(error, LPM_E_BAD_REQUEST);
}

static void test_expired_code_fails(void **state)
{
    struct fixture *fixture = *state;
    g_autofree char *code = invite(fixture->b);
    struct lpm_pairing *pairing = fixture->b->daemon.pairing;
    g_autoptr(GError) error = NULL;

    g_mutex_lock(&pairing->lock);
    ((struct invite *)pairing->invites->pdata[0])->expires_us = 0;
    g_mutex_unlock(&pairing->lock);
    assert_null(join(fixture->a, fixture->b, NULL, code, &error));
    test_assert_error(error, LPM_E_PAIRING_FAILED);
}

static gboolean no_invites(void *user)
{
    struct lpm_pairing *pairing = user;

    g_mutex_lock(&pairing->lock);
    gboolean none = pairing->invites->len == 0;
    g_mutex_unlock(&pairing->lock);
    return none;
}

/* Somebody who overheard the id (it is public) but has not the code: 5 times, then nobody may. */
static void test_void_after_five_attempts(void **state)
{
    struct fixture *fixture = *state;
    g_autofree char *code = invite(fixture->b);
    uint8_t secret[LPM_CODE_SECRET_BYTES], id[LPM_DATA_ID_BYTES], key[LPM_CODE_KEY_BYTES];
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)fixture->b->daemon.config->data_port)};
    g_autoptr(GError) error = NULL;

    inet_pton(AF_INET, "127.0.0.2", &address.sin_addr);
    assert_true(lpm_code_parse(code, secret, NULL));
    assert_true(lpm_code_derive(secret, id, key, NULL));
    for (int i = 0; i < LPM_INVITE_ATTEMPTS; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        char answer;

        assert_false(no_invites(fixture->b->daemon.pairing));
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(send(fd, id, sizeof(id), 0), sizeof(id));
        shutdown(fd, SHUT_WR);
        while (recv(fd, &answer, 1, 0) > 0)
            ;
        close(fd);
    }
    assert_true(test_wait(no_invites, fixture->b->daemon.pairing));
    assert_null(join(fixture->a, fixture->b, NULL, code, &error));
    test_assert_error(error, LPM_E_PAIRING_FAILED);
}

static void test_own_invite_refused(void **state)
{
    struct fixture *fixture = *state;
    g_autofree char *code = invite(fixture->a);
    g_autoptr(GError) error = NULL;

    assert_null(join(fixture->a, fixture->a, NULL, code, &error));
    test_assert_error(error, LPM_E_PEER_IS_SELF);
    assert_int_equal(count_peers(fixture->a), 0);
}

static void test_paired_already(void **state)
{
    struct fixture *fixture = *state;
    g_autofree char *code = invite(fixture->b);
    g_autoptr(GError) same = NULL, other = NULL;

    test_pair(fixture->a, fixture->b);
    assert_null(join(fixture->a, fixture->b, NULL, code, &same));
    test_assert_error(same, LPM_E_PEER_EXISTS);
    assert_null(join(fixture->a, fixture->b, "b2", code, &other));
    test_assert_error(other, LPM_E_PEER_EXISTS);
    assert_int_equal(count_peers(fixture->a), 1);
    assert_int_equal(count_peers(fixture->b), 1);
}

/* Another host of a name that the inviting side knows already. */
static void test_name_taken_there(void **state)
{
    struct fixture *fixture = *state;
    struct test_host *second = test_host_new("a", "127.0.0.3", NULL);
    g_autofree char *code = invite(fixture->b);
    g_autoptr(GError) error = NULL;

    test_pair(fixture->a, fixture->b);
    assert_null(join(second, fixture->b, NULL, code, &error));
    test_assert_error(error, LPM_E_PEER_EXISTS);
    assert_int_equal(count_peers(second), 0);
    test_host_free(second);
}

/* One side lost the other (a pairing whose last word was lost): a new code is enough. */
static void test_pairing_again_renews(void **state)
{
    struct fixture *fixture = *state;

    test_pair(fixture->a, fixture->b);
    assert_true(lpm_peers_remove(fixture->a->daemon.peers, "b", NULL));
    test_pair(fixture->a, fixture->b);
    assert_int_equal(count_peers(fixture->a), 1);
    assert_int_equal(count_peers(fixture->b), 1);
}

static void test_nobody_there(void **state)
{
    struct fixture *fixture = *state;
    g_autofree char *code = invite(fixture->b);
    g_autoptr(GError) down = NULL, unfit = NULL, name = NULL;

    assert_null(lpm_pairing_join(fixture->a->daemon.pairing, NULL, "127.0.0.9", 9, code, &down));
    test_assert_error(down, LPM_E_PEER_UNREACHABLE);
    assert_null(lpm_pairing_join(fixture->a->daemon.pairing, NULL, "b/../c", 9, code, &unfit));
    test_assert_error(unfit, LPM_E_BAD_REQUEST);
    assert_null(lpm_pairing_join(fixture->a->daemon.pairing, "-x", "127.0.0.9", 9, code, &name));
    test_assert_error(name, LPM_E_BAD_REQUEST);
}

static void test_invites_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    g_autoptr(GError) error = NULL;
    int64_t expires_ms;

    for (int i = 0; i < LPM_INVITES_MAX; i++) {
        g_autofree char *code = invite(fixture->b);
        (void)code;
    }
    assert_null(lpm_pairing_invite(fixture->b->daemon.pairing, &expires_ms, &error));
    test_assert_error(error, LPM_E_TOO_MANY);
}

/* ---- codes ---- */

static void test_code_round_trip(void **state)
{
    uint8_t secret[LPM_CODE_SECRET_BYTES], again[LPM_CODE_SECRET_BYTES];

    (void)state;
    for (int i = 0; i < 100; i++) {
        g_autofree char *code = lpm_code_make(secret, NULL);
        g_autofree char *lower = g_ascii_strdown(code, -1);

        assert_int_equal(strlen(code), 34);
        assert_true(lpm_code_parse(code, again, NULL));
        assert_memory_equal(secret, again, sizeof(secret));
        g_strdelimit(lower, "-", ' ');
        g_strdelimit(lower, "0", 'o');
        g_strdelimit(lower, "1", 'l');
        memset(again, 0, sizeof(again));
        assert_true(lpm_code_parse(lower, again, NULL));
        assert_memory_equal(secret, again, sizeof(secret));
    }
}

static void test_bad_codes(void **state)
{
    static const char *const bad[] = {"",
                                      "-",
                                      "ABCD",
                                      "UUUU-UUUU-UUUU-UUUU-UUUU-UUUU-UUUU",
                                      "0000-0000-0000-0000-0000-0000-0000-0",
                                      "\xff\xfe"};
    uint8_t secret[LPM_CODE_SECRET_BYTES];

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        assert_false(lpm_code_parse(bad[i], secret, &error));
        test_assert_error(error, LPM_E_BAD_REQUEST);
    }
}

/* Both derivations, against another implementation of RFC 5869 (Python's hmac) of a fixed secret.
 */
static void test_derivation(void **state)
{
    static const uint8_t expected_id[] = {0x8f, 0x3c, 0x97, 0x1d, 0x9c, 0x15, 0x97, 0x67,
                                          0x9c, 0xd6, 0xbd, 0x5e, 0xa8, 0xe7, 0xb4, 0x9b};
    static const uint8_t expected_key[] = {0x64, 0xca, 0x85, 0x53, 0x1d, 0x53, 0xc7, 0xc4,
                                           0xa1, 0x4a, 0xce, 0xe9, 0x27, 0x8d, 0x0c, 0x98,
                                           0x34, 0x81, 0x31, 0xa1, 0x39, 0x01, 0x6f, 0x6d,
                                           0x5f, 0xfb, 0x68, 0x79, 0x96, 0xd9, 0x7c, 0x8e};
    uint8_t secret[LPM_CODE_SECRET_BYTES], id[LPM_DATA_ID_BYTES], key[LPM_CODE_KEY_BYTES];

    (void)state;
    for (uint8_t i = 0; i < sizeof(secret); i++)
        secret[i] = i;
    assert_true(lpm_code_derive(secret, id, key, NULL));
    assert_memory_equal(id, expected_id, sizeof(id));
    assert_memory_equal(key, expected_key, sizeof(key));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_both_learn_each_other),    TEST(test_own_name_for_peer),
        TEST(test_code_is_spent_by_success), TEST(test_wrong_code_fails),
        TEST(test_mistyped_code_is_told),    TEST(test_expired_code_fails),
        TEST(test_void_after_five_attempts), TEST(test_own_invite_refused),
        TEST(test_paired_already),           TEST(test_name_taken_there),
        TEST(test_pairing_again_renews),     TEST(test_nobody_there),
        TEST(test_invites_are_bounded),      cmocka_unit_test(test_code_round_trip),
        cmocka_unit_test(test_bad_codes),    cmocka_unit_test(test_derivation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
