/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The journal's forecasts. */
#include "daemon/journal-db.h"

#define FORECAST_COLUMN 11 /* behind LPM_MIGRATION_COLUMNS */

void lpm_forecast_past_free(LpmForecastPast *past)
{
    if (!past)
        return;
    lpm_migration_row_free(past->row);
    json_decref(past->forecast);
    g_free(past);
}

gboolean lpm_journal_forecast_add(struct lpm_journal *journal, const char *id, int64_t made_ms,
                                  json_t *forecast, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    g_autoptr(LpmStatement) statement = lpm_journal_db_query(
        journal, error,
        "INSERT OR REPLACE INTO forecasts (migration, made_ms, document) VALUES (?, ?, ?)", "sij",
        id, made_ms, forecast);

    if (!statement || !lpm_journal_db_begin(journal, FALSE, error))
        return FALSE;
    gboolean ok = lpm_journal_db_run(journal, statement, NULL, error);
    g_clear_pointer(&statement, lpm_statement_free);
    return lpm_journal_db_end(journal, ok, error);
}

GPtrArray *lpm_journal_forecasts(struct lpm_journal *journal, const char *partition, guint limit,
                                 GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    g_autoptr(GPtrArray) list =
        g_ptr_array_new_with_free_func((GDestroyNotify)lpm_forecast_past_free);
    g_autoptr(GError) reason = NULL;
    g_autoptr(LpmStatement) statement = lpm_journal_db_query(
        journal, &reason,
        "SELECT " LPM_MIGRATION_COLUMNS ", document FROM migrations LEFT JOIN forecasts ON "
        "migration = id WHERE role = 'source' AND (state = 'done' OR document IS NOT NULL) AND "
        "(?1 IS NULL OR partition = ?1 OR uuid = ?1) ORDER BY number DESC LIMIT ?2",
        "su", partition, limit);

    while (statement && lpm_journal_db_row(journal, statement, &reason)) {
        LpmForecastPast *past = g_new0(LpmForecastPast, 1);

        past->row = lpm_journal_db_migration(statement);
        past->forecast = lpm_journal_db_json(statement, FORECAST_COLUMN);
        g_ptr_array_add(list, past);
    }
    if (reason) {
        g_propagate_error(error, g_steal_pointer(&reason));
        return NULL;
    }
    return g_steal_pointer(&list);
}
