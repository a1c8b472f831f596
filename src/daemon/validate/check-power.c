/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The target is on mains (R2.10). */
#include "daemon/validate/checks.h"

#include <string.h>

static char *supply(const char *name, const char *file)
{
    g_autofree char *path = g_build_filename("/sys/class/power_supply", name, file, NULL);
    char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? g_strchomp(text) : g_strdup("");
}

/* On battery: a battery that discharges, and no mains that is connected. A host without either is
 * on mains. */
json_t *lpm_gather_power(struct lpm_validation *validation G_GNUC_UNUSED,
                         GError **error G_GNUC_UNUSED)
{
    GDir *folder = g_dir_open("/sys/class/power_supply", 0, NULL);
    gboolean discharging = FALSE, mains = FALSE;
    const char *name;

    while (folder && (name = g_dir_read_name(folder))) {
        g_autofree char *type = supply(name, "type"), *status = supply(name, "status");
        g_autofree char *online = supply(name, "online"), *scope = supply(name, "scope");

        if (strcmp(scope, "Device") == 0)
            continue; /* a mouse's */
        if (strcmp(type, "Mains") == 0 || strcmp(type, "USB") == 0)
            mains = mains || strcmp(online, "1") == 0;
        else if (strcmp(status, "Discharging") == 0)
            discharging = TRUE;
    }
    if (folder)
        g_dir_close(folder);
    return json_pack("{s:b}", "on_battery", discharging && !mains);
}

void lpm_judge_power(struct lpm_judgement *judgement)
{
    if (lpm_fact_true(judgement->target, "on_battery"))
        lpm_find(judgement, LPM_E_ON_BATTERY, "%s runs on battery", judgement->target_name);
}
