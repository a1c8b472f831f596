/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Where in a QEMU's address space the blocks of its guest's memory lie. QEMU does not tell, and its
 * monitor may not answer; /proc does, if nothing is left to guess: the large areas that QEMU keeps
 * from its children (MADV_DONTFORK, which it sets on each block and on nothing else), and can
 * write to, must have just the lengths of the large blocks, as QEMU's own stream names them, no one
 * more or less. Then an area of a length that only one block has is that block. In post-copy those
 * whose missing pages are watched are looked at instead.
 *
 * Large, because small blocks (firmware tables) may be mapped larger than they are.
 */
#ifndef LPM_HOST_GUEST_AREAS_H
#define LPM_HOST_GUEST_AREAS_H

#include <glib.h>
#include <sys/types.h>

struct lpm_guest_area {
    guint64 start, length; /* in that process */
    /* Shared memory: which file (a memfd's), and where in it the area begins; else inode 0. */
    dev_t device;
    ino_t inode;
    guint64 file_offset;
};

/* What a process has mapped, of ordinary pages, `least` bytes or larger: as above, or, `watched`,
 * for its userfaultfd. An array of struct lpm_guest_area. NULL: LPM_E_QEMU_NOT_IDENTIFIED. */
GArray *lpm_guest_areas_find(pid_t pid, gboolean watched, guint64 least, GError **error);

/* Have the areas just these lengths, in whatever order? */
gboolean lpm_guest_areas_are(const GArray *areas, const guint64 *lengths, guint count);
/* The one area of that length; NULL: there is none, or more than one. */
const struct lpm_guest_area *lpm_guest_areas_get(const GArray *areas, guint64 length);

#endif
