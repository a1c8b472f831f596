/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>
#include <unistd.h>

/* Written once by lpm_log_init before there are threads, read only afterwards. */
static const char *log_program = "lpm";
static enum lpm_log_level log_lowest = LPM_LOG_INFO;
static gboolean log_to_journal;

void lpm_log_init(const char *program, enum lpm_log_level lowest)
{
    log_program = program;
    log_lowest = lowest;
    log_to_journal = getenv("JOURNAL_STREAM") != NULL;
}

static void write_journal(enum lpm_log_level level, const struct lpm_log_context *context,
                          const char *text)
{
    static const int priority[] = {7, 6, 4, 3}; /* syslog's debug, info, warning, err */
    const char *migration = context && context->migration ? context->migration : "";
    const char *partition = context && context->partition ? context->partition : "";

    sd_journal_send("MESSAGE=%s", text, "PRIORITY=%i", priority[level], "SYSLOG_IDENTIFIER=%s",
                    log_program, "LPM_MIGRATION=%s", migration, "LPM_PARTITION=%s", partition,
                    NULL);
}

static void write_stderr(enum lpm_log_level level, const struct lpm_log_context *context,
                         const char *text)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *stamp = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S.%fZ");
    g_autoptr(GString) line = g_string_new(NULL);

    g_string_append_printf(line, "%s %s[%d] %s:", stamp, log_program, (int)getpid(), names[level]);
    if (context && context->migration)
        g_string_append_printf(line, " migration=%s", context->migration);
    if (context && context->partition)
        g_string_append_printf(line, " partition=%s", context->partition);
    g_string_append_printf(line, " %s\n", text);
    /* One write, so that lines of several threads and processes do not mix. */
    ssize_t ignored = write(STDERR_FILENO, line->str, line->len);
    (void)ignored;
}

void lpm_log(enum lpm_log_level level, const struct lpm_log_context *context, const char *format,
             ...)
{
    va_list args;

    if (level < log_lowest)
        return;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    /* A log line is one line: what peers sent may hold control characters. */
    for (char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20)
            *c = ' ';
    }
    if (log_to_journal)
        write_journal(level, context, text);
    else
        write_stderr(level, context, text);
}
