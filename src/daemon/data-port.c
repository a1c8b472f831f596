/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/data-port.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fdio.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* Who wants the connections with an id. Counted: one reference is the table's, one each callback's
 * that runs. */
struct taker {
    gatomicrefcount references;
    lpm_data_callback callback;
    void *user;
    GDestroyNotify free_user;
};

/* A connection that has not sent all of its id. Owned by the thread. */
struct pending {
    int fd;
    int64_t deadline_us;
    gsize have;
    uint8_t id[LPM_DATA_ID_BYTES];
};

struct lpm_data_port {
    int listener; /* immutable */
    int stop;     /* an eventfd, immutable */
    guint port;   /* immutable */
    GThread *thread;

    GMutex lock;        /* guards takers */
    GHashTable *takers; /* id -> struct taker */

    /* Owned by the thread. */
    struct pending pending[LPM_DATA_PENDING_MAX]; /* the oldest first */
    guint count;
};

static guint id_hash(gconstpointer key)
{
    guint value;

    /* Ids are random or come out of HKDF: any four bytes are a hash. */
    memcpy(&value, key, sizeof(value));
    return value;
}

static gboolean id_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, LPM_DATA_ID_BYTES) == 0;
}

static void taker_unref(gpointer data)
{
    struct taker *taker = data;

    if (!g_atomic_ref_count_dec(&taker->references))
        return;
    if (taker->free_user)
        taker->free_user(taker->user);
    g_free(taker);
}

static struct addrinfo *resolve(const char *address, guint port, GError **error)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *found = NULL;
    g_autofree char *service = g_strdup_printf("%u", port);
    int rc = getaddrinfo(address, service, &hints, &found);

    if (rc != 0)
        lpm_fail(error, LPM_E_CONFIG, "[network] listen_address = '%s' is not an address: %s",
                 address, gai_strerror(rc));
    return found;
}

int lpm_listen_tcp(const char *address, guint port, GError **error)
{
    struct addrinfo *found = resolve(address, port, error);
    int yes = 1, no = 0;

    if (!found)
        return -1;
    lpm_autofd fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    gboolean ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0;
    if (ok && found->ai_family == AF_INET6)
        ok = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no)) == 0;
    ok = ok && bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, 128) == 0;
    int reason = errno;
    freeaddrinfo(found);
    /* A kernel without IPv6 refuses "::"; what the operator means is every address. */
    if (!ok && reason == EAFNOSUPPORT && strcmp(address, "::") == 0)
        return lpm_listen_tcp("0.0.0.0", port, error);
    if (!ok) {
        lpm_fail(error, LPM_E_CONFIG, "cannot listen on %s port %u: %s", address, port,
                 g_strerror(reason));
        return -1;
    }
    return lpm_steal_fd(&fd);
}

char *lpm_socket_peer_address(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);
    char text[NI_MAXHOST];

    if (getpeername(fd, (struct sockaddr *)&address, &length) < 0 ||
        getnameinfo((struct sockaddr *)&address, length, text, sizeof(text), NULL, 0,
                    NI_NUMERICHOST) != 0)
        return g_strdup("unknown");
    return g_strdup(g_str_has_prefix(text, "::ffff:") && strchr(text, '.') ? text + 7 : text);
}

static guint bound_port(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);

    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        return 0;
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

/* Takes entry `i` out of the list; its descriptor is the caller's. */
static int take_pending(struct lpm_data_port *data_port, guint i)
{
    int fd = data_port->pending[i].fd;

    data_port->count--;
    memmove(&data_port->pending[i], &data_port->pending[i + 1],
            (data_port->count - i) * sizeof(data_port->pending[0]));
    return fd;
}

static void accept_one(struct lpm_data_port *data_port)
{
    int fd = accept4(data_port->listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0) {
        /* Out of descriptors: the waiting connection stays, so give others time to close some. */
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            g_usleep(50000);
        return;
    }
    if (data_port->count == LPM_DATA_PENDING_MAX)
        close(take_pending(data_port, 0));
    data_port->pending[data_port->count++] = (struct pending){
        .fd = fd,
        .deadline_us = lpm_monotonic_us() + (int64_t)LPM_DATA_ID_TIMEOUT_MS * 1000,
    };
}

static void dispatch(struct lpm_data_port *data_port, int fd, const uint8_t *id)
{
    g_autofree char *from = lpm_socket_peer_address(fd);

    g_mutex_lock(&data_port->lock);
    struct taker *taker = g_hash_table_lookup(data_port->takers, id);
    if (taker)
        g_atomic_ref_count_inc(&taker->references);
    g_mutex_unlock(&data_port->lock);
    if (!taker) {
        lpm_log(LPM_LOG_WARNING, NULL,
                "a connection from %s to the data port has an id nobody knows: closed", from);
        close(fd);
        return;
    }
    taker->callback(fd, from, taker->user);
    taker_unref(taker);
}

/* Reads what has come for entry `i`, which is out of the list when its id is whole or it ended. */
static void read_pending(struct lpm_data_port *data_port, guint i)
{
    struct pending *entry = &data_port->pending[i];
    ssize_t n =
        recv(entry->fd, entry->id + entry->have, LPM_DATA_ID_BYTES - entry->have, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        close(take_pending(data_port, i));
        return;
    }
    entry->have += (gsize)n;
    if (entry->have < LPM_DATA_ID_BYTES)
        return;
    uint8_t id[LPM_DATA_ID_BYTES];
    memcpy(id, entry->id, sizeof(id));
    dispatch(data_port, take_pending(data_port, i), id);
}

/* Milliseconds until the oldest entry's time is over; -1: there is none. */
static int next_timeout(const struct lpm_data_port *data_port)
{
    if (data_port->count == 0)
        return -1;
    int64_t left = data_port->pending[0].deadline_us - lpm_monotonic_us();
    return left <= 0 ? 0 : (int)(left / 1000) + 1;
}

static gpointer run(gpointer data)
{
    struct lpm_data_port *data_port = data;
    struct pollfd fds[LPM_DATA_PENDING_MAX + 2];

    for (;;) {
        guint count = data_port->count;

        fds[0] = (struct pollfd){.fd = data_port->stop, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = data_port->listener, .events = POLLIN};
        for (guint i = 0; i < count; i++)
            fds[i + 2] = (struct pollfd){.fd = data_port->pending[i].fd, .events = POLLIN};
        if (poll(fds, count + 2, next_timeout(data_port)) < 0)
            continue;
        if (fds[0].revents)
            return NULL;
        /* From the back, so that an entry taken out does not move those not looked at. */
        for (guint i = count; i-- > 0;) {
            if (fds[i + 2].revents)
                read_pending(data_port, i);
        }
        while (data_port->count > 0 && next_timeout(data_port) == 0)
            close(take_pending(data_port, 0));
        if (fds[1].revents)
            accept_one(data_port);
    }
}

struct lpm_data_port *lpm_data_port_new(const char *address, guint port, GError **error)
{
    lpm_autofd listener = lpm_listen_tcp(address, port, error);

    if (listener < 0)
        return NULL;
    lpm_autofd stop = eventfd(0, EFD_CLOEXEC);
    if (stop < 0) {
        lpm_fail(error, LPM_E_INTERNAL, "eventfd: %s", g_strerror(errno));
        return NULL;
    }
    struct lpm_data_port *data_port = g_new0(struct lpm_data_port, 1);
    g_mutex_init(&data_port->lock);
    data_port->takers = g_hash_table_new_full(id_hash, id_equal, g_free, taker_unref);
    data_port->port = bound_port(listener);
    data_port->listener = lpm_steal_fd(&listener);
    data_port->stop = lpm_steal_fd(&stop);
    data_port->thread = g_thread_new("data-port", run, data_port);
    return data_port;
}

void lpm_data_port_free(struct lpm_data_port *data_port)
{
    if (!data_port)
        return;
    eventfd_write(data_port->stop, 1);
    g_thread_join(data_port->thread);
    while (data_port->count > 0)
        close(take_pending(data_port, 0));
    close(data_port->listener);
    close(data_port->stop);
    g_hash_table_unref(data_port->takers);
    g_mutex_clear(&data_port->lock);
    g_free(data_port);
}

guint lpm_data_port_number(const struct lpm_data_port *data_port)
{
    return data_port->port;
}

void lpm_data_port_register(struct lpm_data_port *data_port, const uint8_t id[LPM_DATA_ID_BYTES],
                            lpm_data_callback callback, void *user, GDestroyNotify free_user)
{
    struct taker *taker = g_new0(struct taker, 1);

    g_atomic_ref_count_init(&taker->references);
    taker->callback = callback;
    taker->user = user;
    taker->free_user = free_user;
    lpm_data_port_unregister(data_port, id);
    g_mutex_lock(&data_port->lock);
    g_hash_table_replace(data_port->takers, g_memdup2(id, LPM_DATA_ID_BYTES), taker);
    g_mutex_unlock(&data_port->lock);
}

void lpm_data_port_unregister(struct lpm_data_port *data_port, const uint8_t id[LPM_DATA_ID_BYTES])
{
    gpointer key = NULL, taker = NULL;

    g_mutex_lock(&data_port->lock);
    gboolean found = g_hash_table_steal_extended(data_port->takers, id, &key, &taker);
    g_mutex_unlock(&data_port->lock);
    /* Outside the lock: free_user is foreign code. */
    if (found) {
        g_free(key);
        taker_unref(taker);
    }
}
