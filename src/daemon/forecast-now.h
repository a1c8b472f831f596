/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * A forecast of now: what forecast.h needs is asked of the host and of the journal. The sample of
 * the dirty rate lasts a second, so it is begun first and fetched last.
 */
#ifndef LPM_DAEMON_FORECAST_NOW_H
#define LPM_DAEMON_FORECAST_NOW_H

#include "daemon/forecast.h"

#define LPM_DIRTY_SAMPLE_S 1
/* How long a sample is waited for, from its begin. */
#define LPM_DIRTY_SAMPLE_LIMIT_US (3 * G_USEC_PER_SEC)

/* Strings are borrowed. */
struct lpm_forecast_query {
    const char *partition, *uuid, *peer;
    guint64 memory_bytes;
    guint64 bandwidth;    /* 0: what lpmd.conf says */
    guint max_suspend_ms; /* 0: likewise; otherwise an operator has asked for it */
    enum lpm_post_copy post_copy;
};

/* Begins QEMU's sample of the dirty rate, before libvirt's migration job. FALSE: it cannot be had,
 * and the forecast does without. Blocks for one libvirt call; any thread. */
gboolean lpm_dirty_sample_begin(struct lpm_daemon *daemon, const char *uuid);

/* Tasks that want a processor of this host now, for each processor; 0 when the kernel does not
 * tell. */
double lpm_processor_load(void);

/* Waits for it, at most until `until_us` (monotonic) or until `over` (may be NULL) returns TRUE.
 * Bytes per second; -1: there is none. *load: lpm_processor_load(), the mean while it waited. */
double lpm_dirty_sample_fetch(struct lpm_daemon *daemon, const char *uuid, gint64 until_us,
                              gboolean (*over)(gpointer user), gpointer user, double *load);

/* TRUE if the link to that host was sampled within a day, so that a migration need not do it. */
gboolean lpm_forecast_knows_link(struct lpm_daemon *daemon, const char *peer);

/* Fills in everything but the samples (link_rate 0, dirty_rate -1): the resident memory and what
 * the journal teaches. What cannot be read is not known; never fails. */
void lpm_forecast_gather(struct lpm_daemon *daemon, const struct lpm_forecast_query *query,
                         struct lpm_forecast_input *input);

#endif
