/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Pages that come again: what decides that one is left out, and what finds out when that went
 * wrong. Beside the mover two deliberately broken ones are carried through the same: one whose tag
 * is the first bytes of a page, which a guest chooses, and one that leaves out pages that changed.
 */
#include "flow.h"
#include "meaning.h"
#include "pair.h"
#include "synthetic.h"

#include "base/clock.h"
#include "codec/page-ring.h"
#include "codec/tag.h"
#include "stream/stream-parser.h"
#include "transport/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Pages that come again with content, and had content before, come as they were; with `change`
 * only their first 64 bytes do: a guest that knows how a weak tag is made keeps the tag. Returns
 * how many. */
static guint repeat(GByteArray *stream, gboolean change)
{
    g_autoptr(GHashTable) first = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    g_autoptr(LpmStreamParser) parser = lpm_stream_parser_new();
    struct lpm_stream_event event;
    guint count = 0;

    for (gsize done = 0; done < stream->len;) {
        done += lpm_stream_parser_step(parser, stream->data + done, stream->len - done, &event);
        if (event.type != LPM_STREAM_PAGE)
            continue;
        guint8 *content = stream->data + (event.data - stream->data) + event.header_length;
        const guint8 *before = g_hash_table_lookup(first, &event.offset);

        if (!before) {
            g_hash_table_insert(first, g_memdup2(&event.offset, sizeof(event.offset)), content);
            continue;
        }
        memcpy(content, before, event.page_size);
        for (guint i = 64; change && i < event.page_size; i += 512)
            content[i] ^= 0x5a;
        count++;
    }
    return count;
}

/* The last content of each page: checksum by offset. */
static GHashTable *last_contents(const GByteArray *stream)
{
    GHashTable *pages = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    g_autoptr(LpmStreamParser) parser = lpm_stream_parser_new();
    struct lpm_stream_event event;

    for (gsize done = 0; done < stream->len;) {
        done += lpm_stream_parser_step(parser, stream->data + done, stream->len - done, &event);
        if (event.type != LPM_STREAM_PAGE && event.type != LPM_STREAM_ZERO_PAGE)
            continue;
        guint64 content =
            lpm_checksum(event.data + event.header_length, event.length - event.header_length);

        g_hash_table_replace(pages, g_memdup2(&event.offset, sizeof(event.offset)),
                             g_memdup2(&content, sizeof(content)));
    }
    return pages;
}

/* Pages whose last content is not the same. */
static guint different(const GByteArray *one, const GByteArray *other)
{
    g_autoptr(GHashTable) here = last_contents(one), there = last_contents(other);
    GHashTableIter iter;
    gpointer key, value;
    guint count = 0;

    assert_int_equal(g_hash_table_size(here), g_hash_table_size(there));
    g_hash_table_iter_init(&iter, here);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        const guint64 *content = g_hash_table_lookup(there, key);

        count += !content || *content != *(const guint64 *)value;
    }
    return count;
}

struct outcome {
    guint wrong;                       /* pages that are not what the source's QEMU said last */
    gboolean agreed;                   /* what both movers say of it is the same */
    json_int_t unchanged, same, delta; /* records left out */
    gsize sent, received;              /* bytes of the stream */
};

static char *hash_of(struct pair *pair, enum lpm_side side)
{
    return g_strdup(json_string_value(json_object_get(pair_stats(pair, side), "stream_hash")));
}

/* Carries the stream by movers of `program`. */
static struct outcome carry(const char *program, const GByteArray *stream)
{
    const char *usual = g_getenv("LPM_MOVER");
    g_autofree char *restore = g_strdup(usual);

    g_setenv("LPM_MOVER", program, TRUE);
    struct pair *pair = pair_new(0, "zstd", 1);
    struct outcome outcome = {.sent = stream->len};
    gint64 deadline = lpm_monotonic_us() + 60 * G_USEC_PER_SEC;
    struct flow flow;

    g_setenv("LPM_MOVER", restore, TRUE);
    pair_connect(pair, LPM_CHANNEL_DATA);
    flow_start(&flow, pair->end[LPM_SIDE_SOURCE].program[LPM_CHANNEL_DATA],
               pair->end[LPM_SIDE_TARGET].program[LPM_CHANNEL_DATA], stream);
    while (!g_atomic_int_get(&flow.done) && lpm_monotonic_us() < deadline)
        pair_step(pair, 5);
    assert_true(g_atomic_int_get(&flow.done));
    g_autofree char *here = hash_of(pair, LPM_SIDE_SOURCE), *there = hash_of(pair, LPM_SIDE_TARGET);

    outcome.agreed = here && there && !strcmp(here, there);
    outcome.received = flow.received->len;
    outcome.wrong = different(stream, flow.received);
    outcome.unchanged = json_integer_value(
        json_object_get(json_object_get(pair_stats(pair, LPM_SIDE_SOURCE), "pages"), "unchanged"));
    outcome.same = json_integer_value(
        json_object_get(json_object_get(pair_stats(pair, LPM_SIDE_SOURCE), "pages"), "same"));
    outcome.delta = json_integer_value(
        json_object_get(json_object_get(pair_stats(pair, LPM_SIDE_SOURCE), "pages"), "delta"));
    flow_finish(&flow);
    pair_free(pair);
    return outcome;
}

static void test_unchanged_are_left_out(void **state)
{
    g_autoptr(GByteArray) stream = synthetic_stream(31, 2000);
    guint same = repeat(stream, FALSE);
    g_autoptr(GByteArray) rest = meaning_without_repeats(stream);

    (void)state;
    struct outcome outcome = carry(g_getenv("LPM_MOVER"), stream);

    assert_int_equal(outcome.wrong, 0);
    assert_true(outcome.agreed);
    assert_true(same > 100 && outcome.unchanged >= same); /* and pages of zeros */
    assert_int_equal(outcome.received, rest->len);
    assert_true(rest->len < stream->len);
}

/* A guest that chooses its pages gains nothing; of a tag that it can compute it would. */
static void test_chosen_pages(void **state)
{
    g_autoptr(GByteArray) stream = synthetic_stream(33, 2000);
    guint changed = repeat(stream, TRUE);

    (void)state;
    assert_true(changed > 100);
    struct outcome outcome = carry(g_getenv("LPM_MOVER"), stream);

    assert_int_equal(outcome.wrong, 0);
    assert_true(outcome.agreed);
    outcome = carry(g_getenv("LPM_MOVER_WEAK_TAG"), stream);
    assert_int_equal(outcome.wrong, changed);
}

/* Pages that went already, elsewhere or changed a little, cost little; the stream stays right. */
static void test_recalled(void **state)
{
    enum { PAGES = 4000, OTHERS = 3000 };
    g_autofree guint8 *content = g_malloc(PAGES * 4096);
    g_autoptr(GRand) noise = g_rand_new_with_seed(5);

    (void)state;
    for (gsize i = 0; i < PAGES * 4096; i += 4)
        memcpy(content + i, &(guint32){g_rand_int(noise)}, 4);
    for (guint i = OTHERS; i < PAGES; i++) /* far from their likes */
        memcpy(content + i * 4096, content + (i - OTHERS) * 4096, 4096);
    g_autoptr(GByteArray) once = synthetic_stream_of(content, PAGES);
    struct outcome outcome = carry(g_getenv("LPM_MOVER"), once);

    assert_int_equal(outcome.wrong, 0);
    assert_true(outcome.agreed);
    assert_true(outcome.same > (PAGES - OTHERS) * 9 / 10);
    g_autoptr(GByteArray) again = synthetic_stream(37, 8000);
    guint changed = repeat(again, TRUE);

    outcome = carry(g_getenv("LPM_MOVER"), again);
    assert_int_equal(outcome.wrong, 0);
    assert_true(outcome.agreed);
    assert_true(changed > 500 && outcome.delta > (json_int_t)changed * 9 / 10);
}

/* The ring of the newest pages, at its edges. */
static void test_ring(void **state)
{
    g_autoptr(LpmPageRing) ring = lpm_page_ring_new(TRUE);
    guint8 page[LPM_RING_PAGE] = {0};
    struct lpm_tag tag = {{0}};
    uint64_t number;

    (void)state;
    assert_null(lpm_page_ring_at(ring, 0));
    for (guint i = 0; i < LPM_RING_PAGES + 10; i++) {
        memcpy(page, &i, sizeof(i));
        memcpy(tag.bytes, &i, sizeof(i));
        lpm_page_ring_push(ring, page, i % 100, &tag);
    }
    assert_int_equal(lpm_page_ring_pushed(ring), LPM_RING_PAGES + 10);
    assert_null(lpm_page_ring_at(ring, 9));
    assert_non_null(lpm_page_ring_at(ring, 10));
    assert_null(lpm_page_ring_at(ring, LPM_RING_PAGES + 10));
    assert_true(lpm_page_ring_find_tag(ring, &tag, LPM_RING_PAGES + 10, &number));
    assert_int_equal(number, LPM_RING_PAGES + 9);
    assert_false(lpm_page_ring_find_tag(ring, &tag, LPM_RING_PAGES + 9, &number));
    assert_true(lpm_page_ring_find_place(ring, 1, LPM_RING_PAGES + 10, &number));
    assert_int_equal(number, LPM_RING_PAGES + 9);
    assert_false(lpm_page_ring_find_place(ring, 100, LPM_RING_PAGES + 10, &number));
    memset(tag.bytes, 0, sizeof(tag.bytes));
    assert_false(lpm_page_ring_find_tag(ring, &tag, LPM_RING_PAGES + 10, &number));
}

/* The two movers find out that a page was left out that had changed. */
static void test_wrongly_left_out(void **state)
{
    g_autoptr(GByteArray) stream = synthetic_stream(35, 2000);

    (void)state;
    repeat(stream, TRUE);
    struct outcome outcome = carry(g_getenv("LPM_MOVER_LEAVE_OUT_CHANGED"), stream);

    assert_true(outcome.wrong > 0);
    assert_false(outcome.agreed);
}

/* ---- the table ---- */

static struct lpm_tag tag_of(LpmTagger *tagger, const char *text)
{
    guint8 page[4096] = {0};
    struct lpm_tag tag;

    g_strlcpy((char *)page, text, sizeof(page));
    lpm_tagger_tag(tagger, page, sizeof(page), &tag);
    return tag;
}

static void test_keys(void **state)
{
    g_autoptr(LpmTagger) one = lpm_tagger_new((const guint8 *)"secret", 6);
    g_autoptr(LpmTagger) same = lpm_tagger_new((const guint8 *)"secret", 6);
    g_autoptr(LpmTagger) other = lpm_tagger_new((const guint8 *)"Secret", 6);
    struct lpm_tag a = tag_of(one, "page"), b = tag_of(same, "page"), c = tag_of(other, "page");
    struct lpm_tag d = tag_of(one, "pagf");

    (void)state;
    assert_true(lpm_tag_equal(&a, &b));
    assert_false(lpm_tag_equal(&a, &c));
    assert_false(lpm_tag_equal(&a, &d));
}

/* The digest is of what is there in the end, and not of how it came about. */
static void test_digest(void **state)
{
    g_autoptr(LpmTagger) tagger = lpm_tagger_new((const guint8 *)"k", 1);
    struct lpm_tag a = tag_of(tagger, "a"), b = tag_of(tagger, "b"), got;
    g_autoptr(LpmTagTable) one = lpm_tag_table_new(4096), other = lpm_tag_table_new(4096);
    guint8 here[LPM_TAG_BYTES], there[LPM_TAG_BYTES];

    (void)state;
    assert_true(lpm_tag_table_add_block(one, 10000 * 4096));
    assert_true(lpm_tag_table_add_block(other, 10000 * 4096));
    assert_false(lpm_tag_table_add_block(one, LPM_TAG_TABLE_MAX));
    lpm_tag_table_set(one, 0, 4096, LPM_TAG_GIVEN, &a);
    lpm_tag_table_set(one, 0, 9999 * 4096, LPM_TAG_GIVEN, &b);
    lpm_tag_table_set(other, 0, 9999 * 4096, LPM_TAG_GIVEN, &a);
    lpm_tag_table_set(other, 0, 4096, LPM_TAG_GIVEN, &a);
    lpm_tag_table_set(other, 0, 8192, LPM_TAG_KEPT, &a);
    lpm_tag_table_digest(one, here);
    lpm_tag_table_digest(other, there);
    assert_memory_not_equal(here, there, sizeof(here));
    lpm_tag_table_set(other, 0, 9999 * 4096, LPM_TAG_GIVEN, &b);
    lpm_tag_table_digest(other, there);
    assert_memory_equal(here, there, sizeof(here));
    assert_int_equal(lpm_tag_table_get(other, 0, 8192, &got), LPM_TAG_KEPT);
    assert_int_equal(lpm_tag_table_get(other, 0, 12288, &got), LPM_TAG_NONE);
    assert_false(lpm_tag_table_set(other, 0, 10000 * 4096, LPM_TAG_GIVEN, &a));
    assert_false(lpm_tag_table_set(other, 1, 0, LPM_TAG_GIVEN, &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_digest),
        cmocka_unit_test(test_unchanged_are_left_out),
        cmocka_unit_test(test_chosen_pages),
        cmocka_unit_test(test_recalled),
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_wrongly_left_out),
    };

    if (geteuid() != 0) {
        print_message("skipped: a mover must be launched by root\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
