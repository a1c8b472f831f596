/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The end of a QEMU is proved, on real processes that stand in for one: a busy shell whose command
 * line holds the partition's UUID. */
#include "host/qemu-process.h"

#include "base/error.h"

#include <glib/gstdio.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define UUID "3f0e6a34-6f0b-4f9e-9a55-0c3a2f4d1b77"
#define OTHER "99999999-6f0b-4f9e-9a55-0c3a2f4d1b77"

struct fixture {
    char *folder;
    pid_t child;
};

static void write_pid(const struct fixture *f, pid_t pid)
{
    g_autofree char *path = g_build_filename(f->folder, "guest.pid", NULL);
    g_autofree char *text = g_strdup_printf("%d\n", (int)pid);

    assert_true(g_file_set_contents(path, text, -1, NULL));
}

static int set_up(void **state)
{
    struct fixture *f = g_new0(struct fixture, 1);

    f->folder = g_dir_make_tmp("lpm-qemu-XXXXXX", NULL);
    f->child = fork();
    if (f->child == 0) {
        execl("/bin/sh", "sh", "-c", "while :; do :; done", "qemu", "-uuid", UUID, (char *)NULL);
        _exit(127);
    }
    write_pid(f, f->child);
    /* Until exec the child's command line is this program's. */
    for (int i = 0; i < 1000; i++) {
        g_autoptr(LpmQemuProcess) p = lpm_qemu_process_open(f->folder, "guest", UUID, NULL);
        if (p)
            break;
        g_usleep(1000);
    }
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    g_autofree char *path = g_build_filename(f->folder, "guest.pid", NULL);

    if (f->child > 0) {
        kill(f->child, SIGKILL);
        waitpid(f->child, NULL, 0);
    }
    g_unlink(path);
    g_rmdir(f->folder);
    g_free(f->folder);
    g_free(f);
    return 0;
}

/* Processor time of the child in clock ticks: fields 14 and 15 of its stat. */
static long cpu_ticks(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);
    g_autofree char *text = NULL;

    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_auto(GStrv) fields = g_strsplit(strrchr(text, ')') + 2, " ", -1);
    return strtol(fields[11], NULL, 10) + strtol(fields[12], NULL, 10);
}

static void test_identified_by_uuid(void **state)
{
    struct fixture *f = *state;
    g_autoptr(GError) error = NULL;
    g_autoptr(LpmQemuProcess) right = lpm_qemu_process_open(f->folder, "guest", UUID, &error);

    assert_non_null(right);
    assert_int_equal(lpm_qemu_process_pid(right), f->child);
    assert_false(lpm_qemu_process_is_ended(right));
    assert_null(lpm_qemu_process_open(f->folder, "guest", OTHER, &error));
    assert_true(g_error_matches(error, LPM_ERROR, LPM_E_QEMU_NOT_IDENTIFIED));
}

static void test_stale_pid_file(void **state)
{
    struct fixture *f = *state;
    g_autoptr(GError) error = NULL;

    write_pid(f, getpid());
    assert_null(lpm_qemu_process_open(f->folder, "guest", UUID, &error));
    assert_true(g_error_matches(error, LPM_ERROR, LPM_E_QEMU_NOT_IDENTIFIED));
    g_clear_error(&error);
    assert_null(lpm_qemu_process_open(f->folder, "nobody", UUID, &error));
    assert_true(g_error_matches(error, LPM_ERROR, LPM_E_QEMU_NOT_IDENTIFIED));
}

static void test_frozen_does_not_run(void **state)
{
    struct fixture *f = *state;
    g_autoptr(LpmQemuProcess) p = lpm_qemu_process_open(f->folder, "guest", UUID, NULL);
    long before;

    assert_true(lpm_qemu_process_freeze(p, 2000, NULL));
    before = cpu_ticks(f->child);
    g_usleep(200000); /* 20 ticks, had it run */
    assert_int_equal(cpu_ticks(f->child), before);
    assert_false(lpm_qemu_process_is_ended(p));
    lpm_qemu_process_thaw(p);
    for (int i = 0; i < 5000 && cpu_ticks(f->child) == before; i++)
        g_usleep(1000);
    assert_true(cpu_ticks(f->child) > before);
}

static void test_end_from_frozen(void **state)
{
    struct fixture *f = *state;
    g_autoptr(LpmQemuProcess) p = lpm_qemu_process_open(f->folder, "guest", UUID, NULL);

    assert_true(lpm_qemu_process_freeze(p, 2000, NULL));
    assert_true(lpm_qemu_process_end(p, 5000, NULL));
    /* Not reaped by its parent yet, and proved ended all the same; and again. */
    assert_true(lpm_qemu_process_is_ended(p));
    assert_true(lpm_qemu_process_end(p, 5000, NULL));
}

static void test_reopen_by_start_time(void **state)
{
    struct fixture *f = *state;
    g_autoptr(LpmQemuProcess) p = lpm_qemu_process_open(f->folder, "guest", UUID, NULL);
    guint64 start = lpm_qemu_process_start_time(p);
    gboolean gone = TRUE;
    g_autoptr(LpmQemuProcess) again = lpm_qemu_process_reopen(f->child, start, &gone, NULL);

    assert_non_null(again);
    assert_false(gone);
    /* Another process with that pid is not the one in the journal. */
    assert_null(lpm_qemu_process_reopen(f->child, start - 1, &gone, NULL));
    assert_true(gone);
    kill(f->child, SIGKILL);
    waitpid(f->child, NULL, 0);
    gone = FALSE;
    assert_null(lpm_qemu_process_reopen(f->child, start, &gone, NULL));
    assert_true(gone);
    assert_true(lpm_qemu_process_is_ended(p));
    f->child = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_identified_by_uuid, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stale_pid_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_frozen_does_not_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_end_from_frozen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reopen_by_start_time, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("qemu-process", tests, NULL, NULL);
}
