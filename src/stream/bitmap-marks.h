/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Pages that the target's QEMU has and does not know of, marked in what it tells of those it has:
 * the bitmaps behind RECV_BITMAP on the return path (docs/stream-format.md). A bit is set, none is
 * ever cleared, and no byte more or less passes. One thread at a time.
 */
#ifndef LPM_STREAM_BITMAP_MARKS_H
#define LPM_STREAM_BITMAP_MARKS_H

#include "stream/return-path.h"

typedef struct lpm_bitmap_marks LpmBitmapMarks;

/* Most runs of pages that one of them holds. */
#define LPM_BITMAP_MARKS_MAX 65536

LpmBitmapMarks *lpm_bitmap_marks_new(void);
void lpm_bitmap_marks_free(LpmBitmapMarks *marks);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmBitmapMarks, lpm_bitmap_marks_free)

/* The block has these `count` pages (of the stream's page size, from 0) too. FALSE: nothing to
 * mark, past the last number there is, or more runs than are taken. */
gboolean lpm_bitmap_marks_add(LpmBitmapMarks *marks, const char *block, uint64_t first,
                              uint64_t count);

/* Follows one event of the return path after the other; `bytes` are those of the event where they
 * can be written (the input that the parser was given), and the bits among them that are marked are
 * set. Pages behind the end of a bitmap are none of it. */
void lpm_bitmap_marks_apply(LpmBitmapMarks *marks, const struct lpm_return_event *event,
                            uint8_t *bytes);

#endif
