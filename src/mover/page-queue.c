/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/page-queue.h"

#include "stream/page-stats.h"
#include "transport/bytes.h"

#include <pthread.h>

#define FLAG_ZERO 0x02u
#define FLAG_PAGE 0x08u
#define FLAG_CONTINUE 0x20u
/* Bytes as they are gather in one item up to this. */
#define BYTES_MAX (64u << 10)

struct block {
    char *name; /* owned */
    guint64 length, host_page;
};

struct lpm_page_queue {
    /* immutable after the blocks were added */
    guint32 page_size;
    GArray *blocks; /* of struct block */
    gboolean overtaking;

    pthread_mutex_t lock;
    /* guarded by lock */
    struct lpm_page_item *head, *tail; /* all, in the order of the stream */
    GQueue urgent;                     /* of those, in the order in which they were asked for */
    struct lpm_page_item *open;        /* the tail, if its host page is not whole */
    guint64 segment;                   /* of what is put now */
    GHashTable *waiting;               /* of the whole host pages, by key */
    GHashTable *wanted;                /* gint64 when, by key: asked for, not given yet */
    LpmPageStats *sent; /* first pages of the host pages that went; NULL: not known */
    gint last_named;    /* block of the last request */
    struct lpm_page_queue_state state;
};

void lpm_page_item_free(struct lpm_page_item *item)
{
    if (!item)
        return;
    g_byte_array_unref(item->data);
    g_free(item);
}

static void free_item(gpointer item)
{
    lpm_page_item_free(item);
}

LpmPageQueue *lpm_page_queue_new(guint32 page_size)
{
    LpmPageQueue *queue = g_new0(LpmPageQueue, 1);

    queue->page_size = page_size;
    queue->overtaking = TRUE;
    queue->blocks = g_array_new(FALSE, TRUE, sizeof(struct block));
    queue->waiting = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    queue->wanted = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    queue->sent = lpm_page_stats_new(page_size);
    queue->last_named = -1;
    g_queue_init(&queue->urgent);
    pthread_mutex_init(&queue->lock, NULL);
    return queue;
}

void lpm_page_queue_free(LpmPageQueue *queue)
{
    if (!queue)
        return;
    g_queue_clear(&queue->urgent);
    while (queue->head) {
        struct lpm_page_item *item = queue->head;

        queue->head = item->after;
        free_item(item);
    }
    for (guint i = 0; i < queue->blocks->len; i++)
        g_free(g_array_index(queue->blocks, struct block, i).name);
    g_array_unref(queue->blocks);
    g_hash_table_unref(queue->waiting);
    g_hash_table_unref(queue->wanted);
    lpm_page_stats_free(queue->sent);
    pthread_mutex_destroy(&queue->lock);
    g_free(queue);
}

void lpm_page_queue_add_block(LpmPageQueue *queue, const char *name, guint64 length,
                              guint64 host_page)
{
    struct block block = {
        .name = g_strdup(name), .length = length, .host_page = MAX(host_page, queue->page_size)};

    g_array_append_val(queue->blocks, block);
    /* Beyond its limit what was sent is not known: requests are remembered for nothing then. */
    if (queue->sent && !lpm_page_stats_add_block(queue->sent, length))
        g_clear_pointer(&queue->sent, lpm_page_stats_free);
}

void lpm_page_queue_set_overtaking(LpmPageQueue *queue, gboolean overtaking)
{
    queue->overtaking = overtaking;
}

static const struct block *block_at(const LpmPageQueue *queue, guint index)
{
    return &g_array_index(queue->blocks, struct block, index);
}

/* Blocks are 4096 at most; pages have 1024 bytes at least, and lie within 2^62 bytes. */
static gint64 key_of(const LpmPageQueue *queue, guint block, guint64 offset)
{
    return (gint64)((guint64)block << 52 | (offset / queue->page_size & ((1ULL << 52) - 1)));
}

static gint64 *new_number(gint64 value)
{
    return g_memdup2(&value, sizeof(value));
}

/* ---- the row; the lock is held ---- */

static struct lpm_page_item *append(LpmPageQueue *queue, gint block, guint64 offset)
{
    struct lpm_page_item *item = g_new0(struct lpm_page_item, 1);

    item->block = block;
    item->offset = offset;
    item->segment = queue->segment;
    item->data = g_byte_array_new();
    item->before = queue->tail;
    if (queue->tail)
        queue->tail->after = item;
    else
        queue->head = item;
    queue->tail = item;
    return item;
}

static void make_urgent(LpmPageQueue *queue, struct lpm_page_item *item, gint64 wanted_us)
{
    item->wanted_us = wanted_us;
    item->urgent = queue->overtaking;
    if (item->urgent)
        g_queue_push_tail(&queue->urgent, item);
}

/* Something that nothing may pass: a segment of its own. */
static void make_fixed(LpmPageQueue *queue, struct lpm_page_item *item)
{
    item->segment = ++queue->segment;
    queue->segment++;
}

/* The open host page is whole: from now on it can be asked for. */
static void close_whole(LpmPageQueue *queue)
{
    struct lpm_page_item *item = queue->open;
    gint64 key = key_of(queue, (guint)item->block, item->offset);
    const gint64 *wanted = g_hash_table_lookup(queue->wanted, &key);

    queue->open = NULL;
    if (wanted) {
        make_urgent(queue, item, *wanted);
        g_hash_table_remove(queue->wanted, &key);
    } else {
        g_hash_table_replace(queue->waiting, new_number(key), item);
    }
}

/* The open host page will not be whole, or is none: it stays where it is. */
static void close_open(LpmPageQueue *queue)
{
    if (queue->open)
        make_fixed(queue, queue->open);
    queue->open = NULL;
}

static gboolean continues(const LpmPageQueue *queue, guint block, guint64 offset)
{
    const struct lpm_page_item *open = queue->open;

    return open && open->block == (gint)block &&
           offset == open->offset + (guint64)open->records * queue->page_size;
}

static void append_record(LpmPageQueue *queue, struct lpm_page_item *item, guint64 offset,
                          const guint8 *content)
{
    guint8 word[9] = {0};

    lpm_put_be64(word, offset | FLAG_CONTINUE | (content ? FLAG_PAGE : FLAG_ZERO));
    g_byte_array_append(item->data, word, content ? 8 : 9);
    if (content)
        g_byte_array_append(item->data, content, queue->page_size);
    item->records++;
}

void lpm_page_queue_put_page(LpmPageQueue *queue, guint block, guint64 offset,
                             const guint8 *content, gsize cost)
{
    guint64 host_page = block_at(queue, block)->host_page;
    guint whole = (guint)MIN(host_page / queue->page_size, G_MAXUINT);

    pthread_mutex_lock(&queue->lock);
    if (!continues(queue, block, offset)) {
        close_open(queue);
        queue->open = append(queue, (gint)block, offset);
    }
    struct lpm_page_item *item = queue->open;

    append_record(queue, item, offset, content);
    item->cost += cost;
    queue->state.bytes += cost;
    if (item->offset % host_page || whole > LPM_PAGE_QUEUE_GROUP_MAX)
        close_open(queue);
    else if (item->records == whole)
        close_whole(queue);
    pthread_mutex_unlock(&queue->lock);
}

void lpm_page_queue_put_bytes(LpmPageQueue *queue, const guint8 *bytes, gsize length)
{
    pthread_mutex_lock(&queue->lock);
    close_open(queue);
    struct lpm_page_item *item = queue->tail;

    if (!item || item->block >= 0 || item->data->len + length > BYTES_MAX) {
        item = append(queue, -1, 0);
        make_fixed(queue, item);
    }
    g_byte_array_append(item->data, bytes, (guint)length);
    item->cost += length;
    queue->state.bytes += length;
    pthread_mutex_unlock(&queue->lock);
}

void lpm_page_queue_end(LpmPageQueue *queue)
{
    pthread_mutex_lock(&queue->lock);
    close_open(queue);
    pthread_mutex_unlock(&queue->lock);
}

/* ---- requests ---- */

/* Lock held. One host page; TRUE if an item became urgent by it. */
static gboolean demand_one(LpmPageQueue *queue, guint block, guint64 offset, gint64 now_us)
{
    gint64 key = key_of(queue, block, offset);
    struct lpm_page_item *item = g_hash_table_lookup(queue->waiting, &key);

    queue->state.requests++;
    if (item) {
        g_hash_table_remove(queue->waiting, &key);
        make_urgent(queue, item, now_us);
        return item->urgent;
    }
    if (queue->sent && lpm_page_stats_marked(queue->sent, block, offset))
        queue->state.too_late++;
    else if (g_hash_table_size(queue->wanted) < LPM_PAGE_QUEUE_WANTED_MAX &&
             !g_hash_table_contains(queue->wanted, &key))
        g_hash_table_insert(queue->wanted, new_number(key), new_number(now_us));
    return FALSE;
}

/* The block of that name, or -1. */
static gint find_block(const LpmPageQueue *queue, const char *name)
{
    for (guint i = 0; i < queue->blocks->len; i++)
        if (strcmp(block_at(queue, i)->name, name) == 0)
            return (gint)i;
    return -1;
}

gboolean lpm_page_queue_demand(LpmPageQueue *queue, const char *name, guint64 start, guint32 length,
                               gint64 now_us)
{
    gboolean news = FALSE;

    pthread_mutex_lock(&queue->lock);
    if (name)
        queue->last_named = find_block(queue, name);
    gint index = queue->last_named;

    if (index >= 0 && start < block_at(queue, (guint)index)->length) {
        const struct block *block = block_at(queue, (guint)index);
        guint64 most = LPM_PAGE_QUEUE_WANTED_MAX * block->host_page;
        guint64 end = start + MIN(MIN(length, most), block->length - start);

        for (guint64 at = start - start % block->host_page; at < end; at += block->host_page)
            news |= demand_one(queue, (guint)index, at, now_us);
    }
    pthread_mutex_unlock(&queue->lock);
    return news;
}

/* ---- the way out ---- */

/* Lock held. The first item that was asked for and is in the segment at the head. */
static struct lpm_page_item *first_urgent(LpmPageQueue *queue)
{
    for (GList *link = queue->urgent.head; link && queue->head; link = link->next) {
        struct lpm_page_item *item = link->data;

        if (item->segment == queue->head->segment)
            return item;
    }
    return NULL;
}

/* Lock held. */
static void unlink_item(LpmPageQueue *queue, struct lpm_page_item *item)
{
    if (item->before)
        item->before->after = item->after;
    else
        queue->head = item->after;
    if (item->after)
        item->after->before = item->before;
    else
        queue->tail = item->before;
    item->before = item->after = NULL;
}

/* Lock held. Forgets what is known of the item as one that waits. */
static void forget(LpmPageQueue *queue, struct lpm_page_item *item)
{
    queue->state.bytes -= item->cost;
    if (queue->open == item)
        queue->open = NULL;
    if (item->urgent)
        g_queue_remove(&queue->urgent, item);
    if (item->block < 0)
        return;
    gint64 key = key_of(queue, (guint)item->block, item->offset);

    if (g_hash_table_lookup(queue->waiting, &key) == item)
        g_hash_table_remove(queue->waiting, &key);
    if (queue->sent)
        lpm_page_stats_mark(queue->sent, (guint)item->block, item->offset);
}

struct lpm_page_item *lpm_page_queue_take(LpmPageQueue *queue, gboolean urgent)
{
    pthread_mutex_lock(&queue->lock);
    struct lpm_page_item *item = first_urgent(queue);

    if (item)
        queue->state.overtook += item != queue->head;
    else if (!urgent && queue->head != queue->open)
        item = queue->head;
    if (item) {
        forget(queue, item);
        unlink_item(queue, item);
    }
    pthread_mutex_unlock(&queue->lock);
    return item;
}

void lpm_page_queue_get(LpmPageQueue *queue, struct lpm_page_queue_state *state)
{
    pthread_mutex_lock(&queue->lock);
    *state = queue->state;
    state->urgent = first_urgent(queue) != NULL;
    state->wanted = g_hash_table_size(queue->wanted);
    state->ready = state->urgent || queue->head != queue->open;
    pthread_mutex_unlock(&queue->lock);
}
