/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/postcopy.h"

#include "base/error.h"
#include "transport/bytes.h"

#include <string.h>

#define SECTION_PART 0x02
#define FOOTER_MARK 0x7e
#define FLAG_ZERO 0x02u
#define FLAG_PAGE 0x08u
#define FLAG_CONTINUE 0x20u
#define FLAG_EOS 0x10u
#define HEAD_BYTES 5
#define EOS_BYTES 8

struct lpm_postcopy {
    LpmStreamParser *parser; /* borrowed */
    LpmPageQueue *queue;
    guint32 page_size;
    guint sections; /* known at the switch: no other may follow */

    /* what comes in */
    gboolean in_pages;       /* between the head and the EOS of a PART or END of `ram` */
    gboolean last;           /* it is the END */
    gboolean ends;           /* its EOS was the last thing: a footer that follows is its own */
    guint8 head[HEAD_BYTES]; /* of the section that was read last */

    /* what goes out */
    gboolean open; /* a PART of ours has no EOS yet */
    guint8 ours[HEAD_BYTES];
    gint block;      /* of the last page, -1: none yet */
    guint8 *scratch; /* a record with a name */
};

/* The page size of the hosts' memory, of which QEMU says only an or of all sizes: the lowest. */
static guint64 host_page_of(const struct lpm_stream_info *info)
{
    guint64 summary = info->page_size_summary;

    return summary ? MAX(summary & -summary, info->page_size) : info->page_size;
}

/* Finds the id of `ram`. FALSE: it is not there, or there is another section that has parts, whose
 * end nothing tells: what looks like a page behind it might be anything. */
static gboolean find_ram(LpmPostcopy *postcopy)
{
    const struct lpm_stream_section *section;
    gboolean found = FALSE;

    for (guint i = 0; (section = lpm_stream_parser_section(postcopy->parser, i)); i++) {
        if (!section->iterable || section->ended)
            continue;
        if (found || strcmp(section->name, "ram") != 0)
            return FALSE;
        postcopy->ours[0] = SECTION_PART;
        lpm_put_be32(postcopy->ours + 1, section->id);
        found = TRUE;
    }
    postcopy->sections = lpm_stream_parser_info(postcopy->parser)->sections;
    return found;
}

LpmPostcopy *lpm_postcopy_new(LpmStreamParser *parser)
{
    const struct lpm_stream_info *info = lpm_stream_parser_info(parser);
    const struct lpm_stream_block *block;

    if (info->degraded || info->postcopy_resumed || info->multifd || !info->blocks)
        return NULL;
    LpmPostcopy *postcopy = g_new0(LpmPostcopy, 1);

    postcopy->parser = parser;
    if (!find_ram(postcopy)) {
        g_free(postcopy);
        return NULL;
    }
    postcopy->page_size = info->page_size;
    postcopy->queue = lpm_page_queue_new(info->page_size);
    postcopy->block = -1;
    postcopy->scratch = g_malloc(9 + 255 + LPM_STREAM_PAGE_MAX);
    for (guint i = 0; (block = lpm_stream_parser_block(parser, i)); i++)
        lpm_page_queue_add_block(postcopy->queue, block->name, block->length,
                                 block->page_size ? block->page_size : host_page_of(info));
    lpm_stream_parser_whole_units(parser);
    return postcopy;
}

void lpm_postcopy_free(LpmPostcopy *postcopy)
{
    if (!postcopy)
        return;
    lpm_page_queue_free(postcopy->queue);
    g_free(postcopy->scratch);
    g_free(postcopy);
}

LpmPageQueue *lpm_postcopy_queue(LpmPostcopy *postcopy)
{
    return postcopy->queue;
}

/* ---- in ---- */

/* The end of a body of pages. That of a PART is left out; the END is said whole, without pages. */
static gsize put_eos(LpmPostcopy *postcopy, const struct lpm_stream_event *event)
{
    postcopy->in_pages = FALSE;
    postcopy->ends = TRUE;
    if (!postcopy->last)
        return event->length;
    lpm_page_queue_put_bytes(postcopy->queue, postcopy->head, HEAD_BYTES);
    lpm_page_queue_put_bytes(postcopy->queue, event->data, event->length);
    return 0;
}

static gboolean not_understood(GError **error)
{
    return lpm_fail(error, LPM_E_PROTOCOL,
                    "QEMU's stream in post-copy has something among its pages that is not known; "
                    "what resumes it will be carried in its own order");
}

static gboolean put_literal(LpmPostcopy *postcopy, const struct lpm_stream_event *event,
                            gint64 *more, GError **error)
{
    gboolean ends = postcopy->ends;

    postcopy->ends = FALSE;
    switch (event->unit) {
    case LPM_STREAM_UNIT_PART:
    case LPM_STREAM_UNIT_LAST:
        postcopy->in_pages = TRUE;
        postcopy->last = event->unit == LPM_STREAM_UNIT_LAST;
        memcpy(postcopy->head, event->data, HEAD_BYTES);
        /* The head of the END comes out again when its EOS has come. */
        *more = postcopy->last ? 0 : -(gint64)event->length;
        return TRUE;
    case LPM_STREAM_UNIT_EOS:
        *more = -(gint64)put_eos(postcopy, event);
        return TRUE;
    case LPM_STREAM_UNIT_FOOTER:
        if (!ends || postcopy->last)
            break;
        *more = -(gint64)event->length;
        return TRUE;
    default:
        break;
    }
    if (postcopy->in_pages)
        return not_understood(error);
    lpm_page_queue_put_bytes(postcopy->queue, event->data, event->length);
    return TRUE;
}

gboolean lpm_postcopy_put(LpmPostcopy *postcopy, const struct lpm_stream_event *event, gint64 *more,
                          GError **error)
{
    const struct lpm_stream_info *info = lpm_stream_parser_info(postcopy->parser);

    *more = 0;
    if (info->degraded || info->sections != postcopy->sections)
        return not_understood(error);
    if (event->type == LPM_STREAM_NONE)
        return TRUE;
    if (event->type == LPM_STREAM_LITERAL)
        return put_literal(postcopy, event, more, error);
    postcopy->ends = FALSE;
    if (!postcopy->in_pages || event->block < 0)
        return not_understood(error);
    gsize cost = MAX(event->length, LPM_POSTCOPY_COST_MIN);

    *more = (gint64)(cost - event->length);
    lpm_page_queue_put_page(
        postcopy->queue, (guint)event->block, event->offset,
        event->type == LPM_STREAM_PAGE ? event->data + event->header_length : NULL, cost);
    return TRUE;
}

void lpm_postcopy_end(LpmPostcopy *postcopy)
{
    lpm_page_queue_end(postcopy->queue);
}

/* ---- out ---- */

static void say(lpm_postcopy_emit emit, gpointer user, const guint8 *bytes, gsize length)
{
    const struct lpm_stream_event event = {
        .type = LPM_STREAM_LITERAL, .data = bytes, .length = length, .block = -1};

    emit(user, &event);
}

static void open_section(LpmPostcopy *postcopy, lpm_postcopy_emit emit, gpointer user)
{
    if (!postcopy->open)
        say(emit, user, postcopy->ours, HEAD_BYTES);
    postcopy->open = TRUE;
}

static void close_section(LpmPostcopy *postcopy, lpm_postcopy_emit emit, gpointer user)
{
    guint8 bytes[EOS_BYTES + HEAD_BYTES];

    if (!postcopy->open)
        return;
    postcopy->open = FALSE;
    lpm_put_be64(bytes, FLAG_EOS);
    memcpy(bytes + EOS_BYTES, postcopy->ours, HEAD_BYTES);
    bytes[EOS_BYTES] = FOOTER_MARK;
    say(emit, user, bytes,
        lpm_stream_parser_info(postcopy->parser)->footers ? sizeof(bytes) : EOS_BYTES);
}

/* Gives the record its block's name, in `scratch`; returns the length of what precedes the
 * content. */
static gsize add_name(LpmPostcopy *postcopy, const struct lpm_page_item *item, const guint8 *record,
                      gsize content)
{
    const struct lpm_stream_block *block =
        lpm_stream_parser_block(postcopy->parser, (guint)item->block);
    gsize length = strlen(block->name);
    guint8 *out = postcopy->scratch;

    lpm_put_be64(out, lpm_get_be64(record) & ~(guint64)FLAG_CONTINUE);
    out[8] = (guint8)length;
    memcpy(out + 9, block->name, length);
    memcpy(out + 9 + length, record + 8, content);
    return 9 + length;
}

static void say_pages(LpmPostcopy *postcopy, const struct lpm_page_item *item,
                      lpm_postcopy_emit emit, gpointer user)
{
    const guint8 *record = item->data->data;
    gsize left = item->data->len;

    while (left) {
        gboolean zero = (record[7] & FLAG_ZERO) != 0;
        gsize content = zero ? 1 : postcopy->page_size;
        struct lpm_stream_event event = {.type = zero ? LPM_STREAM_ZERO_PAGE : LPM_STREAM_PAGE,
                                         .data = record,
                                         .header_length = 8,
                                         .page_size = postcopy->page_size,
                                         .block = item->block};

        if (postcopy->block != item->block) {
            event.header_length = add_name(postcopy, item, record, content);
            event.data = postcopy->scratch;
            postcopy->block = item->block;
        }
        event.length = event.header_length + content;
        emit(user, &event);
        record += 8 + content;
        left -= 8 + content;
    }
}

struct lpm_page_item *lpm_postcopy_take(LpmPostcopy *postcopy, gboolean urgent,
                                        lpm_postcopy_emit emit, gpointer user)
{
    struct lpm_page_item *item = lpm_page_queue_take(postcopy->queue, urgent);

    if (!item)
        return NULL;
    if (item->block < 0) {
        close_section(postcopy, emit, user);
        say(emit, user, item->data->data, item->data->len);
        /* Whatever it was, it may have named a block. */
        postcopy->block = -1;
    } else {
        open_section(postcopy, emit, user);
        say_pages(postcopy, item, emit, user);
    }
    return item;
}
