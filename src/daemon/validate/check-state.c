/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The partition runs or is powered off, and nothing else is being done with it (R2.10). */
#include "daemon/migration.h"
#include "daemon/validate/checks.h"

#include <string.h>

json_t *lpm_gather_state(struct lpm_validation *validation, GError **error G_GNUC_UNUSED)
{
    g_autoptr(LpmMigration) migration =
        lpm_migrations_by_uuid(validation->daemon->migrations, lpm_fact(validation->model, "uuid"));
    gboolean other = migration && !validation->for_migration;

    return json_pack("{s:s, s:s?}", "state", lpm_fact(validation->model, "state"), "migration",
                     other ? migration->id : NULL);
}

void lpm_judge_state(struct lpm_judgement *judgement)
{
    const char *state = lpm_fact(judgement->source, "state");
    const char *migration = lpm_fact(judgement->source, "migration");
    gboolean off = lpm_is_off(judgement->model) && lpm_fact_true(judgement->model, "persistent");

    if (*migration)
        lpm_find(judgement, LPM_E_ALREADY_MIGRATING, "migration %s has not ended", migration);
    else if (strcmp(state, "running") != 0 && !off)
        lpm_find(judgement, LPM_E_PARTITION_NOT_RUNNING, "partition '%s' is %s",
                 lpm_fact(judgement->model, "name"), state);
}

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

/* The guest agent has a channel and is not at its other end: what asks the guest will get no
 * answer. A partition without such a channel never had one. */
void lpm_judge_agent(struct lpm_judgement *judgement)
{
    const json_t *channel;
    gboolean any = FALSE;
    size_t i;

    json_array_foreach (json_object_get(judgement->model, "channels"), i, channel) {
        if (strcmp(lpm_fact(channel, "target"), "org.qemu.guest_agent.0") != 0)
            continue;
        any = TRUE;
        if (strcmp(lpm_fact(channel, "state"), "connected") != 0 &&
            strcmp(lpm_fact(judgement->model, "state"), "running") == 0)
            lpm_find(judgement, LPM_E_AGENT_SILENT,
                     "nothing in the guest has opened the channel org.qemu.guest_agent.0");
    }
    if (!any || lpm_is_off(judgement->model))
        lpm_does_not_apply(judgement);
}
