/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* A migration stream as QEMU would write it, of any size, made from a seed. */
#ifndef LPM_TEST_SYNTHETIC_H
#define LPM_TEST_SYNTHETIC_H

#include <glib.h>

/* A whole stream of `pages` pages of 4 KiB: some zero, some text-like, some random, some sent
 * again. */
GByteArray *synthetic_stream(guint32 seed, guint pages);

/* The same with `pages` pages of 4 KiB of that content, each sent once. */
GByteArray *synthetic_stream_of(const guint8 *content, guint pages);

/* A stream that goes over to post-copy at once; behind the word to run each of the `pages` pages of
 * block "pc.ram" and a few of block "rom" come once, in PARTs with a command between some of them,
 * and the last in the END. */
GByteArray *synthetic_postcopy(guint32 seed, guint pages);

#endif
