/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/daemon.h"

#include "base/clock.h"
#include "daemon/journal.h"

static const char *const level_names[] = {
    [LPM_LOG_DEBUG] = "debug",
    [LPM_LOG_INFO] = "info",
    [LPM_LOG_WARNING] = "warning",
    [LPM_LOG_ERROR] = "error",
};

void lpm_event_log(struct lpm_daemon *daemon, enum lpm_log_level level, const char *migration,
                   const char *partition, const char *event, const char *format, ...)
{
    const struct lpm_log_context context = {.migration = migration, .partition = partition};
    g_autoptr(GError) error = NULL;
    va_list args;

    va_start(args, format);
    g_autofree char *raw = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *text = g_utf8_make_valid(raw, -1);
    const struct lpm_log_entry entry = {
        .time_us = lpm_wall_us(),
        .host = daemon->config->name,
        .migration = migration,
        .partition = partition,
        .level = level_names[level],
        .event = event,
        .text = text,
    };
    lpm_log(level, &context, "%s", text);
    if (!lpm_journal_log_add(daemon->journal, &entry, &error))
        lpm_log(LPM_LOG_ERROR, &context, "an event is not in the journal: %s", error->message);
}
