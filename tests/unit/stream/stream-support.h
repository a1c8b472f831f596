/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* For the tests of the stream parser: captures, pieces of stream made by hand, and a run of the
 * parser over an input that is cut in a given way. */
#ifndef LPM_TESTS_STREAM_SUPPORT_H
#define LPM_TESTS_STREAM_SUPPORT_H

#include "stream/stream-parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The captures (names ending in `suffix`), sorted; from the folder in $LPM_GOLDEN. */
GPtrArray *support_captures(const char *suffix);
/* The content of one, unpacked if it is *.zst. Aborts the test if it cannot be read. */
GByteArray *support_load(const char *path);

/* Bytes from a string of hexadecimal digits, blanks ignored; or numbers; appended to `out`. */
void support_hex(GByteArray *out, const char *hex);
void support_number(GByteArray *out, guint bytes, uint64_t value);
void support_name(GByteArray *out, const char *name);
/* Header with machine "m"; START of ram with id 2 and one block "ram" of `pages` pages of 4096. */
void support_header(GByteArray *out);
void support_section(GByteArray *out, guint type, guint id, const char *name, guint version);
void support_start_ram(GByteArray *out, guint pages);
void support_page(GByteArray *out, uint64_t word, const char *block, guint8 fill, guint size);
void support_footer(GByteArray *out, guint id);

/* Feeds `input` in pieces: of `piece` bytes, or of random lengths if it is 0. Asserts that the
 * bytes of the events are the input, that each event is what the header promises, and that nothing
 * but part of a page record is ever withheld. The parser is the caller's. */
LpmStreamParser *support_run(const GByteArray *input, gsize piece, GRand *random);

#endif
