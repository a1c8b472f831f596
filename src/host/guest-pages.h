/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The source's half of feeding a copy (page-feeder.h): pages of its guest's memory, read where they
 * lie in QEMU. Only of a QEMU whose processors and devices stand still for good, as behind the
 * switch of post-copy: then a page that the target never had is the one and only version of it.
 * One thread at a time.
 */
#ifndef LPM_HOST_GUEST_PAGES_H
#define LPM_HOST_GUEST_PAGES_H

#include "host/qemu-process.h"

typedef struct lpm_guest_pages LpmGuestPages;

/* Finds the blocks of these lengths, all that the guest has of `least` bytes and more
 * (guest-areas.h). LPM_E_QEMU_NOT_IDENTIFIED unless that leaves nothing to guess. `process` is
 * borrowed for the call. */
LpmGuestPages *lpm_guest_pages_open(const LpmQemuProcess *process, const guint64 *lengths,
                                    guint count, guint64 least, GError **error);
void lpm_guest_pages_free(LpmGuestPages *pages);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmGuestPages, lpm_guest_pages_free)

/* Reads `size` bytes at `offset` of the block of that length into `data`.
 * LPM_E_QEMU_NOT_IDENTIFIED: no block, or two, have it; it does not reach so far; or QEMU's memory
 * cannot be read. */
gboolean lpm_guest_pages_read(LpmGuestPages *pages, guint64 length, guint64 offset, void *data,
                              gsize size, GError **error);

#endif
