/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The journal's list of pages that a copy was given beside its stream; a trigger of the schema
 * drops it when the migration ends. */
#include "base/error.h"
#include "daemon/journal-db.h"
#include "host/page-feeder.h"

static gboolean write_pages(struct lpm_journal *journal, const char *id,
                            const struct lpm_fed_page *pages, guint count, GError **error)
{
    for (guint i = 0; i < count; i++) {
        g_autoptr(LpmStatement) insert = lpm_journal_db_query(
            journal, error,
            "INSERT OR IGNORE INTO fed (migration, length, offset) VALUES (?, ?, ?)", "sii", id,
            (int64_t)pages[i].length, (int64_t)pages[i].offset);

        if (!insert || !lpm_journal_db_run(journal, insert, NULL, error))
            return FALSE;
    }
    return TRUE;
}

gboolean lpm_journal_fed_add(struct lpm_journal *journal, const char *id,
                             const struct lpm_fed_page *pages, guint count, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);

    if (!lpm_journal_db_begin(journal, TRUE, error))
        return FALSE;
    return lpm_journal_db_end(journal, write_pages(journal, id, pages, count, error), error);
}

GArray *lpm_journal_fed(struct lpm_journal *journal, const char *id, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&journal->lock);
    g_autoptr(GArray) pages = g_array_new(FALSE, FALSE, sizeof(struct lpm_fed_page));
    g_autoptr(GError) reason = NULL;
    g_autoptr(LpmStatement) statement = lpm_journal_db_query(
        journal, &reason,
        "SELECT length, offset FROM fed WHERE migration = ? ORDER BY length, offset", "s", id);

    while (statement && lpm_journal_db_row(journal, statement, &reason)) {
        const struct lpm_fed_page page = {.length = (guint64)sqlite3_column_int64(statement, 0),
                                          .offset = (guint64)sqlite3_column_int64(statement, 1)};

        g_array_append_val(pages, page);
    }
    if (reason) {
        g_propagate_error(error, g_steal_pointer(&reason));
        return NULL;
    }
    return g_steal_pointer(&pages);
}
