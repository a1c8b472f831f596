/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The partition's memory among the mappings of its QEMU. */
#include "host/dirty-rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1024 * 1024ULL)

static const char plain[] =
    "55d000000000-55d001000000 r-xp 00000000 fe:00 42   /usr/bin/qemu-system-x86_64\n"
    "Rss:               16384 kB\n"
    "55d010000000-55d020000000 rw-p 00000000 00:00 0    [heap]\n"
    "Rss:               90000 kB\n"
    "7f0000000000-7f0040000000 rwxp 00000000 00:00 0 \n" /* translated code */
    "Rss:              200000 kB\n"
    "7f1000000000-7f1020000000 rw-p 00000000 00:00 0 \n" /* 512 MiB of memory */
    "Size:             524288 kB\n"
    "Rss:              131072 kB\n"
    "Pss:              131072 kB\n"
    "FilePmdMapped:         0 kB\n"
    "VmFlags: rd wr mr mw me ac sd\n"
    "7f2000000000-7f2000800000 rw-p 00000000 00:00 0 \n" /* a stack */
    "Rss:                 100 kB\n";

static const char shared[] =
    "7f1000000000-7f1020000000 rw-s 00000000 00:01 7   /memfd:pc.ram (deleted)\n"
    "Rss:               65536 kB\n"
    "7f3000000000-7f3020000000 rw-s 00000000 00:10 8   /dev/hugepages/libvirt/qemu/1-a/pc.ram\n"
    "Rss:                   0 kB\n"
    "Private_Hugetlb:  262144 kB\n"
    "7f4000000000-7f4020000000 rw-s 00000000 00:10 8   /srv/database\n"
    "Rss:              524288 kB\n";

static void test_smaps(void **state)
{
    (void)state;
    assert_int_equal(lpm_smaps_resident(plain, 512 * MIB), 128 * MIB);
    assert_int_equal(lpm_smaps_resident(shared, 1024 * MIB), 320 * MIB);
    assert_int_equal(lpm_smaps_resident(plain, 100 * MIB), 100 * MIB);
    assert_int_equal(lpm_smaps_resident("", 512 * MIB), 0);
    assert_int_equal(lpm_smaps_resident("Rss: x kB\n-\nffff-0 rw-p 0 0 0\nRss: 5 kB", MIB), 0);
}

static void test_status(void **state)
{
    static const char status[] =
        "Name:\tqemu\nVmRSS:\t  900 kB\nRssAnon:\t  2048 kB\n"
        "RssFile:\t 500 kB\nRssShmem:\t 1024 kB\nHugetlbPages:\t 4096 kB\n";

    (void)state;
    assert_int_equal(lpm_status_resident(status, 512 * MIB), 7 * MIB);
    assert_int_equal(lpm_status_resident(status, 2 * MIB), 2 * MIB);
    assert_int_equal(lpm_status_resident("", MIB), 0);
}

/* The kernel's own text of this process: what was written to is counted, what was only read is not.
 */
static void test_own(void **state)
{
    const gsize size = 256 * MIB, written = 32 * MIB;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    volatile char seen = 0;

    (void)state;
    assert_true(memory != MAP_FAILED);
    madvise(memory, size, MADV_NOHUGEPAGE);
    guint64 before = lpm_qemu_resident(getpid(), 1024 * MIB);
    memset(memory, 1, written);
    for (gsize i = written; i < size; i += 4096)
        seen = (char)(seen + memory[i]);
    guint64 after = lpm_qemu_resident(getpid(), 1024 * MIB);
    assert_true(after - before >= written);
    assert_true(after - before < written + 8 * MIB);
    assert_int_equal(lpm_qemu_resident(0, 1024 * MIB), 0);
    /* Of a large one the counters. */
    assert_true(lpm_qemu_resident(getpid(), 64 * 1024 * MIB) >= written);
    munmap(memory, size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smaps),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
