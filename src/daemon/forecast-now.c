/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/forecast-now.h"

#include "base/clock.h"
#include "daemon/forecast-history.h"
#include "host/dirty-rate.h"

#include <stdio.h>
#include <string.h>

#define TICK_US 50000
#define LINK_KNOWN_MS (24 * 3600 * (gint64)1000)

gboolean lpm_dirty_sample_begin(struct lpm_daemon *daemon, const char *uuid)
{
    g_autoptr(GError) error = NULL;

    if (lpm_host_dirty_rate_begin(daemon->host, uuid, LPM_DIRTY_SAMPLE_S, &error))
        return TRUE;
    lpm_log(LPM_LOG_DEBUG, NULL, "no sample of the dirty rate: %s", error->message);
    return FALSE;
}

double lpm_processor_load(void)
{
    g_autofree char *text = NULL;
    double one, five, fifteen;
    guint runnable;

    if (!g_file_get_contents("/proc/loadavg", &text, NULL, NULL) ||
        sscanf(text, "%lf %lf %lf %u/", &one, &five, &fifteen, &runnable) != 4)
        return 0;
    return (double)runnable / g_get_num_processors();
}

double lpm_dirty_sample_fetch(struct lpm_daemon *daemon, const char *uuid, gint64 until_us,
                              gboolean (*over)(gpointer user), gpointer user, double *load)
{
    gint64 rate = -1;
    double sum = lpm_processor_load();
    guint looks = 1;

    while (lpm_host_dirty_rate(daemon->host, uuid, &rate, NULL) && rate < 0) {
        if (lpm_monotonic_us() > until_us || (over && over(user)))
            break;
        g_usleep(TICK_US);
        sum += lpm_processor_load();
        looks++;
    }
    *load = sum / looks;
    return (double)rate;
}

gboolean lpm_forecast_knows_link(struct lpm_daemon *daemon, const char *peer)
{
    g_autoptr(GPtrArray) past =
        lpm_journal_forecasts(daemon->journal, NULL, LPM_FORECAST_HISTORY, NULL);
    gint64 since_ms = lpm_wall_us() / 1000 - LINK_KNOWN_MS;

    for (guint i = 0; past && i < past->len; i++) {
        const LpmForecastPast *entry = past->pdata[i];
        const json_t *inputs = json_object_get(entry->forecast, "inputs");

        if (strcmp(entry->row->peer, peer) == 0 && entry->row->started_ms > since_ms &&
            json_is_number(json_object_get(inputs, "link_rate")))
            return TRUE;
    }
    return FALSE;
}

static guint64 resident(struct lpm_daemon *daemon, const struct lpm_forecast_query *query)
{
    g_autoptr(LpmQemuProcess) process =
        lpm_qemu_process_open(daemon->config->qemu_run_dir, query->partition, query->uuid, NULL);

    return process ? lpm_qemu_resident(lpm_qemu_process_pid(process), query->memory_bytes) : 0;
}

void lpm_forecast_gather(struct lpm_daemon *daemon, const struct lpm_forecast_query *query,
                         struct lpm_forecast_input *input)
{
    const LpmConfig *config = daemon->config;
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) past =
        lpm_journal_forecasts(daemon->journal, NULL, LPM_FORECAST_HISTORY, &error);

    *input = (struct lpm_forecast_input){
        .memory_bytes = query->memory_bytes,
        .resident_bytes = resident(daemon, query),
        .dirty_rate = -1,
        .load = lpm_processor_load(),
        .bandwidth = query->bandwidth ? query->bandwidth : config->bandwidth,
        .fixed_method = strcmp(config->compression, "auto") != 0,
        .max_suspend_ms = query->max_suspend_ms ? query->max_suspend_ms : config->max_suspend_ms,
        .limit_asked = query->max_suspend_ms != 0,
        .post_copy = query->post_copy,
        .post_copy_rounds = config->post_copy_rounds,
    };
    if (past) {
        lpm_lessons_learn(past, query->uuid, query->peer, &input->lessons);
    } else {
        lpm_log(LPM_LOG_WARNING, NULL, "the forecast knows no history: %s", error->message);
        lpm_lessons_default(&input->lessons);
    }
}
