/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/page-placer.h"

#include "base/error.h"
#include "base/fdio.h"
#include "mover/crew.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define FLAG_CONTINUE 0x20u
#define RUN_PAGES 64u          /* at most in one write */
#define RUN_BYTES (256u << 10) /* likewise; a page is at most 64 KiB */
#define SHARE_PAGES 16u        /* fewer are not worth another thread */

struct memory {
    char *name;
    guint64 size;
    int fd;
};

/* By the block's index in the stream. */
struct block {
    int fd;         /* borrowed; -1: not placed */
    guint8 *theirs; /* a bit for each page: QEMU writes it */
};

/* One record that waits to be placed; they are in ascending order of block and offset. */
struct item {
    guint block;
    guint64 offset;
    const guint8 *data; /* borrowed; NULL: zeros */
};

struct lpm_page_placer {
    GArray *memories; /* of struct memory */
    gboolean bound;   /* blocks is filled */
    GArray *blocks;   /* of struct block */
    guint32 page_size;
    GArray *items; /* of struct item */
    guint8 *scratch;
    LpmCrew *crew;
    guint threads; /* atomic */
    struct lpm_placer_facts facts;
    GError *failure; /* of a share; the crew's threads set it one at a time */
#ifdef LPM_MUTANT_PLACE_WRONGLY
    guint placed; /* atomic */
#endif
};

/* A part of the items, for one thread. */
struct share {
    LpmPagePlacer *placer;
    guint first, count;
    GError *error;
};

/* ---- memory and blocks ---- */

static void memory_clear(gpointer opaque)
{
    struct memory *memory = opaque;

    g_free(memory->name);
    lpm_fd_clear(&memory->fd);
}

static void block_clear(gpointer opaque)
{
    g_free(((struct block *)opaque)->theirs);
}

gboolean lpm_page_placer_add(LpmPagePlacer *placer, const char *name, guint64 size, int fd,
                             GError **error)
{
    lpm_autofd owned = fd;

    /* What has an end is a file: fstat is a call by name in the C library, which is not allowed. */
    if (lseek(fd, 0, SEEK_END) != (off_t)size || (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
        return lpm_fail(error, LPM_E_PROTOCOL,
                        "what was given as the memory of '%s' is no file of %" G_GUINT64_FORMAT
                        " bytes that can be written",
                        name, size);
    for (guint i = 0; i < placer->memories->len; i++)
        if (!strcmp(g_array_index(placer->memories, struct memory, i).name, name))
            g_array_remove_index(placer->memories, i--);
    struct memory memory = {.name = g_strdup(name), .size = size, .fd = lpm_steal_fd(&owned)};

    g_array_append_val(placer->memories, memory);
    return TRUE;
}

/* QEMU calls a block as its backend, or, on newer machine types, by the backend's path. */
static gboolean is_called(const char *block, const char *backend)
{
    static const char path[] = "/objects/";

    return !strcmp(block, backend) ||
           (g_str_has_prefix(block, path) && !strcmp(block + strlen(path), backend));
}

static int find_memory(const LpmPagePlacer *placer, const struct lpm_stream_block *block)
{
    for (guint i = 0; i < placer->memories->len; i++) {
        const struct memory *memory = &g_array_index(placer->memories, struct memory, i);

        if (memory->size == block->length && is_called(block->name, memory->name))
            return memory->fd;
    }
    return -1;
}

/* At the first page, by when all blocks are announced. */
static void bind(LpmPagePlacer *placer, LpmStreamParser *parser)
{
    const struct lpm_stream_block *block;

    placer->bound = TRUE;
    placer->page_size = lpm_stream_parser_info(parser)->page_size;
    for (guint i = 0; (block = lpm_stream_parser_block(parser, i)); i++) {
        struct block entry = {.fd = find_memory(placer, block)};

        if (entry.fd >= 0) {
            entry.theirs = g_malloc0(block->length / placer->page_size / 8 + 1);
            placer->facts.blocks++;
        }
        g_array_append_val(placer->blocks, entry);
    }
}

/* ---- placing ---- */

/* Whole reads and writes of a file that has room; FALSE with errno. */
static gboolean write_run(int fd, struct iovec *parts, int count, guint64 offset)
{
    while (count) {
        ssize_t n = pwritev(fd, parts, count, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return FALSE;
        offset += (guint64)n;
        for (; count && (gsize)n >= parts->iov_len; parts++, count--)
            n -= (ssize_t)parts->iov_len;
        if (count) {
            parts->iov_base = (guint8 *)parts->iov_base + n;
            parts->iov_len -= (gsize)n;
        }
    }
    return TRUE;
}

static gboolean read_run(int fd, guint8 *bytes, gsize length, guint64 offset)
{
    for (gsize done = 0; done < length;) {
        ssize_t n = pread(fd, bytes + done, length - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n ? errno : EIO; /* it has become shorter */
            return FALSE;
        }
        done += (gsize)n;
    }
    return TRUE;
}

static gboolean is_zero(const guint8 *bytes, gsize length)
{
    return !bytes[0] && !memcmp(bytes, bytes + 1, length - 1);
}

static gboolean has(const struct item *item, const guint8 *memory, gsize page_size)
{
    return item->data ? !memcmp(memory, item->data, page_size) : is_zero(memory, page_size);
}

/* What is written where: `count` pages of one kind that follow each other. */
static gboolean put(LpmPagePlacer *placer, int fd, const struct item *items, guint count)
{
    static const guint8 zeros[LPM_STREAM_PAGE_MAX];
    struct iovec parts[RUN_PAGES];
    guint64 offset = items->offset;

    for (guint i = 0; i < count; i++)
        parts[i] =
            (struct iovec){(void *)(items[i].data ? items[i].data : zeros), placer->page_size};
#ifdef LPM_MUTANT_PLACE_WRONGLY /* one in many goes to the place of its neighbour */
    if (g_atomic_int_add(&placer->placed, 1) % 16 == 10 && offset)
        offset -= placer->page_size;
#endif
    return write_run(fd, parts, (int)count, offset);
}

static gboolean cannot(const struct item *item, GError **error)
{
    return lpm_fail(error, LPM_E_PLACEMENT,
                    "writing at %" G_GUINT64_FORMAT " of the partition's memory failed: %s",
                    item->offset, g_strerror(errno));
}

/* Writes the pages unless the memory has them. */
static gboolean place_pages(LpmPagePlacer *placer, int fd, const struct item *items, guint count,
                            guint8 *scratch, GError **error)
{
    gsize size = placer->page_size;

    if (!put(placer, fd, items, count) || !read_run(fd, scratch, count * size, items->offset))
        return cannot(items, error);
    for (guint i = 0; i < count; i++)
        if (!has(items + i, scratch + i * size, size))
            return lpm_fail(error, LPM_E_DATA_DAMAGED,
                            "the page at %" G_GUINT64_FORMAT
                            " of the partition's memory is not what was written to it",
                            items[i].offset);
    return TRUE;
}

/* Pages of one block that follow each other, all with content or all of zeros. Zeros that are there
 * already are not written, so that what was never touched stays a hole. */
static gboolean place_run(LpmPagePlacer *placer, const struct item *items, guint count,
                          guint8 *scratch, GError **error)
{
    int fd = g_array_index(placer->blocks, struct block, items->block).fd;
    gsize size = placer->page_size;

    if (items->data)
        return place_pages(placer, fd, items, count, scratch, error);
    if (!read_run(fd, scratch, count * size, items->offset))
        return cannot(items, error);
    for (guint i = 0; i < count; i++) {
        guint8 *page = scratch + i * size; /* not looked at again: there is room for one */

        if (!is_zero(page, size) && !place_pages(placer, fd, items + i, 1, page, error))
            return FALSE;
    }
    return TRUE;
}

static guint run_length(const LpmPagePlacer *placer, const struct item *items, guint count)
{
    guint most = MIN(RUN_PAGES, RUN_BYTES / placer->page_size), n = 1;

    while (n < MIN(count, most) && items[n].block == items->block &&
           items[n].offset == items->offset + (guint64)n * placer->page_size &&
           !items[n].data == !items->data)
        n++;
    return n;
}

static gboolean place(LpmPagePlacer *placer, guint first, guint count, guint8 *scratch,
                      GError **error)
{
    const struct item *items = (const struct item *)(void *)placer->items->data + first;

    while (count) {
        guint n = run_length(placer, items, count);

        if (!place_run(placer, items, n, scratch, error))
            return FALSE;
        items += n;
        count -= n;
    }
    return TRUE;
}

/* ---- several threads ---- */

static gpointer share_new(gpointer user)
{
    struct share *share = g_new0(struct share, 1);

    share->placer = user;
    return share;
}

static void share_free(gpointer opaque)
{
    struct share *share = opaque;

    g_clear_error(&share->error);
    g_free(share);
}

static gpointer scratch_new(gpointer user)
{
    (void)user;
    return g_malloc(RUN_BYTES);
}

static void place_share(gpointer user, gpointer scratch, gpointer opaque)
{
    struct share *share = opaque;

    place(user, share->first, share->count, scratch, &share->error);
}

static void note_share(gpointer user, gpointer opaque)
{
    LpmPagePlacer *placer = user;
    struct share *share = opaque;

    if (share->error && !placer->failure)
        placer->failure = g_steal_pointer(&share->error);
    g_clear_error(&share->error);
}

static void place_by_shares(LpmPagePlacer *placer, guint shares)
{
    guint count = placer->items->len;

    for (guint i = 0; i < shares; i++) {
        struct share *share = lpm_crew_open(placer->crew);
        guint first = count * i / shares;

        share->first = first;
        share->count = count * (i + 1) / shares - first;
        lpm_crew_give(placer->crew, share);
    }
    lpm_crew_drain(placer->crew);
}

gboolean lpm_page_placer_land(LpmPagePlacer *placer, GError **error)
{
    guint count = placer->items->len;
    guint shares = MIN((guint)g_atomic_int_get(&placer->threads), count / SHARE_PAGES);

    if (!count)
        return TRUE;
    if (shares > 1)
        place_by_shares(placer, shares);
    else
        place(placer, 0, count, placer->scratch, &placer->failure);
    g_array_set_size(placer->items, 0);
    if (!placer->failure)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&placer->failure));
    return FALSE;
}

/* ---- records ---- */

/* Whether this stream, so far, is one whose pages may be placed. */
static gboolean fits(const struct lpm_stream_info *info)
{
    return !info->postcopy_advised && !info->postcopy_resumed && !info->multifd &&
           !info->degraded && !info->pages_encoded;
}

/* QEMU writes this page from now on, if it does not already. */
static gboolean is_theirs(LpmPagePlacer *placer, struct block *block,
                          const struct lpm_stream_event *event)
{
    guint64 page = event->offset / placer->page_size;
    guint8 bit = (guint8)(1u << page % 8);

    if (!(event->flags & FLAG_CONTINUE) || event->type == LPM_STREAM_LITERAL)
        block->theirs[page / 8] |= bit;
    return (block->theirs[page / 8] & bit) != 0;
}

/* One version of a page at a time is placed, so several threads may. */
static gboolean in_order(const LpmPagePlacer *placer, const struct item *item)
{
    const struct item *last =
        placer->items->len ? &g_array_index(placer->items, struct item, placer->items->len - 1)
                           : NULL;

    return !last || last->block < item->block ||
           (last->block == item->block && last->offset < item->offset);
}

gboolean lpm_page_placer_take(LpmPagePlacer *placer, LpmStreamParser *parser,
                              const struct lpm_stream_event *event, GError **error)
{
    gboolean zero = event->type == LPM_STREAM_ZERO_PAGE;

    if (event->block < 0 || !fits(lpm_stream_parser_info(parser)))
        return FALSE;
    if (!placer->bound)
        bind(placer, parser);
    if ((guint)event->block >= placer->blocks->len)
        return FALSE;
    struct block *block = &g_array_index(placer->blocks, struct block, event->block);

    if (block->fd < 0 || is_theirs(placer, block, event))
        return FALSE;
    struct item item = {.block = (guint)event->block,
                        .offset = event->offset,
                        .data = zero ? NULL : event->data + event->header_length};

    if (!in_order(placer, &item) && !lpm_page_placer_land(placer, error))
        return FALSE;
    g_array_append_val(placer->items, item);
    placer->facts.pages++;
    placer->facts.bytes += event->length;
    return TRUE;
}

/* ---- life ---- */

LpmPagePlacer *lpm_page_placer_new(guint threads)
{
    static const struct lpm_crew_ops ops = {.name = "place",
                                            .job_new = share_new,
                                            .job_free = share_free,
                                            .tool_new = scratch_new,
                                            .tool_free = g_free,
                                            .work = place_share,
                                            .hand_on = note_share};
    LpmPagePlacer *placer = g_new0(LpmPagePlacer, 1);

    placer->memories = g_array_new(FALSE, FALSE, sizeof(struct memory));
    g_array_set_clear_func(placer->memories, memory_clear);
    placer->blocks = g_array_new(FALSE, FALSE, sizeof(struct block));
    g_array_set_clear_func(placer->blocks, block_clear);
    placer->items = g_array_new(FALSE, FALSE, sizeof(struct item));
    placer->scratch = g_malloc(RUN_BYTES);
    placer->threads = CLAMP(threads, 1, LPM_CREW_THREADS_MAX);
    placer->crew = lpm_crew_new(&ops, placer, placer->threads);
    return placer;
}

void lpm_page_placer_free(LpmPagePlacer *placer)
{
    if (!placer)
        return;
    lpm_crew_free(placer->crew);
    g_array_unref(placer->items);
    g_array_unref(placer->blocks);
    g_array_unref(placer->memories);
    g_clear_error(&placer->failure);
    g_free(placer->scratch);
    g_free(placer);
}

void lpm_page_placer_close(LpmPagePlacer *placer)
{
    for (guint i = 0; i < placer->blocks->len; i++)
        g_array_index(placer->blocks, struct block, i).fd = -1;
    g_array_set_size(placer->memories, 0);
}

void lpm_page_placer_get(const LpmPagePlacer *placer, struct lpm_placer_facts *facts)
{
    *facts = placer->facts;
}

void lpm_page_placer_set_threads(LpmPagePlacer *placer, guint threads)
{
    g_atomic_int_set(&placer->threads, CLAMP(threads, 1, LPM_CREW_THREADS_MAX));
    lpm_crew_set_threads(placer->crew, threads);
}
