/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "base/error.h"
#include "base/fdio.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    int a, b;
};

static int set_up(void **state)
{
    struct fixture *fixture = g_new0(struct fixture, 1);
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    fixture->a = pair[0];
    fixture->b = pair[1];
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    lpm_fd_clear(&fixture->a);
    lpm_fd_clear(&fixture->b);
    g_free(fixture);
    return 0;
}

static int count_fds(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void test_message_with_descriptor(void **state)
{
    struct fixture *fixture = *state;
    json_auto_t *sent = json_pack("{s:s}", "type", "listen");
    int pipe_fds[2], fd = -1;
    char byte = 0;

    assert_int_equal(pipe(pipe_fds), 0);
    assert_true(lpm_message_send(fixture->a, sent, pipe_fds[0], NULL));
    close(pipe_fds[0]);
    json_auto_t *received = lpm_message_receive(fixture->b, &fd, NULL);
    assert_true(json_equal(sent, received));
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(pipe_fds[1], "x", 1), 1);
    assert_int_equal(read(fd, &byte, 1), 1);
    assert_int_equal(byte, 'x');
    close(fd);
    close(pipe_fds[1]);
}

static void test_message_without_descriptor(void **state)
{
    struct fixture *fixture = *state;
    json_auto_t *sent = json_pack("{s:i}", "n", 1);
    int fd = 7;

    assert_true(lpm_message_send(fixture->a, sent, -1, NULL));
    json_auto_t *received = lpm_message_receive(fixture->b, &fd, NULL);
    assert_non_null(received);
    assert_int_equal(fd, -1);
}

static void test_end_is_no_error(void **state)
{
    struct fixture *fixture = *state;
    g_autoptr(GError) error = NULL;
    int fd;

    lpm_fd_clear(&fixture->a);
    assert_null(lpm_message_receive(fixture->b, &fd, &error));
    assert_null(error);
}

static void test_noise_is_refused(void **state)
{
    static const char *const noise[] = {"x", "[]", "{\"a\": 1} {}", "{\"a\": 1, \"a\": 2}", "7"};
    struct fixture *fixture = *state;

    for (gsize i = 0; i < G_N_ELEMENTS(noise); i++) {
        g_autoptr(GError) error = NULL;
        int fd;

        assert_true(send(fixture->a, noise[i], strlen(noise[i]), 0) > 0);
        assert_null(lpm_message_receive(fixture->b, &fd, &error));
        assert_int_equal(lpm_error_number(error), LPM_E_PROTOCOL);
        assert_int_equal(fd, -1);
    }
}

/* Sends `count` duplicates of stdin along with `text`. */
static void send_fds(int socket, const char *text, int count)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(16 * sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = (char *)text, .iov_len = strlen(text)};
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control.space,
                            .msg_controllen = CMSG_SPACE((size_t)count * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
    memset(CMSG_DATA(c), 0, (size_t)count * sizeof(int)); /* descriptor 0, each */
    assert_true(sendmsg(socket, &header, 0) > 0);
}

/* Nobody can fill this process with descriptors: the surplus is closed, also of what is refused. */
static void test_surplus_descriptors_are_closed(void **state)
{
    struct fixture *fixture = *state;
    int before = count_fds(), fd;

    send_fds(fixture->a, "{\"a\": 1}", 2);
    json_auto_t *message = lpm_message_receive(fixture->b, &fd, NULL);
    assert_non_null(message);
    assert_int_equal(count_fds(), before + 1);
    close(fd);
    send_fds(fixture->a, "noise", 2);
    assert_null(lpm_message_receive(fixture->b, &fd, NULL));
    send_fds(fixture->a, "{\"a\": 1}", 16); /* more than there is room for */
    assert_null(lpm_message_receive(fixture->b, &fd, NULL));
    assert_int_equal(count_fds(), before);
}

static void test_too_large_is_refused(void **state)
{
    struct fixture *fixture = *state;
    g_autofree char *text = g_malloc(LPM_MESSAGE_MAX + 1);
    g_autoptr(GError) error = NULL;
    int fd, size = 1 << 20;

    memset(text, 'x', LPM_MESSAGE_MAX);
    text[LPM_MESSAGE_MAX] = 0;
    json_auto_t *large = json_pack("{s:s}", "text", text);
    assert_false(lpm_message_send(fixture->a, large, -1, &error));
    g_clear_error(&error);
    /* And one that comes all the same: valid JSON, one byte too long. */
    setsockopt(fixture->a, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    memset(text, ' ', LPM_MESSAGE_MAX);
    g_autofree char *packet = g_strconcat("{}", text, NULL);
    assert_int_equal(send(fixture->a, packet, LPM_MESSAGE_MAX + 1, 0), LPM_MESSAGE_MAX + 1);
    assert_null(lpm_message_receive(fixture->b, &fd, &error));
    assert_int_equal(lpm_error_number(error), LPM_E_PROTOCOL);
}

static void test_whole_reads_and_writes(void **state)
{
    int pair[2];
    char text[6] = "";
    g_autoptr(GError) error = NULL;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_true(lpm_write_all(pair[0], "hello", 5, NULL));
    assert_true(lpm_read_all(pair[1], text, 5, NULL));
    assert_string_equal(text, "hello");
    assert_true(lpm_write_all(pair[0], "abc", 3, NULL));
    close(pair[0]);
    assert_false(lpm_read_all(pair[1], text, 5, &error));
    assert_non_null(strstr(error->message, "3 of 5"));
    close(pair[1]);
}

static void test_descriptors_close_themselves(void **state)
{
    int before = count_fds();

    (void)state;
    {
        lpm_autofd fd = open("/dev/null", O_RDONLY);
        lpm_autofd stolen = open("/dev/null", O_RDONLY);
        int kept = lpm_steal_fd(&stolen);

        assert_true(fd >= 0);
        assert_int_equal(stolen, -1);
        close(kept);
    }
    assert_int_equal(count_fds(), before);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_message_with_descriptor),
        TEST(test_message_without_descriptor),
        TEST(test_end_is_no_error),
        TEST(test_noise_is_refused),
        TEST(test_surplus_descriptors_are_closed),
        TEST(test_too_large_is_refused),
        TEST(test_whole_reads_and_writes),
        TEST(test_descriptors_close_themselves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
