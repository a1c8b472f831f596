/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Two real movers carry streams: identical, whatever is done to the link between them. */
#include "flow.h"
#include "meaning.h"
#include "pair.h"
#include "synthetic.h"

#include "base/clock.h"
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

/* Such a build of the mover has no filter (sandbox.c). */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const gboolean under_sanitizer = TRUE;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
static const gboolean under_sanitizer = TRUE;
#else
static const gboolean under_sanitizer = FALSE;
#endif
#else
static const gboolean under_sanitizer = FALSE;
#endif

/* Pages that did not change are left out. In post-copy frames around pages are made anew: the
 * meaning must be the same then. */
static void assert_same(const struct flow *flow)
{
    g_autoptr(GByteArray) expected = meaning_without_repeats(flow->sent);

    if (flow->received->len != expected->len) {
        struct meaning *sent = meaning_of(expected), *received = meaning_of(flow->received);

        assert_true(sent->pages->len > 0);
        meaning_assert_same(sent, received, FALSE);
        meaning_free(sent);
        meaning_free(received);
        return;
    }
    assert_int_equal(flow->received->len, expected->len);
    assert_memory_equal(flow->received->data, expected->data, expected->len);
}

/* Steps until `flow` has seen the end, cutting the link up to `cuts` times at even distances.
 * Returns how often it was cut: a short stream may be over before. */
static guint carry(struct pair *pair, struct flow *flow, guint cuts)
{
    gint64 deadline = lpm_monotonic_us() + 120 * G_USEC_PER_SEC;
    guint cut = 0;

    while (!g_atomic_int_get(&flow->done) && lpm_monotonic_us() < deadline) {
        guint at = (guint)g_atomic_int_get(&flow->received_bytes);

        if (cut < cuts && at > (cut + 1) * (flow->sent->len >> 10) / (cuts + 2)) {
            guint64 before = pair->end[LPM_SIDE_SOURCE].reconnects;

            pair_cut(pair);
            cut++;
            while (pair->end[LPM_SIDE_SOURCE].reconnects == before && lpm_monotonic_us() < deadline)
                pair_step(pair, 10);
        }
        pair_step(pair, 5);
    }
    assert_true(g_atomic_int_get(&flow->done));
    return cut;
}

/* The hash, which must be of that many bytes. */
static const char *hash_of(struct pair *pair, enum lpm_side side, guint64 bytes)
{
    json_t *stats = pair_stats(pair, side);

    assert_int_equal(json_integer_value(json_object_get(stats, "stream_hash_bytes")), bytes);
    return json_string_value(json_object_get(stats, "stream_hash"));
}

/* Both directions of the data channel, ends included; then the two movers agree. */
static guint carry_both(struct pair *pair, const GByteArray *forward, const GByteArray *backward,
                        guint cuts)
{
    struct mover_end *source = &pair->end[LPM_SIDE_SOURCE], *target = &pair->end[LPM_SIDE_TARGET];
    struct flow there, back;

    pair_connect(pair, LPM_CHANNEL_DATA);
    flow_start(&there, source->program[LPM_CHANNEL_DATA], target->program[LPM_CHANNEL_DATA],
               forward);
    flow_start(&back, target->program[LPM_CHANNEL_DATA], source->program[LPM_CHANNEL_DATA],
               backward);
    guint cut = carry(pair, &there, cuts);
    guint length;

    carry(pair, &back, 0);
    assert_same(&there);
    assert_int_equal(back.received->len, backward->len);
    assert_memory_equal(back.received->data, backward->data, backward->len);
    length = there.received->len;
    flow_finish(&there);
    flow_finish(&back);
    pair_until_state(pair, LPM_SIDE_SOURCE, LPM_CHANNEL_DATA, LPM_CHANNEL_CLOSED, 20);
    pair_until_state(pair, LPM_SIDE_TARGET, LPM_CHANNEL_DATA, LPM_CHANNEL_CLOSED, 20);
    g_autofree char *sent = g_strdup(hash_of(pair, LPM_SIDE_SOURCE, length));

    assert_non_null(sent);
    assert_string_equal(sent, hash_of(pair, LPM_SIDE_TARGET, length));
    return cut;
}

static void test_identical(void **state)
{
    static const char *const methods[] = {"auto", "zstd", "lz4", "none"};
    g_autoptr(GByteArray) forward = synthetic_stream(7, 4000);
    g_autoptr(GByteArray) backward = synthetic_stream(9, 60);

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(methods); i++) {
        struct pair *pair = pair_new(0, methods[i], 1);

        carry_both(pair, forward, backward, 0);
        pair_free(pair);
    }
}

static void test_statistics(void **state)
{
    g_autoptr(GByteArray) forward = synthetic_stream(11, 2000);
    g_autoptr(GByteArray) backward = synthetic_stream(9, 5);
    struct pair *pair = pair_new(0, "zstd", 1);
    json_int_t sent, zero, resent, packets, bytes;
    json_t *stats;

    (void)state;
    carry_both(pair, forward, backward, 0);
    stats = pair_stats(pair, LPM_SIDE_SOURCE);
    assert_int_equal(json_unpack(stats, "{s:{s:I, s:I, s:I}, s:{s:I, s:I}}", "pages", "sent", &sent,
                                 "zero", &zero, "resent", &resent, "transmit", "packets", &packets,
                                 "bytes", &bytes),
                     0);
    assert_int_equal(sent + zero, 2500);
    assert_int_equal(resent, 500);
    assert_true(packets > 0);
    assert_true(bytes > 0 && bytes < forward->len); /* the text-like pages compress */
    assert_int_equal(json_integer_value(json_object_get(stats, "iteration")), 2);
    pair_free(pair);
}

/* QEMU's real streams, as captured. */
static void test_golden(void **state)
{
    g_autoptr(GDir) folder = g_dir_open(g_getenv("LPM_GOLDEN_STREAMS"), 0, NULL);
    g_autoptr(GByteArray) backward = synthetic_stream(9, 5);
    const char *name;
    guint seen = 0;

    (void)state;
    assert_non_null(folder);
    while ((name = g_dir_read_name(folder))) {
        g_autofree char *path = g_build_filename(g_getenv("LPM_GOLDEN_STREAMS"), name, NULL);
        g_autofree char *packed = NULL;
        gsize length;

        if (!g_str_has_suffix(name, ".stream.zst"))
            continue;
        assert_true(g_file_get_contents(path, &packed, &length, NULL));
        unsigned long long size = ZSTD_getFrameContentSize(packed, length);
        assert_true(size < 1ull << 30);
        g_autoptr(GByteArray) forward = g_byte_array_new();

        g_byte_array_set_size(forward, (guint)size);
        assert_int_equal(ZSTD_decompress(forward->data, size, packed, length), size);
        struct pair *pair = pair_new(0, "zstd", 1);

        carry_both(pair, forward, backward, 3);
        pair_free(pair);
        seen++;
    }
    assert_true(seen >= 3);
}

static void test_link_cut_twenty_times(void **state)
{
    g_autoptr(GByteArray) forward = synthetic_stream(3, 16000);
    g_autoptr(GByteArray) backward = synthetic_stream(5, 2000);
    struct pair *pair = pair_new(1u << 20, "zstd", 1);

    (void)state;
    assert_int_equal(carry_both(pair, forward, backward, 20), 20);
    assert_true(pair->end[LPM_SIDE_SOURCE].reconnects >= 20);
    assert_true(pair->end[LPM_SIDE_SOURCE].links_down >= 20);
    assert_int_equal(pair->end[LPM_SIDE_SOURCE].failed, 0);
    assert_int_equal(pair->end[LPM_SIDE_TARGET].failed, 0);
    pair_free(pair);
}

/* While there is no link nothing is lost and nobody hears of it; the backlog stays within its
 * bound. */
static void test_pause_without_link(void **state)
{
    g_autoptr(GByteArray) forward = synthetic_stream(13, 8000);
    struct pair *pair = pair_new(LPM_BACKLOG_MIN, "none", 0);
    struct mover_end *source = &pair->end[LPM_SIDE_SOURCE], *target = &pair->end[LPM_SIDE_TARGET];
    struct flow there;

    (void)state;
    pair_connect(pair, LPM_CHANNEL_DATA);
    pair->keep_linked = FALSE;
    pair_cut(pair);
    pair_until(pair, &source->need[LPM_NEED_LINK], 20, "the source's need of a link");
    pair_until(pair, &target->need[LPM_NEED_LINK], 20, "the target's need of a link");
    flow_start(&there, source->program[LPM_CHANNEL_DATA], target->program[LPM_CHANNEL_DATA],
               forward);
    gint64 until = lpm_monotonic_us() + 6 * G_USEC_PER_SEC;

    while (lpm_monotonic_us() < until)
        pair_step(pair, 100);
    assert_int_equal(g_atomic_int_get(&there.received_bytes), 0);
    json_t *stats = pair_stats(pair, LPM_SIDE_SOURCE);
    json_t *data = json_array_get(json_object_get(stats, "streams"), 1);
    json_int_t held = json_integer_value(json_object_get(data, "unacknowledged"));

    assert_true(held > 0 && held <= (json_int_t)LPM_BACKLOG_MIN);
    assert_int_equal(source->state[LPM_CHANNEL_DATA], LPM_CHANNEL_OPEN);
    assert_int_equal(target->state[LPM_CHANNEL_DATA], LPM_CHANNEL_OPEN);
    pair->keep_linked = TRUE;
    carry(pair, &there, 0);
    assert_same(&there);
    flow_finish(&there);
    pair_free(pair);
}

static json_int_t threads_of(struct pair *pair, enum lpm_side side)
{
    json_t *pipeline = json_object_get(pair_stats(pair, side), "pipeline");

    return json_integer_value(json_object_get(pipeline, "threads"));
}

/* The number of threads changes on both sides while the stream runs, and the link is cut between.
 */
static void test_threads_change(void **state)
{
    static const guint counts[] = {1, 3, 8, 2, 1, 5};
    g_autoptr(GByteArray) forward = synthetic_stream(29, 24000);
    struct pair *pair = pair_new(0, "auto", 0);
    struct flow there;

    (void)state;
    pair_connect(pair, LPM_CHANNEL_DATA);
    flow_start(&there, pair->end[LPM_SIDE_SOURCE].program[LPM_CHANNEL_DATA],
               pair->end[LPM_SIDE_TARGET].program[LPM_CHANNEL_DATA], forward);
    for (guint i = 0; i < G_N_ELEMENTS(counts); i++) {
        guint begun = (guint)g_atomic_int_get(&there.received_bytes);

        for (guint side = 0; side < 2; side++) {
            struct lpm_mover_set set = {.has_threads = TRUE, .threads = counts[i] + side};

            pair_set(pair, (enum lpm_side)side, &set);
            assert_int_equal(threads_of(pair, (enum lpm_side)side), counts[i] + side);
        }
        if (i == 2)
            pair_cut(pair);
        for (guint n = 0; n < 400 && !g_atomic_int_get(&there.done) &&
                          (guint)g_atomic_int_get(&there.received_bytes) < begun + 8192;
             n++)
            pair_step(pair, 5);
    }
    carry(pair, &there, 0);
    assert_same(&there);
    guint length = there.received->len;

    flow_finish(&there);
    g_autofree char *sent = g_strdup(hash_of(pair, LPM_SIDE_SOURCE, length));

    assert_string_equal(sent, hash_of(pair, LPM_SIDE_TARGET, length));
    pair_free(pair);
}

/* "VmHWM", bytes. */
static guint64 peak_of(struct pair *pair, enum lpm_side side)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pair->end[side].pid);
    g_autofree char *status = NULL;

    assert_true(g_file_get_contents(path, &status, NULL, NULL));
    const char *line = strstr(status, "VmHWM:");

    assert_non_null(line);
    return g_ascii_strtoull(line + 6, NULL, 10) << 10;
}

/* The formula of docs/mover-protocol.md, with nothing that compresses and a program that does not
 * read at first, so that all that may wait does. */
static void test_memory_bound(void **state)
{
    static const guint threads[] = {1, 4};
    g_autoptr(GByteArray) forward = synthetic_stream(31, 24000);

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
        const double window = 8, n = threads[i], mib = 1 << 20;
        const double most[2] = {1 + (2 * n + 2) * 1.3 + window + 0.3 * n + 0.4,
                                window + 1 + (2 * n + 2) + 0.4 * n + 0.2};

        pair_threads = threads[i];
        struct pair *pair = pair_new(8u << 20, "none", 0);
        struct flow there;

        pair_connect(pair, LPM_CHANNEL_DATA);
        double before[2] = {(double)peak_of(pair, LPM_SIDE_SOURCE),
                            (double)peak_of(pair, LPM_SIDE_TARGET)};

        flow_start_held(&there, pair->end[LPM_SIDE_SOURCE].program[LPM_CHANNEL_DATA],
                        pair->end[LPM_SIDE_TARGET].program[LPM_CHANNEL_DATA], forward);
        for (guint n_steps = 0; n_steps < 100; n_steps++)
            pair_step(pair, 10);
        g_atomic_int_set(&there.held, 0);
        carry(pair, &there, 0);
        assert_same(&there);
        for (guint side = 0; side < 2 && !under_sanitizer; side++) {
            double grew = ((double)peak_of(pair, (enum lpm_side)side) - before[side]) / mib;

            print_message("%u threads, %s: %.1f MiB of at most %.1f\n", threads[i],
                          lpm_side_name((enum lpm_side)side), grew, most[side]);
            assert_true(grew <= most[side] + 2); /* tags, stacks, the allocator */
        }
        flow_finish(&there);
        pair_free(pair);
    }
    pair_threads = 0;
}

static void test_wrong_key(void **state)
{
    struct pair *pair = pair_new_keys(0, "zstd", 1, 0x33, 0x34);
    struct mover_end *source = &pair->end[LPM_SIDE_SOURCE], *target = &pair->end[LPM_SIDE_TARGET];

    (void)state;
    for (guint i = 0; i < 1000 && (!source->links_down || !target->links_down); i++)
        pair_step(pair, 20);
    assert_true(source->links_down > 0 && target->links_down > 0);
    assert_non_null(source->link_cause);
    assert_non_null(target->link_cause);
    assert_false(source->link_up);
    assert_false(target->link_up);
    assert_int_equal(source->failed, 0);
    assert_int_equal(target->failed, 0);
    pair->keep_linked = FALSE;
    pair_free(pair);
}

/* What the kernel says of a mover that carries a migration. */
static void test_sandbox(void **state)
{
    struct pair *pair = pair_new(0, "zstd", 1);

    (void)state;
    pair_connect(pair, LPM_CHANNEL_DATA);
    for (guint i = 0; i < 2; i++) {
        g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pair->end[i].pid);
        g_autofree char *link = g_strdup_printf("/proc/%d/root", (int)pair->end[i].pid);
        g_autofree char *status = NULL, *root = g_file_read_link(link, NULL);

        assert_true(g_file_get_contents(path, &status, NULL, NULL));
        assert_non_null(root);
        assert_non_null(strstr(root, pair->folder)); /* the empty folder */
        assert_null(strstr(status, "\nUid:\t0"));
        assert_non_null(strstr(status, "\nCapEff:\t0000000000000000\n"));
        assert_non_null(strstr(status, "\nCapPrm:\t0000000000000000\n"));
        assert_non_null(strstr(status, "\nNoNewPrivs:\t1\n"));
        if (!under_sanitizer)
            assert_non_null(strstr(status, "\nSeccomp:\t2\n"));
    }
    pair_free(pair);
}

/* The target's program goes away in the middle: the source's program is told, and neither hangs. */
static void test_program_gone(void **state)
{
    g_autoptr(GByteArray) forward = synthetic_stream(17, 8000);
    struct pair *pair = pair_new(0, "lz4", 1);
    struct mover_end *source = &pair->end[LPM_SIDE_SOURCE], *target = &pair->end[LPM_SIDE_TARGET];
    struct flow there;
    guint8 byte;

    (void)state;
    pair_connect(pair, LPM_CHANNEL_DATA);
    int unread[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, unread), 0);
    flow_start(&there, source->program[LPM_CHANNEL_DATA], unread[0], forward);
    for (guint i = 0; i < 20; i++)
        pair_step(pair, 10);
    lpm_fd_clear(&target->program[LPM_CHANNEL_DATA]);
    pair_until_state(pair, LPM_SIDE_TARGET, LPM_CHANNEL_DATA, LPM_CHANNEL_CLOSED, 20);
    pair_until_state(pair, LPM_SIDE_SOURCE, LPM_CHANNEL_DATA, LPM_CHANNEL_CLOSED, 20);
    assert_int_equal(recv(source->program[LPM_CHANNEL_DATA], &byte, 1, 0), 0);
    assert_int_equal(source->failed, 0);
    close(unread[1]);
    flow_finish(&there);
    close(unread[0]);
    pair_free(pair);
}

/* A figure for the log: what both movers and TLS carry together on this machine. */
static void test_throughput(void **state)
{
    static const struct {
        const char *method;
        int level;
    } cases[] = {{"none", 0}, {"lz4", 1}, {"zstd", -1}, {"zstd", 1}};
    g_autoptr(GByteArray) forward = synthetic_stream(23, 24000);

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct pair *pair = pair_new(0, cases[i].method, cases[i].level);
        struct mover_end *source = &pair->end[LPM_SIDE_SOURCE];
        struct flow there;

        pair_connect(pair, LPM_CHANNEL_DATA);
        flow_start(&there, source->program[LPM_CHANNEL_DATA],
                   pair->end[LPM_SIDE_TARGET].program[LPM_CHANNEL_DATA], forward);
        carry(pair, &there, 0);
        assert_same(&there);
        double seconds = (double)(there.done_us - there.begun_us) / 1e6;
        json_int_t cpu[2],
            wire = json_integer_value(json_object_get(
                json_object_get(pair_stats(pair, LPM_SIDE_SOURCE), "transmit"), "bytes"));

        for (guint side = 0; side < 2; side++)
            cpu[side] = json_integer_value(
                json_object_get(pair_stats(pair, (enum lpm_side)side), "cpu_us"));
        print_message("%s %d: %.0f MB/s of stream, ratio %.2f, CPU s/GB source %.2f target %.2f\n",
                      cases[i].method, cases[i].level, forward->len / seconds / 1e6,
                      (double)forward->len / (double)wire,
                      (double)cpu[0] * 1e3 / (double)forward->len,
                      (double)cpu[1] * 1e3 / (double)forward->len);
        flow_finish(&there);
        pair_free(pair);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identical),
        cmocka_unit_test(test_statistics),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_link_cut_twenty_times),
        cmocka_unit_test(test_pause_without_link),
        cmocka_unit_test(test_threads_change),
        cmocka_unit_test(test_memory_bound),
        cmocka_unit_test(test_wrong_key),
        cmocka_unit_test(test_program_gone),
        cmocka_unit_test(test_sandbox),
        cmocka_unit_test(test_throughput),
    };

    if (geteuid() != 0) {
        print_message("skipped: a mover must be launched by root\n");
        return 77;
    }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
