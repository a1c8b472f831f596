/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Blocks that two hosts do not read alike: a writer, or another disk. */
#include "daemon/validate/doubts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define BLOCKS 512

struct disk {
    guint32 blocks[BLOCKS];
};

static const struct lpm_challenge first = {.nonce = {9, 9}};

static gboolean read_disk(void *user, guint64 offset, void *data, gsize length)
{
    const struct disk *disk = user;

    memset(data, 0, length);
    memcpy(data, &disk->blocks[offset / LPM_CHALLENGE_BLOCK], sizeof(guint32));
    return TRUE;
}

static json_t *look(const struct disk *disk, const json_t *blocks)
{
    struct lpm_challenge challenge = first;

    challenge.blocks = blocks;
    return lpm_challenge_answer(&challenge, BLOCKS * LPM_CHALLENGE_BLOCK, read_disk, (void *)disk);
}

static void fill(struct disk *disk)
{
    for (guint i = 0; i < BLOCKS; i++)
        disk->blocks[i] = i + 1;
}

/* A partition that writes `count` blocks from `from` on, anew each time. */
struct writer {
    struct disk *disk;
    guint from, count;
};

static void write_on(const struct writer *writer)
{
    static guint32 next = 1000000;

    for (guint i = 0; i < writer->count; i++)
        writer->disk->blocks[writer->from + i] = next++;
}

/* The outcome for a disk read here and there, with a writer here between any two readings. */
static json_t *settle(const struct disk *here, const struct disk *there,
                      const struct writer *writer, guint rounds)
{
    json_t *a = look(here, NULL);
    write_on(writer);
    json_t *b = look(there, NULL);
    struct lpm_doubts *doubts = lpm_doubts_new(first.nonce, BLOCKS * LPM_CHALLENGE_BLOCK, a, b);

    json_decref(a);
    json_decref(b);
    assert_non_null(doubts);
    json_t *blocks = lpm_doubts_blocks(doubts);
    assert_true(json_array_size(blocks) <= LPM_CHALLENGE_BLOCKS);
    for (guint n = 0; n < rounds && lpm_doubts_open(doubts); n++) {
        json_decref(blocks);
        blocks = lpm_doubts_blocks(doubts);
        write_on(writer);
        json_t *theirs = look(there, blocks);
        write_on(writer);
        json_t *ours = look(here, blocks);
        lpm_doubts_round(doubts, theirs, ours);
        json_decref(theirs);
        json_decref(ours);
    }
    json_decref(blocks);
    json_t *outcome = lpm_doubts_outcome(doubts);
    lpm_doubts_free(doubts);
    return outcome;
}

static gint64 number(const json_t *outcome, const char *name)
{
    return json_integer_value(json_object_get(outcome, name));
}

/* However much it writes, one disk is never two; what is written all the time stays open, and the
 * other blocks speak for it. */
static void test_one_disk_under_a_writer(void **state)
{
    struct disk disk;
    const struct writer writer = {.disk = &disk, .from = 0, .count = 200};

    (void)state;
    fill(&disk);
    json_t *outcome = settle(&disk, &disk, &writer, 4);
    assert_int_equal(number(outcome, "rounds"), 4);
    assert_int_equal(number(outcome, "other"), 0);
    assert_true(number(outcome, "open") > 64 && number(outcome, "same") > 16);
    json_decref(outcome);
}

/* A writer that has paused since: everything turns out alike, in one round. */
static void test_writer_that_has_ended(void **state)
{
    struct disk disk, old;

    (void)state;
    fill(&disk);
    old = disk;
    write_on(&(struct writer){.disk = &disk, .from = 10, .count = 20});
    json_t *a = look(&old, NULL), *b = look(&disk, NULL);
    struct lpm_doubts *doubts = lpm_doubts_new(first.nonce, BLOCKS * LPM_CHALLENGE_BLOCK, a, b);
    json_t *blocks = lpm_doubts_blocks(doubts), *now = look(&disk, blocks);
    lpm_doubts_round(doubts, now, now);
    assert_false(lpm_doubts_open(doubts));
    json_t *outcome = lpm_doubts_outcome(doubts);
    assert_true(number(outcome, "same") >= 20 + LPM_DOUBTS_FRESH); /* some are chosen twice */
    json_decref(outcome);
    json_decref(now);
    json_decref(blocks);
    json_decref(b);
    json_decref(a);
    lpm_doubts_free(doubts);
}

/* A copy from which the disk has gone away since, under the same writer: three blocks that nobody
 * writes any more are enough, and one round is not. */
static void test_copy_that_diverged(void **state)
{
    struct disk disk, copy;
    const struct writer writer = {.disk = &disk, .from = 100, .count = 100};

    (void)state;
    fill(&disk);
    copy = disk;
    write_on(&(struct writer){.disk = &disk, .from = 5, .count = 3});
    json_t *outcome = settle(&disk, &copy, &writer, 1);
    assert_int_equal(number(outcome, "other"), 0);
    json_decref(outcome);
    outcome = settle(&disk, &copy, &writer, LPM_DOUBTS_STILL);
    assert_true(number(outcome, "other") >= 3);
    assert_int_equal(number(outcome, "offset"), 5 * LPM_CHALLENGE_BLOCK);
    json_decref(outcome);
}

/* Another disk is told in as few rounds as a proof takes. */
static void test_other_disk(void **state)
{
    struct disk disk, other;
    const struct writer none = {.disk = &disk};

    (void)state;
    fill(&disk);
    for (guint i = 0; i < BLOCKS; i++)
        other.blocks[i] = 7000 + i;
    json_t *outcome = settle(&disk, &other, &none, 4);
    assert_int_equal(number(outcome, "rounds"), LPM_DOUBTS_STILL);
    assert_true(number(outcome, "other") > 128);
    json_decref(outcome);
}

/* A block that is another one here each round proves nothing, though it is still within a round;
 * nor does one of which an answer is missing. */
static void test_a_change_begins_anew(void **state)
{
    json_t *a = json_pack("[s]", "a"), *b = json_pack("[s]", "b"), *c = json_pack("[s]", "c");
    json_t *none = json_array(), *null = json_pack("[n]");
    const struct {
        const json_t *there, *here;
        int other;
    } rounds[] = {{b, a, 0},    {b, a, 1}, {b, c, 0}, {b, c, 0},    {a, c, 0},    {a, c, 1},
                  {none, c, 0}, {a, c, 0}, {a, c, 1}, {a, null, 0}, {a, none, 0}, {a, c, 0}};
    struct lpm_doubts *doubts = lpm_doubts_new(first.nonce, LPM_CHALLENGE_BLOCK, a, b);

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(rounds); i++) {
        lpm_doubts_round(doubts, rounds[i].there, rounds[i].here);
        json_t *outcome = lpm_doubts_outcome(doubts);
        assert_int_equal(number(outcome, "other"), rounds[i].other);
        assert_int_equal(number(outcome, "other") + number(outcome, "open"), 1 + LPM_DOUBTS_FRESH);
        json_decref(outcome);
    }
    lpm_doubts_round(doubts, c, none);
    json_t *left = lpm_doubts_blocks(doubts);
    assert_int_equal(json_array_size(left), LPM_DOUBTS_FRESH);
    json_decref(left);
    lpm_doubts_free(doubts);
    json_decref(a);
    json_decref(b);
    json_decref(c);
    json_decref(none);
    json_decref(null);
}

static void test_nothing_differs(void **state)
{
    struct disk disk;

    (void)state;
    fill(&disk);
    json_t *a = look(&disk, NULL);
    assert_null(lpm_doubts_new(first.nonce, BLOCKS * LPM_CHALLENGE_BLOCK, a, a));
    assert_null(lpm_doubts_new(first.nonce, 0, a, NULL));
    json_decref(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_disk_under_a_writer),
        cmocka_unit_test(test_writer_that_has_ended),
        cmocka_unit_test(test_copy_that_diverged),
        cmocka_unit_test(test_a_change_begins_anew),
        cmocka_unit_test(test_nothing_differs),
        cmocka_unit_test(test_other_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
