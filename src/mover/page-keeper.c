/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/page-keeper.h"

#include "base/fdio.h"

#include <pthread.h>
#include <string.h>

struct lpm_page_keeper {
    /* immutable */
    const struct lpm_log_context *log;
    GThread *thread;

    /* owned by the encoder; the thread sees them behind the first page */
    lpm_fd fd; /* until the image is begun */
    guint8 key[LPM_IMAGE_KEY_BYTES];
    gboolean begun;
    LpmImage *image; /* NULL: none could be begun */

    pthread_mutex_t lock;
    /* guarded by lock */
    pthread_cond_t news;
    guint64 *slots; /* of the row, LPM_KEEPER_PAGES */
    guint head, waiting;
    gboolean ending;
    struct lpm_keeper_facts facts;
    /* guarded by lock where a page waits or is being put, else the thread's */
    guint8 *pages;
};

/* Takes up to LPM_IMAGE_RUN pages whose slots follow each other; `run` gets their content. 0: the
 * end. */
static guint take(LpmPageKeeper *keeper, guint64 *slot, guint8 *run)
{
    guint count = 0;

    pthread_mutex_lock(&keeper->lock);
    while (!keeper->waiting && !keeper->ending)
        pthread_cond_wait(&keeper->news, &keeper->lock);
    *slot = keeper->slots[keeper->head];
    while (count < keeper->waiting && count < LPM_IMAGE_RUN) {
        guint at = (keeper->head + count) % LPM_KEEPER_PAGES;

        if (keeper->slots[at] != *slot + count)
            break;
        count++;
    }
    guint head = keeper->head;

    pthread_mutex_unlock(&keeper->lock);
    for (guint i = 0; i < count; i++)
        memcpy(run + i * LPM_IMAGE_PAGE,
               keeper->pages + (head + i) % LPM_KEEPER_PAGES * LPM_IMAGE_PAGE, LPM_IMAGE_PAGE);
    pthread_mutex_lock(&keeper->lock);
    keeper->head = (keeper->head + count) % LPM_KEEPER_PAGES;
    keeper->waiting -= count;
    pthread_mutex_unlock(&keeper->lock);
    return count;
}

static void note_failure(LpmPageKeeper *keeper, const GError *error)
{
    lpm_log(LPM_LOG_WARNING, keeper->log, "the partition's pages are not retained: %s",
            error->message);
    pthread_mutex_lock(&keeper->lock);
    keeper->facts.failed = TRUE;
    pthread_mutex_unlock(&keeper->lock);
}

static gpointer run(gpointer opaque)
{
    LpmPageKeeper *keeper = opaque;
    g_autofree guint8 *pages = g_malloc(LPM_IMAGE_RUN * LPM_IMAGE_PAGE);
    g_autoptr(GError) error = NULL;
    guint64 slot;
    guint count;

    while ((count = take(keeper, &slot, pages))) {
        if (error || lpm_image_write(keeper->image, slot, count, pages, &error))
            continue;
        note_failure(keeper, error);
    }
    return NULL;
}

LpmPageKeeper *lpm_page_keeper_new(int fd, const guint8 key[LPM_IMAGE_KEY_BYTES],
                                   const struct lpm_log_context *log)
{
    LpmPageKeeper *keeper = g_new0(LpmPageKeeper, 1);

    keeper->log = log;
    keeper->fd = fd;
    memcpy(keeper->key, key, sizeof(keeper->key));
    keeper->slots = g_new0(guint64, LPM_KEEPER_PAGES);
    keeper->pages = g_malloc((gsize)LPM_KEEPER_PAGES * LPM_IMAGE_PAGE);
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_cond_init(&keeper->news, NULL);
    keeper->thread = g_thread_new("page-keeper", run, keeper);
    return keeper;
}

void lpm_page_keeper_free(LpmPageKeeper *keeper)
{
    if (!keeper)
        return;
    pthread_mutex_lock(&keeper->lock);
    keeper->ending = TRUE;
    pthread_cond_signal(&keeper->news);
    pthread_mutex_unlock(&keeper->lock);
    g_thread_join(keeper->thread);
    lpm_image_free(keeper->image);
    lpm_fd_clear(&keeper->fd);
    explicit_bzero(keeper->key, sizeof(keeper->key));
    pthread_mutex_destroy(&keeper->lock);
    pthread_cond_destroy(&keeper->news);
    g_free(keeper->slots);
    g_free(keeper->pages);
    g_free(keeper);
}

/* At the first page: the blocks are known. */
static void begin(LpmPageKeeper *keeper, LpmStreamParser *parser)
{
    g_autoptr(GArray) blocks = g_array_new(FALSE, TRUE, sizeof(struct lpm_image_block));
    g_autoptr(GError) error = NULL;
    const struct lpm_stream_block *block;

    keeper->begun = TRUE;
    for (guint i = 0; (block = lpm_stream_parser_block(parser, i)); i++) {
        struct lpm_image_block item = {.name = block->name,
                                       .pages = block->length / LPM_IMAGE_PAGE};

        g_array_append_val(blocks, item);
    }
    keeper->image =
        lpm_image_create(lpm_steal_fd(&keeper->fd), keeper->key,
                         (const struct lpm_image_block *)blocks->data, blocks->len, &error);
    explicit_bzero(keeper->key, sizeof(keeper->key));
    if (error)
        note_failure(keeper, error);
}

void lpm_page_keeper_put(LpmPageKeeper *keeper, LpmStreamParser *parser,
                         const struct lpm_stream_event *event)
{
    if (event->type != LPM_STREAM_PAGE || event->block < 0 || event->page_size != LPM_IMAGE_PAGE ||
        lpm_stream_parser_info(parser)->postcopy_resumed)
        return;
    if (!keeper->begun)
        begin(keeper, parser);
    const struct lpm_image_block *block =
        keeper->image ? lpm_image_block(keeper->image, (guint)event->block) : NULL;
    guint64 page = event->offset / LPM_IMAGE_PAGE;

    if (!block || page >= block->pages)
        return;
    pthread_mutex_lock(&keeper->lock);
    gboolean room = keeper->waiting < LPM_KEEPER_PAGES && !keeper->facts.failed;

    if (room) {
        guint at = (keeper->head + keeper->waiting) % LPM_KEEPER_PAGES;

        keeper->slots[at] = block->first + page;
        memcpy(keeper->pages + (gsize)at * LPM_IMAGE_PAGE, event->data + event->header_length,
               LPM_IMAGE_PAGE);
        keeper->facts.kept++;
        if (!keeper->waiting++)
            pthread_cond_signal(&keeper->news);
    } else {
        keeper->facts.missed++;
    }
    pthread_mutex_unlock(&keeper->lock);
}

void lpm_page_keeper_get(LpmPageKeeper *keeper, struct lpm_keeper_facts *facts)
{
    pthread_mutex_lock(&keeper->lock);
    *facts = keeper->facts;
    pthread_mutex_unlock(&keeper->lock);
}
