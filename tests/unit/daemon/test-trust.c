/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Who is let in on the control port, and how a peer's refusals and failures are told apart. */
#include "hosts.h"

#include "base/fdio.h"

#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct fixture {
    struct test_host *a, *b;
};

static json_t *get_who(struct lpm_request *request, GError **error)
{
    (void)error;
    return json_pack("{s:s}", "peer", request->peer);
}

static json_t *decline(struct lpm_request *request, GError **error)
{
    (void)request;
    lpm_fail(error, LPM_E_PAST_DECISION, "it is decided");
    return NULL;
}

static json_t *be_slow(struct lpm_request *request, GError **error)
{
    (void)request;
    (void)error;
    g_usleep(2500000);
    return json_object();
}

static const struct lpm_route routes[] = {
    {"GET", "/v1/peer/who", LPM_SCOPE_PEER, NULL, NULL, get_who},
    {"POST", "/v1/peer/fail", LPM_SCOPE_PEER, "why:s?", NULL, decline},
    {"POST", "/v1/peer/slow", LPM_SCOPE_PEER, NULL, NULL, be_slow},
    {NULL, NULL, LPM_SCOPE_PEER, NULL, NULL, NULL},
};

static int set_up(void **state)
{
    struct fixture *fixture = g_new0(struct fixture, 1);

    fixture->a = test_host_new("a", "127.0.0.1", NULL);
    fixture->b = test_host_new("b", "127.0.0.2", routes);
    test_pair(fixture->a, fixture->b);
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

static json_t *call(struct fixture *fixture, const char *method, const char *path,
                    gboolean *maybe_delivered, GError **error)
{
    return lpm_peer_call(fixture->a->daemon.peers, "b", method, path, NULL, 1, maybe_delivered,
                         error);
}

static void test_paired_is_served_by_name(void **state)
{
    gboolean maybe = FALSE;
    json_auto_t *answer = call(*state, "GET", "/v1/peer/who", &maybe, NULL);

    assert_string_equal(json_string_value(json_object_get(answer, "peer")), "a");
    assert_true(maybe);
}

static void test_error_of_peer_keeps_code(void **state)
{
    g_autoptr(GError) error = NULL, missing = NULL;

    assert_null(call(*state, "POST", "/v1/peer/fail", NULL, &error));
    test_assert_error(error, LPM_E_PAST_DECISION);
    assert_string_equal(error->message, "b: it is decided");
    /* The local paths are not served there. */
    assert_null(call(*state, "GET", "/v1/host", NULL, &missing));
    test_assert_error(missing, LPM_E_NOT_FOUND);
}

static void test_unknown_peer(void **state)
{
    struct fixture *fixture = *state;
    g_autoptr(GError) error = NULL;
    gboolean maybe = TRUE;

    assert_null(lpm_peer_call(fixture->a->daemon.peers, "nobody", "GET", "/v1/peer/who", NULL, 1,
                              &maybe, &error));
    test_assert_error(error, LPM_E_PEER_UNKNOWN);
    assert_false(maybe);
}

static void test_late_answer_may_be_delivered(void **state)
{
    g_autoptr(GError) error = NULL;
    gboolean maybe = FALSE;

    assert_null(call(*state, "POST", "/v1/peer/slow", &maybe, &error));
    test_assert_error(error, LPM_E_PEER_UNREACHABLE);
    assert_true(maybe);
}

/* The peer's server was restarted since the last call: no call fails of that. */
static void test_restart_goes_unnoticed(void **state)
{
    struct fixture *fixture = *state;
    g_autoptr(GError) error = NULL;
    json_auto_t *before = call(fixture, "GET", "/v1/peer/who", NULL, NULL);

    assert_non_null(before);
    lpm_http_stop(fixture->b->daemon.http);
    assert_true(lpm_http_start(fixture->b->daemon.http, &error));
    json_auto_t *after = call(fixture, "GET", "/v1/peer/who", NULL, &error);
    assert_null(error);
    assert_non_null(after);
}

static void test_down_may_be_delivered_when_warm(void **state)
{
    struct fixture *fixture = *state;
    g_autoptr(GError) error = NULL;
    gboolean maybe = FALSE;
    json_auto_t *before = call(fixture, "GET", "/v1/peer/who", NULL, NULL);

    assert_non_null(before);
    lpm_http_stop(fixture->b->daemon.http);
    assert_null(call(fixture, "GET", "/v1/peer/who", &maybe, &error));
    test_assert_error(error, LPM_E_PEER_UNREACHABLE);
    assert_true(maybe);
}

static void test_down_is_not_delivered(void **state)
{
    struct fixture *fixture = *state;
    g_autoptr(GError) error = NULL;
    gboolean maybe = TRUE;

    lpm_http_stop(fixture->b->daemon.http);
    assert_null(call(fixture, "GET", "/v1/peer/who", &maybe, &error));
    test_assert_error(error, LPM_E_PEER_UNREACHABLE);
    assert_false(maybe);
}

/* The peer forgets this host while a connection is open: the next call is refused in TLS. */
static void test_revoked_is_refused(void **state)
{
    struct fixture *fixture = *state;
    g_autoptr(GError) error = NULL;
    gboolean maybe = TRUE;
    json_auto_t *before = call(fixture, "GET", "/v1/peer/who", NULL, NULL);

    assert_non_null(before);
    assert_true(lpm_peers_remove(fixture->b->daemon.peers, "a", NULL));
    lpm_http_drop_peer(fixture->b->daemon.http, fixture->a->daemon.identity->fingerprint);
    assert_null(call(fixture, "GET", "/v1/peer/who", &maybe, &error));
    test_assert_error(error, LPM_E_PEER_REFUSED);
    /* And on a connection of its own, where nothing can have been delivered before. */
    g_clear_error(&error);
    assert_null(call(fixture, "GET", "/v1/peer/who", &maybe, &error));
    test_assert_error(error, LPM_E_PEER_REFUSED);
    assert_false(maybe);
}

/* Without dropping the connection: each request asks again. */
static void test_revoked_is_refused_on_open_connection(void **state)
{
    struct fixture *fixture = *state;
    g_autoptr(GError) error = NULL;
    json_auto_t *before = call(fixture, "GET", "/v1/peer/who", NULL, NULL);

    assert_non_null(before);
    assert_true(lpm_peers_remove(fixture->b->daemon.peers, "a", NULL));
    assert_null(call(fixture, "GET", "/v1/peer/who", NULL, &error));
    test_assert_error(error, LPM_E_NOT_PERMITTED);
}

/* The address answers with another key than the one learnt in pairing. */
static void test_other_key_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct lpm_peers *peers = fixture->a->daemon.peers;
    g_autoptr(GError) error = NULL;
    g_autoptr(LpmPeer) peer = lpm_peers_get(peers, "b", NULL);
    gboolean maybe = TRUE;

    assert_true(lpm_peers_remove(peers, "b", NULL));
    g_free(peer->fingerprint);
    peer->fingerprint = g_strdup("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    assert_true(lpm_peers_add(peers, peer, FALSE, NULL));
    assert_null(call(fixture, "GET", "/v1/peer/who", &maybe, &error));
    test_assert_error(error, LPM_E_PEER_REFUSED);
    assert_false(maybe);
}

/* ---- strangers, with GnuTLS directly ---- */

struct stranger {
    gnutls_certificate_credentials_t credentials;
    gnutls_session_t session;
    int fd;
};

static struct stranger *stranger_new(const struct test_host *to, const struct lpm_identity *as,
                                     const char *priorities)
{
    struct stranger *stranger = g_new0(struct stranger, 1);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)to->daemon.config->control_port)};

    inet_pton(AF_INET, to->daemon.config->listen_address, &address.sin_addr);
    stranger->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(stranger->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    gnutls_certificate_allocate_credentials(&stranger->credentials);
    if (as)
        assert_int_equal(gnutls_certificate_set_x509_key_file(stranger->credentials,
                                                              as->certificate_path, as->key_path,
                                                              GNUTLS_X509_FMT_PEM),
                         0);
    gnutls_init(&stranger->session, GNUTLS_CLIENT);
    gnutls_priority_set_direct(stranger->session, priorities, NULL);
    gnutls_credentials_set(stranger->session, GNUTLS_CRD_CERTIFICATE, stranger->credentials);
    gnutls_transport_set_int(stranger->session, stranger->fd);
    gnutls_handshake_set_timeout(stranger->session, 5000);
    return stranger;
}

static void stranger_free(struct stranger *stranger)
{
    gnutls_deinit(stranger->session);
    gnutls_certificate_free_credentials(stranger->credentials);
    close(stranger->fd);
    g_free(stranger);
}

/* Shakes hands, asks for something and returns what reading the answer gives. */
static int stranger_ask(struct stranger *stranger)
{
    static const char request[] = "GET /v1/peer/clock HTTP/1.1\r\nHost: b\r\n\r\n";
    char answer[64];
    int rc;

    do {
        rc = gnutls_handshake(stranger->session);
    } while (rc < 0 && !gnutls_error_is_fatal(rc));
    if (rc < 0)
        return rc;
    gnutls_record_send(stranger->session, request, sizeof(request) - 1);
    return (int)gnutls_record_recv(stranger->session, answer, sizeof(answer));
}

static void test_paired_key_is_let_in_by_tls(void **state)
{
    struct fixture *fixture = *state;
    struct stranger *friend =
        stranger_new(fixture->b, fixture->a->daemon.identity, "NORMAL:-VERS-ALL:+VERS-TLS1.3");

    /* The same program with a paired key does get an answer: what fails below is the key. */
    assert_true(stranger_ask(friend) > 0);
    stranger_free(friend);
}

static void test_unpaired_is_refused_in_handshake(void **state)
{
    struct fixture *fixture = *state;
    struct test_host *c = test_host_new("c", "127.0.0.3", NULL);
    struct stranger *stranger =
        stranger_new(fixture->b, c->daemon.identity, "NORMAL:-VERS-ALL:+VERS-TLS1.3");

    assert_int_equal(stranger_ask(stranger), GNUTLS_E_FATAL_ALERT_RECEIVED);
    assert_int_equal(gnutls_alert_get(stranger->session), GNUTLS_A_ACCESS_DENIED);
    stranger_free(stranger);
    test_host_free(c);
}

static void test_no_certificate_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct stranger *stranger = stranger_new(fixture->b, NULL, "NORMAL:-VERS-ALL:+VERS-TLS1.3");

    assert_true(stranger_ask(stranger) <= 0);
    stranger_free(stranger);
}

/* Shows a paired certificate without its key: whoever has seen it once could. */
static void test_certificate_without_key_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct test_host *c = test_host_new("c", "127.0.0.3", NULL);
    struct lpm_identity thief = {
        .certificate_path = fixture->a->daemon.identity->certificate_path,
        .key_path = c->daemon.identity->key_path,
    };
    struct stranger *stranger = stranger_new(fixture->b, NULL, "NORMAL:-VERS-ALL:+VERS-TLS1.3");

    gnutls_certificate_set_flags(stranger->credentials, GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH);
    assert_int_equal(gnutls_certificate_set_x509_key_file(stranger->credentials,
                                                          thief.certificate_path, thief.key_path,
                                                          GNUTLS_X509_FMT_PEM),
                     0);
    assert_true(stranger_ask(stranger) <= 0);
    stranger_free(stranger);
    test_host_free(c);
}

static void test_tls12_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct stranger *old =
        stranger_new(fixture->b, fixture->a->daemon.identity, "NORMAL:-VERS-ALL:+VERS-TLS1.2");

    assert_true(stranger_ask(old) < 0);
    stranger_free(old);
}

static void test_clock(void **state)
{
    struct fixture *fixture = *state;
    struct lpm_peer_clock clock;
    g_autoptr(GError) error = NULL;

    assert_true(lpm_peer_clock(fixture->a->daemon.peers, "b", 2, &clock, &error));
    /* Both hosts are this one: the offset must be found to be 0 within the error claimed. */
    assert_true(clock.offset_us <= clock.error_us && -clock.offset_us <= clock.error_us);
    assert_true(clock.round_trip_us > 0 && clock.round_trip_us < 1000000);
    assert_true(clock.error_us >= clock.round_trip_us / 2);
}

static json_t *dispatch(struct test_host *host, const char *method, const char *path,
                        unsigned *status)
{
    return lpm_http_dispatch(host->daemon.http, LPM_SCOPE_LOCAL, NULL, method, path, NULL, NULL, 0,
                             status);
}

static void test_unpair_tells_the_other_side(void **state)
{
    struct fixture *fixture = *state;
    unsigned status;
    json_auto_t *answer = dispatch(fixture->a, "DELETE", "/v1/host/peers/b", &status);

    assert_int_equal(status, 200);
    assert_true(json_is_true(json_object_get(answer, "told")));
    g_autoptr(GPtrArray) left = lpm_peers_list(fixture->b->daemon.peers);
    assert_int_equal(left->len, 0);
    json_auto_t *again = dispatch(fixture->a, "DELETE", "/v1/host/peers/b", &status);
    assert_int_equal(status, 404);
    (void)again;
}

static void test_unpair_waits_for_migrations(void **state)
{
    struct fixture *fixture = *state;
    json_auto_t *doc = json_object();
    const LpmMigrationRow row = {.id = (char *)"m1",
                                 .role = (char *)"source",
                                 .partition = (char *)"p",
                                 .uuid = (char *)"u",
                                 .peer = (char *)"b",
                                 .state = (char *)"copying",
                                 .started_ms = 1,
                                 .doc = doc};
    unsigned status;

    assert_true(lpm_journal_migration_insert(fixture->a->daemon.journal, &row, NULL));
    json_auto_t *answer = dispatch(fixture->a, "DELETE", "/v1/host/peers/b", &status);
    const json_t *error = json_object_get(answer, "error");
    assert_int_equal(status, 409);
    assert_string_equal(json_string_value(json_object_get(error, "code")), "LPM-2008");
}

static void test_peers_are_shown_up_and_down(void **state)
{
    struct fixture *fixture = *state;
    unsigned status;
    json_auto_t *up = dispatch(fixture->a, "GET", "/v1/host/peers", &status);
    const json_t *peer = json_array_get(json_object_get(up, "peers"), 0);

    assert_string_equal(json_string_value(json_object_get(peer, "state")), "up");
    assert_true(json_is_integer(json_object_get(peer, "round_trip_us")));
    lpm_http_stop(fixture->b->daemon.http);
    json_auto_t *down = dispatch(fixture->a, "GET", "/v1/host/peers", &status);
    peer = json_array_get(json_object_get(down, "peers"), 0);
    assert_string_equal(json_string_value(json_object_get(peer, "state")), "down");
    assert_true(json_is_null(json_object_get(peer, "clock_offset_us")));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_paired_is_served_by_name),
        TEST(test_error_of_peer_keeps_code),
        TEST(test_unknown_peer),
        TEST(test_late_answer_may_be_delivered),
        TEST(test_restart_goes_unnoticed),
        TEST(test_down_may_be_delivered_when_warm),
        TEST(test_down_is_not_delivered),
        TEST(test_revoked_is_refused),
        TEST(test_revoked_is_refused_on_open_connection),
        TEST(test_other_key_is_refused),
        TEST(test_paired_key_is_let_in_by_tls),
        TEST(test_unpaired_is_refused_in_handshake),
        TEST(test_no_certificate_is_refused),
        TEST(test_certificate_without_key_is_refused),
        TEST(test_tls12_is_refused),
        TEST(test_clock),
        TEST(test_unpair_tells_the_other_side),
        TEST(test_unpair_waits_for_migrations),
        TEST(test_peers_are_shown_up_and_down),
    };

    signal(SIGPIPE, SIG_IGN); /* as lpmd does: a peer may close while it is written to */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
