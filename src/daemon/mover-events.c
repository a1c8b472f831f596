/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * What the movers tell, noted as facts of the migration. The target's needs are met here as well:
 * they ask for a connection on this host, which is made at once or not at all (libvirtd's socket
 * exists; QEMU listens before the source's QEMU has connected).
 */
#include "daemon/feed.h"
#include "daemon/migration.h"
#include "daemon/placement.h"
#include "daemon/retain.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fault-point.h"
#include "base/fdio.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUIT_TIMEOUT_MS 2000
/* A local socket that does not answer is tried again this often, this long: libvirtd may be
 * restarting; QEMU, which takes one connection, has listened since before it was asked for. */
#define ATTACH_RETRY_US 100000
#define ATTACH_LIBVIRT_US (30 * G_USEC_PER_SEC)
#define ATTACH_QEMU_US (3 * G_USEC_PER_SEC)

struct lpm_mover *lpm_migration_wait_mover(LpmMigration *migration)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    while (!migration->mover && !migration->mover_gone &&
           !lpm_migrations_closing(migration->daemon->migrations))
        g_cond_wait(&migration->changed, &migration->lock);
    return migration->mover;
}

static int connect_patiently(LpmMigration *migration, const char *path, gint64 limit_us,
                             GError **error)
{
    gint64 deadline = lpm_monotonic_us() + limit_us;
    int fd = lpm_unix_connect(path, error);

    while (fd < 0 && lpm_monotonic_us() < deadline &&
           !lpm_migrations_closing(migration->daemon->migrations)) {
        g_clear_error(error);
        g_usleep(ATTACH_RETRY_US);
        fd = lpm_unix_connect(path, error);
    }
    return fd;
}

/* A connection to a program that has gone, which is how the mover and, through it, the source learn
 * that there is none: nobody may wait for ever for what does not come. -1: not even that. */
static int dead_end(void)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    close(ends[1]);
    return ends[0];
}

static void attach(LpmMigration *migration, enum lpm_channel channel)
{
    gboolean data = channel == LPM_CHANNEL_DATA;
    g_autofree char *data_path = lpm_migration_data_path(migration);
    g_autoptr(GError) error = NULL;
    struct lpm_mover *mover = lpm_migration_wait_mover(migration);

    if (!mover)
        return;
    /* Before QEMU is connected: an lpmd that dies with a connection which the mover has not got
     * yet takes QEMU's one connection with it. */
    if (data)
        lpm_placement_choose(migration, mover);
    int fd =
        connect_patiently(migration, data ? data_path : migration->daemon->config->libvirt_socket,
                          data ? ATTACH_QEMU_US : ATTACH_LIBVIRT_US, &error);

    if (fd < 0) {
        lpm_migration_log(migration, LPM_LOG_ERROR, "attach", "%s", error->message);
        g_clear_error(&error);
        fd = lpm_migrations_closing(migration->daemon->migrations) ? -1 : dead_end();
    }
    if (fd < 0)
        return;
    if (data)
        LPM_FAULT_POINT("target", "qemu-connected");
    if (!lpm_mover_send_attach(lpm_mover_lock(mover), channel, fd, &error))
        lpm_migration_log(migration, LPM_LOG_ERROR, "attach", "%s", error->message);
    lpm_mover_unlock(mover);
    close(fd);
}

static void attach_rpc(LpmMigration *migration)
{
    attach(migration, LPM_CHANNEL_RPC);
}

static void attach_data(LpmMigration *migration)
{
    attach(migration, LPM_CHANNEL_DATA);
}

void lpm_migration_set_mover(LpmMigration *migration, struct lpm_mover *mover)
{
    g_mutex_lock(&migration->lock);
    migration->mover = mover;
    g_cond_broadcast(&migration->changed);
    g_mutex_unlock(&migration->lock);
}

gboolean lpm_migration_start_mover(LpmMigration *migration, LpmMoverStart *start, GError **error)
{
    const LpmConfig *config = migration->daemon->config;
    struct lpm_mover *mover = lpm_mover_spawn(config, migration->id, migration->side,
                                              lpm_migration_on_mover_event, migration, error);

    if (!mover)
        return FALSE;
    lpm_migration_set_mover(migration, mover);
    start->side = migration->side;
    start->compression = config->compression;
    start->compression_level = config->compression_level;
    start->threads = config->threads;
    start->bandwidth = migration->bandwidth;
    start->links = migration->links;
    lpm_config_links(config, &start->grow);
    start->migration = migration->id;
    start->partition = migration->partition;
    memcpy(start->session, migration->session, sizeof(start->session));
    memcpy(start->psk, migration->psk, sizeof(start->psk));
    gboolean ok = lpm_mover_send_start(lpm_mover_lock(mover), start, error);
    lpm_mover_unlock(mover);
    explicit_bzero(start->psk, sizeof(start->psk));
    /* A stream that goes on with a post-copy says nothing of the pages before. */
    if (ok && !migration->retired->len)
        lpm_retain_begin(migration);
    return ok;
}

/* The order counts: once detached the old mover can tell nothing any more, so that what is reset
 * stays so until the next one speaks. */
void lpm_migration_retire_mover(LpmMigration *migration)
{
    lpm_migration_let_go(migration);
    g_mutex_lock(&migration->lock);
    struct lpm_mover *mover = g_steal_pointer(&migration->mover);
    if (mover)
        g_ptr_array_add(migration->retired, mover);
    g_mutex_unlock(&migration->lock);
    if (mover) {
        lpm_mover_quit(mover, QUIT_TIMEOUT_MS);
        lpm_mover_detach(mover);
    }
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
    migration->mover_gone = migration->rpc_lost = FALSE;
    migration->finish_held = migration->finish_good = FALSE;
    migration->link_up = migration->link_wanted = FALSE;
    migration->link_down_since = 0;
    migration->call_returned = FALSE;
    g_clear_error(&migration->mover_error);
    g_clear_error(&migration->call_error);
}

static void on_need(LpmMigration *migration, enum lpm_mover_need need)
{
    if (need == LPM_NEED_LINK) {
        g_mutex_lock(&migration->lock);
        migration->link_wanted = TRUE;
        g_cond_broadcast(&migration->changed);
        g_mutex_unlock(&migration->lock);
        return;
    }
    /* On a thread of its own: this one must stay free for what the mover tells next. */
    lpm_migrations_run(migration->daemon->migrations, migration,
                       need == LPM_NEED_RPC ? attach_rpc : attach_data);
}

static void on_link(LpmMigration *migration, const LpmMoverEvent *event)
{
    g_mutex_lock(&migration->lock);
    gboolean changed = migration->link_up != event->link_up;
    migration->link_up = event->link_up;
    if (event->link_up) {
        migration->link_wanted = FALSE;
        migration->links_came++;
        migration->link_down_since = 0;
    } else if (changed) {
        migration->link_down_since = lpm_monotonic_us();
    }
    g_cond_broadcast(&migration->changed);
    g_mutex_unlock(&migration->lock);
    if (changed && event->link_up)
        lpm_migration_log(migration, LPM_LOG_INFO, "link-up", "the movers are connected");
    else if (changed)
        lpm_migration_log(migration, LPM_LOG_WARNING, "link-down", "the movers lost their link: %s",
                          event->cause ? event->cause : "no cause");
}

static void let_end(LpmMigration *migration, enum lpm_channel channel)
{
    g_mutex_lock(&migration->lock);
    struct lpm_mover *mover = migration->mover;
    g_mutex_unlock(&migration->lock);
    if (!mover)
        return;
    lpm_mover_send_end(lpm_mover_lock(mover), channel, NULL);
    lpm_mover_unlock(mover);
}

void lpm_migration_let_go(LpmMigration *migration)
{
    gboolean ending[LPM_CHANNEL_COUNT];

    g_mutex_lock(&migration->lock);
    migration->may_go_back = FALSE;
    for (guint i = 0; i < LPM_CHANNEL_COUNT; i++) {
        lpm_fd_clear(&migration->program_fd[i]);
        ending[i] = migration->ending[i];
        migration->ending[i] = FALSE;
    }
    g_mutex_unlock(&migration->lock);
    for (guint i = 0; i < LPM_CHANNEL_COUNT; i++) {
        if (ending[i])
            let_end(migration, (enum lpm_channel)i);
    }
}

static void take_loan(LpmMigration *migration, const LpmMoverEvent *event)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    lpm_fd_clear(&migration->program_fd[event->channel]);
    migration->program_fd[event->channel] = fcntl(event->fd, F_DUPFD_CLOEXEC, 0);
}

/* The target's program has ended. While the way back is open nobody here is told. */
static void on_ending(LpmMigration *migration, enum lpm_channel channel)
{
    g_mutex_lock(&migration->lock);
    gboolean keep = migration->may_go_back;
    migration->ending[channel] = keep;
    if (keep && channel == LPM_CHANNEL_RPC)
        migration->rpc_lost = TRUE;
    g_cond_broadcast(&migration->changed);
    g_mutex_unlock(&migration->lock);
    if (!keep)
        let_end(migration, channel);
}

static void on_channel(LpmMigration *migration, const LpmMoverEvent *event)
{
    if (migration->side == LPM_SIDE_SOURCE && event->channel == LPM_CHANNEL_DATA &&
        event->state == LPM_CHANNEL_OPEN) {
        g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);
        if (!migration->stream_begin_us)
            migration->stream_begin_us = lpm_wall_us();
    }
    if (event->state == LPM_CHANNEL_OPEN && event->fd >= 0)
        take_loan(migration, event);
    if (event->state == LPM_CHANNEL_ENDING)
        on_ending(migration, event->channel);
    if (event->channel != LPM_CHANNEL_RPC)
        return;
    if (event->state != LPM_CHANNEL_EOF && event->state != LPM_CHANNEL_CLOSED)
        return;
    g_mutex_lock(&migration->lock);
    migration->rpc_lost = TRUE;
    g_cond_broadcast(&migration->changed);
    g_mutex_unlock(&migration->lock);
}

static void on_finish_held(LpmMigration *migration, const LpmMoverEvent *event)
{
    g_mutex_lock(&migration->lock);
    gboolean first = !migration->finish_held;
    migration->finish_held = TRUE;
    migration->finish_good = event->status == 0 && !event->cancelled;
    if (first)
        migration->finish_held_us = lpm_wall_us();
    g_cond_broadcast(&migration->changed);
    g_mutex_unlock(&migration->lock);
    if (first)
        lpm_migration_log(migration, LPM_LOG_INFO, "finish-held",
                          "libvirt's answer to Finish is here (%s) and held",
                          event->cancelled     ? "cancelled"
                          : event->status == 0 ? "success"
                                               : "failure");
}

static void on_post_copy(LpmMigration *migration, const LpmMoverEvent *event)
{
    if (migration->side == LPM_SIDE_TARGET) {
        if (event->memory)
            lpm_feed_note_memory(migration, event->memory);
        if (event->waiting)
            lpm_target_on_run_waits(migration);
        else
            lpm_target_on_run_passed(migration);
        return;
    }
    g_mutex_lock(&migration->lock);
    migration->run_passed = TRUE;
    g_cond_broadcast(&migration->changed);
    g_mutex_unlock(&migration->lock);
}

static void on_failed(LpmMigration *migration, int code, const char *cause)
{
    g_mutex_lock(&migration->lock);
    if (!migration->mover_error)
        migration->mover_error = g_error_new_literal(LPM_ERROR, code, cause);
    g_cond_broadcast(&migration->changed);
    g_mutex_unlock(&migration->lock);
    lpm_migration_log(migration, LPM_LOG_ERROR, "mover-failed", "%s", cause);
}

static void on_gone(LpmMigration *migration)
{
    g_mutex_lock(&migration->lock);
    migration->mover_gone = TRUE;
    migration->link_up = FALSE;
    gboolean keep = migration->may_go_back;
    g_cond_broadcast(&migration->changed);
    g_mutex_unlock(&migration->lock);
    if (!keep)
        lpm_migration_let_go(migration);
}

void lpm_migration_on_mover_event(const LpmMoverEvent *event, void *user)
{
    LpmMigration *migration = user;

    if (!event) {
        on_gone(migration);
        return;
    }
    switch (event->type) {
    case LPM_MOVER_NEED:
        on_need(migration, event->need);
        break;
    case LPM_MOVER_LINK:
        on_link(migration, event);
        break;
    case LPM_MOVER_CHANNEL:
        on_channel(migration, event);
        break;
    case LPM_MOVER_FINISH_HELD:
        on_finish_held(migration, event);
        break;
    case LPM_MOVER_FAILED:
        on_failed(migration, event->code, event->cause ? event->cause : "no cause");
        break;
    case LPM_MOVER_POSTCOPY:
        on_post_copy(migration, event);
        break;
    case LPM_MOVER_BITMAPS:
        if (event->waiting)
            lpm_feed_on_bitmaps(migration);
        break;
    case LPM_MOVER_HELLO:
    case LPM_MOVER_STATS:
    case LPM_MOVER_ENDED:
        break;
    }
}
