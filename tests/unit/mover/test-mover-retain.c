/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* A partition goes and comes back: pages that did not change stay off the wire, whatever happens to
 * the image that was kept of it the stream is right. */
#include "flow.h"
#include "meaning.h"
#include "pair.h"
#include "synthetic.h"

#include "base/clock.h"
#include "base/error.h"
#include "mover/page-image.h"
#include "stream/stream-parser.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 6000u
#define SLOTS_AT (1 << 20)
#define SLOT_BYTES 4120

static int new_file(void)
{
    int fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    return fd;
}

static void retain(struct pair *pair, enum lpm_side side, int fd, guint8 key)
{
    g_autoptr(GError) error = NULL;
    guint8 bytes[LPM_IMAGE_KEY_BYTES];

    memset(bytes, key, sizeof(bytes));
    assert_true(lpm_mover_send_retain(pair->end[side].control, fd, bytes, &error));
}

static json_int_t figure(struct pair *pair, enum lpm_side side, const char *group, const char *name)
{
    json_t *found = json_object_get(json_object_get(pair_stats(pair, side), group), name);

    return json_is_true(found) ? 1 : json_integer_value(found);
}

/* Waits until the target has read its image. */
static void await_read(struct pair *pair)
{
    gint64 deadline = lpm_monotonic_us() + 20 * G_USEC_PER_SEC;

    while (!figure(pair, LPM_SIDE_TARGET, "retained", "read") && lpm_monotonic_us() < deadline)
        pair_step(pair, 5);
    assert_int_equal(figure(pair, LPM_SIDE_TARGET, "retained", "read"), 1);
    while (!pair->end[LPM_SIDE_SOURCE].link_up && lpm_monotonic_us() < deadline)
        pair_step(pair, 5);
    for (guint i = 0; i < 20; i++) /* the offers are under way: they are not awaited otherwise */
        pair_step(pair, 10);
}

/* Carries the stream, which must be right at the other end, and the movers must agree. */
static void carry(struct pair *pair, const GByteArray *stream)
{
    g_autoptr(GByteArray) expected = meaning_without_repeats(stream);
    gint64 deadline = lpm_monotonic_us() + 60 * G_USEC_PER_SEC;
    struct flow flow;

    pair_connect(pair, LPM_CHANNEL_DATA);
    flow_start(&flow, pair->end[LPM_SIDE_SOURCE].program[LPM_CHANNEL_DATA],
               pair->end[LPM_SIDE_TARGET].program[LPM_CHANNEL_DATA], stream);
    while (!g_atomic_int_get(&flow.done) && lpm_monotonic_us() < deadline)
        pair_step(pair, 5);
    assert_true(g_atomic_int_get(&flow.done));
    assert_int_equal(flow.received->len, expected->len);
    assert_memory_equal(flow.received->data, expected->data, expected->len);
    flow_finish(&flow);
    g_autofree char *here = g_strdup(
        json_string_value(json_object_get(pair_stats(pair, LPM_SIDE_SOURCE), "stream_hash")));

    assert_string_equal(
        here, json_string_value(json_object_get(pair_stats(pair, LPM_SIDE_TARGET), "stream_hash")));
}

/* Goes away: the image of what was sent. */
static int leave(const GByteArray *stream)
{
    struct pair *pair = pair_new(0, "zstd", 1);
    int fd = new_file();

    retain(pair, LPM_SIDE_SOURCE, fd, 1);
    carry(pair, stream);
    assert_int_equal(figure(pair, LPM_SIDE_SOURCE, "retain", "failed"), 0);
    assert_true(figure(pair, LPM_SIDE_SOURCE, "retain", "written") > 0);
    pair_free(pair);
    return fd;
}

struct home {
    json_int_t kept, offered, damaged, sent; /* pages */
    json_int_t bytes;                        /* on the wire, from the source */
};

/* Comes back. */
static struct home come_home(const GByteArray *stream, int fd, guint8 key)
{
    struct pair *pair = pair_new(0, "zstd", 1);
    struct home home;

    retain(pair, LPM_SIDE_TARGET, fd, key);
    if (key == 1 && lseek(fd, 0, SEEK_END) > SLOTS_AT)
        await_read(pair);
    carry(pair, stream);
    home.kept = figure(pair, LPM_SIDE_SOURCE, "pages", "kept");
    home.sent = figure(pair, LPM_SIDE_SOURCE, "pages", "sent");
    home.bytes = figure(pair, LPM_SIDE_SOURCE, "transmit", "bytes");
    home.offered = figure(pair, LPM_SIDE_TARGET, "retained", "offered");
    home.damaged = figure(pair, LPM_SIDE_TARGET, "retained", "damaged");
    /* A batch that refers to the ring as well is decoded, and its pages are read, twice. */
    assert_true(figure(pair, LPM_SIDE_TARGET, "retained", "used") >= home.kept);
    pair_free(pair);
    return home;
}

/* Every `nth` page with content changes a little. */
static void change(GByteArray *stream, guint nth)
{
    g_autoptr(LpmStreamParser) parser = lpm_stream_parser_new();
    struct lpm_stream_event event;
    guint pages = 0;

    for (gsize done = 0; done < stream->len;) {
        done += lpm_stream_parser_step(parser, stream->data + done, stream->len - done, &event);
        if (event.type == LPM_STREAM_PAGE && ++pages % nth == 0)
            stream->data[(gsize)(event.data - stream->data) + event.header_length + 99] ^= 1;
    }
}

static void test_home(void **state)
{
    g_autofree guint8 *content = g_malloc(PAGES * LPM_IMAGE_PAGE);
    g_autoptr(GRand) noise = g_rand_new_with_seed(41);

    for (gsize i = 0; i < PAGES * LPM_IMAGE_PAGE; i += 4)
        memcpy(content + i, &(guint32){g_rand_int(noise)}, 4);
    g_autoptr(GByteArray) stream = synthetic_stream_of(content, PAGES);
    int fd = leave(stream);
    struct home plain = {0}, home;

    (void)state;
    change(stream, 16);
    {
        struct pair *pair = pair_new(0, "zstd", 1);

        carry(pair, stream);
        plain.bytes = figure(pair, LPM_SIDE_SOURCE, "transmit", "bytes");
        pair_free(pair);
    }
    home = come_home(stream, fd, 1);
    print_message("coming home: %d of %d pages kept, %d instead of %d bytes\n", (int)home.kept,
                  (int)home.sent, (int)home.bytes, (int)plain.bytes);
    assert_int_equal(home.damaged, 0);
    assert_true(home.kept > home.sent * 9 / 10);
    assert_true(home.bytes < plain.bytes / 10);
    close(fd);
}

/* Nothing fits: everything is sent. */
static void test_stale(void **state)
{
    g_autoptr(GByteArray) before = synthetic_stream(43, PAGES);
    g_autoptr(GByteArray) now = synthetic_stream(44, PAGES);
    int fd = leave(before);
    struct home home = come_home(now, fd, 1);

    (void)state;
    assert_true(home.offered > 0);
    assert_int_equal(home.kept, 0);
    close(fd);
}

static void test_damaged(void **state)
{
    g_autoptr(GByteArray) stream = synthetic_stream(45, PAGES);
    int fd = leave(stream);
    guint damaged = 0;

    (void)state;
    for (off_t at = SLOTS_AT; at < lseek(fd, 0, SEEK_END) - SLOT_BYTES; at += 2 * SLOT_BYTES) {
        guint8 slot[SLOT_BYTES];

        assert_int_equal(pread(fd, slot, sizeof(slot), at), sizeof(slot));
        slot[1000] ^= 1;
        damaged += slot[7] || slot[6];
        assert_int_equal(pwrite(fd, slot, sizeof(slot), at), sizeof(slot));
    }
    struct home home = come_home(stream, fd, 1);

    assert_true(damaged > 0);
    assert_int_equal(home.damaged, damaged);
    assert_true(home.kept > 0 && home.kept <= home.offered);
    close(fd);
}

static void test_truncated(void **state)
{
    g_autoptr(GByteArray) stream = synthetic_stream(46, PAGES);
    int fd = leave(stream);
    struct home whole = come_home(stream, fd, 1);

    (void)state;
    assert_int_equal(ftruncate(fd, SLOTS_AT + 1000 * SLOT_BYTES + 77), 0);
    struct home home = come_home(stream, fd, 1);

    assert_true(home.kept > 0 && home.kept < whole.kept / 2);
    assert_int_equal(ftruncate(fd, 5000), 0); /* into the list of blocks */
    home = come_home(stream, fd, 1);
    assert_int_equal(home.kept, 0);
    assert_int_equal(ftruncate(fd, 0), 0);
    home = come_home(stream, fd, 1);
    assert_int_equal(home.kept, 0);
    close(fd);
}

/* Another partition's image is sealed under another key. */
static void test_of_another(void **state)
{
    g_autoptr(GByteArray) stream = synthetic_stream(47, PAGES);
    int fd = leave(stream);
    struct home home = come_home(stream, fd, 2);

    (void)state;
    assert_int_equal(home.offered, 0);
    assert_int_equal(home.kept, 0);
    close(fd);
}

/* The disk takes no more: the migration goes on. */
static void test_full(void **state)
{
    g_autoptr(GByteArray) stream = synthetic_stream(48, PAGES);
    struct pair *pair = pair_new(0, "zstd", 1);
    int fd = new_file();

    (void)state;
    assert_int_equal(ftruncate(fd, SLOTS_AT + 100 * SLOT_BYTES), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
    retain(pair, LPM_SIDE_SOURCE, fd, 1);
    carry(pair, stream);
    assert_int_equal(figure(pair, LPM_SIDE_SOURCE, "retain", "failed"), 1);
    pair_free(pair);
    struct home home = come_home(stream, fd, 1);

    assert_true(home.offered > 0 && home.offered <= 100);
    assert_true(home.kept <= home.offered);
    close(fd);
}

/* Damaged after it was offered: the session fails rather than give what it does not have. */
static void test_damaged_later(void **state)
{
    g_autoptr(GByteArray) stream = synthetic_stream(49, PAGES);
    int fd = leave(stream);
    struct pair *pair = pair_new(0, "zstd", 1);
    gint64 deadline = lpm_monotonic_us() + 20 * G_USEC_PER_SEC;
    struct flow flow;

    (void)state;
    retain(pair, LPM_SIDE_TARGET, fd, 1);
    await_read(pair);
    assert_int_equal(ftruncate(fd, SLOTS_AT), 0);
    pair_connect(pair, LPM_CHANNEL_DATA);
    flow_start(&flow, pair->end[LPM_SIDE_SOURCE].program[LPM_CHANNEL_DATA],
               pair->end[LPM_SIDE_TARGET].program[LPM_CHANNEL_DATA], stream);
    while (!pair->end[LPM_SIDE_TARGET].failed && lpm_monotonic_us() < deadline)
        pair_step(pair, 5);
    assert_int_equal(pair->end[LPM_SIDE_TARGET].failed, LPM_E_RETAINED);
    while (!g_atomic_int_get(&flow.done) && lpm_monotonic_us() < deadline)
        pair_step(pair, 5);
    flow_finish(&flow);
    pair_free(pair);
    close(fd);
}

/* Pages out of order, twice, and at the ends of what an image can hold. */
static void test_image(void **state)
{
    const struct lpm_image_block blocks[] = {{.name = (char *)"a", .pages = 3},
                                             {.name = (char *)"pc.ram", .pages = 200}};
    guint8 key[LPM_IMAGE_KEY_BYTES] = {1}, *pages = g_malloc0(64 * LPM_IMAGE_PAGE);
    g_autoptr(GError) error = NULL;
    int fd = new_file();
    guint64 damaged = 0;

    (void)state;
    g_autoptr(LpmImage) image = lpm_image_create(dup(fd), key, blocks, 2, &error);
    assert_non_null(image);
    for (guint round = 1; round <= 2; round++) {
        pages[0] = (guint8)round;
        assert_true(lpm_image_write(image, 202, 1, pages, &error));
        pages[0] = (guint8)(10 + round);
        assert_true(lpm_image_write(image, 3, 2, pages, &error));
    }
    assert_false(lpm_image_write(image, 202, 2, pages, &error));
    assert_int_equal(error->code, LPM_E_RETAINED);
    g_autoptr(LpmImage) read = lpm_image_open(dup(fd), key, NULL);
    assert_non_null(read);
    assert_int_equal(lpm_image_slots(read), 203);
    assert_string_equal(lpm_image_block(read, 1)->name, "pc.ram");
    assert_int_equal(lpm_image_block(read, 1)->first, 3);
    assert_null(lpm_image_block(read, 2));
    assert_int_equal(lpm_image_read(read, 0, 64, pages, &damaged), 0x18);
    assert_int_equal(pages[3 * LPM_IMAGE_PAGE], 12);
    assert_int_equal(lpm_image_read(read, 200, 64, pages, &damaged), 4);
    assert_int_equal(pages[2 * LPM_IMAGE_PAGE], 2);
    assert_int_equal(lpm_image_read(read, 203, 64, pages, &damaged), 0);
    assert_int_equal(damaged, 0);
    close(fd);
    g_free(pages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image),     cmocka_unit_test(test_home),
        cmocka_unit_test(test_stale),     cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_truncated), cmocka_unit_test(test_of_another),
        cmocka_unit_test(test_full),      cmocka_unit_test(test_damaged_later),
    };

    if (geteuid() != 0) {
        print_message("skipped: a mover must be launched by root\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
