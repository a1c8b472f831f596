/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Digests that are remembered: for which state of a file, from when on, and how many. */
#include "host/digests.h"
#include "host/disk-identity.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND ((gint64)G_USEC_PER_SEC)

/* A file that was changed at `changed_us` of the clock. */
static struct stat file(guint64 inode, gint64 changed_us)
{
    struct stat status = {.st_dev = 8, .st_ino = inode, .st_size = 5};

    status.st_ctim.tv_sec = changed_us / SECOND;
    status.st_ctim.tv_nsec = changed_us % SECOND * 1000;
    return status;
}

static struct lpm_digests_time at(gint64 real_us)
{
    return (struct lpm_digests_time){.real = real_us, .monotonic = real_us - 1000 * SECOND};
}

static void expect(struct lpm_digests *digests, const struct stat *status, const char *digest)
{
    g_autofree char *found = lpm_digests_get(digests, status);

    assert_string_equal(found ? found : "none", digest);
}

static void test_young_ctime(void **state)
{
    struct lpm_digests *digests = lpm_digests_new();
    const struct stat status = file(1, 5000 * SECOND);

    (void)state;
    expect(digests, &status, "none");
    lpm_digests_put(digests, &status, TRUE, at(5002 * SECOND - 1), "a");
    expect(digests, &status, "none");
    lpm_digests_put(digests, &status, TRUE, at(5002 * SECOND), "b");
    expect(digests, &status, "b");
    /* A clock that was set back: of the future. */
    lpm_digests_put(digests, &status, TRUE, at(4000 * SECOND), "c");
    expect(digests, &status, "none");
    lpm_digests_free(digests);
}

/* Where another host makes the times its clock is not trusted, however old they look. */
static void test_clock_of_another_host(void **state)
{
    struct lpm_digests *digests = lpm_digests_new();
    const struct stat status = file(1, 100 * SECOND), changed = file(1, 101 * SECOND);

    (void)state;
    lpm_digests_put(digests, &status, FALSE, at(5000 * SECOND), "a");
    expect(digests, &status, "none");
    lpm_digests_put(digests, &status, FALSE, at(5002 * SECOND - 1), "b");
    expect(digests, &status, "none");
    lpm_digests_put(digests, &status, FALSE, at(5002 * SECOND), "b");
    expect(digests, &status, "b");
    lpm_digests_put(digests, &changed, FALSE, at(5003 * SECOND), "c");
    expect(digests, &changed, "none");
    lpm_digests_free(digests);
}

static void test_any_change(void **state)
{
    struct lpm_digests *digests = lpm_digests_new();
    const struct stat status = file(1, 100 * SECOND);

    (void)state;
    lpm_digests_put(digests, &status, TRUE, at(5000 * SECOND), "a");
    for (int i = 0; i < 5; i++) {
        struct stat other = status;

        other.st_dev += i == 0;
        other.st_ino += i == 1;
        other.st_size += i == 2;
        other.st_mtim.tv_nsec += i == 3;
        other.st_ctim.tv_nsec += i == 4;
        expect(digests, &other, "none");
    }
    expect(digests, &status, "a");
    lpm_digests_free(digests);
}

static void test_the_least_used_is_forgotten(void **state)
{
    struct lpm_digests *digests = lpm_digests_new();

    (void)state;
    for (guint64 i = 0; i <= LPM_DIGESTS_MAX; i++) {
        const struct stat first = file(0, 100 * SECOND), next = file(i, 100 * SECOND);

        lpm_digests_put(digests, &next, TRUE, at(5000 * SECOND), "a");
        expect(digests, &first, "a"); /* so it is the one used last */
    }
    const struct stat second = file(1, 100 * SECOND), third = file(2, 100 * SECOND);
    expect(digests, &second, "none");
    expect(digests, &third, "a");
    lpm_digests_free(digests);
}

static gboolean is_remembered(struct lpm_digests *digests, const char *path, char **digest)
{
    json_t *facts = lpm_file_identity(digests, path);
    gboolean remembered = json_is_true(json_object_get(facts, "remembered"));

    g_free(*digest);
    *digest = g_strdup(json_string_value(json_object_get(facts, "digest")));
    assert_non_null(*digest);
    json_decref(facts);
    return remembered;
}

/* Real files: this program, which is old, and one that is written at once with the size and the
 * mtime that it had. */
static void test_files(void **state)
{
    struct lpm_digests *digests = lpm_digests_new();
    g_autofree char *path = NULL, *first = NULL, *second = NULL;
    int fd = g_file_open_tmp("lpm-digest-XXXXXX", &path, NULL);
    struct stat status;

    (void)state;
    assert_int_equal(write(fd, "one", 3), 3);
    assert_int_equal(fstat(fd, &status), 0);
    assert_false(is_remembered(digests, path, &first));
    const struct timespec times[] = {status.st_atim, status.st_mtim};
    assert_int_equal(pwrite(fd, "two", 3, 0), 3);
    assert_int_equal(futimens(fd, times), 0);
    assert_false(is_remembered(digests, path, &second));
    assert_string_not_equal(first, second);
    close(fd);
    unlink(path);
    while (stat("/proc/self/exe", &status) == 0 &&
           g_get_real_time() < (status.st_ctim.tv_sec + 3) * SECOND)
        g_usleep(50000); /* just built: its ctime has to be two seconds old */
    is_remembered(digests, "/proc/self/exe", &first);
    g_usleep(LPM_DIGESTS_RACY_US); /* for a file system of another kind */
    is_remembered(digests, "/proc/self/exe", &first);
    assert_true(is_remembered(digests, "/proc/self/exe", &second));
    assert_string_equal(first, second);
    lpm_digests_free(digests);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_young_ctime), cmocka_unit_test(test_clock_of_another_host),
        cmocka_unit_test(test_any_change),  cmocka_unit_test(test_the_least_used_is_forgotten),
        cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
