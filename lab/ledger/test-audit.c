/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/*
 * The independent check: a clean disk passes; one that was broken on purpose does not, and it is
 * told in which way. The disk is written by the service's own code, then damaged with pwrite.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit.h"
#include "disklog.h"
#include "journal.h"

#define RUN 0x1234567u
#define COUNT 200u
#define PAYLOAD 48u

static char dir[] = "/tmp/ledger-audit-XXXXXX", disk[64], journal[64];

static struct record write_of(unsigned connection, uint64_t number)
{
    struct record rec = {
        .client = client_id(RUN, connection),
        .number = number,
        .payload_len = PAYLOAD,
    };
    payload_make(rec.client, rec.number, rec.payload, PAYLOAD);
    return rec;
}

static void append(struct disklog *log, struct record rec)
{
    assert_int_equal(disklog_append(log, &rec, 1), 0);
}

static void open_log(struct disklog *log, bool fresh)
{
    struct err err = {0};
    struct scan found;
    bool ok = disklog_open(log, disk, fresh, NULL, NULL, &found, &err);
    assert_string_equal(err.text, "");
    assert_true(ok);
}

/* COUNT writes on two connections in turn, all acknowledged, on a new disk. */
static int set_up(void **state)
{
    (void)state;
    struct err err = {0};
    int fd = open(disk, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    close(fd);
    struct journal_head head = {RUN, 2, 100, PAYLOAD, 0};
    FILE *file = journal_create(journal, &head, &err);
    assert_non_null(file);
    struct disklog log;
    open_log(&log, true);
    for (unsigned i = 0; i < COUNT; i++) {
        struct journal_event e = {'A', i % 2, i / 2 + 1, i * 1000, i * 1000 + 300};
        append(&log, write_of(i % 2, i / 2 + 1));
        journal_write(file, &e);
    }
    disklog_close(&log);
    fclose(file);
    return 0;
}

static struct audit result(void)
{
    struct audit a;
    struct err err = {0};
    bool ok = audit_run(journal, disk, &a, &err);
    assert_string_equal(err.text, "");
    assert_true(ok);
    return a;
}

static void damage(uint64_t sequence, unsigned at, size_t len, const void *bytes)
{
    int fd = open(disk, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, bytes, len, (off_t)((sequence + 1) * BLOCK_SIZE + at)), len);
    close(fd);
}

static void test_clean(void **state)
{
    (void)state;
    struct audit a = result();
    assert_true(audit_clean(&a));
    assert_int_equal(a.acknowledged, COUNT);
    assert_int_equal(a.disk_records, COUNT);
    assert_int_equal(a.extra, 0);
}

static void test_lost_at_the_end(void **state)
{
    (void)state;
    uint8_t zeros[BLOCK_SIZE] = {0};
    damage(COUNT - 1, 0, sizeof zeros, zeros);
    struct audit a = result();
    assert_false(audit_clean(&a));
    assert_int_equal(a.lost, 1);
    assert_int_equal(a.lost_items[0].connection, (COUNT - 1) % 2);
    assert_int_equal(a.lost_items[0].number, (COUNT - 1) / 2 + 1);
    assert_int_equal(a.corrupt, 0);
}

static void test_hole(void **state)
{
    (void)state;
    uint8_t zeros[3 * BLOCK_SIZE] = {0};
    damage(10, 0, sizeof zeros, zeros);
    struct audit a = result();
    assert_int_equal(a.lost, 3);
    assert_int_equal(a.corrupt, 3);
}

static void test_corrupt(void **state)
{
    (void)state;
    damage(20, 70, 1, "x");
    struct audit a = result();
    assert_int_equal(a.corrupt, 1);
    assert_int_equal(a.lost, 1);
}

static void test_doubled(void **state)
{
    (void)state;
    struct disklog log;
    open_log(&log, false);
    append(&log, write_of(1, 7));
    disklog_close(&log);
    struct audit a = result();
    assert_false(audit_clean(&a));
    assert_int_equal(a.doubled, 1);
    assert_int_equal(a.doubled_items[0].connection, 1);
    assert_int_equal(a.doubled_items[0].number, 7);
    assert_int_equal(a.lost, 0);
}

static void test_wrong_payload(void **state)
{
    (void)state;
    struct disklog log;
    struct record rec = write_of(0, COUNT);
    rec.payload[3] ^= 1;
    open_log(&log, false);
    append(&log, rec);
    disklog_close(&log);
    struct audit a = result();
    assert_int_equal(a.corrupt, 1);
}

static void test_unacknowledged_is_no_fault(void **state)
{
    (void)state;
    struct disklog log;
    open_log(&log, false);
    append(&log, write_of(0, COUNT));
    disklog_close(&log);
    struct audit a = result();
    assert_true(audit_clean(&a));
    assert_int_equal(a.extra, 1);
}

/* Two copies of one partition go on writing from the same point; the second overwrites the first.
 */
static void test_two_writers(void **state)
{
    (void)state;
    struct disklog first, second;
    open_log(&first, false);
    open_log(&second, false);
    for (unsigned i = 0; i < 4; i++)
        append(&first, write_of(0, COUNT + i));
    for (unsigned i = 0; i < 2; i++)
        append(&second, write_of(1, COUNT + i));
    disklog_close(&first);
    disklog_close(&second);
    struct audit a = result();
    assert_false(audit_clean(&a));
    assert_int_equal(a.chain_breaks, 1);
    assert_int_equal(a.corrupt, 0);
}

static void test_no_log(void **state)
{
    (void)state;
    assert_int_equal(truncate(disk, 0), 0);
    struct audit a = result();
    assert_false(audit_clean(&a));
    assert_false(a.has_log);
    assert_int_equal(a.lost, COUNT);
}

static void test_gaps(void **state)
{
    (void)state;
    struct err err = {0};
    struct journal_head head;
    struct gap gaps[4];
    unsigned n = 4;
    FILE *file = fopen(journal, "ae");
    /* One write waits 5 s, then a pause with nothing waiting, which is no gap, then a quick one. */
    struct journal_event slow = {'A', 0, COUNT, 1000000, 6000000};
    struct journal_event quick = {'A', 1, COUNT, 60000000, 60000100};
    journal_write(file, &slow);
    journal_write(file, &quick);
    fclose(file);
    assert_true(journal_gaps(journal, 0, INT64_MAX, gaps, &n, &head, &err));
    assert_int_equal(n, 4);
    assert_int_equal(gaps[0].begin, 1000000);
    assert_int_equal(gaps[0].end, 6000000);
    assert_int_equal(gaps[1].end - gaps[1].begin, 300);
    n = 4;
    assert_true(journal_gaps(journal, 50000000, INT64_MAX, gaps, &n, &head, &err));
    assert_int_equal(n, 1);
    assert_int_equal(gaps[0].end - gaps[0].begin, 100);
}

static void test_damaged_journal(void **state)
{
    (void)state;
    struct err err = {0};
    struct audit a;
    FILE *file = fopen(journal, "ae");
    fputs("A 9 1 2 3\n", file);
    fclose(file);
    assert_false(audit_run(journal, disk, &a, &err));
    assert_non_null(strstr(err.text, "damaged"));
}

static void test_continues_after_reopening(void **state)
{
    (void)state;
    struct disklog log;
    open_log(&log, false);
    assert_int_equal(log.next, COUNT);
    append(&log, write_of(0, COUNT));
    disklog_close(&log);
    struct audit a = result();
    assert_true(audit_clean(&a));
    assert_int_equal(a.disk_records, COUNT + 1);
}

static void test_full(void **state)
{
    (void)state;
    struct disklog log;
    struct record rec = write_of(0, 1);
    open_log(&log, true);
    log.next = log.capacity;
    assert_int_equal(disklog_append(&log, &rec, 1), -ENOSPC);
    disklog_close(&log);
}

#define TEST(f) cmocka_unit_test_setup(f, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_clean),
        TEST(test_lost_at_the_end),
        TEST(test_hole),
        TEST(test_corrupt),
        TEST(test_doubled),
        TEST(test_wrong_payload),
        TEST(test_unacknowledged_is_no_fault),
        TEST(test_two_writers),
        TEST(test_no_log),
        TEST(test_gaps),
        TEST(test_damaged_journal),
        TEST(test_continues_after_reopening),
        TEST(test_full),
    };
    if (!mkdtemp(dir))
        return 1;
    snprintf(disk, sizeof disk, "%s/disk", dir);
    snprintf(journal, sizeof journal, "%s/journal", dir);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(disk);
    unlink(journal);
    rmdir(dir);
    return rc;
}
