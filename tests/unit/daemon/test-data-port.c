/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "hosts.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint8_t id[LPM_DATA_ID_BYTES] = {1, 2,  3,  4,  5,  6,  7,  8,
                                              9, 10, 11, 12, 13, 14, 15, 16};

/* What a callback got; guarded by the lock. */
struct got {
    GMutex lock;
    int count, freed, fd;
};

static void on_connection(int fd, const char *from, void *user)
{
    struct got *got = user;

    g_mutex_lock(&got->lock);
    if (strcmp(from, "127.0.0.1") == 0)
        got->count++;
    got->fd = fd;
    g_mutex_unlock(&got->lock);
}

static void on_free(gpointer user)
{
    struct got *got = user;

    g_mutex_lock(&got->lock);
    got->freed++;
    g_mutex_unlock(&got->lock);
}

static gboolean has_one(void *user)
{
    struct got *got = user;

    g_mutex_lock(&got->lock);
    gboolean one = got->count == 1;
    g_mutex_unlock(&got->lock);
    return one;
}

static int set_up(void **state)
{
    lpm_log_init("test", LPM_LOG_ERROR);
    *state = lpm_data_port_new("127.0.0.1", 0, NULL);
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    lpm_data_port_free(*state);
    return 0;
}

static int dial(struct lpm_data_port *data_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)lpm_data_port_number(data_port)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* TRUE if the other side closes within `timeout_ms`. */
static gboolean is_closed(int fd, int timeout_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    char byte;

    return poll(&wait, 1, timeout_ms) == 1 && recv(fd, &byte, 1, 0) <= 0;
}

/* The id in pieces, with what follows it at once: that must be left to the callback. */
static void test_id_reaches_its_taker(void **state)
{
    struct lpm_data_port *data_port = *state;
    struct got got = {.fd = -1};
    int fd = dial(data_port);
    char text[8] = "";

    lpm_data_port_register(data_port, id, on_connection, &got, on_free);
    assert_int_equal(send(fd, id, 5, 0), 5);
    g_usleep(20000);
    assert_false(has_one(&got));
    assert_int_equal(send(fd, id + 5, 11, 0), 11);
    assert_int_equal(send(fd, "hello", 5, 0), 5);
    assert_true(test_wait(has_one, &got));
    assert_int_equal(recv(got.fd, text, 5, MSG_WAITALL), 5); /* blocking, as promised */
    assert_string_equal(text, "hello");
    lpm_data_port_unregister(data_port, id);
    assert_int_equal(got.freed, 1);
    close(got.fd);
    close(fd);
}

static void test_unknown_id_is_closed(void **state)
{
    struct got got = {.fd = -1};
    int fd = dial(*state);

    lpm_data_port_register(*state, id, on_connection, &got, NULL);
    lpm_data_port_unregister(*state, id);
    assert_int_equal(send(fd, id, sizeof(id), 0), sizeof(id));
    assert_true(is_closed(fd, 2000));
    assert_int_equal(got.count, 0);
    close(fd);
}

static void test_registering_again_replaces(void **state)
{
    struct got first = {.fd = -1}, second = {.fd = -1};
    int fd = dial(*state);

    lpm_data_port_register(*state, id, on_connection, &first, on_free);
    lpm_data_port_register(*state, id, on_connection, &second, NULL);
    assert_int_equal(first.freed, 1);
    assert_int_equal(send(fd, id, sizeof(id), 0), sizeof(id));
    assert_true(test_wait(has_one, &second));
    assert_int_equal(first.count, 0);
    lpm_data_port_unregister(*state, id);
    close(second.fd);
    close(fd);
}

/* A silent connection is closed, not before its time and not much later. */
static void test_silence_is_closed(void **state)
{
    int fd = dial(*state);
    int64_t begin = lpm_monotonic_us();

    assert_true(is_closed(fd, LPM_DATA_ID_TIMEOUT_MS + 3000));
    assert_true(lpm_monotonic_us() - begin >= (LPM_DATA_ID_TIMEOUT_MS - 100) * 1000);
    close(fd);
}

/* Silent ones cannot keep others out: one more than may wait closes the oldest. */
static void test_waiting_is_bounded(void **state)
{
    struct got got = {.fd = -1};
    int fds[LPM_DATA_PENDING_MAX];

    lpm_data_port_register(*state, id, on_connection, &got, NULL);
    for (int i = 0; i < LPM_DATA_PENDING_MAX; i++)
        fds[i] = dial(*state);
    int fd = dial(*state);
    assert_int_equal(send(fd, id, sizeof(id), 0), sizeof(id));
    assert_true(test_wait(has_one, &got));
    assert_true(is_closed(fds[0], 1000));
    assert_false(is_closed(fds[LPM_DATA_PENDING_MAX - 1], 50));
    for (int i = 0; i < LPM_DATA_PENDING_MAX; i++)
        close(fds[i]);
    lpm_data_port_unregister(*state, id);
    close(got.fd);
    close(fd);
}

static void test_bad_addresses(void **state)
{
    g_autoptr(GError) name = NULL, taken = NULL;

    assert_int_equal(lpm_listen_tcp("not an address", 0, &name), -1);
    test_assert_error(name, LPM_E_CONFIG);
    assert_int_equal(lpm_listen_tcp("127.0.0.1", lpm_data_port_number(*state), &taken), -1);
    test_assert_error(taken, LPM_E_CONFIG);
}

static void test_both_families(void **state)
{
    struct lpm_data_port *data_port = lpm_data_port_new("::", 0, NULL);
    struct got got = {.fd = -1};

    (void)state;
    assert_non_null(data_port);
    lpm_data_port_register(data_port, id, on_connection, &got, NULL);
    int fd = dial(data_port); /* by IPv4; seen as 127.0.0.1, not as a mapped address */
    assert_int_equal(send(fd, id, sizeof(id), 0), sizeof(id));
    assert_true(test_wait(has_one, &got));
    close(got.fd);
    close(fd);
    lpm_data_port_free(data_port);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_id_reaches_its_taker),
        TEST(test_unknown_id_is_closed),
        TEST(test_registering_again_replaces),
        TEST(test_silence_is_closed),
        TEST(test_waiting_is_bounded),
        TEST(test_bad_addresses),
        TEST(test_both_families),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
