/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Text for people. Whatever comes from lpmd may have come from a peer or a guest, so that it goes
 * through text_clean() (or field_text(), which does) before it reaches a terminal. All functions
 * are pure; the strings returned are the caller's. Any thread.
 */
#ifndef LPM_CLI_TEXT_H
#define LPM_CLI_TEXT_H

#include <glib.h>
#include <jansson.h>

/* `text` with control characters (C0, DEL, C1), line and paragraph separators, characters that
 * change the direction of writing, and bytes that are not UTF-8 made visible as \xNN or \uNNNN. */
char *text_clean(const char *text);

/* Columns that a cleaned UTF-8 string takes on a terminal. */
gsize text_columns(const char *text);

/* The longest start of a cleaned UTF-8 string that fits into `columns`. */
char *text_truncate(const char *text, gsize columns);

/* `text` broken at spaces into lines of at most `columns`, each after the first begun with
 * `indent` spaces. Newlines in `text` stay. No newline is added at the end. */
char *text_wrap(const char *text, gsize columns, gsize indent);

/* 0 B, 512 B, 1.5 KiB, 143 MiB: three digits at least below 1024 of a unit; "-" if negative. */
char *text_bytes(gint64 bytes);

/* text_bytes and "/s". */
char *text_rate(gint64 bytes_per_second);

/* 850 us, 45.1 ms, 12.3 s, 2 min 5 s, 3 h 2 min; "-" if negative. */
char *text_duration_us(gint64 us);

/* 0:12, 2:05, 1:02:03; "-" if negative. */
char *text_clock(gint64 ms);

/* Local time: 2026-11-21 14:03:59, with .123456 if `fraction`; "-" if out of range. */
char *text_instant_us(gint64 us, gboolean fraction);

/* A whole number of bytes with an optional K, M, G or T (powers of 1024; KiB and KB mean the same
 * as K). FALSE if `text` is anything else, or the number does not fit. */
gboolean text_parse_bytes(const char *text, gint64 *bytes);

/* Members of a JSON object, tolerant: a member that is absent or of another type reads as the empty
 * string, -1, or FALSE. `path` may lead into objects: "hypervisor.qemu". */
const json_t *field(const json_t *object, const char *path);
char *field_text(const json_t *object, const char *path); /* cleaned */
gint64 field_int(const json_t *object, const char *path); /* reals are rounded */
double field_real(const json_t *object, const char *path);
gboolean field_true(const json_t *object, const char *path);
/* The raw string for comparing, never for printing; "" if there is none. */
const char *field_raw(const json_t *object, const char *path);

#endif
