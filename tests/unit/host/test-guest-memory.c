/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Which files are a QEMU's memory. Real processes stand for QEMU: this program again, which maps
 * files as QEMU does and has a command line as QEMU has.
 */
#include "base/fdio.h"
#include "host/guest-memory.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define UUID "6a1f3c2e-0d7b-4f6e-9a55-1c2d3e4f5a6b"
#define MIB (1u << 20)

static const char *self;

/* What the stand-in has: files of these sizes, in MiB, and what its words say. */
struct stand_in {
    const char *words[8];
    guint mapped[4];  /* shared, and written */
    guint opened[4];  /* not mapped */
    guint private[4]; /* mapped for itself */
};

/* ---- the stand-in ---- */

static void have_files(const char *sizes, int flags)
{
    g_auto(GStrv) list = g_strsplit(sizes, ",", -1);

    for (char **size = list; *size; size++) {
        gsize bytes = (gsize)atoi(*size) * MIB;

        if (!bytes)
            continue;
        int fd = memfd_create("memory-backend-memfd", MFD_CLOEXEC);

        if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
            exit(1);
        if (flags && mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0) == MAP_FAILED)
            exit(1);
    }
}

/* SELF be-qemu MAPPED OPENED PRIVATE WORD... */
static int be_qemu(char **argv)
{
    have_files(argv[2], MAP_SHARED);
    have_files(argv[3], 0);
    have_files(argv[4], MAP_PRIVATE);
    if (write(STDOUT_FILENO, "r", 1) != 1)
        return 1;
    pause();
    return 0;
}

/* ---- the tests ---- */

static char *sizes_text(const guint *sizes)
{
    return g_strdup_printf("%u,%u,%u,%u", sizes[0], sizes[1], sizes[2], sizes[3]);
}

static pid_t start(const struct stand_in *stand_in)
{
    g_autofree char *mapped = sizes_text(stand_in->mapped), *opened = sizes_text(stand_in->opened),
                    *private = sizes_text(stand_in->private);
    const char *argv[16] = {self, "be-qemu", mapped, opened, private, UUID};
    guint count = 6;
    int ready[2];
    char byte;

    for (guint i = 0; i < G_N_ELEMENTS(stand_in->words) && stand_in->words[i]; i++)
        argv[count++] = stand_in->words[i];
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ready[1], STDOUT_FILENO);
        execv(self, (char **)argv);
        _exit(127);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

/* The memory found, and the reason if there is none. */
static GArray *find(const struct stand_in *stand_in, char **reason)
{
    g_autofree char *folder = g_dir_make_tmp("lpm-test-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "p.pid", NULL);
    pid_t pid = start(stand_in);
    g_autofree char *text = g_strdup_printf("%d\n", (int)pid);

    assert_true(g_file_set_contents(path, text, -1, NULL));
    g_autoptr(LpmQemuProcess) process = lpm_qemu_process_open(folder, "p", UUID, NULL);

    assert_non_null(process);
    GArray *found = lpm_guest_memory_find(process, reason);

    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    unlink(path);
    rmdir(folder);
    return found;
}

/* Of 1 MiB. */
#define MEMORY(id, share)                                                                          \
    "{\"qom-type\":\"memory-backend-memfd\",\"id\":\"" id "\",\"share\":" share ",\"size\":"       \
    "1048576}"

static void assert_found(const struct stand_in *stand_in, const char *name)
{
    g_autofree char *reason = NULL;
    g_autoptr(GArray) found = find(stand_in, &reason);

    assert_null(reason);
    assert_non_null(found);
    assert_int_equal(found->len, 1);
    struct lpm_guest_memory *memory = &g_array_index(found, struct lpm_guest_memory, 0);

    assert_string_equal(memory->name, name);
    assert_int_equal(memory->size, MIB);
    assert_int_equal(lseek(memory->fd, 0, SEEK_END), MIB);
    assert_int_equal(pwrite(memory->fd, "x", 1, 0), 1);
}

static void assert_none(const struct stand_in *stand_in, const char *why)
{
    g_autofree char *reason = NULL;
    g_autoptr(GArray) found = find(stand_in, &reason);

    assert_null(found);
    if (!why)
        assert_null(reason);
    else if (!reason || !strstr(reason, why))
        fail_msg("the reason is '%s', not '%s'", reason ? reason : "(none)", why);
}

static void test_found(void **state)
{
    (void)state;
    assert_found(&(struct stand_in){.words = {"-object", MEMORY("pc.ram", "true")},
                                    .mapped = {1},
                                    .opened = {1, 2},
                                    .private = {1}},
                 "pc.ram");
}

/* What is not shared is no matter; the one that is, is found. */
static void test_one_of_two(void **state)
{
    (void)state;
    assert_found(
        &(struct stand_in){.words = {"-object", MEMORY("node0", "false"), "-object",
                                     "rng-random,id=rng0", "-object", MEMORY("node1", "true")},
                           .mapped = {1}},
        "node1");
}

static void test_not_shared(void **state)
{
    (void)state;
    assert_none(&(struct stand_in){.words = {"-object", MEMORY("pc.ram", "false")}, .mapped = {1}},
                NULL);
    assert_none(&(struct stand_in){.words = {"-m", "1"}, .mapped = {1}}, NULL);
    assert_none(&(struct stand_in){.words = {"-object", "{\"qom-type\":\"memory-backend-memfd\""}},
                NULL);
}

static void test_cannot_be_told(void **state)
{
    static const char cannot[] = "cannot be told by its size";

    (void)state;
    /* Two backends of a size, two files of a size, none. */
    assert_none(&(struct stand_in){.words = {"-object", MEMORY("node0", "true"), "-object",
                                             MEMORY("node1", "true")},
                                   .mapped = {1, 1}},
                cannot);
    assert_none(
        &(struct stand_in){.words = {"-object", MEMORY("pc.ram", "true")}, .mapped = {1, 1}},
        cannot);
    assert_none(&(struct stand_in){.words = {"-object", MEMORY("pc.ram", "true")},
                                   .mapped = {2},
                                   .opened = {1},
                                   .private = {1}},
                cannot);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_one_of_two),
        cmocka_unit_test(test_not_shared),
        cmocka_unit_test(test_cannot_be_told),
    };

    self = argv[0];
    if (argc > 5 && !strcmp(argv[1], "be-qemu"))
        return be_qemu(argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
