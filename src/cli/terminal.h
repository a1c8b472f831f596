/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What is at the other end of stdout, stderr and stdin. One thread. */
#ifndef LPM_CLI_TERMINAL_H
#define LPM_CLI_TERMINAL_H

#include <glib.h>
#include <stdio.h>

/* Whether `stream` is a terminal on which lines can be redrawn (TERM is not "dumb"). */
gboolean terminal_is(FILE *stream);

/* Columns of the terminal now; if it is none, or does not say, COLUMNS or else 80. Asked anew at
 * each drawing, which is how a change of the window's size takes effect. */
gsize terminal_width(FILE *stream);
/* Lines likewise; LINES or else 24. */
gsize terminal_height(FILE *stream);

/* The escape sequence if `stream` is a terminal and NO_COLOR is not set, else "". Static. */
enum terminal_style { TERMINAL_PLAIN, TERMINAL_BOLD, TERMINAL_RED, TERMINAL_YELLOW };
const char *terminal_style(FILE *stream, enum terminal_style style);

/* One line of at most 4095 bytes from stdin, without its newline. If stdin is a terminal, asks with
 * `prompt` on `err` and does not echo what is typed. NULL with LPM_E_USAGE at the end of the input
 * or if the line is too long. */
char *terminal_secret(FILE *err, const char *prompt, GError **error);

#endif
