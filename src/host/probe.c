/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/probe.h"

#include "base/fdio.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ETHER_TYPE 0x88b5
#define INTERVAL_MS 40
#define QUICK_MS 8 /* between the first frames: most often both sides are there and all passes */
#define QUICK_ROUNDS 16
#define HEADER_BYTES 26
#define SMALL 1u
#define FULL 2u
#define FRAME_MAX 65536

struct frame_header {
    guint8 magic[4], version, side, full, seen, adapter;
    guint8 nonce[LPM_PROBE_NONCE_BYTES];
    guint8 segment;
};
G_STATIC_ASSERT(sizeof(struct frame_header) == HEADER_BYTES);

struct state {
    const struct lpm_probe *probe;
    int fd;
    struct sockaddr_ll to;
    guint seen, heard, sent;
    int send_error;
    char from[3 * ETH_ALEN]; /* the other's address, "" until it was seen */
};

guint lpm_interface_mtu(const char *name)
{
    struct ifreq request = {0};
    lpm_autofd fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (strlen(name) >= IFNAMSIZ || fd < 0)
        return 0;
    memcpy(request.ifr_name, name, strlen(name));
    return ioctl(fd, SIOCGIFMTU, &request) < 0 ? 0 : (guint)request.ifr_mtu;
}

/* A group address of the locally administered kind: a switch floods it as it does a broadcast. */
static const guint8 group[ETH_ALEN] = {0x03, 0x4c, 0x50, 0x4d, 0x50, 0x01};

static gboolean open_socket(struct state *state)
{
    const struct lpm_probe *probe = state->probe;
    struct packet_mreq membership = {.mr_type = PACKET_MR_MULTICAST, .mr_alen = ETH_ALEN};

    state->to = (struct sockaddr_ll){.sll_family = AF_PACKET,
                                     .sll_protocol = htons(ETHER_TYPE),
                                     .sll_ifindex = (int)if_nametoindex(probe->interface),
                                     .sll_halen = ETH_ALEN};
    memcpy(state->to.sll_addr, group, ETH_ALEN);
    /* Cooked: the kernel writes the header, the interface's own address in it. */
    state->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETHER_TYPE));
    if (state->fd < 0)
        return FALSE;
    membership.mr_ifindex = state->to.sll_ifindex;
    memcpy(membership.mr_address, group, ETH_ALEN);
    setsockopt(state->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof(membership));
    return bind(state->fd, (struct sockaddr *)&state->to, sizeof(state->to)) == 0;
}

static void send_one(struct state *state, gboolean full)
{
    const struct lpm_probe *probe = state->probe;
    gsize length = full ? MAX(probe->mtu, HEADER_BYTES) : HEADER_BYTES + 20;
    g_autofree guint8 *data = g_malloc0(length);
    struct frame_header header = {.magic = {'L', 'P', 'M', 'P'},
                                  .version = 1,
                                  .side = probe->target ? 1 : 0,
                                  .full = full ? 1 : 0,
                                  .seen = (guint8)state->seen,
                                  .adapter = probe->adapter,
                                  .segment = probe->segment};

    memcpy(header.nonce, probe->nonce, sizeof(header.nonce));
    memcpy(data, &header, sizeof(header));
    if (sendto(state->fd, data, length, 0, (struct sockaddr *)&state->to, sizeof(state->to)) >= 0)
        state->sent++;
    else if (errno != EAGAIN && errno != ENOBUFS)
        state->send_error = errno;
}

/* A full frame counts only when all of it has arrived. */
static void take(struct state *state, const struct sockaddr_ll *from, const guint8 *data,
                 gsize length)
{
    const struct lpm_probe *probe = state->probe;
    struct frame_header header;

    if (length < sizeof(header))
        return;
    memcpy(&header, data, sizeof(header));
    if (memcmp(header.magic, "LPMP", 4) != 0 || header.version != 1 ||
        header.adapter != probe->adapter || header.segment != probe->segment ||
        header.side == (probe->target ? 1 : 0) ||
        memcmp(header.nonce, probe->nonce, sizeof(header.nonce)) != 0)
        return;
    if (!header.full)
        state->seen |= SMALL;
    else if (length >= probe->mtu)
        state->seen |= FULL;
    state->heard |= header.seen & (SMALL | FULL);
    const guint8 *a = from->sll_addr;
    g_snprintf(state->from, sizeof(state->from), "%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2],
               a[3], a[4], a[5]);
}

/* The target's facts then hold all that is to be known: what it has seen, and what the source says
 * it has seen. The source answers until the target has been heard of. */
static gboolean is_done(const struct state *state)
{
    return !state->probe->over && state->seen == (SMALL | FULL) && state->heard == (SMALL | FULL);
}

static void receive(struct state *state, guint limit_ms)
{
    g_autofree guint8 *data = g_malloc(FRAME_MAX);
    gint64 end = g_get_monotonic_time() + (gint64)limit_ms * 1000;

    for (;;) {
        gint64 left = (end - g_get_monotonic_time()) / 1000;
        struct pollfd p = {.fd = state->fd, .events = POLLIN};

        if (left <= 0 || poll(&p, 1, (int)left) <= 0)
            return;
        struct sockaddr_ll from = {0};
        socklen_t size = sizeof(from);
        ssize_t got = recvfrom(state->fd, data, FRAME_MAX, 0, (struct sockaddr *)&from, &size);
        if (got > 0)
            take(state, &from, data, (gsize)got);
        if (is_done(state) || (got < 0 && errno != EAGAIN))
            return;
    }
}

static gboolean is_over(const struct lpm_probe *probe, gint64 begin)
{
    if (probe->over)
        return g_atomic_int_get(probe->over) != 0;
    return g_get_monotonic_time() - begin >= (gint64)probe->limit_ms * 1000;
}

static void converse(struct state *state)
{
    gint64 begin = g_get_monotonic_time();

    for (guint round = 0; !is_over(state->probe, begin) && !is_done(state); round++) {
        send_one(state, FALSE);
        send_one(state, TRUE);
        receive(state, round < QUICK_ROUNDS ? QUICK_MS : INTERVAL_MS);
    }
}

json_t *lpm_probe_run(const struct lpm_probe *probe)
{
    struct state state = {.probe = probe, .fd = -1};
    guint mtu = lpm_interface_mtu(probe->interface);
    json_t *facts = json_pack("{s:s, s:b, s:i}", "interface", probe->interface, "found", mtu != 0,
                              "mtu", (int)mtu);

    if (!mtu)
        return facts;
    if (!open_socket(&state)) {
        json_object_set_new(facts, "cause", json_string(g_strerror(errno)));
    } else {
        converse(&state);
        json_object_set_new(facts, "sent", json_integer(state.sent));
        json_object_set_new(facts, "seen_small", json_boolean(state.seen & SMALL));
        json_object_set_new(facts, "seen_full", json_boolean(state.seen & FULL));
        json_object_set_new(facts, "heard_small", json_boolean(state.heard & SMALL));
        json_object_set_new(facts, "heard_full", json_boolean(state.heard & FULL));
        json_object_set_new(facts, "from", json_string(state.from));
        if (state.send_error)
            json_object_set_new(facts, "cause", json_string(g_strerror(state.send_error)));
    }
    if (state.fd >= 0)
        close(state.fd);
    return facts;
}
