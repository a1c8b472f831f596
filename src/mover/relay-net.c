/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/relay.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define WAIT_S 5

gboolean relay_split(const char *text, char **host, char **port, GError **error)
{
    const char *colon = strrchr(text, ':'), *end = colon;
    guint64 number;

    if (!colon || !g_ascii_string_to_unsigned(colon + 1, 10, 1, 65535, &number, NULL))
        return lpm_fail(error, LPM_E_USAGE,
                        "'%s' is no HOST:PORT: the port is a number from 1 to 65535", text);
    if (*text == '[') {
        if (colon[-1] != ']')
            return lpm_fail(error, LPM_E_USAGE, "'%s' is no [ADDRESS]:PORT", text);
        text++;
        end--;
    } else if (memchr(text, ':', (gsize)(colon - text))) {
        return lpm_fail(error, LPM_E_USAGE, "'%s': an IPv6 address stands in brackets", text);
    }
    *host = g_strndup(text, (gsize)(end - text));
    *port = g_strdup(colon + 1);
    return TRUE;
}

/* ---- unix sockets ---- */

static gboolean fill_address(struct sockaddr_un *address, const char *path, GError **error)
{
    memset(address, 0, sizeof(*address));
    address->sun_family = AF_UNIX;
    if (g_strlcpy(address->sun_path, path, sizeof(address->sun_path)) >= sizeof(address->sun_path))
        return lpm_fail(error, LPM_E_USAGE, "the path %s is too long for a socket", path);
    return TRUE;
}

int relay_connect_unix(const char *path, GError **error)
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

/* A socket on which nobody listens is what an earlier run has left. */
static void remove_stale(const char *path)
{
    struct stat info;

    if (lstat(path, &info) < 0 || !S_ISSOCK(info.st_mode))
        return;
    lpm_autofd fd = relay_connect_unix(path, NULL);
    if (fd < 0 && errno == ECONNREFUSED)
        unlink(path);
}

int relay_listen_unix(const char *path, GError **error)
{
    struct sockaddr_un address;
    lpm_autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (!fill_address(&address, path, error))
        return -1;
    remove_stale(path);
    mode_t before = umask(0077); /* whoever connects speaks as QEMU: this user alone */
    gboolean ok = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                  listen(fd, 1) == 0;
    int reason = errno;
    umask(before);
    if (!ok) {
        lpm_fail(error, LPM_E_MOVER_START, "listening on %s: %s", path, g_strerror(reason));
        return -1;
    }
    return lpm_steal_fd(&fd);
}

/* ---- TCP ---- */

static int listen_at(const struct addrinfo *address)
{
    lpm_autofd fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, RELAY_DOOR_MAX) < 0)
        return -1;
    return lpm_steal_fd(&fd);
}

/* Within the limit; the socket is blocking again afterwards. errno tells on -1. */
static int dial_at(const struct addrinfo *address)
{
    lpm_autofd fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failed = 0, on = 1;
    socklen_t length = sizeof(failed);

    if (fd < 0)
        return -1;
    if (connect(fd, address->ai_addr, address->ai_addrlen) < 0) {
        struct pollfd item = {.fd = fd, .events = POLLOUT};

        if (errno != EINPROGRESS)
            return -1;
        if (poll(&item, 1, WAIT_S * 1000) != 1) {
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

/* The first address of the name for which `open` succeeds. */
static int open_first(const char *host, const char *port, gboolean passive,
                      int (*open)(const struct addrinfo *), GError **error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = passive ? AI_PASSIVE : 0};
    struct addrinfo *list = NULL;
    int failed = getaddrinfo(*host ? host : NULL, port, &hints, &list), reason = 0, fd = -1;

    if (failed) {
        lpm_fail(error, LPM_E_USAGE, "%s:%s: %s", host, port, gai_strerror(failed));
        return -1;
    }
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = open(a);
        reason = errno;
    }
    freeaddrinfo(list);
    if (fd < 0)
        lpm_fail(error, LPM_E_PEER_UNREACHABLE, "%s %s:%s: %s",
                 passive ? "listening on" : "connecting to", host, port, g_strerror(reason));
    return fd;
}

int relay_listen_tcp(const char *host, const char *port, GError **error)
{
    return open_first(host, port, TRUE, listen_at, error);
}

int relay_dial(const char *host, const char *port, const guint8 session[LPM_SESSION_ID_BYTES],
               GError **error)
{
    lpm_autofd fd = open_first(host, port, FALSE, dial_at, error);

    if (fd < 0 || !lpm_write_all(fd, session, LPM_SESSION_ID_BYTES, error))
        return -1;
    return lpm_steal_fd(&fd);
}

/* ---- callers ---- */

void relay_door_init(struct relay_door *door, int listen_fd)
{
    door->listen_fd = listen_fd;
    for (guint i = 0; i < RELAY_DOOR_MAX; i++)
        door->callers[i] = (struct relay_caller){.fd = -1};
}

static void let_in(struct relay_door *door)
{
    int fd = accept4(door->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct relay_caller *place = &door->callers[0];

    if (fd < 0)
        return;
    for (guint i = 0; i < RELAY_DOOR_MAX; i++) {
        struct relay_caller *caller = &door->callers[i];
        gboolean better = place->fd >= 0 && (caller->fd < 0 || caller->until_us < place->until_us);
        if (better)
            place = caller;
    }
    lpm_fd_clear(&place->fd);
    *place =
        (struct relay_caller){.fd = fd, .until_us = lpm_monotonic_us() + WAIT_S * G_USEC_PER_SEC};
}

/* TRUE once its id is complete. */
static gboolean listen_to(struct relay_caller *caller)
{
    ssize_t n = read(caller->fd, caller->id + caller->got, LPM_SESSION_ID_BYTES - caller->got);

    if (n > 0)
        caller->got += (gsize)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR) || lpm_monotonic_us() > caller->until_us)
        lpm_fd_clear(&caller->fd);
    return caller->fd >= 0 && caller->got == LPM_SESSION_ID_BYTES;
}

int relay_door_look(struct relay_door *door, guint8 id[LPM_SESSION_ID_BYTES])
{
    int on = 1;

    let_in(door);
    for (guint i = 0; i < RELAY_DOOR_MAX; i++) {
        struct relay_caller *caller = &door->callers[i];

        if (caller->fd < 0 || !listen_to(caller))
            continue;
        memcpy(id, caller->id, LPM_SESSION_ID_BYTES);
        fcntl(caller->fd, F_SETFL, 0);
        setsockopt(caller->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        return lpm_steal_fd(&caller->fd);
    }
    return -1;
}

void relay_door_close(struct relay_door *door)
{
    for (guint i = 0; i < RELAY_DOOR_MAX; i++)
        lpm_fd_clear(&door->callers[i].fd);
    lpm_fd_clear(&door->listen_fd);
}
