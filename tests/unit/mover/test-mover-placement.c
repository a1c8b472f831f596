/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Pages that the target's mover places: what it writes into the memory, and the stream that it
 * leaves for QEMU, make together what the whole stream makes. QEMU's part, loading a stream, is
 * done here by the rules of docs/stream-format.md.
 */
#include "flow.h"
#include "pair.h"
#include "synthetic.h"

#include "base/clock.h"
#include "base/error.h"
#include "stream/stream-parser.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

#define PAGE 4096u
#define DIRT 0xa5

/* ---- a program that loads ---- */

/* The memory of a program: its blocks as the stream announces them. */
struct machine {
    GArray *blocks;   /* of struct memory */
    GByteArray *rest; /* all bytes of the stream but records of pages */
    guint pages;      /* records of pages */
    gboolean post_copy;
};

struct memory {
    char *name;
    guint64 length;
    guint8 *bytes; /* mapped */
};

static struct memory map_memory(const char *name, guint64 length, int fd)
{
    struct memory memory = {.name = g_strdup(name), .length = length};

    memory.bytes = mmap(NULL, length, PROT_READ | PROT_WRITE,
                        fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
    assert_true(memory.bytes != MAP_FAILED);
    return memory;
}

/* What a reset has left there: not all of it is zero. */
static void soil(guint8 *bytes, guint64 length)
{
    for (guint64 at = 0; at < length; at += 5 * PAGE)
        memset(bytes + at, DIRT, 100);
}

/* Its blocks, that called `shared` (or NULL) being the file `fd`. */
static void announce(struct machine *machine, const LpmStreamParser *parser, const char *shared,
                     int fd)
{
    const struct lpm_stream_block *block;

    for (guint i = machine->blocks->len; (block = lpm_stream_parser_block(parser, i)); i++) {
        gboolean is_shared = shared && !strcmp(block->name, shared);
        struct memory memory = map_memory(block->name, block->length, is_shared ? fd : -1);

        if (!is_shared)
            soil(memory.bytes, memory.length);
        g_array_append_val(machine->blocks, memory);
    }
}

static void load_page(struct machine *machine, const struct lpm_stream_event *event)
{
    const struct memory *memory = &g_array_index(machine->blocks, struct memory, event->block);

    machine->pages++;
    assert_true(event->offset + event->page_size <= memory->length);
    if (event->type == LPM_STREAM_PAGE)
        memcpy(memory->bytes + event->offset, event->data + event->header_length, event->page_size);
    else
        memset(memory->bytes + event->offset, 0, event->page_size);
}

static struct machine *load(const GByteArray *stream, const char *shared, int fd)
{
    g_autoptr(LpmStreamParser) parser = lpm_stream_parser_new();
    struct machine *machine = g_new0(struct machine, 1);

    machine->blocks = g_array_new(FALSE, FALSE, sizeof(struct memory));
    machine->rest = g_byte_array_new();
    for (gsize done = 0; done < stream->len;) {
        struct lpm_stream_event event;

        done += lpm_stream_parser_step(parser, stream->data + done, stream->len - done, &event);
        if (event.type == LPM_STREAM_PAGE || event.type == LPM_STREAM_ZERO_PAGE) {
            announce(machine, parser, shared, fd);
            load_page(machine, &event);
        } else {
            g_byte_array_append(machine->rest, event.data, (guint)event.length);
        }
    }
    assert_false(lpm_stream_parser_info(parser)->degraded);
    machine->post_copy = lpm_stream_parser_info(parser)->postcopy_run;
    return machine;
}

static void machine_free(struct machine *machine)
{
    for (guint i = 0; i < machine->blocks->len; i++) {
        struct memory *memory = &g_array_index(machine->blocks, struct memory, i);

        munmap(memory->bytes, memory->length);
        g_free(memory->name);
    }
    g_array_unref(machine->blocks);
    g_byte_array_unref(machine->rest);
    g_free(machine);
}

static void assert_same_machine(const struct machine *one, const struct machine *other)
{
    /* Behind the word to run frames are made anew: test-mover-postcopy.c. */
    if (!one->post_copy) {
        assert_int_equal(one->rest->len, other->rest->len);
        assert_memory_equal(one->rest->data, other->rest->data, one->rest->len);
    }
    assert_int_equal(one->blocks->len, other->blocks->len);
    for (guint i = 0; i < one->blocks->len; i++) {
        const struct memory *a = &g_array_index(one->blocks, struct memory, i);
        const struct memory *b = &g_array_index(other->blocks, struct memory, i);

        assert_string_equal(a->name, b->name);
        assert_int_equal(a->length, b->length);
        for (guint64 at = 0; at < a->length; at += PAGE)
            if (memcmp(a->bytes + at, b->bytes + at, MIN(PAGE, a->length - at)))
                fail_msg("the page at %" G_GINT64_MODIFIER "x of %s differs", at, a->name);
    }
}

/* ---- movers ---- */

/* The largest block: the length, and the name to be freed. */
static guint64 largest_block(const GByteArray *stream, char **name)
{
    struct machine *machine = load(stream, NULL, -1);
    guint64 length = 0;

    for (guint i = 0; i < machine->blocks->len; i++) {
        const struct memory *memory = &g_array_index(machine->blocks, struct memory, i);

        if (memory->length <= length)
            continue;
        length = memory->length;
        g_free(*name);
        *name = g_strdup(memory->name);
    }
    machine_free(machine);
    return length;
}

/* Memory of a program that was just reset. */
static int make_memory(guint64 length)
{
    int fd = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_int_equal(ftruncate(fd, (off_t)length), 0);
    struct memory memory = map_memory("", length, fd);

    soil(memory.bytes, length);
    munmap(memory.bytes, length);
    g_free(memory.name);
    return fd;
}

static const char *placement_of(struct pair *pair, const char *key)
{
    json_t *placement = json_object_get(pair_stats(pair, LPM_SIDE_TARGET), "placement");

    return json_string_value(json_object_get(placement, key));
}

static json_int_t placed_pages(struct pair *pair)
{
    json_t *placement = json_object_get(pair_stats(pair, LPM_SIDE_TARGET), "placement");

    return json_integer_value(json_object_get(placement, "pages"));
}

static void begin(struct pair *pair, struct flow *flow, const GByteArray *stream)
{
    pair_connect(pair, LPM_CHANNEL_DATA);
    flow_start(flow, pair->end[LPM_SIDE_SOURCE].program[LPM_CHANNEL_DATA],
               pair->end[LPM_SIDE_TARGET].program[LPM_CHANNEL_DATA], stream);
}

/* Until the end, the link being cut now and then. */
static void carry(struct pair *pair, struct flow *flow, guint cuts)
{
    gint64 deadline = lpm_monotonic_us() + 120 * G_USEC_PER_SEC;
    json_int_t next = 500;

    while (!g_atomic_int_get(&flow->done) && lpm_monotonic_us() < deadline) {
        pair_step(pair, 5);
        if (cuts && placed_pages(pair) >= next) {
            pair_cut(pair);
            cuts--;
            next += 1500;
        }
    }
    assert_true(g_atomic_int_get(&flow->done));
}

static void assert_agreed(struct pair *pair)
{
    g_autofree char *here = g_strdup(
        json_string_value(json_object_get(pair_stats(pair, LPM_SIDE_SOURCE), "stream_hash")));

    assert_non_null(here);
    assert_string_equal(
        here, json_string_value(json_object_get(pair_stats(pair, LPM_SIDE_TARGET), "stream_hash")));
}

struct carried {
    guint records, given; /* of pages: in the stream, and of these for QEMU */
    json_int_t placed;    /* records placed */
};

/* Carries the stream with memory for its largest block, and compares. */
static struct carried check(const GByteArray *stream, guint cuts)
{
    g_autofree char *name = NULL;
    guint64 length = largest_block(stream, &name);
    lpm_autofd fd = make_memory(length);
    struct pair *pair = pair_new(0, "zstd", 1);
    struct flow flow;

    pair_give_memory(pair, name, length, fd);
    begin(pair, &flow, stream);
    carry(pair, &flow, cuts);
    assert_agreed(pair);
    flow_join(&flow);
    struct machine *expected = load(stream, NULL, -1), *loaded = load(flow.received, name, fd);

    assert_same_machine(expected, loaded);
    struct carried carried = {
        .records = expected->pages, .given = loaded->pages, .placed = placed_pages(pair)};

    assert_string_equal(placement_of(pair, "method"), carried.placed ? "direct" : "stream");
    machine_free(expected);
    machine_free(loaded);
    flow_free(&flow);
    pair_free(pair);
    return carried;
}

/* ---- tests ---- */

static void test_synthetic(void **state)
{
    (void)state;
    for (guint threads = 1; threads <= 4; threads += 3) {
        g_autoptr(GByteArray) stream = synthetic_stream(41 + threads, 12000);

        pair_threads = threads;
        struct carried carried = check(stream, 3);

        /* All but the record that names the block, and what did not change. */
        assert_int_equal(carried.given, 1);
        assert_true(carried.placed > 11000);
    }
    pair_threads = 0;
}

/* What QEMU wrote, every page of its largest block placed that may be. */
static void test_golden(void **state)
{
    g_autoptr(GDir) folder = g_dir_open(g_getenv("LPM_GOLDEN_STREAMS"), 0, NULL);
    const char *name;
    guint direct = 0, whole = 0;

    (void)state;
    assert_non_null(folder);
    while ((name = g_dir_read_name(folder))) {
        g_autofree char *path = g_build_filename(g_getenv("LPM_GOLDEN_STREAMS"), name, NULL);
        g_autofree char *packed = NULL;
        g_autoptr(GByteArray) stream = g_byte_array_new();
        gsize length;

        /* compress: QEMU's own encodings, which the loader above does not know. */
        if (!g_str_has_suffix(name, ".stream.zst") || strstr(name, "compress"))
            continue;
        assert_true(g_file_get_contents(path, &packed, &length, NULL));
        unsigned long long size = ZSTD_getFrameContentSize(packed, length);

        assert_true(size < 1ull << 30);
        g_byte_array_set_size(stream, (guint)size);
        assert_int_equal(ZSTD_decompress(stream->data, size, packed, length), size);
        struct carried carried = check(stream, 0);

        print_message("%s: %u records, %u for QEMU, %d placed\n", name, carried.records,
                      carried.given, (int)carried.placed);
        /* A stream that may go over to post-copy is QEMU's alone. */
        if (strstr(name, "postcopy"))
            whole += carried.placed == 0;
        else
            direct += carried.placed > carried.records / 2;
    }
    assert_int_equal(whole, 1);
    assert_true(direct >= 3);
}

/* What is refused goes by the stream, and says why. */
static void test_refused(void **state)
{
    g_autoptr(GByteArray) stream = synthetic_stream(43, 500);
    g_autofree char *name = NULL;
    guint64 length = largest_block(stream, &name);
    lpm_autofd small = make_memory(length - PAGE), fits = make_memory(length);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fits);
    lpm_autofd readable = open(path, O_RDONLY | O_CLOEXEC);
    const struct {
        const char *block;
        int fd;
        const char *reason;
    } cases[] = {{name, small, "no file of"},
                 {name, readable, "no file of"},
                 {"other.ram", fits, "no page has come"}};

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct pair *pair = pair_new(0, "zstd", 1);
        struct flow flow;

        pair_give_memory(pair, cases[i].block, length, cases[i].fd);
        begin(pair, &flow, stream);
        carry(pair, &flow, 0);
        assert_agreed(pair);
        assert_string_equal(placement_of(pair, "method"), "stream");
        assert_non_null(strstr(placement_of(pair, "reason"), cases[i].reason));
        flow_join(&flow);
        struct machine *expected = load(stream, NULL, -1), *loaded = load(flow.received, NULL, -1);

        assert_same_machine(expected, loaded);
        machine_free(expected);
        machine_free(loaded);
        flow_free(&flow);
        pair_free(pair);
    }
}

/* Once the stream has its socket it is too late: some of it may be under way. */
static void test_too_late(void **state)
{
    g_autoptr(GByteArray) stream = synthetic_stream(47, 500);
    g_autofree char *name = NULL;
    guint64 length = largest_block(stream, &name);
    lpm_autofd fd = make_memory(length);
    struct pair *pair = pair_new(0, "zstd", 1);
    struct flow flow;

    (void)state;
    begin(pair, &flow, stream);
    pair_give_memory(pair, name, length, fd);
    carry(pair, &flow, 0);
    assert_agreed(pair);
    assert_string_equal(placement_of(pair, "method"), "stream");
    assert_non_null(strstr(placement_of(pair, "reason"), "may have begun"));
    flow_finish(&flow);
    pair_free(pair);
}

/* Carries until the target's mover fails, and says how. */
static int failure_of(struct pair *pair, const GByteArray *stream, int fd)
{
    g_autofree char *name = NULL;
    guint64 length = largest_block(stream, &name);
    gint64 deadline = lpm_monotonic_us() + 60 * G_USEC_PER_SEC;
    struct mover_end *target = &pair->end[LPM_SIDE_TARGET];
    struct flow flow;

    pair_give_memory(pair, name, length, fd);
    begin(pair, &flow, stream);
    while (!(target->failed && g_atomic_int_get(&flow.done)) && lpm_monotonic_us() < deadline)
        pair_step(pair, 5);
    assert_true(g_atomic_int_get(&flow.done));
    flow_finish(&flow);
    return target->failed;
}

/* Memory that cannot be written fails the session, and nothing worse. */
static void test_cannot_write(void **state)
{
    g_autoptr(GByteArray) stream = synthetic_stream(53, 4000);
    g_autofree char *name = NULL;
    lpm_autofd fd = make_memory(largest_block(stream, &name));
    struct pair *pair = pair_new(0, "zstd", 1);

    (void)state;
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    assert_int_equal(failure_of(pair, stream, fd), LPM_E_PLACEMENT);
    pair_free(pair);
}

/* A mover that writes some pages to the place of others is found out by what the memory has. */
static void test_wrong_place(void **state)
{
    g_autoptr(GByteArray) stream = synthetic_stream(59, 4000);
    g_autofree char *usual = g_strdup(g_getenv("LPM_MOVER")), *name = NULL;
    lpm_autofd fd = make_memory(largest_block(stream, &name));

    (void)state;
    assert_non_null(g_getenv("LPM_MOVER_PLACE_WRONGLY"));
    g_setenv("LPM_MOVER", g_getenv("LPM_MOVER_PLACE_WRONGLY"), TRUE);
    struct pair *pair = pair_new(0, "zstd", 1);

    g_setenv("LPM_MOVER", usual, TRUE);
    assert_int_equal(failure_of(pair, stream, fd), LPM_E_DATA_DAMAGED);
    assert_non_null(strstr(pair->end[LPM_SIDE_TARGET].failed_cause, "is not what was written"));
    pair_free(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_synthetic),    cmocka_unit_test(test_golden),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_too_late),
        cmocka_unit_test(test_cannot_write), cmocka_unit_test(test_wrong_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
