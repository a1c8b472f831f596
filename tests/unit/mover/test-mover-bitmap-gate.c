/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The gate before QEMU's bitmaps: what waits, what passes, and what is marked by then. */
#include "mover/bitmap-gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static gint changes; /* atomic */

static void note_change(gpointer user G_GNUC_UNUSED)
{
    g_atomic_int_inc(&changes);
}

/* What the thread of the return path does: a PONG, then a bitmap of `ram` with its size and end. */
struct reader {
    LpmBitmapGate *gate;
    guint8 bytes[8 + 8 + 8];
    gint past_pong, done; /* atomic */
};

static gpointer read_path(gpointer opaque)
{
    struct reader *reader = opaque;
    struct lpm_return_event pong = {.type = LPM_RETURN_PONG},
                            begins = {.type = LPM_RETURN_RECV_BITMAP, .name = "ram"},
                            bitmap = {.type = LPM_RETURN_BYTES,
                                      .data = reader->bytes,
                                      .length = sizeof(reader->bytes)};

    lpm_bitmap_gate_take(reader->gate, &pong, reader->bytes);
    g_atomic_int_set(&reader->past_pong, 1);
    lpm_bitmap_gate_take(reader->gate, &begins, reader->bytes);
    lpm_bitmap_gate_take(reader->gate, &bitmap, reader->bytes);
    g_atomic_int_set(&reader->done, 1);
    return NULL;
}

static GThread *start(struct reader *reader, gboolean closed)
{
    *reader = (struct reader){.gate = lpm_bitmap_gate_new(closed, note_change, NULL)};
    reader->bytes[7] = 8;
    return g_thread_new("return", read_path, reader);
}

static void await(gboolean (*what)(LpmBitmapGate *), LpmBitmapGate *gate)
{
    for (guint i = 0; i < 5000 && !what(gate); i++)
        g_usleep(1000);
    assert_true(what(gate));
}

static void waits_for_the_marks(void **state G_GNUC_UNUSED)
{
    struct reader reader;
    GThread *thread = start(&reader, TRUE);

    await(lpm_bitmap_gate_waiting, reader.gate);
    assert_true(lpm_bitmap_gate_seen(reader.gate));
    assert_int_equal(g_atomic_int_get(&reader.past_pong), 1);
    assert_true(lpm_bitmap_gate_mark(reader.gate, "ram", 9, 2));
    g_usleep(20000); /* that it still waits is the test's subject */
    assert_int_equal(g_atomic_int_get(&reader.done), 0);
    lpm_bitmap_gate_pass(reader.gate);
    g_thread_join(thread);
    assert_false(lpm_bitmap_gate_waiting(reader.gate));
    assert_int_equal(reader.bytes[8], 0);
    assert_int_equal(reader.bytes[9], 6);
    assert_false(lpm_bitmap_gate_mark(reader.gate, "ram", 1, 1)); /* too late */
    lpm_bitmap_gate_free(reader.gate);
}

static void open_or_ended(void **state G_GNUC_UNUSED)
{
    struct reader reader;
    GThread *thread = start(&reader, FALSE);

    g_thread_join(thread);
    assert_true(lpm_bitmap_gate_seen(reader.gate));
    assert_false(lpm_bitmap_gate_waiting(reader.gate));
    lpm_bitmap_gate_free(reader.gate);
    thread = start(&reader, TRUE);
    await(lpm_bitmap_gate_waiting, reader.gate);
    lpm_bitmap_gate_cancel(reader.gate);
    g_thread_join(thread);
    assert_false(lpm_bitmap_gate_waiting(reader.gate));
    lpm_bitmap_gate_free(reader.gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_for_the_marks),
        cmocka_unit_test(open_or_ended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
