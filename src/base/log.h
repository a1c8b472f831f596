/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Log lines with the migration's id and the partition's name as fields: to the journal when stderr
 * is connected to it (systemd sets JOURNAL_STREAM), to stderr otherwise. Secrets never reach it.
 */
#ifndef LPM_BASE_LOG_H
#define LPM_BASE_LOG_H

#include <glib.h>

enum lpm_log_level { LPM_LOG_DEBUG, LPM_LOG_INFO, LPM_LOG_WARNING, LPM_LOG_ERROR };

/* What a line is about; any member may be NULL. The strings are borrowed for the call. */
struct lpm_log_context {
    const char *migration;
    const char *partition;
};

/* Names the program in each line and sets the lowest level shown. Call once, before threads. */
void lpm_log_init(const char *program, enum lpm_log_level lowest);

/* Writes one line, whole even among threads. `context` may be NULL. Any thread. */
void lpm_log(enum lpm_log_level level, const struct lpm_log_context *context, const char *format,
             ...) G_GNUC_PRINTF(3, 4);

#endif
