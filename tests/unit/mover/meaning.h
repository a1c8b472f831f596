/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * What a stream says, whatever its frames: up to the word to run its bytes, behind it pages (block,
 * offset, content) and other things. Two streams that QEMU takes for the same have the same
 * meaning.
 */
#ifndef LPM_TEST_MEANING_H
#define LPM_TEST_MEANING_H

#include <glib.h>

struct meaning_page {
    gint block;
    guint64 offset;
    guint64 content; /* checksum */
    guint segment;   /* pages between the same two other things */
};

struct meaning {
    GByteArray *bytes; /* all that are not pages or frames around them behind the word to run */
    GArray *pages;     /* of struct meaning_page, behind the word to run, in order */
};

/* Fails the test if the stream is not understood. */
struct meaning *meaning_of(const GByteArray *stream);
void meaning_free(struct meaning *meaning);
/* The same, pages in the same order; or, `sorted`, in any order within their segments, and none
 * missing or twice. Fails the test if not. */
void meaning_assert_same(const struct meaning *one, const struct meaning *other, gboolean sorted);

/* The stream without the records that a mover leaves out: up to the word to run those with CONTINUE
 * whose page had the same content before. Content is compared by its checksum. A new array. */
GByteArray *meaning_without_repeats(const GByteArray *stream);

#endif
