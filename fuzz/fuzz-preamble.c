/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * What a connection to the data port begins with, before any TLS: a session's id of 16 bytes. A
 * real data port on loopback; the first byte says which of four ids are known (they differ in their
 * last byte), then each byte is a piece of some connection: three bits which one, two of its
 * length, three what is in it. However ids are cut and connections are mixed, those with a known id
 * arrive at who wants them with exactly the id read, those with another are closed, and those that
 * have not said all of it wait.
 */
#include "base/log.h"
#include "daemon/data-port.h"
#include "require.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDS 4
#define CONNECTIONS 8
#define SENT_MAX 64
#define PATIENCE_MS 5000

struct connection {
    int fd; /* -1: not opened */
    in_port_t port;
    guint8 sent[SENT_MAX];
    gsize length;
};

/* What the port has handed out: at most one per connection. */
static struct {
    GMutex lock;
    GCond changed;
    struct taken {
        int fd;
        in_port_t port;
        gsize id;
    } list[CONNECTIONS];
    gsize count;
} taken;

static struct lpm_data_port *port;
static guint8 ids[IDS][LPM_DATA_ID_BYTES];

/* Waits for an event; the fuzzer's alarm may interrupt any call. */
static void await(int fd, short events)
{
    struct pollfd wait = {.fd = fd, .events = events};

    REQUIRE(TEMP_FAILURE_RETRY(poll(&wait, 1, PATIENCE_MS)) == 1);
}

static in_port_t port_of(int fd, gboolean peer)
{
    struct sockaddr_in address = {0};
    socklen_t length = sizeof(address);

    REQUIRE((peer ? getpeername : getsockname)(fd, (struct sockaddr *)&address, &length) == 0);
    return address.sin_port;
}

static void on_connection(int fd, const char *from, void *user)
{
    REQUIRE(strcmp(from, "127.0.0.1") == 0);
    g_mutex_lock(&taken.lock);
    REQUIRE(taken.count < CONNECTIONS);
    taken.list[taken.count++] = (struct taken){fd, port_of(fd, TRUE), GPOINTER_TO_SIZE(user)};
    g_cond_broadcast(&taken.changed);
    g_mutex_unlock(&taken.lock);
}

static void stop_port(void)
{
    lpm_data_port_free(port);
}

static void start_port(void)
{
    lpm_log_init("fuzz", LPM_LOG_ERROR);
    port = lpm_data_port_new("127.0.0.1", 0, NULL);
    REQUIRE(port);
    for (guint8 i = 0; i < IDS; i++) {
        memset(ids[i], 'i', LPM_DATA_ID_BYTES);
        ids[i][LPM_DATA_ID_BYTES - 1] = i;
    }
    atexit(stop_port);
}

/* ---- one connection ---- */

static void open_connection(struct connection *connection)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((in_port_t)lpm_data_port_number(port)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};

    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(connection->fd >= 0);
    REQUIRE(connect(connection->fd, (struct sockaddr *)&address, sizeof(address)) == 0 ||
            errno == EINTR);
    await(connection->fd, POLLOUT);
    connection->port = port_of(connection->fd, FALSE);
}

static void close_connection(struct connection *connection)
{
    /* Reset rather than wait for its end, or the ports of this machine would be used up. */
    const struct linger now = {.l_onoff = 1};

    setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(connection->fd);
}

/* Sends the next bytes of an id, or noise once it is said. */
static void send_piece(struct connection *connection, guint8 what)
{
    static const gsize lengths[] = {1, 5, 15, 16};
    gsize length = lengths[what >> 3 & 3];
    guint8 piece[16];

    length = MIN(length, SENT_MAX - connection->length);
    for (gsize i = 0; i < length; i++) {
        gsize at = connection->length + i;
        guint8 value = at < LPM_DATA_ID_BYTES ? ids[what % IDS][at] : (guint8)(what + at);
        piece[i] = (what & 7) == 7 ? (guint8)at : value;
    }
    /* After a whole id the port may have closed: that is checked in the end. */
    if (TEMP_FAILURE_RETRY(send(connection->fd, piece, length, MSG_NOSIGNAL)) == (ssize_t)length) {
        memcpy(connection->sent + connection->length, piece, length);
        connection->length += length;
    }
}

/* The id's number; IDS if it is none that is known. */
static gsize known_id(const struct connection *connection, guint8 known)
{
    for (gsize i = 0; i < IDS; i++) {
        if (known >> i & 1 && memcmp(connection->sent, ids[i], LPM_DATA_ID_BYTES) == 0)
            return i;
    }
    return IDS;
}

static struct taken wait_taken(in_port_t from)
{
    gint64 deadline = g_get_monotonic_time() + PATIENCE_MS * 1000;
    struct taken found = {.fd = -1};

    g_mutex_lock(&taken.lock);
    for (;;) {
        for (gsize i = 0; i < taken.count; i++) {
            if (taken.list[i].port == from)
                found = taken.list[i];
        }
        if (found.fd >= 0 || !g_cond_wait_until(&taken.changed, &taken.lock, deadline))
            break;
    }
    g_mutex_unlock(&taken.lock);
    return found;
}

static void check(const struct connection *connection, guint8 known)
{
    struct pollfd wait = {.fd = connection->fd, .events = POLLIN};
    gsize rest = connection->length - MIN(connection->length, LPM_DATA_ID_BYTES);
    guint8 bytes[SENT_MAX];

    if (connection->length < LPM_DATA_ID_BYTES) {
        REQUIRE(TEMP_FAILURE_RETRY(poll(&wait, 1, 0)) == 0);
        return;
    }
    gsize id = known_id(connection, known);
    if (id == IDS) {
        await(connection->fd, POLLIN);
        REQUIRE(recv(connection->fd, bytes, sizeof(bytes), 0) <= 0);
        return;
    }
    struct taken there = wait_taken(connection->port);
    REQUIRE(there.fd >= 0 && there.id == id);
    for (gsize have = 0; have < rest;) {
        ssize_t n = TEMP_FAILURE_RETRY(recv(there.fd, bytes + have, rest - have, 0));
        REQUIRE(n > 0);
        have += (gsize)n;
    }
    REQUIRE(memcmp(bytes, connection->sent + LPM_DATA_ID_BYTES, rest) == 0);
    REQUIRE(recv(there.fd, bytes, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct connection connections[CONNECTIONS];
    gsize expected = 0;

    if (!port)
        start_port();
    if (size < 2)
        return 0;
    for (guint8 i = 0; i < IDS; i++) {
        if (data[0] >> i & 1)
            lpm_data_port_register(port, ids[i], on_connection, GSIZE_TO_POINTER(i), NULL);
    }
    for (gsize i = 0; i < CONNECTIONS; i++)
        connections[i] = (struct connection){.fd = -1};
    for (gsize i = 1; i < size; i++) {
        struct connection *connection = &connections[data[i] >> 5];

        if (connection->fd < 0)
            open_connection(connection);
        send_piece(connection, data[i]);
    }
    for (gsize i = 0; i < CONNECTIONS; i++) {
        if (connections[i].fd < 0)
            continue;
        check(&connections[i], data[0]);
        expected +=
            connections[i].length >= LPM_DATA_ID_BYTES && known_id(&connections[i], data[0]) < IDS;
        close_connection(&connections[i]);
    }
    for (gsize i = 0; i < IDS; i++)
        lpm_data_port_unregister(port, ids[i]);
    g_mutex_lock(&taken.lock);
    REQUIRE(taken.count == expected);
    while (taken.count)
        close(taken.list[--taken.count].fd);
    g_mutex_unlock(&taken.lock);
    return 0;
}
