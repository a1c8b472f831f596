/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "stream/bitmap-marks.h"

#define SIZE_BYTES 8 /* before the bitmap */
/* No block has a larger one (2^55 bytes of memory); what claims to be is no bitmap. */
#define BITMAP_MAX (G_GUINT64_CONSTANT(1) << 40)

struct run {
    uint64_t first, count;
};

struct lpm_bitmap_marks {
    GHashTable *blocks; /* name -> GArray of struct run */
    guint runs;
    /* the bitmap that passes; nothing passes while both are 0 */
    const GArray *block; /* of it, or NULL */
    guint size_left;     /* bytes of its size still to come */
    uint64_t size;
    uint64_t at, left; /* in its bytes */
};

static void free_runs(gpointer runs)
{
    g_array_unref(runs);
}

LpmBitmapMarks *lpm_bitmap_marks_new(void)
{
    LpmBitmapMarks *marks = g_new0(LpmBitmapMarks, 1);

    marks->blocks = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_runs);
    return marks;
}

void lpm_bitmap_marks_free(LpmBitmapMarks *marks)
{
    if (!marks)
        return;
    g_hash_table_unref(marks->blocks);
    g_free(marks);
}

gboolean lpm_bitmap_marks_add(LpmBitmapMarks *marks, const char *block, uint64_t first,
                              uint64_t count)
{
    const struct run run = {.first = first, .count = count};
    GArray *runs = g_hash_table_lookup(marks->blocks, block);

    if (!count || count > G_MAXUINT64 - first || marks->runs >= LPM_BITMAP_MARKS_MAX)
        return FALSE;
    if (!runs) {
        runs = g_array_new(FALSE, FALSE, sizeof(struct run));
        g_hash_table_insert(marks->blocks, g_strdup(block), runs);
    }
    g_array_append_val(runs, run);
    marks->runs++;
    return TRUE;
}

/* Sets what of `run` lies in the `length` bytes of the bitmap that begin at its byte `at`. */
static void set_bits(const struct run *run, uint64_t at, uint8_t *bytes, gsize length)
{
    uint64_t end = MIN(run->first + run->count, (at + length) * 8);

    for (uint64_t page = MAX(run->first, at * 8); page < end; page++)
        bytes[page / 8 - at] |= (uint8_t)(1u << page % 8);
}

/* Takes what belongs to the size; returns how much that was. */
static gsize take_size(LpmBitmapMarks *marks, const uint8_t *bytes, gsize length)
{
    gsize taken = 0;

    while (marks->size_left && taken < length) {
        marks->size = marks->size << 8 | bytes[taken++];
        if (--marks->size_left == 0)
            marks->left = marks->size <= BITMAP_MAX ? marks->size : 0;
    }
    return taken;
}

void lpm_bitmap_marks_apply(LpmBitmapMarks *marks, const struct lpm_return_event *event,
                            uint8_t *bytes)
{
    if (event->type != LPM_RETURN_BYTES) {
        marks->block = event->type == LPM_RETURN_RECV_BITMAP
                           ? g_hash_table_lookup(marks->blocks, event->name)
                           : NULL;
        marks->size_left = event->type == LPM_RETURN_RECV_BITMAP ? SIZE_BYTES : 0;
        marks->size = marks->at = marks->left = 0;
        return;
    }
    gsize taken = take_size(marks, bytes, event->length);
    gsize length = (gsize)MIN(marks->left, (uint64_t)(event->length - taken));

    for (guint i = 0; marks->block && i < marks->block->len; i++)
        set_bits(&g_array_index(marks->block, struct run, i), marks->at, bytes + taken, length);
    marks->at += length;
    marks->left -= length;
}
