/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Direct placement: the target's mover writes pages into the memory of the target's QEMU itself,
 * and QEMU's stream goes without their records. For memory that is a shared file (a memfd, say), in
 * pre-copy, and block by block: what is not given here goes through QEMU as before.
 *
 * - A page has one writer. A record that names its block goes to QEMU, always, and all later ones
 *   of the same page with it; the others are placed. So what QEMU is given has the context (the
 *   block that CONTINUE refers to) that the source's QEMU wrote it in, at any place of the stream,
 *   and from any record on all may go to QEMU again: should something come that is not understood,
 *   nothing is lost.
 * - Files are written and read, not mapped. A file that shrinks, or a full file system, is an error
 *   of a write and no SIGBUS; and a page that was never touched is not cleared before it is filled.
 * - What was written is read back from the memory and compared, byte by byte, before it counts as
 *   given. A page of zeros is looked at, and written only if it has something else: holes stay.
 *
 * Life: memory is added by the main thread before the stream begins; all else is the writer's, but
 * for the functions that say otherwise.
 */
#ifndef LPM_MOVER_PAGE_PLACER_H
#define LPM_MOVER_PAGE_PLACER_H

#include "stream/stream-parser.h"

typedef struct lpm_page_placer LpmPagePlacer;

struct lpm_placer_facts {
    guint blocks;  /* whose pages are placed */
    guint64 pages; /* records that were placed, zeros included */
    guint64 bytes; /* of these records, which QEMU was not given */
};

/* `threads`: that place besides the writer; as lpm_crew_new. */
LpmPagePlacer *lpm_page_placer_new(guint threads);
void lpm_page_placer_free(LpmPagePlacer *placer);

/* The memory of the block whose backend is called `name`, `size` bytes: all of the file `fd`, taken
 * over in any case. Said again for a name it replaces what was said. LPM_E_PROTOCOL if the file is
 * not such memory. Before the stream begins. */
gboolean lpm_page_placer_add(LpmPagePlacer *placer, const char *name, guint64 size, int fd,
                             GError **error);

/* TRUE: `event` of `parser` is a record whose page is placed, and not for QEMU. The event's data
 * must stay until the next land. Any event may be shown, in the order of the stream. Fails only
 * when it has to land pages first: `*error` is set. */
gboolean lpm_page_placer_take(LpmPagePlacer *placer, LpmStreamParser *parser,
                              const struct lpm_stream_event *event, GError **error);
/* Everything taken is in memory when this returns TRUE. LPM_E_PLACEMENT: it cannot be written;
 * LPM_E_DATA_DAMAGED: the memory does not have what was written to it. */
gboolean lpm_page_placer_land(LpmPagePlacer *placer, GError **error);
/* Closes the files: the stream has ended. */
void lpm_page_placer_close(LpmPagePlacer *placer);

void lpm_page_placer_get(const LpmPagePlacer *placer, struct lpm_placer_facts *facts);
/* Any thread, one at a time. */
void lpm_page_placer_set_threads(LpmPagePlacer *placer, guint threads);

#endif
