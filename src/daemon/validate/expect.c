/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The forecast of a validation: the link was sampled by its check of the movers, the dirty rate
 * while all of them ran. */
#include "base/clock.h"
#include "daemon/validate/check.h"
#include "daemon/validate/validate.h"

#include <string.h>

/* What is left of the second's sample when a migration that must wait for it has made its checks.
 */
#define WAITED_US 7e5

double lpm_validate_link_rate(const json_t *report)
{
    const json_t *check;
    size_t i;

    json_array_foreach (json_object_get(report, "checks"), i, check) {
        if (strcmp(lpm_fact(check, "id"), "mover") == 0)
            return (double)lpm_fact_int(json_object_get(json_object_get(check, "facts"), "target"),
                                        "throughput");
    }
    return 0;
}

guint64 lpm_validate_retained(const json_t *report)
{
    return (guint64)MAX(lpm_fact_int(report, "retained_bytes"), 0);
}

gboolean lpm_expect_begin(struct lpm_daemon *daemon, const json_t *model,
                          const struct lpm_validate_options *options)
{
    return options->forecast && strcmp(lpm_fact(model, "state"), "running") == 0 &&
           lpm_dirty_sample_begin(daemon, lpm_fact(model, "uuid"));
}

json_t *lpm_expect_end(struct lpm_daemon *daemon, const json_t *model,
                       const struct lpm_validate_options *options, gboolean sampled,
                       gint64 begin_us, const json_t *report)
{
    struct lpm_forecast_input input;
    struct lpm_forecast forecast;

    if (!options->forecast || strcmp(lpm_fact(model, "state"), "running") != 0)
        return json_null();
    struct lpm_forecast_query query = *options->forecast;
    query.partition = lpm_fact(model, "name");
    query.uuid = lpm_fact(model, "uuid");
    query.peer = lpm_fact(report, "target");
    query.memory_bytes = (guint64)lpm_fact_int(model, "memory_bytes");
    lpm_forecast_gather(daemon, &query, &input);
    input.link_rate = lpm_validate_link_rate(report);
    input.retained_bytes = lpm_validate_retained(report);
    input.sampling_us = input.limit_asked ? WAITED_US : 0;
    if (sampled)
        input.dirty_rate = lpm_dirty_sample_fetch(
            daemon, query.uuid, begin_us + LPM_DIRTY_SAMPLE_LIMIT_US, NULL, NULL, &input.load);
    lpm_forecast_make(&input, &forecast);
    return lpm_forecast_json(&input, &forecast, lpm_wall_us() / 1000);
}
