/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The target's half of feeding a copy: pages that its QEMU waits for in post-copy are put into its
 * memory from outside, while no stream can bring them.
 *
 * Theory. QEMU watches the memory that is not there yet by a userfaultfd, which one thread of it
 * reads to ask the source for pages. When its stream broke that thread sleeps, until the post-copy
 * goes on over another stream; any other thread that needs a page waits in the kernel, and if it
 * has QEMU's lock with it, QEMU's monitor does not answer, and without the monitor there is no
 * other stream. A duplicate of the userfaultfd (pidfd_getfd) can be read and can place pages as
 * QEMU's own could. Whoever is woken without its page (UFFDIO_WAKE) asks again, and so what was
 * asked for before, and read by QEMU, is heard too.
 *
 * QEMU does not learn of such a page and takes it for missing when the post-copy goes on, and a
 * page that is sent twice is an error to it: whoever feeds keeps a list and completes what QEMU
 * tells the source (stream/bitmap-marks.h). Nothing may be fed while QEMU has a stream
 * (lpm_page_feeder_alone); a page that QEMU has is never replaced (EEXIST).
 *
 * One thread at a time. Needs CAP_SYS_PTRACE where QEMU is another user's.
 */
#ifndef LPM_HOST_PAGE_FEEDER_H
#define LPM_HOST_PAGE_FEEDER_H

#include "host/qemu-process.h"

typedef struct lpm_page_feeder LpmPageFeeder;

/* A page by the length of its block and the offset in it, both in bytes. */
struct lpm_fed_page {
    guint64 length, offset;
};

/* Finds QEMU's userfaultfd and the blocks of these lengths, all that are watched of `least` bytes
 * and more (guest-areas.h). `stream_path`: the unix socket on which QEMU takes its stream.
 * LPM_E_QEMU_NOT_IDENTIFIED unless that leaves nothing to guess. Takes `process` over, in every
 * case. */
LpmPageFeeder *lpm_page_feeder_open(LpmQemuProcess *process, const char *stream_path,
                                    const guint64 *lengths, guint count, guint64 least,
                                    GError **error);
/* Wakes whoever waits for a page that was not fed, so that QEMU hears of it. */
void lpm_page_feeder_free(LpmPageFeeder *feeder);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmPageFeeder, lpm_page_feeder_free)

/* Bytes of a page. */
gsize lpm_page_feeder_page_size(void);

/* TRUE when QEMU provably has no connection at `stream_path`: none of its descriptors is one. */
gboolean lpm_page_feeder_alone(const LpmPageFeeder *feeder);

/* What QEMU's threads wait for, each page once, within `limit_ms`: up to `room` pages. Those that
 * cannot be named (a small block, or one of two of a length) are left out and counted in
 * `*unnamed`. */
guint lpm_page_feeder_wanted(LpmPageFeeder *feeder, struct lpm_fed_page *pages, guint room,
                             guint limit_ms, guint *unnamed);

/* Puts the page (lpm_page_feeder_page_size() bytes) where it belongs. TRUE also when QEMU has it
 * already. LPM_E_QEMU_NOT_IDENTIFIED. */
gboolean lpm_page_feeder_put(LpmPageFeeder *feeder, const struct lpm_fed_page *page,
                             const void *data, GError **error);

/* Is the page in QEMU's memory? FALSE with *error set: that cannot be told. */
gboolean lpm_page_feeder_has(LpmPageFeeder *feeder, const struct lpm_fed_page *page,
                             GError **error);

#endif
