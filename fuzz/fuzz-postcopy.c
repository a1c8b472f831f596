/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The source's half of a post-copy. The first bytes say how the input is cut and when pages are
 * asked for and taken; the rest follows the word to run. As long as it is understood, what comes
 * out must be a stream that is understood, with the same pages.
 */
#include "mover/postcopy.h"
#include "require.h"
#include "transport/bytes.h"

#include <string.h>

#define ORDERS 8 /* bytes of the input that are no stream */

struct run {
    LpmStreamParser *in, *out;
    LpmPostcopy *postcopy;
    guint64 sum_in, sum_out; /* of the pages: each must come out as it came in */
};

/* Header, ADVISE, two blocks (one of 4 MiB with pages of 8 KiB), package with LISTEN and RUN. */
static const char prefix[] = "5145564d00000003"
                             "0800030010"
                             "0000000000003000"
                             "0000000000001000"
                             "01000000020372616d0000000000000004"
                             "0000000000800004"
                             "0470632e6d"
                             "0000000000400000"
                             "0468756765"
                             "0000000000400000"
                             "0000000000002000"
                             "00000000000000107e00000002"
                             "08000700040000000a"
                             "08000400000800050000";

static GByteArray *load_prefix(void)
{
    GByteArray *bytes = g_byte_array_new();

    for (const char *at = prefix; *at; at += 2) {
        guint8 byte = (guint8)(g_ascii_xdigit_value(at[0]) << 4 | g_ascii_xdigit_value(at[1]));

        g_byte_array_append(bytes, &byte, 1);
    }
    return bytes;
}

static guint64 sum_of(const struct lpm_stream_event *event)
{
    guint64 hash = event->offset * 31 + (guint64)event->block + 1;

    for (gsize i = event->header_length; i < event->length; i++)
        hash = hash * 1099511628211u + event->data[i];
    return hash;
}

static gboolean is_page(const struct lpm_stream_event *event)
{
    return event->type == LPM_STREAM_PAGE || event->type == LPM_STREAM_ZERO_PAGE;
}

/* What comes out is read again. */
static void read_out(gpointer opaque, const struct lpm_stream_event *event)
{
    struct run *run = opaque;

    for (gsize done = 0; done < event->length;) {
        struct lpm_stream_event seen;

        done += lpm_stream_parser_step(run->out, event->data + done, event->length - done, &seen);
        if (is_page(&seen))
            run->sum_out += sum_of(&seen);
    }
}

static void take(struct run *run, gboolean urgent)
{
    struct lpm_page_item *item = lpm_postcopy_take(run->postcopy, urgent, read_out, run);

    lpm_page_item_free(item);
}

static gboolean put(struct run *run, const uint8_t *data, gsize length, const uint8_t *orders)
{
    gsize done = 0;
    guint turn = 0;

    while (done < length) {
        gsize room = MIN(length - done, 1 + (gsize)orders[0] * 17);
        struct lpm_stream_event event;
        gint64 more = 0;

        done += lpm_stream_parser_step(run->in, data + done, room, &event);
        if (!lpm_postcopy_put(run->postcopy, &event, &more, NULL))
            return FALSE;
        REQUIRE(more >= -(gint64)event.length && more <= LPM_POSTCOPY_COST_MIN);
        if (is_page(&event))
            run->sum_in += sum_of(&event);
        turn++;
        if (orders[1] && turn % orders[1] == 0)
            take(run, orders[2] & 1);
        if (orders[3] && turn % orders[3] == 0)
            lpm_page_queue_demand(
                lpm_postcopy_queue(run->postcopy), orders[4] & 1 ? "pc.m" : "huge",
                (guint64)(orders[5] * turn % 1024) * 4096, (guint32)orders[6] * 1024, turn);
    }
    return TRUE;
}

static void drain(struct run *run)
{
    struct lpm_page_queue_state state;

    lpm_postcopy_end(run->postcopy);
    do {
        take(run, FALSE);
        lpm_page_queue_get(lpm_postcopy_queue(run->postcopy), &state);
    } while (state.ready && state.bytes);
    REQUIRE(state.bytes == 0);
    REQUIRE(!lpm_stream_parser_info(run->out)->degraded);
    REQUIRE(run->sum_in == run->sum_out);
    REQUIRE(lpm_stream_parser_info(run->in)->pages_normal ==
            lpm_stream_parser_info(run->out)->pages_normal);
    REQUIRE(lpm_stream_parser_info(run->in)->pages_zero ==
            lpm_stream_parser_info(run->out)->pages_zero);
    REQUIRE(lpm_stream_parser_info(run->in)->eof == lpm_stream_parser_info(run->out)->eof);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run run = {.in = lpm_stream_parser_new(), .out = lpm_stream_parser_new()};
    g_autoptr(GByteArray) before = load_prefix();
    struct lpm_stream_event event;

    if (size < ORDERS)
        goto out;
    for (gsize done = 0; done < before->len;)
        done += lpm_stream_parser_step(run.in, before->data + done, before->len - done, &event);
    for (gsize done = 0; done < before->len;)
        done += lpm_stream_parser_step(run.out, before->data + done, before->len - done, &event);
    REQUIRE(lpm_stream_parser_info(run.in)->postcopy_run);
    run.postcopy = lpm_postcopy_new(run.in);
    REQUIRE(run.postcopy);
    if (put(&run, data + ORDERS, size - ORDERS, data))
        drain(&run);
out:
    lpm_postcopy_free(run.postcopy);
    lpm_stream_parser_free(run.in);
    lpm_stream_parser_free(run.out);
    return 0;
}
