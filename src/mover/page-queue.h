/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * What waits at the source to be sent in post-copy, and in which order it may go
 * (docs/mover-protocol.md, "Post-copy").
 *
 * Theory of operation. The stream behind the word to run is a row of pages and of other things. A
 * page that the target has asked for may go before any page that waits before it, for in post-copy
 * the target takes each page by itself; but nothing ever passes a thing that is not a page, and
 * such a thing passes nothing. So the row is cut into segments by the other things, and overtaking
 * is possible within the segment at the head only. What moves is a host page, of one or more of the
 * stream's pages: QEMU wants the parts of a host page next to each other and in order.
 *
 * Pages that were asked for before QEMU gave them are remembered, up to LPM_PAGE_QUEUE_WANTED_MAX.
 * The bytes that wait are bounded by who fills the queue (the channel's window). Any thread.
 */
#ifndef LPM_MOVER_PAGE_QUEUE_H
#define LPM_MOVER_PAGE_QUEUE_H

#include <glib.h>

/* Requests that wait for their page; more are served in the order of the stream. */
#define LPM_PAGE_QUEUE_WANTED_MAX 65536u
/* Most of the stream's pages in a host page that moves as one; larger ones (huge pages above 16
 * MiB) go in the order of the stream. */
#define LPM_PAGE_QUEUE_GROUP_MAX 4096u

typedef struct lpm_page_queue LpmPageQueue;

/* One thing in the row. Owned by the queue, then by who took it (lpm_page_queue_item_free). */
struct lpm_page_item {
    gint block;       /* of the pages, or -1: bytes as they are */
    guint64 offset;   /* of the host page in its block */
    gint64 wanted_us; /* when it was asked for (monotonic), 0: it was not */
    gsize cost;       /* what it counts for among the bytes that wait */
    GByteArray *data; /* the bytes; of pages: records that continue (0x20), one behind the other */
    /* the queue's own */
    struct lpm_page_item *before, *after;
    guint64 segment;
    guint records; /* of the stream's pages */
    gboolean urgent;
};

void lpm_page_item_free(struct lpm_page_item *item);

/* `page_size`: of the stream. */
LpmPageQueue *lpm_page_queue_new(guint32 page_size);
void lpm_page_queue_free(LpmPageQueue *queue);

/* Before anything else: the blocks in the stream's order. `host_page` is at least the stream's. */
void lpm_page_queue_add_block(LpmPageQueue *queue, const char *name, guint64 length,
                              guint64 host_page);
/* For tests and comparison: FALSE lets everything go in the order of the stream. */
void lpm_page_queue_set_overtaking(LpmPageQueue *queue, gboolean overtaking);

/* The next page of the stream: `content` is one page, or NULL for a page of zeros. `cost` is
 * what it counts for. */
void lpm_page_queue_put_page(LpmPageQueue *queue, guint block, guint64 offset,
                             const guint8 *content, gsize cost);
/* Something else. */
void lpm_page_queue_put_bytes(LpmPageQueue *queue, const guint8 *bytes, gsize length);
/* Nothing more comes: a host page that is not whole goes as it is. */
void lpm_page_queue_end(LpmPageQueue *queue);

/* The target asks for `length` bytes at `start` of the block (NULL: the one it named last). TRUE if
 * something waits now that may overtake and did not before. */
gboolean lpm_page_queue_demand(LpmPageQueue *queue, const char *name, guint64 start, guint32 length,
                               gint64 now_us);

/* What goes next, or NULL; with `urgent` only what was asked for. */
struct lpm_page_item *lpm_page_queue_take(LpmPageQueue *queue, gboolean urgent);

struct lpm_page_queue_state {
    guint64 bytes;    /* that wait */
    gboolean urgent;  /* something was asked for and may go */
    gboolean ready;   /* something may go */
    guint wanted;     /* host pages asked for and not given by QEMU yet */
    guint64 requests; /* host pages asked for, each time */
    guint64 too_late; /* of these: sent before */
    guint64 overtook; /* pages that went before something that waited longer */
};
void lpm_page_queue_get(LpmPageQueue *queue, struct lpm_page_queue_state *state);

#endif
