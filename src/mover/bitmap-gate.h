/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * What the target's QEMU says of the pages it has, when a post-copy goes on, waits here until lpmd
 * has told of those that QEMU was given beside the stream, and is completed by them
 * (docs/mover-protocol.md, "Pages beside the stream"). Were it told later, the source would send
 * such a page again, which QEMU does not survive. Any function from any thread but as said.
 */
#ifndef LPM_MOVER_BITMAP_GATE_H
#define LPM_MOVER_BITMAP_GATE_H

#include "stream/bitmap-marks.h"

typedef struct lpm_bitmap_gate LpmBitmapGate;

/* `closed`: bitmaps wait. `changed` (any thread) is called when they begin to wait or may pass. */
LpmBitmapGate *lpm_bitmap_gate_new(gboolean closed, void (*changed)(gpointer user), gpointer user);
void lpm_bitmap_gate_free(LpmBitmapGate *gate);

/* lpmd's words. FALSE: the bitmaps have passed, or that is too much. */
gboolean lpm_bitmap_gate_mark(LpmBitmapGate *gate, const char *block, guint64 first, guint64 count);
void lpm_bitmap_gate_pass(LpmBitmapGate *gate);
/* Ends every wait for good. */
void lpm_bitmap_gate_cancel(LpmBitmapGate *gate);

/* Is there a bitmap that waits? */
gboolean lpm_bitmap_gate_waiting(LpmBitmapGate *gate);
/* Have there been any? */
gboolean lpm_bitmap_gate_seen(LpmBitmapGate *gate);

/* The thread of the return path: every event of it, and its bytes to be written into; waits at the
 * first that tells of a bitmap. */
void lpm_bitmap_gate_take(LpmBitmapGate *gate, const struct lpm_return_event *event, guint8 *bytes);

#endif
