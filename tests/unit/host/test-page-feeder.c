/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Feeding a copy. Real processes stand for QEMU: this program again, which maps memory as QEMU
 * does, watches it by a userfaultfd on the target, and has a thread there that needs a page.
 */
#include "host/guest-pages.h"
#include "host/page-feeder.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define UUID "6a1f3c2e-0d7b-4f6e-9a55-1c2d3e4f5a6b"
#define MIB (G_GUINT64_CONSTANT(1) << 20)
#define LEAST (4 * MIB)
#define PAGE_OFFSET (5 * MIB) /* the page that is needed, in the block of 8 MiB */

static const char *self;

/* ---- the stand-in: SELF be-qemu MODE SIZES SOCKET UUID; a size in MiB, with "s" if shared ---- */

static int watch_fd = -1;

static guint8 *map_shared(gsize bytes)
{
    int fd = memfd_create("memory-backend-memfd", MFD_CLOEXEC);
    guint8 *block = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, (off_t)bytes) == 0)
        block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (block == MAP_FAILED || madvise(block, bytes, MADV_DONTFORK) < 0)
        exit(1);
    return block;
}

static guint8 *map_block(gsize bytes)
{
    /* Between two pages that cannot be touched, or the kernel makes one area of two blocks. */
    guint8 *area = mmap(NULL, bytes + 2 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (area == MAP_FAILED || mprotect(area + MIB, bytes, PROT_READ | PROT_WRITE) < 0 ||
        madvise(area + MIB, bytes, MADV_DONTFORK) < 0)
        exit(1);
    return area + MIB;
}

static void watch_block(guint8 *block, gsize bytes)
{
    struct uffdio_register how = {.range = {.start = (guintptr)block, .len = bytes},
                                  .mode = UFFDIO_REGISTER_MODE_MISSING};

    if (ioctl(watch_fd, UFFDIO_REGISTER, &how) < 0)
        exit(1);
}

/* Needs a page, and says what is in it. */
static gpointer need(gpointer page)
{
    guint8 first = *(volatile guint8 *)page;

    if (write(STDOUT_FILENO, &first, 1) != 1)
        exit(1);
    return NULL;
}

/* As QEMU does: hears of the fault, and then sleeps. */
static void hear_once(void)
{
    struct pollfd item = {.fd = watch_fd, .events = POLLIN};
    struct uffd_msg message;

    if (poll(&item, 1, 5000) != 1 || read(watch_fd, &message, sizeof(message)) < 0)
        exit(1);
}

static void have_stream(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);

    strncpy(name.sun_path, path, sizeof(name.sun_path) - 1);
    if (bind(listener, (struct sockaddr *)&name, sizeof(name)) < 0 || listen(listener, 1) < 0 ||
        connect(client, (struct sockaddr *)&name, sizeof(name)) < 0)
        exit(1);
    int stream = accept(listener, NULL, NULL);

    /* One byte from the test: the stream ends, another waits to be accepted. */
    char byte;
    if (write(STDOUT_FILENO, "s", 1) != 1 || read(STDIN_FILENO, &byte, 1) != 1)
        exit(1);
    close(stream);
    close(client);
    client = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(client, (struct sockaddr *)&name, sizeof(name)) < 0)
        exit(1);
}

static int be_qemu(char **argv)
{
    gboolean target = !strcmp(argv[2], "target");
    g_auto(GStrv) sizes = g_strsplit(argv[3], ",", -1);
    struct uffdio_api api = {.api = UFFD_API};

    if (target) {
        watch_fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
        if (watch_fd < 0 || ioctl(watch_fd, UFFDIO_API, &api) < 0)
            return 1;
    }
    guint8 *first = NULL;
    for (char **size = sizes; *size; size++) {
        gsize bytes = (gsize)atoi(*size) * MIB;
        guint8 *block = strchr(*size, 's') ? map_shared(bytes) : map_block(bytes);

        if (target)
            watch_block(block, bytes);
        first = first ? first : block;
    }
    if (!target)
        memset(first + PAGE_OFFSET, 'p', 65536);
    if (target && *argv[4])
        have_stream(argv[4]);
    if (target) {
        g_thread_unref(g_thread_new("needs", need, first + PAGE_OFFSET + 17));
        hear_once();
    }
    if (write(STDOUT_FILENO, "r", 1) != 1)
        return 1;
    pause();
    return 0;
}

/* ---- the tests ---- */

struct stand_in {
    pid_t pid;
    int to, from; /* its standard input and output */
};

static char heard(const struct stand_in *stand_in)
{
    char byte = 0;

    assert_int_equal(read(stand_in->from, &byte, 1), 1);
    return byte;
}

static struct stand_in start(const char *mode, const char *sizes, const char *path)
{
    int in[2], out[2];

    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    struct stand_in stand_in = {.pid = fork(), .to = in[1], .from = out[0]};

    assert_true(stand_in.pid >= 0);
    if (stand_in.pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        execl(self, self, "be-qemu", mode, sizes, path, UUID, NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    return stand_in;
}

static void end(struct stand_in *stand_in)
{
    kill(stand_in->pid, SIGKILL);
    waitpid(stand_in->pid, NULL, 0);
    close(stand_in->to);
    close(stand_in->from);
}

static LpmQemuProcess *process_of(const struct stand_in *stand_in)
{
    g_autofree char *folder = g_dir_make_tmp("lpm-test-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "p.pid", NULL);
    g_autofree char *text = g_strdup_printf("%d\n", (int)stand_in->pid);

    assert_true(g_file_set_contents(path, text, -1, NULL));
    LpmQemuProcess *process = lpm_qemu_process_open(folder, "p", UUID, NULL);

    assert_non_null(process);
    unlink(path);
    rmdir(folder);
    return process;
}

/* NULL: refused. */
static LpmPageFeeder *feeder_of(const struct stand_in *stand_in, const char *path,
                                const guint64 *lengths, guint count)
{
    g_autoptr(GError) error = NULL;
    LpmPageFeeder *feeder =
        lpm_page_feeder_open(process_of(stand_in), path, lengths, count, LEAST, &error);

    assert_true(feeder || error);
    return feeder;
}

static LpmGuestPages *pages_of(const struct stand_in *stand_in, const guint64 *lengths, guint count)
{
    g_autoptr(LpmQemuProcess) process = process_of(stand_in);
    g_autoptr(GError) error = NULL;
    LpmGuestPages *pages = lpm_guest_pages_open(process, lengths, count, LEAST, &error);

    assert_true(pages || error);
    return pages;
}

static const guint64 both[] = {16 * MIB, 8 * MIB};

/* The page that was asked for before, and read by QEMU, is heard, read and put, and not replaced.
 */
static void assert_fed(const char *sizes)
{
    const gsize size = lpm_page_feeder_page_size();
    struct stand_in source = start("source", sizes, ""), target = start("target", sizes, "");
    struct lpm_fed_page wanted[4];
    guint unnamed;
    g_autofree guint8 *data = g_malloc0(size);
    g_autoptr(GError) error = NULL;

    assert_int_equal(heard(&source), 'r');
    assert_int_equal(heard(&target), 'r');
    g_autoptr(LpmGuestPages) pages = pages_of(&source, both, 2);
    g_autoptr(LpmPageFeeder) feeder = feeder_of(&target, "/nowhere", both, 2);

    assert_non_null(pages);
    assert_non_null(feeder);
    assert_int_equal(lpm_page_feeder_wanted(feeder, wanted, 4, 5000, &unnamed), 1);
    assert_int_equal(wanted[0].length, 8 * MIB);
    assert_int_equal(wanted[0].offset, PAGE_OFFSET);
    assert_false(lpm_page_feeder_has(feeder, &wanted[0], &error));
    assert_null(error);
    assert_true(
        lpm_guest_pages_read(pages, wanted[0].length, wanted[0].offset, data, size, &error));
    assert_true(lpm_page_feeder_put(feeder, &wanted[0], data, &error));
    assert_int_equal(heard(&target), 'p');
    assert_true(lpm_page_feeder_has(feeder, &wanted[0], &error));
    memset(data, 'q', size);
    assert_true(lpm_page_feeder_put(feeder, &wanted[0], data, &error));
    g_autoptr(LpmGuestPages) there = pages_of(&target, both, 2);
    assert_true(lpm_guest_pages_read(there, 8 * MIB, wanted[0].offset, data, size, &error));
    assert_int_equal(data[0], 'p');
    assert_int_equal(lpm_page_feeder_wanted(feeder, wanted, 4, 0, &unnamed), 0);
    assert_int_equal(unnamed, 0);
    end(&target);
    assert_false(lpm_page_feeder_put(feeder, &wanted[0], data, &error));
    end(&source);
    g_clear_error(&error);
    assert_false(lpm_guest_pages_read(pages, 8 * MIB, 0, data, size, &error));
}

static void fed(void **state G_GNUC_UNUSED)
{
    assert_fed("8,16,1");
}

static void fed_shared(void **state G_GNUC_UNUSED)
{
    assert_fed("8s,16,1");
}

/* The memfd of a stand-in that has one, to be written. */
static int memfd_of(const struct stand_in *stand_in)
{
    for (int fd = 3; fd < 16; fd++) {
        g_autofree char *path = g_strdup_printf("/proc/%d/fd/%d", (int)stand_in->pid, fd);
        g_autofree char *link = g_file_read_link(path, NULL);

        if (link && g_str_has_prefix(link, "/memfd:"))
            return open(path, O_WRONLY | O_CLOEXEC);
    }
    return -1;
}

/* It is in the file and not in QEMU's page table. */
static void shared_page_is_there(void **state G_GNUC_UNUSED)
{
    struct stand_in target = start("target", "8s,16", "");
    const gsize size = lpm_page_feeder_page_size();
    const struct lpm_fed_page there = {.length = 8 * MIB, .offset = 6 * MIB},
                              behind = {.length = 8 * MIB, .offset = 6 * MIB + size},
                              before = {.length = 8 * MIB, .offset = 6 * MIB - size};
    g_autoptr(GError) error = NULL;

    assert_int_equal(heard(&target), 'r');
    g_autoptr(LpmPageFeeder) feeder = feeder_of(&target, "/nowhere", both, 2);
    int fd = memfd_of(&target);

    assert_int_equal(pwrite(fd, "x", 1, 6 * MIB), 1);
    close(fd);
    assert_true(lpm_page_feeder_has(feeder, &there, NULL));
    assert_false(lpm_page_feeder_has(feeder, &behind, &error));
    assert_false(lpm_page_feeder_has(feeder, &before, &error));
    assert_null(error);
    end(&target);
}

static void outside_is_refused(void **state G_GNUC_UNUSED)
{
    struct stand_in source = start("source", "8,16", ""), target = start("target", "8,16", "");
    guint8 data[1] = {0};

    assert_int_equal(heard(&source), 'r');
    assert_int_equal(heard(&target), 'r');
    g_autoptr(LpmGuestPages) pages = pages_of(&source, both, 2);
    g_autoptr(LpmPageFeeder) feeder = feeder_of(&target, "/nowhere", both, 2);

    assert_true(lpm_guest_pages_read(pages, 8 * MIB, 8 * MIB - 1, data, 1, NULL));
    assert_false(lpm_guest_pages_read(pages, 8 * MIB, 8 * MIB, data, 1, NULL));
    assert_false(lpm_guest_pages_read(pages, 8 * MIB, G_MAXUINT64, data, 1, NULL));
    assert_false(lpm_guest_pages_read(pages, 4 * MIB, 0, data, 1, NULL));
    assert_false(lpm_page_feeder_put(
        feeder, &(struct lpm_fed_page){.length = 8 * MIB, .offset = 8 * MIB}, data, NULL));
    assert_false(lpm_page_feeder_put(feeder, &(struct lpm_fed_page){.length = 8 * MIB, .offset = 1},
                                     data, NULL));
    assert_false(
        lpm_page_feeder_put(feeder, &(struct lpm_fed_page){.length = 4 * MIB}, data, NULL));
    end(&source);
    end(&target);
}

/* What is mapped must be what the stream named, no more and no less. */
static void doubt_is_refused(void **state G_GNUC_UNUSED)
{
    static const struct {
        const char *sizes;
        guint64 lengths[3];
        guint count;
    } cases[] = {
        {"8,16", {8 * MIB}, 1},             /* an area that is no block */
        {"8", {8 * MIB, 16 * MIB}, 2},      /* a block that is no area */
        {"8,16", {8 * MIB, 12 * MIB}, 2},   /* another length */
        {"8,8,16", {8 * MIB, 16 * MIB}, 2}, /* two of a length, and one block */
        {"8,16,16", {8 * MIB, 8 * MIB, 16 * MIB}, 3},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct stand_in source = start("source", cases[i].sizes, ""),
                        target = start("target", cases[i].sizes, "");

        assert_int_equal(heard(&source), 'r');
        assert_int_equal(heard(&target), 'r');
        assert_null(pages_of(&source, cases[i].lengths, cases[i].count));
        assert_null(feeder_of(&target, "/nowhere", cases[i].lengths, cases[i].count));
        end(&source);
        end(&target);
    }
}

/* With two blocks of a length neither is named; a third one is. */
static void twins_are_left_out(void **state G_GNUC_UNUSED)
{
    static const guint64 lengths[] = {8 * MIB, 8 * MIB, 16 * MIB};
    struct stand_in source = start("source", "8,8,16", ""), target = start("target", "8,8,16", "");
    struct lpm_fed_page wanted[4];
    guint unnamed;
    guint8 data[1];

    assert_int_equal(heard(&source), 'r');
    assert_int_equal(heard(&target), 'r');
    g_autoptr(LpmGuestPages) pages = pages_of(&source, lengths, 3);
    g_autoptr(LpmPageFeeder) feeder = feeder_of(&target, "/nowhere", lengths, 3);

    assert_non_null(feeder);
    assert_int_equal(lpm_page_feeder_wanted(feeder, wanted, 4, 5000, &unnamed), 0);
    assert_int_equal(unnamed, 1);
    assert_false(lpm_guest_pages_read(pages, 8 * MIB, 0, data, 1, NULL));
    assert_true(lpm_guest_pages_read(pages, 16 * MIB, 0, data, 1, NULL));
    end(&source);
    end(&target);
}

static void not_watched_is_refused(void **state G_GNUC_UNUSED)
{
    struct stand_in source = start("source", "8,16", "");

    assert_int_equal(heard(&source), 'r');
    assert_null(feeder_of(&source, "/nowhere", both, 2));
    end(&source);
}

/* A connection that QEMU has not accepted is none yet. */
static void alone_without_a_stream(void **state G_GNUC_UNUSED)
{
    g_autofree char *folder = g_dir_make_tmp("lpm-test-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "data", NULL);
    struct stand_in target = start("target", "8,16", path);

    assert_int_equal(heard(&target), 's');
    g_autoptr(LpmPageFeeder) feeder = feeder_of(&target, path, both, 2);

    assert_non_null(feeder);
    assert_false(lpm_page_feeder_alone(feeder));
    assert_int_equal(write(target.to, "x", 1), 1);
    assert_int_equal(heard(&target), 'r');
    assert_true(lpm_page_feeder_alone(feeder));
    end(&target);
    assert_false(lpm_page_feeder_alone(feeder));
    unlink(path);
    rmdir(folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fed),
        cmocka_unit_test(fed_shared),
        cmocka_unit_test(shared_page_is_there),
        cmocka_unit_test(outside_is_refused),
        cmocka_unit_test(doubt_is_refused),
        cmocka_unit_test(twins_are_left_out),
        cmocka_unit_test(not_watched_is_refused),
        cmocka_unit_test(alone_without_a_stream),
    };

    self = argv[0];
    if (argc > 5 && !strcmp(argv[1], "be-qemu"))
        return be_qemu(argv);
    if (geteuid() != 0) {
        print_message("another user's userfaultfd is root's to see\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
