/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The source's half of a stream in post-copy: what the parser hands out goes into a row of pages
 * and other things (page-queue.h), and comes out of it, in the order that the queue allows, as a
 * stream again. Sections of pages are made anew, for pages move between them: a section is opened
 * before a page, and closed before anything else; a page that does not follow one of its own block
 * says the block's name. One thread, but for the functions of the queue.
 */
#ifndef LPM_MOVER_POSTCOPY_H
#define LPM_MOVER_POSTCOPY_H

#include "mover/page-queue.h"
#include "stream/stream-parser.h"

typedef struct lpm_postcopy LpmPostcopy;

/* Takes over behind the word to run, before anything that follows was given to `parser`, which
 * hands out whole units from now on. NULL: this stream is carried in its own order, because not all
 * is known that it takes (a stream that resumes, or that is not understood). */
LpmPostcopy *lpm_postcopy_new(LpmStreamParser *parser);
void lpm_postcopy_free(LpmPostcopy *postcopy);

/* A page that waits counts as this many bytes at least: what it takes to remember a page of zeros,
 * of which a window would hold half a million otherwise. */
#define LPM_POSTCOPY_COST_MIN 256

/* What the parser has handed out. `*more`: by how much what waits has grown beyond the event's
 * bytes; negative for frames around pages, which are not kept. FALSE: it is not understood, and so
 * the order of what follows is not known either: the session must fail, which QEMU survives by a
 * stream that resumes. */
gboolean lpm_postcopy_put(LpmPostcopy *postcopy, const struct lpm_stream_event *event, gint64 *more,
                          GError **error);
/* Nothing more comes. */
void lpm_postcopy_end(LpmPostcopy *postcopy);

typedef void (*lpm_postcopy_emit)(gpointer user, const struct lpm_stream_event *event);

/* Takes the next thing (with `urgent`: only a page that was asked for) and says it with `emit` as
 * events like the parser's: type, data, length, and of pages header_length and page_size. NULL:
 * there is none. The caller frees it. */
struct lpm_page_item *lpm_postcopy_take(LpmPostcopy *postcopy, gboolean urgent,
                                        lpm_postcopy_emit emit, gpointer user);

/* The row; valid as long as the post-copy. */
LpmPageQueue *lpm_postcopy_queue(LpmPostcopy *postcopy);

#endif
