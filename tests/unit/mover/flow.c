/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "flow.h"

#include "base/clock.h"

#include <sys/socket.h>
#include <unistd.h>

static gpointer run_writer(gpointer opaque)
{
    struct flow *flow = opaque;

    for (gsize done = 0; done < flow->sent->len;) {
        ssize_t n = send(flow->from, flow->sent->data + done,
                         MIN(flow->sent->len - done, 96u << 10), MSG_NOSIGNAL);

        if (n < 0)
            break;
        done += (gsize)n;
    }
    shutdown(flow->from, SHUT_WR);
    return NULL;
}

static gpointer run_reader(gpointer opaque)
{
    struct flow *flow = opaque;
    g_autofree guint8 *buffer = g_malloc(256 << 10);
    ssize_t n;

    while (g_atomic_int_get(&flow->held))
        g_usleep(1000);
    while ((n = read(flow->to, buffer, 256 << 10)) > 0) {
        g_byte_array_append(flow->received, buffer, (guint)n);
        g_atomic_int_set(&flow->received_bytes, (gint)(flow->received->len >> 10));
    }
    flow->done_us = lpm_monotonic_us();
    g_atomic_int_set(&flow->done, 1);
    return NULL;
}

void flow_start(struct flow *flow, int from, int to, const GByteArray *sent)
{
    flow_start_held(flow, from, to, sent);
    g_atomic_int_set(&flow->held, 0);
}

void flow_start_held(struct flow *flow, int from, int to, const GByteArray *sent)
{
    *flow = (struct flow){.from = from, .to = to, .sent = sent, .held = 1};
    flow->received = g_byte_array_sized_new(sent->len + 1);
    flow->begun_us = lpm_monotonic_us();
    flow->writer = g_thread_new("writer", run_writer, flow);
    flow->reader = g_thread_new("reader", run_reader, flow);
}

void flow_join(struct flow *flow)
{
    g_thread_join(flow->writer);
    g_thread_join(flow->reader);
}

void flow_free(struct flow *flow)
{
    g_byte_array_unref(flow->received);
}

void flow_finish(struct flow *flow)
{
    flow_join(flow);
    flow_free(flow);
}
