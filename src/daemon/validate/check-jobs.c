/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Nothing else is being done with the partition (R2.10). */
#include "daemon/validate/checks.h"

/* A job of our own migration is not in its way; libvirt's jobs of any other kind are. */
void lpm_judge_jobs(struct lpm_judgement *judgement)
{
    const json_t *model = judgement->model, *disk;
    const json_t *state = json_object_get(judgement->sources, "state");
    gint64 snapshots = lpm_fact_int(model, "snapshots");
    gint64 checkpoints = lpm_fact_int(model, "checkpoints");
    size_t i;

    json_array_foreach (json_object_get(model, "block_jobs"), i, disk)
        lpm_find(judgement, LPM_E_PARTITION_BUSY, "a block job (copy, commit, backup) runs on %s",
                 json_string_value(disk));
    if (lpm_fact_true(model, "job") && !*lpm_fact(state, "migration") &&
        !judgement->validation->for_migration)
        lpm_find(judgement, LPM_E_PARTITION_BUSY, "libvirt does a job on it (save, dump, backup)");
    if (snapshots > 0 || checkpoints > 0)
        lpm_find(judgement, LPM_E_SNAPSHOTS,
                 "%" G_GINT64_FORMAT " snapshots, %" G_GINT64_FORMAT " checkpoints",
                 MAX(snapshots, 0), MAX(checkpoints, 0));
}
