/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What the target's side needs to receive a partition: its mover, and the door for the source's. */
#include "base/error.h"
#include "daemon/data-port.h"
#include "daemon/target-internal.h"

#include <string.h>
#include <unistd.h>

/* A connection of the source's mover arrived on the data port. */
static void on_data_connection(int fd, const char *from, void *user)
{
    LpmMigration *migration = user;
    g_autoptr(GError) error = NULL;

    lpm_migration_log(migration, LPM_LOG_DEBUG, "link", "the source's mover connects from %s",
                      from);
    g_mutex_lock(&migration->lock);
    struct lpm_mover *mover = migration->mover;
    g_mutex_unlock(&migration->lock);
    if (mover) {
        if (!lpm_mover_send_link(lpm_mover_lock(mover), TRUE, fd, &error))
            lpm_migration_log(migration, LPM_LOG_WARNING, "link", "%s", error->message);
        lpm_mover_unlock(mover);
    }
    close(fd);
}

static void release_migration(gpointer migration)
{
    lpm_migration_unref(migration);
}

void lpm_target_open_door(LpmMigration *migration)
{
    lpm_data_port_register(migration->daemon->data_port, migration->session, on_data_connection,
                           lpm_migration_ref(migration), release_migration);
}

guint lpm_target_links(const struct lpm_daemon *daemon, const json_t *body)
{
    json_int_t asked = json_integer_value(json_object_get(body, "links"));

    return (guint)CLAMP(asked, 1, (json_int_t)lpm_config_links(daemon->config, NULL));
}

gboolean lpm_target_start_mover(LpmMigration *migration, guint64 backlog, gboolean whole,
                                GError **error)
{
    gboolean may_switch = whole && migration->post_copy != LPM_POST_COPY_NEVER;
    LpmMoverStart start = {.backlog_bytes = backlog,
                           .finish_by_outcome = may_switch,
                           .gate_run = may_switch,
                           .hold_bitmaps = !whole};

    return lpm_migration_start_mover(migration, &start, error);
}

void lpm_target_drop_means(LpmMigration *migration)
{
    lpm_data_port_unregister(migration->daemon->data_port, migration->session);
    if (migration->mover)
        lpm_mover_quit(migration->mover, LPM_TARGET_QUIT_TIMEOUT_MS);
    else
        lpm_mover_dismiss(migration->daemon->config, migration->id, LPM_SIDE_TARGET);
    lpm_migration_remove_folder(migration);
}

json_t *lpm_target_parameters(LpmMigration *migration)
{
    g_autofree char *session = lpm_hex(migration->session, LPM_SESSION_ID_BYTES);
    g_mutex_lock(&migration->lock);
    json_t *memory = migration->memory ? json_deep_copy(migration->memory) : NULL;
    g_mutex_unlock(&migration->lock);

    return json_pack("{s:s, s:b, s:b, s:s, s:I, s:i, s:b, s:o*, s:O*}", "session", session,
                     "persistent", migration->persistent, "autostart", migration->autostart,
                     "post_copy", lpm_post_copy_name(migration->post_copy), "memory_bytes",
                     (json_int_t)migration->memory_bytes, "vcpus", (int)migration->vcpus,
                     "hugepages", migration->hugepages, "memory", memory, "memory_nodes",
                     migration->node_demands);
}
