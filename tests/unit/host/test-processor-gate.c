/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The gate before the virtual processors, on a real process that stands in for a QEMU: this program
 * itself, with two threads that are named for processors and "run a guest" as soon as they are told
 * to, those of KVM by the system call that enters it. */
#include "host/processor-gate.h"

#include "base/error.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define UUID "3f0e6a34-6f0b-4f9e-9a55-0c3a2f4d1b77"
#define PROCESSORS 2
#define LIMIT_MS 2000
#define KICK_US 20
#define WORK_US 50
#define KICKED_TIMES 30
#define WHILE_US 100000 /* long enough for a thread that could run to have run */

/* What the stand-in and the test share. */
struct guest {
    gint start, ready;
    gint kicks;              /* of all processors, with the lock that they share */
    gint worked[PROCESSORS]; /* host's work on the way to the guest */
    gint ran[PROCESSORS];
};

/* ---- the stand-in ---- */

static struct guest *guest;
static gboolean guest_kvm;
/* As QEMU has it: one lock, and a condition for each processor that may not run. */
static pthread_mutex_t big_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake[PROCESSORS] = {PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER};

static void rest_until_start(int number)
{
    pthread_mutex_lock(&big_lock);
    while (!g_atomic_int_get(&guest->start)) {
        pthread_cond_wait(&wake[number], &big_lock);
        usleep(WORK_US); /* what QEMU has queued for it */
    }
    pthread_mutex_unlock(&big_lock);
}

static void kick_on(void)
{
    for (;;) {
        usleep(KICK_US);
        pthread_mutex_lock(&big_lock);
        g_atomic_int_inc(&guest->kicks);
        for (int i = 0; i < PROCESSORS; i++)
            pthread_cond_broadcast(&wake[i]);
        pthread_mutex_unlock(&big_lock);
    }
}

static void *processor(void *opaque)
{
    int number = (int)(intptr_t)opaque;
    g_autofree char *name = g_strdup_printf("CPU %d/%s", number, guest_kvm ? "KVM" : "TCG");

    pthread_setname_np(pthread_self(), name);
    g_atomic_int_inc(&guest->ready);
    rest_until_start(number);
    for (;;) {
        if (guest_kvm) {
            syscall(SYS_getppid);
            g_atomic_int_inc(&guest->worked[number]);
            ioctl(-1, KVM_RUN, 0);
        }
        g_atomic_int_inc(&guest->ran[number]);
    }
    return NULL;
}

static struct guest *map(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct guest *shared =
        mmap(NULL, sizeof(struct guest), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    close(fd);
    return shared;
}

static void be_guest(const char *kind, const char *path)
{
    pthread_t thread;

    guest = map(path);
    guest_kvm = strcmp(kind, "KVM") == 0;
    for (intptr_t i = 0; i < PROCESSORS; i++)
        pthread_create(&thread, NULL, processor, (void *)i);
    kick_on();
}

/* ---- the test's side ---- */

struct fixture {
    char *folder, *shared_path;
    struct guest *shared;
    pid_t child;
    LpmQemuProcess *process;
};

static void begin(struct fixture *f, const char *kind)
{
    g_autofree char *pid_path = g_build_filename(f->folder, "guest.pid", NULL);

    memset(f->shared, 0, sizeof(*f->shared));
    f->child = fork();
    if (f->child == 0) {
        execl("/proc/self/exe", "guest", kind, f->shared_path, UUID, (char *)NULL);
        _exit(127);
    }
    g_autofree char *text = g_strdup_printf("%d\n", (int)f->child);
    assert_true(g_file_set_contents(pid_path, text, -1, NULL));
    while (g_atomic_int_get(&f->shared->ready) < PROCESSORS)
        g_usleep(1000);
    f->process = lpm_qemu_process_open(f->folder, "guest", UUID, NULL);
    assert_non_null(f->process);
}

static int set_up(void **state)
{
    struct fixture *f = g_new0(struct fixture, 1);

    f->folder = g_dir_make_tmp("lpm-gate-XXXXXX", NULL);
    f->shared_path = g_build_filename(f->folder, "shared", NULL);
    int fd = open(f->shared_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, sizeof(struct guest)), 0);
    close(fd);
    f->shared = map(f->shared_path);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    g_autofree char *pid_path = g_build_filename(f->folder, "guest.pid", NULL);

    lpm_qemu_process_free(f->process);
    if (f->child > 0) {
        kill(f->child, SIGKILL);
        waitpid(f->child, NULL, 0);
    }
    munmap(f->shared, sizeof(*f->shared));
    g_unlink(pid_path);
    g_unlink(f->shared_path);
    g_rmdir(f->folder);
    g_free(f->shared_path);
    g_free(f->folder);
    g_free(f);
    return 0;
}

static int runs(const struct fixture *f)
{
    int sum = 0;

    for (int i = 0; i < PROCESSORS; i++)
        sum += g_atomic_int_get(&f->shared->ran[i]);
    return sum;
}

static gboolean all_have(const gint *counts)
{
    for (int wait = 0; wait < 2000; wait++) {
        gboolean all = TRUE;

        for (int i = 0; i < PROCESSORS; i++)
            all = all && g_atomic_int_get(&counts[i]) > 0;
        if (all)
            return TRUE;
        g_usleep(1000);
    }
    return FALSE;
}

static void start(struct fixture *f)
{
    g_atomic_int_set(&f->shared->start, 1);
}

static void holds(struct fixture *f, const char *kind)
{
    g_autoptr(GError) error = NULL;

    begin(f, kind);
    LpmProcessorGate *gate = lpm_processor_gate_close(f->process, PROCESSORS, LIMIT_MS, &error);
    assert_null(error);
    start(f);
    /* QEMU waits for its processors' work on the way to the start: it must be done. */
    if (strcmp(kind, "KVM") == 0)
        assert_true(all_have(f->shared->worked));
    g_usleep(WHILE_US);
    assert_int_equal(runs(f), 0);
    assert_true(lpm_processor_gate_stay(gate, LIMIT_MS, &error));
    g_usleep(WHILE_US);
    assert_int_equal(runs(f), 0);
    assert_true(lpm_processor_gate_open(gate, &error));
    assert_true(all_have(f->shared->ran));
    lpm_processor_gate_free(gate);
    int before = runs(f);
    g_usleep(WHILE_US);
    assert_true(runs(f) > before); /* and it is left in peace */
}

static void test_holds_tcg(void **state)
{
    holds(*state, "TCG");
}

static void test_holds_kvm(void **state)
{
    holds(*state, "KVM");
}

/* QEMU's main thread needs the lock that a processor has taken, or is about to be given, to start
 * the copy: a processor that is just awake is not to be held. */
static void test_leaves_lock(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < KICKED_TIMES; i++) {
        begin(f, "TCG");
        LpmProcessorGate *gate = lpm_processor_gate_close(f->process, PROCESSORS, LIMIT_MS, NULL);
        assert_non_null(gate);
        int before = g_atomic_int_get(&f->shared->kicks);
        for (int wait = 0; wait < 2000 && g_atomic_int_get(&f->shared->kicks) == before; wait++)
            g_usleep(1000);
        assert_true(g_atomic_int_get(&f->shared->kicks) > before);
        lpm_processor_gate_free(gate);
        assert_true(lpm_qemu_process_end_wholly(f->process, LIMIT_MS, NULL));
        waitpid(f->child, NULL, 0);
        g_clear_pointer(&f->process, lpm_qemu_process_free);
    }
    f->child = 0;
}

/* A stop of the whole process by somebody else, and its end, change nothing. */
static void test_foreign_stop(void **state)
{
    struct fixture *f = *state;

    begin(f, "KVM");
    LpmProcessorGate *gate = lpm_processor_gate_close(f->process, PROCESSORS, LIMIT_MS, NULL);
    assert_non_null(gate);
    kill(f->child, SIGSTOP);
    start(f);
    g_usleep(WHILE_US);
    kill(f->child, SIGCONT);
    assert_true(all_have(f->shared->worked));
    g_usleep(WHILE_US);
    assert_int_equal(runs(f), 0);
    assert_true(lpm_processor_gate_stay(gate, LIMIT_MS, NULL));
    kill(f->child, SIGCONT);
    g_usleep(WHILE_US);
    assert_int_equal(runs(f), 0);
    assert_true(lpm_processor_gate_open(gate, NULL));
    assert_true(all_have(f->shared->ran));
    lpm_processor_gate_free(gate);
}

static void test_others_number(void **state)
{
    struct fixture *f = *state;
    g_autoptr(GError) error = NULL;

    begin(f, "TCG");
    assert_null(lpm_processor_gate_close(f->process, PROCESSORS + 1, LIMIT_MS, &error));
    assert_true(g_error_matches(error, LPM_ERROR, LPM_E_NOT_PREPARED));
    start(f);
    assert_true(all_have(f->shared->ran));
}

static void test_freed_while_closed(void **state)
{
    struct fixture *f = *state;

    begin(f, "TCG");
    LpmProcessorGate *gate = lpm_processor_gate_close(f->process, PROCESSORS, LIMIT_MS, NULL);
    assert_non_null(gate);
    start(f);
    lpm_processor_gate_free(gate);
    assert_true(lpm_qemu_process_end_wholly(f->process, LIMIT_MS, NULL));
    assert_int_equal(runs(f), 0);
}

/* Another process closes the gate, goes so far and is killed there. */
static void killed_in_between(struct fixture *f, gboolean stays)
{
    int ends[2];
    char byte;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t keeper = fork();
    if (keeper == 0) {
        LpmProcessorGate *gate = lpm_processor_gate_close(f->process, PROCESSORS, LIMIT_MS, NULL);

        if (!gate || (stays && !lpm_processor_gate_stay(gate, LIMIT_MS, NULL)))
            _exit(1);
        while (write(ends[1], "", 1) != 1)
            continue;
        for (;;)
            pause();
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    start(f);
    g_usleep(WHILE_US);
    kill(keeper, SIGKILL);
    waitpid(keeper, NULL, 0);
    g_usleep(WHILE_US);
    assert_int_equal(runs(f), 0);
}

static void test_keeper_killed_while_closed(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 2; i++) {
        begin(f, i ? "KVM" : "TCG");
        killed_in_between(f, FALSE);
        assert_true(lpm_qemu_process_is_ended(f->process));
        waitpid(f->child, NULL, 0);
        g_clear_pointer(&f->process, lpm_qemu_process_free);
    }
    f->child = 0;
}

static void test_keeper_killed_while_it_stays(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 2; i++) {
        begin(f, i ? "KVM" : "TCG");
        killed_in_between(f, TRUE);
        assert_false(lpm_qemu_process_is_ended(f->process));
        lpm_qemu_process_thaw(f->process);
        assert_true(all_have(f->shared->ran));
        assert_true(lpm_qemu_process_end_wholly(f->process, LIMIT_MS, NULL));
        waitpid(f->child, NULL, 0);
        g_clear_pointer(&f->process, lpm_qemu_process_free);
    }
    f->child = 0;
}

#define gate_test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(int count, char **words)
{
    const struct CMUnitTest tests[] = {
        gate_test(test_holds_tcg),
        gate_test(test_holds_kvm),
        gate_test(test_leaves_lock),
        gate_test(test_foreign_stop),
        gate_test(test_others_number),
        gate_test(test_freed_while_closed),
        gate_test(test_keeper_killed_while_closed),
        gate_test(test_keeper_killed_while_it_stays),
    };

    if (count == 4 && strcmp(words[0], "guest") == 0)
        be_guest(words[1], words[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
