/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The forecast of a migration that begins. It is made in a thread of its own, since the sample of
 * the dirty rate takes a second: only a migration with a limit of its own waits for it, all others
 * have begun to copy when it is stored. QEMU samples alike before and during the copy, and nothing
 * that the copy shows goes into the forecast.
 */
#include "base/clock.h"
#include "base/error.h"
#include "daemon/forecast-now.h"
#include "daemon/source-internal.h"
#include "daemon/validate/throughput.h"

static gboolean copy_is_over(gpointer user)
{
    LpmMigration *migration = user;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    return migration->state > LPM_STATE_COPYING ||
           lpm_migrations_closing(migration->daemon->migrations);
}

/* Waits until the checks are over, whose sample of the link is the better one. */
static void await_link(LpmMigration *migration, gint64 until, struct lpm_forecast_input *input)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    while (!migration->proved_us && !lpm_state_is_final(migration->state) &&
           g_cond_wait_until(&migration->changed, &migration->lock, until))
        continue;
    input->link_rate = migration->link_rate;
    input->retained_bytes = migration->retained_bytes;
}

void lpm_source_forecast_link(LpmMigration *migration, double link_rate, guint64 retained_bytes)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    migration->link_rate = link_rate;
    migration->retained_bytes = retained_bytes;
    migration->sampling_us += link_rate > 0 ? LPM_THROUGHPUT_BRIEF_US : 0;
    migration->proved_us = lpm_monotonic_us();
    g_cond_broadcast(&migration->changed);
}

/* With a limit of its own the migration waits, from the end of its checks until now. */
static double delay_of(LpmMigration *migration, gint64 now)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
    gint64 waited = migration->limit_asked && migration->proved_us ? now - migration->proved_us : 0;

    return (double)(migration->sampling_us + waited);
}

static void announce(LpmMigration *migration, json_t *forecast, guint limit_ms, char *objection)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    g_clear_pointer(&migration->forecast, json_decref);
    g_free(migration->objection);
    migration->forecast = forecast;
    if (migration->limit_asked)
        migration->limit_ms = limit_ms;
    migration->objection = objection;
    migration->forecast_made = TRUE;
    migration->forecasting = FALSE;
    g_cond_broadcast(&migration->changed);
}

static void make_forecast(LpmMigration *migration)
{
    struct lpm_daemon *daemon = migration->daemon;
    const struct lpm_forecast_query query = {
        .partition = migration->partition,
        .uuid = migration->uuid,
        .peer = migration->peer,
        .memory_bytes = migration->memory_bytes,
        .bandwidth = migration->bandwidth,
        .max_suspend_ms = migration->limit_asked ? migration->max_suspend_ms : 0,
        .post_copy = migration->post_copy};
    gint64 until = lpm_monotonic_us() + LPM_DIRTY_SAMPLE_LIMIT_US;
    struct lpm_forecast_input input;
    struct lpm_forecast forecast;
    g_autoptr(GError) error = NULL;
    char *why = NULL;

    gboolean sampled = lpm_dirty_sample_begin(daemon, migration->uuid);
    lpm_forecast_gather(daemon, &query, &input);
    if (sampled)
        input.dirty_rate = lpm_dirty_sample_fetch(daemon, migration->uuid, until, copy_is_over,
                                                  migration, &input.load);
    await_link(migration, until, &input);
    input.sampling_us = delay_of(migration, lpm_monotonic_us());
    lpm_forecast_make(&input, &forecast);
    lpm_forecast_holds(&input, &forecast, &why);
    gint64 now = lpm_wall_us() / 1000;
    json_t *document = lpm_forecast_json(&input, &forecast, now);
    if (!lpm_journal_forecast_add(daemon->journal, migration->id, now, document, &error))
        lpm_migration_log(migration, LPM_LOG_WARNING, "forecast", "%s", error->message);
    announce(migration, document, forecast.limit_ms, why);
}

void lpm_source_forecast_begin(LpmMigration *migration)
{
    g_mutex_lock(&migration->lock);
    gboolean idle = !migration->forecasting; /* of an attempt before this one */
    migration->begun_us = lpm_wall_us();
    migration->forecasting = TRUE;
    migration->forecast_made = FALSE;
    migration->proved_us = migration->sampling_us = 0;
    g_mutex_unlock(&migration->lock);
    if (idle)
        lpm_migrations_run(migration->daemon->migrations, migration, make_forecast);
}

gboolean lpm_source_forecast_holds(LpmMigration *migration, GError **error)
{
    gint64 end = g_get_monotonic_time() + 2 * LPM_DIRTY_SAMPLE_LIMIT_US;
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    if (!migration->limit_asked)
        return TRUE;
    gint64 begin = lpm_monotonic_us();
    while (!migration->forecast_made && !migration->stop_requested &&
           g_cond_wait_until(&migration->changed, &migration->lock, end))
        continue;
    migration->sampling_us += lpm_monotonic_us() - begin;
    if (migration->stop_requested)
        return lpm_fail(error, LPM_E_STOPPED, "stopped by an operator");
    if (migration->objection)
        return lpm_fail(error, LPM_E_SUSPENSION_TOO_LONG, "moving '%s' to %s: %s",
                        migration->partition, migration->peer, migration->objection);
    return TRUE;
}
