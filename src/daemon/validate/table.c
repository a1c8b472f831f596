/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The checks. Another one is a line here, a file beside, and a line in docs/validation.md. */
#include "daemon/validate/checks.h"

const struct lpm_check lpm_checks[] = {
    {"disks", "The target sees the same disks", "R2.3", TRUE, lpm_gather_disks, lpm_judge_disks},
    {"reservations", "No disk is reserved for one host", "R2.2", TRUE, NULL,
     lpm_judge_reservations},
    {"caches", "No disk's data stays in the source's memory", "R2.2", FALSE, NULL,
     lpm_judge_caches},
    {"networks", "The target reaches the same networks", "R2.4", TRUE, lpm_gather_networks,
     lpm_judge_networks},
    {"names", "Name and UUID are free on the target", "R2.9", TRUE, lpm_gather_names,
     lpm_judge_names},
    {"macs", "The MAC addresses are free on the target", "R2.9", TRUE, NULL, lpm_judge_macs},
    {.id = NULL},
};
