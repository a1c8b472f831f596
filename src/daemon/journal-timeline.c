/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The journal's time lines. */
#include "base/error.h"
#include "daemon/journal-db.h"

static gboolean write_line(struct lpm_journal *journal, const char *id, const json_t *samples,
                           GError **error)
{
    g_autoptr(LpmStatement) insert =
        lpm_journal_db_query(journal, error,
                             "INSERT INTO timelines (migration, samples) VALUES (?1, ?2) "
                             "ON CONFLICT (migration) DO UPDATE SET samples = ?2",
                             "sj", id, samples);

    if (!insert || !lpm_journal_db_run(journal, insert, NULL, error))
        return FALSE;
    g_autoptr(LpmStatement) trim =
        lpm_journal_db_query(journal, error,
                             "DELETE FROM timelines WHERE number NOT IN "
                             "(SELECT number FROM timelines ORDER BY number DESC LIMIT ?)",
                             "u", (unsigned)LPM_JOURNAL_TIMELINES_KEEP);
    return trim && lpm_journal_db_run(journal, trim, NULL, error);
}

gboolean lpm_journal_timeline_set(struct lpm_journal *journal, const char *id,
                                  const json_t *samples, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);

    if (!lpm_journal_db_begin(journal, FALSE, error))
        return FALSE;
    return lpm_journal_db_end(journal, write_line(journal, id, samples, error), error);
}

json_t *lpm_journal_timeline_get(struct lpm_journal *journal, const char *id, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    g_autoptr(GError) reason = NULL;
    g_autoptr(LpmStatement) statement = lpm_journal_db_query(
        journal, &reason, "SELECT samples FROM timelines WHERE migration = ?", "s", id);
    json_t *samples = NULL;

    if (statement && lpm_journal_db_row(journal, statement, &reason))
        samples = lpm_journal_db_json(statement, 0);
    if (reason) {
        g_propagate_error(error, g_steal_pointer(&reason));
        return NULL;
    }
    return samples ? samples : json_array();
}
