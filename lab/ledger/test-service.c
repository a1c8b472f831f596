/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/*
 * The two programs together, over loopback, on a file: what a run reports when all is well, and
 * what it reports when the service freezes, dies, loses a record, or exists twice.
 * The programs' paths come in the environment as LEDGERD and LEDGER.
 */
#include "test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "journal.h"
#include "proto.h"
#include "record.h"

#define ARGS_MAX 24
#define REPORT_MAX 8192
#define DISK_BYTES (8 << 20)

static char dir[] = "/tmp/ledger-service-XXXXXX", disk[64], journal[64];
static pid_t daemons[2];
static unsigned port;

struct process {
    pid_t pid;
    int out;
};

/* Starts a program with stdout in a pipe; stderr goes where the test's does. */
static struct process start(const char *const *args, const char *root)
{
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(p[1], STDOUT_FILENO);
        if (root && (chroot(root) < 0 || chdir("/") < 0))
            _exit(126);
        char *const env[] = {NULL};
        execve(args[0], (char *const *)(uintptr_t)args, root ? env : environ);
        _exit(127);
    }
    close(p[1]);
    return (struct process){pid, p[0]};
}

static int finish(struct process p, char *text)
{
    size_t have = 0;
    ssize_t n;
    while ((n = read(p.out, text + have, REPORT_MAX - 1 - have)) > 0)
        have += (size_t)n;
    text[have] = '\0';
    close(p.out);
    int status;
    assert_int_equal(waitpid(p.pid, &status, 0), p.pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Starts a service and waits until it says that it listens. WANT 0: any port. */
static unsigned start_daemon(unsigned which, unsigned want, const char *root, const char *program)
{
    char number[16], line[128] = "";
    snprintf(number, sizeof number, "%u", want);
    const char *args[] = {program,    "--disk",    root ? "/disk" : disk,
                          "--listen", "127.0.0.1", "--port",
                          number,     "--mem",     "4M",
                          "--dirty",  "1M",        "--content",
                          "mostly",   NULL};
    struct process p = start(args, root);
    daemons[which] = p.pid;
    unsigned got = 0;
    ssize_t n = read(p.out, line, sizeof line - 1);
    assert_true(n > 0);
    assert_int_equal(sscanf(line, "ledgerd: ready on port %u", &got), 1);
    close(p.out);
    return got;
}

static void stop_daemon(unsigned which, int signal_number)
{
    if (daemons[which] <= 0)
        return;
    kill(daemons[which], SIGCONT);
    kill(daemons[which], signal_number);
    waitpid(daemons[which], NULL, 0);
    daemons[which] = 0;
}

static void new_disk(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, DISK_BYTES), 0);
    close(fd);
}

static int set_up(void **state)
{
    (void)state;
    new_disk(disk);
    unlink(journal);
    port = start_daemon(0, 0, NULL, getenv("LEDGERD"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stop_daemon(0, SIGKILL);
    stop_daemon(1, SIGKILL);
    return 0;
}

static struct process start_run(unsigned to_port, const char *seconds)
{
    char to[32];
    snprintf(to, sizeof to, "127.0.0.1:%u", to_port);
    const char *args[] = {getenv("LEDGER"), "run",    "--to", to,        "--journal",
                          journal,          "--rate", "400",  "--drain", "5",
                          "--seconds",      seconds,  NULL};
    return start(args, NULL);
}

static int verify(char *report)
{
    const char *args[] = {getenv("LEDGER"), "verify", "--journal", journal, "--disk", disk, NULL};
    return finish(start(args, NULL), report);
}

static int ask_service(const char *command, char *report)
{
    char to[32];
    snprintf(to, sizeof to, "127.0.0.1:%u", port);
    const char *args[] = {getenv("LEDGER"), command, "--to", to, NULL};
    return finish(start(args, NULL), report);
}

/* The member NAME of a report; fails the test when it is not there or not a number. */
static int64_t value_of(const char *report, const char *name)
{
    char key[64];
    int64_t value = 0;
    snprintf(key, sizeof key, "\"%s\": ", name);
    const char *at = strstr(report, key);
    if (!at || sscanf(at + strlen(key), "%" SCNd64, &value) != 1)
        fail_msg("no number %s in %s", name, report);
    return value;
}

/* Waits until the service has applied COUNT writes. */
static void wait_for_writes(int64_t count)
{
    char report[REPORT_MAX];
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(ask_service("status", report), 0);
        if (value_of(report, "applied") >= count)
            return;
        poll(NULL, 0, 50);
    }
    fail_msg("the service did not get %" PRId64 " writes: %s", count, report);
}

static void test_all_well(void **state)
{
    (void)state;
    char report[REPORT_MAX];
    assert_int_equal(finish(start_run(port, "2"), report), 0);
    int64_t sent = value_of(report, "sent");
    assert_true(sent >= 700 && sent <= 801);
    assert_int_equal(value_of(report, "acknowledged"), sent);
    assert_int_equal(value_of(report, "lost"), 0);
    assert_int_equal(value_of(report, "doubled"), 0);
    assert_int_equal(value_of(report, "resets"), 0);
    assert_int_equal(value_of(report, "disk_records"), sent);
    assert_int_equal(value_of(report, "memory_bytes"), 4 << 20);
    assert_non_null(strstr(report, "\"memory_ok\": true"));
    assert_true(value_of(report, "client_gap_us") > 0);
    assert_int_equal(verify(report), 0);
    assert_int_equal(value_of(report, "acknowledged"), sent);
    assert_int_equal(ask_service("check", report), 0);
}

static void test_freeze(void **state)
{
    (void)state;
    char report[REPORT_MAX], gaps[REPORT_MAX];
    struct process run = start_run(port, "2");
    wait_for_writes(100);
    kill(daemons[0], SIGSTOP);
    poll(NULL, 0, 500);
    kill(daemons[0], SIGCONT);
    assert_int_equal(finish(run, report), 0);
    int64_t gap = value_of(report, "client_gap_us");
    assert_true(gap >= 450000);
    assert_int_equal(value_of(report, "gap_end_us") - value_of(report, "gap_begin_us"), gap);
    assert_int_equal(value_of(report, "resets"), 0);
    assert_int_equal(value_of(report, "unacknowledged"), 0);
    /* Open loop: the pause took nothing away from the rate. */
    assert_true(value_of(report, "sent") >= 700);
    const char *args[] = {getenv("LEDGER"), "gaps", "--journal", journal, "--top", "1", NULL};
    assert_int_equal(finish(start(args, NULL), gaps), 0);
    assert_true(llabs(value_of(gaps, "gap_us") - gap) < 20000);
}

static void test_killed_and_started_again(void **state)
{
    (void)state;
    char report[REPORT_MAX];
    struct process run = start_run(port, "3");
    wait_for_writes(100);
    stop_daemon(0, SIGKILL);
    start_daemon(0, port, NULL, getenv("LEDGERD"));
    assert_int_equal(finish(run, report), 1);
    assert_int_equal(value_of(report, "resets"), 4);
    assert_int_equal(value_of(report, "reconnects"), 4);
    /* What was acknowledged before the kill is on the disk, and in the memory made from it. */
    assert_int_equal(value_of(report, "lost"), 0);
    assert_int_equal(value_of(report, "doubled"), 0);
    assert_int_equal(value_of(report, "sent"),
                     value_of(report, "acknowledged") + value_of(report, "unacknowledged"));
    assert_int_equal(verify(report), 0);
}

static void test_killed_for_good(void **state)
{
    (void)state;
    char report[REPORT_MAX];
    struct process run = start_run(port, "1");
    wait_for_writes(50);
    stop_daemon(0, SIGKILL);
    assert_int_equal(finish(run, report), 1);
    assert_int_equal(value_of(report, "resets"), 4);
    assert_int_equal(value_of(report, "reconnects"), 0);
    assert_non_null(strstr(report, "\"verified\": false"));
    assert_non_null(strstr(report, "\"lost\": null"));
    assert_non_null(strstr(report, "\"memory_ok\": null"));
    assert_true(value_of(report, "acknowledged") > 0);
}

static void test_record_lost_on_the_disk(void **state)
{
    (void)state;
    char report[REPORT_MAX];
    uint8_t zeros[BLOCK_SIZE] = {0};
    struct process run = start_run(port, "1");
    wait_for_writes(50);
    int fd = open(disk, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, zeros, sizeof zeros, 10 * BLOCK_SIZE), sizeof zeros);
    close(fd);
    assert_int_equal(finish(run, report), 1);
    assert_int_equal(value_of(report, "lost"), 1);
    assert_int_equal(value_of(report, "disk_corrupt"), 1);
    assert_int_equal(verify(report), 1);
    assert_int_equal(value_of(report, "lost"), 1);
}

/* A second copy of the service writes to the same disk, as a partition would that runs twice. */
static void test_two_services_one_disk(void **state)
{
    (void)state;
    char report[REPORT_MAX];
    unsigned other = start_daemon(1, 0, NULL, getenv("LEDGERD"));
    struct process first = start_run(port, "1");
    assert_int_equal(finish(first, report), 0);
    char kept[80];
    snprintf(kept, sizeof kept, "%s-first", journal);
    assert_int_equal(rename(journal, kept), 0);
    struct process second = start_run(other, "1");
    finish(second, report);
    assert_int_equal(rename(kept, journal), 0);
    assert_int_equal(verify(report), 1);
    assert_true(value_of(report, "lost") > 100);
    assert_int_equal(ask_service("check", report), 1);
    assert_true(value_of(report, "missing") > 100);
}

static int raw_connect(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static uint8_t raw_write(int fd, uint64_t client, uint64_t number)
{
    uint8_t wire[FRAME_MAX];
    struct frame frame = {.type = FRAME_WRITE, .client = client, .number = number};
    size_t len = frame_encode(&frame, wire);
    assert_int_equal(send(fd, wire, len, 0), len);
    assert_int_equal(recv(fd, wire, FRAME_HEAD, MSG_WAITALL), FRAME_HEAD);
    assert_true(frame_decode(wire, FRAME_HEAD, &frame) > 0);
    assert_int_equal(frame.number, number);
    return frame.status;
}

static void test_number_sent_twice(void **state)
{
    (void)state;
    char report[REPORT_MAX];
    int fd = raw_connect();
    assert_int_equal(raw_write(fd, client_id(5, 0), 1), STATUS_OK);
    assert_int_equal(raw_write(fd, client_id(5, 0), 2), STATUS_OK);
    assert_int_equal(ask_service("check", report), 0);
    assert_int_equal(raw_write(fd, client_id(5, 0), 1), STATUS_DOUBLED);
    assert_int_equal(raw_write(fd, client_id(5, 0), UINT64_MAX), STATUS_LIMIT);
    assert_int_equal(raw_write(fd, 0, 1), STATUS_BAD);
    assert_int_equal(ask_service("check", report), 1);
    assert_int_equal(value_of(report, "doubled"), 1);
    assert_int_equal(value_of(report, "disk_records"), 3);
    close(fd);
}

static void test_malformed(void **state)
{
    (void)state;
    char report[REPORT_MAX], byte;
    int fd = raw_connect();
    assert_int_equal(send(fd, "GET / HTTP/1.0\r\n\r\n", 18, 0), 18);
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    close(fd);
    assert_int_equal(ask_service("status", report), 0);
    assert_int_equal(value_of(report, "malformed"), 1);
    assert_int_equal(value_of(report, "connections"), 1);
}

static void test_exit_codes(void **state)
{
    (void)state;
    char report[REPORT_MAX];
    const char *unknown[] = {getenv("LEDGER"), "run", "--to", "127.0.0.1:7000",
                             "--nonsense",     "1",   NULL};
    assert_int_equal(finish(start(unknown, NULL), report), 2);
    const char *no_port[] = {getenv("LEDGER"), "status", "--to", "127.0.0.1", NULL};
    assert_int_equal(finish(start(no_port, NULL), report), 2);
    stop_daemon(0, SIGTERM);
    assert_int_equal(ask_service("status", report), 3);
    assert_int_equal(finish(start_run(port, "1"), report), 3);
}

/* Alone with its disk, as in a guest (fails for a program that is not static): no /etc, no /proc,
 * no libraries, no environment. */
static void test_bare_root(void **state)
{
    (void)state;
    char report[REPORT_MAX], path[64], copy[256];
    if (geteuid() != 0) {
        print_message("skipped: changing the root directory needs root\n");
        skip();
    }
    stop_daemon(0, SIGTERM);
    snprintf(path, sizeof path, "%s/ledgerd", dir);
    snprintf(copy, sizeof copy, "cp '%s' '%s'", getenv("LEDGERD"), path);
    assert_int_equal(system(copy), 0);
    port = start_daemon(0, 0, dir, "/ledgerd");
    assert_int_equal(finish(start_run(port, "1"), report), 0);
    assert_int_equal(verify(report), 0);
    unlink(path);
}

static int clean_up(void **state)
{
    (void)state;
    char path[80];
    snprintf(path, sizeof path, "%s-first", journal);
    unlink(path);
    snprintf(path, sizeof path, "%s/ledgerd", dir);
    unlink(path);
    unlink(disk);
    unlink(journal);
    return rmdir(dir);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_well),
        TEST(test_freeze),
        TEST(test_killed_and_started_again),
        TEST(test_killed_for_good),
        TEST(test_record_lost_on_the_disk),
        TEST(test_two_services_one_disk),
        TEST(test_number_sent_twice),
        TEST(test_malformed),
        TEST(test_exit_codes),
        TEST(test_bare_root),
    };
    if (!getenv("LEDGERD") || !getenv("LEDGER") || !mkdtemp(dir)) {
        fputs("LEDGERD and LEDGER must name the programs, and /tmp be writable\n", stderr);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    snprintf(disk, sizeof disk, "%s/disk", dir);
    snprintf(journal, sizeof journal, "%s/journal", dir);
    return cmocka_run_group_tests(tests, NULL, clean_up);
}
