/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * A file with the pages of a partition that has left this host: what its mover sent last of each.
 * When the partition comes back, what it has in common with the image need not cross the wire.
 *
 * Each page has a place of its own (a slot) and is sealed by itself with AES-256-GCM, its place
 * being associated data. So pages can be written in any order and again, a file that is damaged,
 * truncated or of another partition loses the pages concerned and no others, and nothing that is
 * read was not written there under the same key. Whether it is what the partition has *now* is
 * another question, which tags answer. Format: docs/retain-format.md.
 *
 * Any function from any thread.
 */
#ifndef LPM_MOVER_PAGE_IMAGE_H
#define LPM_MOVER_PAGE_IMAGE_H

#include "transport/mover-control.h"

#include <glib.h>

#define LPM_IMAGE_PAGE 4096u
/* Most pages that are written or read at once. */
#define LPM_IMAGE_RUN 64u
/* Of all blocks together. */
#define LPM_IMAGE_PAGES_MAX (1ULL << 28)

/* A memory block; its pages have the slots from `first` on. */
struct lpm_image_block {
    char *name;
    guint64 pages;
    guint64 first;
};

typedef struct lpm_image LpmImage;

/* Begins an image in the empty file `fd` (taken over) for these blocks, of which name and pages
 * are read. LPM_E_RETAINED. */
LpmImage *lpm_image_create(int fd, const guint8 key[LPM_IMAGE_KEY_BYTES],
                           const struct lpm_image_block *blocks, guint count, GError **error);
/* Opens an image. The file is untrusted: LPM_E_RETAINED if it is none under this key. */
LpmImage *lpm_image_open(int fd, const guint8 key[LPM_IMAGE_KEY_BYTES], GError **error);
void lpm_image_free(LpmImage *image);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmImage, lpm_image_free)

/* Block `index`, NULL beyond the last. */
const struct lpm_image_block *lpm_image_block(const LpmImage *image, guint index);
guint64 lpm_image_slots(const LpmImage *image);

/* Writes the pages of `count` (1..LPM_IMAGE_RUN) slots from `slot` on, which lie behind each other
 * in `pages`. FALSE: the file did not take them (LPM_E_RETAINED, the cause is the system's). */
gboolean lpm_image_write(LpmImage *image, guint64 slot, guint count, const guint8 *pages,
                         GError **error);
/* Reads them. Returns a bit for each that is good, the lowest for `slot`; of the others `pages` is
 * undefined. `*damaged` grows by those that are there and not good. */
guint64 lpm_image_read(LpmImage *image, guint64 slot, guint count, guint8 *pages, guint64 *damaged);
/* The first slot from `slot` on that may hold a page; beyond the last if none. */
guint64 lpm_image_next(LpmImage *image, guint64 slot);

#endif
