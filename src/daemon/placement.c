/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/placement.h"

#include "host/guest-memory.h"

#include <string.h>

/* What of this migration speaks against it, whatever the memory is; static. */
static const char *objection(const LpmMigration *migration)
{
    if (!strcmp(migration->daemon->config->direct_placement, "off"))
        return "direct_placement is off in lpmd.conf";
    /* Behind the switch the target's QEMU asks for pages and must get them from its stream, and at
     * the announcement of it QEMU throws away what its memory has. */
    if (migration->post_copy != LPM_POST_COPY_NEVER)
        return "the migration may go over to post-copy";
    return NULL;
}

static GArray *look(LpmMigration *migration, char **reason)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(LpmQemuProcess) process = lpm_qemu_process_open(
        migration->daemon->config->qemu_run_dir, migration->partition, migration->uuid, &error);

    if (process)
        return lpm_guest_memory_find(process, reason);
    *reason = g_strdup(error->message);
    return NULL;
}

static void give(LpmMigration *migration, struct lpm_mover *mover, const GArray *memories)
{
    for (guint i = 0; i < memories->len; i++) {
        const struct lpm_guest_memory *memory =
            &g_array_index(memories, struct lpm_guest_memory, i);
        g_autoptr(GError) error = NULL;
        gboolean ok = lpm_mover_send_memory(lpm_mover_lock(mover), memory->name, memory->size,
                                            memory->fd, &error);

        lpm_mover_unlock(mover);
        if (ok)
            lpm_migration_log(migration, LPM_LOG_INFO, "placement",
                              "pages of '%s' (%" G_GUINT64_FORMAT
                              " bytes) are written into QEMU's memory directly",
                              memory->name, memory->size);
        else
            lpm_migration_log(migration, LPM_LOG_WARNING, "placement", "%s", error->message);
    }
}

void lpm_placement_choose(LpmMigration *migration, struct lpm_mover *mover)
{
    const char *against = objection(migration);
    g_autofree char *reason = NULL;
    g_autoptr(GArray) memories = look(migration, &reason);

    if (memories && !against) {
        give(migration, mover, memories);
        return;
    }
    /* Shared memory that is not made use of deserves a word; ordinary memory does not. */
    if (memories || reason)
        lpm_migration_log(migration, LPM_LOG_INFO, "placement",
                          "all pages go through QEMU, though its memory is shared: %s",
                          against ? against : reason);
    lpm_mover_send_no_memory(lpm_mover_lock(mover),
                             against && (memories || reason) ? against
                             : reason                        ? reason
                                                             : "QEMU's memory is not shared",
                             NULL);
    lpm_mover_unlock(mover);
}
