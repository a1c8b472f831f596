/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The API path of forecasts and what came of them. */
#include "daemon/forecast-history.h"
#include "daemon/routes.h"

static json_t *list(struct lpm_request *request, GError **error)
{
    g_autoptr(GPtrArray) past =
        lpm_journal_forecasts(request->daemon->journal, lpm_request_query(request, "partition"),
                              LPM_FORECAST_HISTORY, error);

    return past ? lpm_forecast_score(past) : NULL;
}

const struct lpm_route lpm_routes_forecasts[] = {
    {.method = "GET",
     .path = "/v1/forecasts",
     .scope = LPM_SCOPE_LOCAL,
     .query = "partition",
     .handler = list},
    {.method = NULL},
};
