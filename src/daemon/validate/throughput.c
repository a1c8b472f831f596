/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/validate/throughput.h"

#include "base/clock.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK (64u * 1024)
#define WARM_UP_US (LPM_THROUGHPUT_US / 5)
#define SILENCE_US 250000
#define LATE_US 300000 /* what is under way when the source ends */
#define LEAST_US 50000 /* of a sample that tells something */
#define TICK_MS 20

guint64 lpm_throughput_send(int fd, gint64 sample_us, const gint *stop)
{
    g_autofree guint8 *chunk = g_malloc(CHUNK);
    gint64 end = lpm_monotonic_us() + sample_us;
    guint64 sent = 0;

    if (gnutls_rnd(GNUTLS_RND_NONCE, chunk, CHUNK) < 0)
        return 0;
    while (lpm_monotonic_us() < end && !g_atomic_int_get(stop)) {
        struct pollfd item = {.fd = fd, .events = POLLOUT};

        if (poll(&item, 1, TICK_MS) <= 0)
            continue;
        ssize_t n = send(fd, chunk, CHUNK, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0)
            sent += (guint64)n;
        else if (errno != EAGAIN && errno != EINTR)
            break;
    }
    shutdown(fd, SHUT_WR);
    return sent;
}

void lpm_throughput_receive(int fd, struct lpm_throughput *result)
{
    g_autofree guint8 *chunk = g_malloc(CHUNK);
    gint64 end = lpm_monotonic_us() + LPM_THROUGHPUT_US + LATE_US + SILENCE_US;
    gint64 first = 0, warm = 0, last = lpm_monotonic_us();
    guint64 cold = 0;

    *result = (struct lpm_throughput){0};
    for (gint64 now = last; now < end && now - last < SILENCE_US; now = lpm_monotonic_us()) {
        struct pollfd item = {.fd = fd, .events = POLLIN};

        if (poll(&item, 1, TICK_MS) <= 0)
            continue;
        ssize_t n = recv(fd, chunk, CHUNK, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            break;
        if (n < 0)
            continue;
        last = lpm_monotonic_us();
        first = first ? first : last;
        result->bytes += (guint64)n;
        if (!warm && last - first >= WARM_UP_US) {
            warm = last;
            cold = result->bytes;
        }
    }
    if (warm && last - warm >= LEAST_US)
        result->rate = (guint64)((double)(result->bytes - cold) / (double)(last - warm) * 1e6);
}
