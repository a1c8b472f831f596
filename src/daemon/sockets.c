/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The sockets of a migration: the folder that QEMU may write to, and connections. lpmd makes them
 * all, since the mover can reach no path and no address by itself. */
#include "daemon/migration.h"

#include "base/error.h"
#include "base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* AppArmor's profile for QEMU lets it have sockets of this form below /run/libvirt; libvirt's own
 * tunnelled migration uses it. */
#define DATA_NAME "lpm.tunnelmigrate.dest.data"
#define RPC_NAME "rpc.sock"

char *lpm_migration_folder(const LpmMigration *migration)
{
    return g_build_filename(migration->daemon->config->socket_dir, migration->id, NULL);
}

char *lpm_migration_data_path(const LpmMigration *migration)
{
    return g_build_filename(migration->daemon->config->socket_dir, migration->id, DATA_NAME, NULL);
}

char *lpm_migration_rpc_path(const LpmMigration *migration)
{
    return g_build_filename(migration->daemon->config->socket_dir, migration->id, RPC_NAME, NULL);
}

gboolean lpm_migration_make_folder(LpmMigration *migration, GError **error)
{
    const LpmConfig *config = migration->daemon->config;
    g_autofree char *folder = lpm_migration_folder(migration);
    const struct passwd *user = getpwnam(config->qemu_user);

    /* The outer folder is passable by all and readable by root; each migration's is QEMU's own. */
    if (g_mkdir_with_parents(config->socket_dir, 0711) < 0 || g_mkdir(folder, 0700) < 0)
        return lpm_fail(error, LPM_E_MOVER_START, "%s cannot be made: %s", folder,
                        g_strerror(errno));
    if (user && chown(folder, user->pw_uid, user->pw_gid) < 0)
        return lpm_fail(error, LPM_E_MOVER_START, "%s cannot be given to user %s: %s", folder,
                        config->qemu_user, g_strerror(errno));
    return TRUE;
}

void lpm_migration_remove_folder(LpmMigration *migration)
{
    g_autofree char *folder = lpm_migration_folder(migration);
    g_autofree char *data = lpm_migration_data_path(migration);
    g_autofree char *rpc = lpm_migration_rpc_path(migration);

    unlink(data);
    unlink(rpc);
    rmdir(folder);
}

static gboolean fill_address(struct sockaddr_un *address, const char *path, GError **error)
{
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    if (g_strlcpy(address->sun_path, path, sizeof(address->sun_path)) >= sizeof(address->sun_path))
        return lpm_fail(error, LPM_E_MOVER_START, "the path %s is too long for a socket", path);
    return TRUE;
}

int lpm_unix_listen(const char *path, GError **error)
{
    struct sockaddr_un address;
    lpm_autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (!fill_address(&address, path, error))
        return -1;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0) {
        lpm_fail(error, LPM_E_MOVER_START, "listening on %s: %s", path, g_strerror(errno));
        return -1;
    }
    /* libvirtd and QEMU connect as root or as qemu_user; the folder keeps everybody else out. */
    if (chmod(path, 0666) < 0) {
        lpm_fail(error, LPM_E_MOVER_START, "opening %s: %s", path, g_strerror(errno));
        return -1;
    }
    return lpm_steal_fd(&fd);
}

int lpm_unix_connect(const char *path, GError **error)
{
    struct sockaddr_un address;
    lpm_autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (!fill_address(&address, path, error))
        return -1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        lpm_fail(error, LPM_E_MOVER_START, "connecting to %s: %s", path, g_strerror(errno));
        return -1;
    }
    return lpm_steal_fd(&fd);
}

/* Connects within the limit; the socket is blocking again afterwards. errno tells on -1. */
static int connect_within(const struct addrinfo *address, guint timeout_s)
{
    lpm_autofd fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failed = 0, on = 1;
    socklen_t length = sizeof(failed);

    if (fd < 0)
        return -1;
    if (connect(fd, address->ai_addr, address->ai_addrlen) < 0) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};

        if (errno != EINPROGRESS)
            return -1;
        if (poll(&p, 1, (int)timeout_s * 1000) != 1) {
            errno = ETIMEDOUT;
            return -1;
        }
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &length) < 0 || failed) {
            errno = failed ? failed : errno;
            return -1;
        }
    }
    if (fcntl(fd, F_SETFL, 0) < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
        return -1;
    return lpm_steal_fd(&fd);
}

int lpm_dial_session(const LpmPeer *peer, const guint8 *session, guint timeout_s, GError **error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    g_autofree char *port = g_strdup_printf("%u", peer->data_port);
    int failed = getaddrinfo(peer->address, port, &hints, &list);

    if (failed) {
        lpm_fail(error, LPM_E_PEER_UNREACHABLE, "%s: %s", peer->address, gai_strerror(failed));
        return -1;
    }
    lpm_autofd fd = -1;
    int reason = 0;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = connect_within(a, timeout_s);
        reason = errno;
    }
    freeaddrinfo(list);
    if (fd < 0) {
        lpm_fail(error, LPM_E_PEER_UNREACHABLE, "connecting to %s port %u: %s", peer->address,
                 peer->data_port, g_strerror(reason));
        return -1;
    }
    if (!lpm_write_all(fd, session, LPM_SESSION_ID_BYTES, error))
        return -1;
    return lpm_steal_fd(&fd);
}
