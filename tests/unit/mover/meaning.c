/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "meaning.h"

#include "stream/stream-parser.h"
#include "transport/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct reader {
    LpmStreamParser *parser;
    struct meaning *meaning;
    guint segment;
    gboolean in_part, footer_due;
};

static void add_bytes(struct reader *reader, const struct lpm_stream_event *event)
{
    g_byte_array_append(reader->meaning->bytes, event->data, (guint)event->length);
    reader->segment++;
}

static void add_page(struct reader *reader, const struct lpm_stream_event *event)
{
    const struct meaning_page page = {
        .block = event->block,
        .offset = event->offset,
        .content =
            lpm_checksum(event->data + event->header_length, event->length - event->header_length),
        .segment = reader->segment,
    };

    g_array_append_val(reader->meaning->pages, page);
}

/* Behind the word to run. The pages of the END count as any other. */
static void add_event(struct reader *reader, const struct lpm_stream_event *event)
{
    gboolean footer_due = reader->footer_due;

    reader->footer_due = FALSE;
    if (event->type == LPM_STREAM_PAGE || event->type == LPM_STREAM_ZERO_PAGE) {
        add_page(reader, event);
        return;
    }
    switch (event->unit) {
    case LPM_STREAM_UNIT_PART:
        reader->in_part = TRUE;
        return;
    case LPM_STREAM_UNIT_LAST:
        g_byte_array_append(reader->meaning->bytes, event->data, (guint)event->length);
        return;
    case LPM_STREAM_UNIT_EOS:
        reader->footer_due = reader->in_part;
        if (!reader->in_part)
            break;
        reader->in_part = FALSE;
        return;
    case LPM_STREAM_UNIT_FOOTER:
        if (footer_due)
            return;
        break;
    default:
        break;
    }
    add_bytes(reader, event);
}

struct meaning *meaning_of(const GByteArray *stream)
{
    struct meaning *meaning = g_new0(struct meaning, 1);
    g_autoptr(LpmStreamParser) parser = lpm_stream_parser_new();
    struct reader reader = {.parser = parser, .meaning = meaning};

    meaning->bytes = g_byte_array_new();
    meaning->pages = g_array_new(FALSE, FALSE, sizeof(struct meaning_page));
    for (gsize done = 0; done < stream->len;) {
        gboolean runs = lpm_stream_parser_info(parser)->postcopy_run;
        struct lpm_stream_event event;

        done += lpm_stream_parser_step(parser, stream->data + done, stream->len - done, &event);
        if (event.type == LPM_STREAM_NONE)
            continue;
        if (runs)
            add_event(&reader, &event);
        else
            g_byte_array_append(meaning->bytes, event.data, (guint)event.length);
        if (!runs && lpm_stream_parser_info(parser)->postcopy_run)
            lpm_stream_parser_whole_units(parser);
    }
    assert_null(lpm_stream_parser_info(parser)->degraded_reason);
    return meaning;
}

void meaning_free(struct meaning *meaning)
{
    g_byte_array_unref(meaning->bytes);
    g_array_unref(meaning->pages);
    g_free(meaning);
}

static gint compare(gconstpointer one, gconstpointer other)
{
    return memcmp(one, other, sizeof(struct meaning_page));
}

void meaning_assert_same(const struct meaning *one, const struct meaning *other, gboolean sorted)
{
    assert_int_equal(one->bytes->len, other->bytes->len);
    assert_memory_equal(one->bytes->data, other->bytes->data, one->bytes->len);
    assert_int_equal(one->pages->len, other->pages->len);
    if (sorted) {
        g_array_sort(one->pages, compare);
        g_array_sort(other->pages, compare);
    }
    for (guint i = 0; i < one->pages->len; i++) {
        const struct meaning_page *a = &g_array_index(one->pages, struct meaning_page, i);
        const struct meaning_page *b = &g_array_index(other->pages, struct meaning_page, i);

        assert_int_equal(a->block, b->block);
        assert_int_equal(a->offset, b->offset);
        assert_int_equal(a->content, b->content);
        assert_int_equal(a->segment, b->segment);
    }
}

/* ---- repeats ---- */

/* Notes the page; TRUE if it had this content before. */
static gboolean repeats(GHashTable *seen, const struct lpm_stream_event *event)
{
    static const guint8 zeros[4096];
    gint64 key = (gint64)event->block << 48 | (gint64)event->offset;
    gint64 content =
        (gint64)(event->type == LPM_STREAM_PAGE
                     ? lpm_checksum(event->data + event->header_length, event->page_size)
                     : lpm_checksum(zeros, event->page_size));
    const gint64 *before = g_hash_table_lookup(seen, &key);
    gboolean same = before && *before == content;

    g_hash_table_replace(seen, g_memdup2(&key, sizeof(key)), g_memdup2(&content, sizeof(content)));
    return same;
}

GByteArray *meaning_without_repeats(const GByteArray *stream)
{
    g_autoptr(LpmStreamParser) parser = lpm_stream_parser_new();
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    GByteArray *rest = g_byte_array_new();
    struct lpm_stream_event event;

    for (gsize done = 0; done < stream->len;) {
        done += lpm_stream_parser_step(parser, stream->data + done, stream->len - done, &event);
        gboolean page = event.type == LPM_STREAM_PAGE || event.type == LPM_STREAM_ZERO_PAGE;

        if (page && !lpm_stream_parser_info(parser)->postcopy_run &&
            !lpm_stream_parser_info(parser)->postcopy_resumed && repeats(seen, &event) &&
            event.flags & 0x20)
            continue;
        g_byte_array_append(rest, event.data, (guint)event.length);
    }
    lpm_stream_parser_flush(parser, &event);
    g_byte_array_append(rest, event.data, (guint)event.length);
    return rest;
}
