/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The bodies of `ram` and `spapr/htab` (docs/stream-format.md 2, 3). */
#include "stream/stream-internal.h"

#include <string.h>

enum {
    FLAG_ZERO = 0x02,
    FLAG_MEM_SIZE = 0x04,
    FLAG_PAGE = 0x08,
    FLAG_EOS = 0x10,
    FLAG_CONTINUE = 0x20,
    FLAG_XBZRLE = 0x40,
    FLAG_HOOK = 0x80,
    FLAG_COMPRESS = 0x100,
    FLAG_MULTIFD_FLUSH = 0x200,
};

/* No page compressed by QEMU is longer; anything above is not a record. */
#define ENCODED_MAX (1u << 20)

static guint32 flags_of(const LpmStreamParser *p, const uint8_t *data)
{
    return (guint32)(lpm_be64(data) & (p->info.page_size - 1));
}

/* Word and, without CONTINUE, name of the block. */
static gsize header_of(guint32 flags, const uint8_t *data)
{
    return flags & FLAG_CONTINUE ? 8 : 9 + (gsize)data[8];
}

gsize lpm_stream_ram_need(LpmStreamParser *p, const uint8_t *data, gsize have)
{
    guint32 flags;
    gsize header;

    if (have < 8)
        return 8;
    flags = flags_of(p, data);
    if (!(flags & (FLAG_ZERO | FLAG_PAGE | FLAG_XBZRLE | FLAG_COMPRESS)))
        return 8;
    if (!(flags & FLAG_CONTINUE) && have < 9)
        return 9;
    header = header_of(flags, data);
    switch (flags & ~(guint32)FLAG_CONTINUE) {
    case FLAG_ZERO:
        return header + 1;
    case FLAG_PAGE:
        return header + p->info.page_size;
    case FLAG_XBZRLE:
        return header + 3;
    case FLAG_COMPRESS:
        return header + 4;
    default:
        return 8;
    }
}

/* The block of a record becomes the current one. NULL, or why the record cannot be one. */
static const char *enter_block(LpmStreamParser *p, guint32 flags, uint64_t offset,
                               const uint8_t *data)
{
    char name[256];
    guint slot;

    if (!(flags & FLAG_CONTINUE)) {
        memcpy(name, data + 9, data[8]);
        name[data[8]] = '\0';
        slot = GPOINTER_TO_UINT(g_hash_table_lookup(p->block_by_name, name));
        if (!slot)
            return "a page of a block that was not announced";
        p->block = (gint)slot - 1;
    }
    if (p->block < 0)
        return "a page of no block";
    if (offset >= g_array_index(p->blocks, struct lpm_stream_block, p->block).length)
        return "a page outside of its block";
    return NULL;
}

/* QEMU walks over memory in the order of the block list, so a step back begins a new round. Not so
 * in post-copy, where the target's requests make the order, and less so when QEMU compresses: its
 * threads overtake each other, and only pages sent before can tell. */
static gboolean begins_round(const LpmStreamParser *p, uint64_t offset, gboolean resent)
{
    if (p->info.phase == LPM_STREAM_PHASE_POSTCOPY || (p->unordered && !resent))
        return FALSE;
    return p->block < p->last_block || (p->block == p->last_block && offset < p->last_offset);
}

/* Counts a page; TRUE if it was sent before. */
static gboolean count_page(LpmStreamParser *p, uint64_t offset)
{
    gboolean resent = FALSE;

    if (p->stats) {
        resent = lpm_page_stats_mark(p->stats, (guint)p->block, offset);
        p->info.pages_distinct = lpm_page_stats_distinct(p->stats);
    }
    if (!p->info.rounds || begins_round(p, offset, resent))
        p->info.rounds++;
    p->last_block = p->block;
    p->last_offset = offset;
    if (resent)
        p->info.pages_resent++;
    return resent;
}

static gsize take_page(LpmStreamParser *p, const uint8_t *data, gsize need, guint32 flags,
                       struct lpm_stream_event *event)
{
    uint64_t offset = lpm_be64(data) & ~(uint64_t)(p->info.page_size - 1);
    const char *reason = enter_block(p, flags, offset, data);
    gsize header = header_of(flags, data);
    gsize encoded = 0;

    if (reason)
        return lpm_stream_degrade(p, reason);
    if (flags & FLAG_ZERO) {
        if (data[header])
            return lpm_stream_degrade(p, "a filled page that is not zero");
        event->type = LPM_STREAM_ZERO_PAGE;
        p->info.pages_zero++;
    } else if (flags & FLAG_PAGE) {
        event->type = LPM_STREAM_PAGE;
        p->info.pages_normal++;
    } else {
        encoded = flags & FLAG_XBZRLE ? lpm_be16(data + header + 1) : lpm_be32(data + header);
        if (encoded > ENCODED_MAX || (flags & FLAG_XBZRLE && data[header] != 1))
            return lpm_stream_degrade(p, "an encoded page that cannot be one");
        p->info.pages_encoded++;
        p->unordered |= (flags & FLAG_COMPRESS) != 0;
    }
    event->resent = count_page(p, offset);
    event->header_length = header;
    event->page_size = p->info.page_size;
    event->flags = flags;
    event->offset = offset;
    event->block = p->block;
    lpm_stream_skip(p, encoded, LPM_STATE_RAM);
    return need;
}

static gsize take_list(LpmStreamParser *p, uint64_t total, gsize need)
{
    if (p->info.ram_bytes)
        return lpm_stream_degrade(p, "a second list of memory blocks");
    p->info.ram_bytes = total;
    p->list_left = total;
    if (total && total <= LPM_PAGE_STATS_MAX)
        p->stats = lpm_page_stats_new(p->info.page_size);
    p->info.pages_tracked = p->stats != NULL;
    p->state = total ? LPM_STATE_BLOCK : LPM_STATE_RAM;
    return need;
}

static gsize take_end(LpmStreamParser *p, gsize need)
{
    p->info.ram_sections++;
    if (p->section_ends)
        p->info.ram_ended = TRUE;
    p->state = LPM_STATE_FOOTER;
    return need;
}

gsize lpm_stream_ram_take(LpmStreamParser *p, const uint8_t *data, gsize have G_GNUC_UNUSED,
                          gsize need, struct lpm_stream_event *event)
{
    guint32 flags = flags_of(p, data);
    uint64_t rest = lpm_be64(data) - flags;

    switch (flags) {
    case FLAG_ZERO:
    case FLAG_ZERO | FLAG_CONTINUE:
    case FLAG_PAGE:
    case FLAG_PAGE | FLAG_CONTINUE:
    case FLAG_XBZRLE:
    case FLAG_XBZRLE | FLAG_CONTINUE:
    case FLAG_COMPRESS:
    case FLAG_COMPRESS | FLAG_CONTINUE:
        return take_page(p, data, need, flags, event);
    case FLAG_MEM_SIZE:
        return take_list(p, rest, need);
    case FLAG_EOS:
        event->unit = LPM_STREAM_UNIT_EOS;
        return take_end(p, need);
    case FLAG_HOOK:
        return need;
    case FLAG_MULTIFD_FLUSH:
        p->info.multifd = TRUE;
        return need;
    default:
        return lpm_stream_degrade(p, "a record of ram that is not known");
    }
}

gsize lpm_stream_block_need(LpmStreamParser *p G_GNUC_UNUSED, const uint8_t *data,
                            gsize have G_GNUC_UNUSED)
{
    return 1 + (gsize)data[0] + 8;
}

static void after_block(LpmStreamParser *p)
{
    p->state = p->list_left ? LPM_STATE_BLOCK : LPM_STATE_RAM;
}

gsize lpm_stream_block_take(LpmStreamParser *p, const uint8_t *data, gsize have G_GNUC_UNUSED,
                            gsize need, struct lpm_stream_event *event G_GNUC_UNUSED)
{
    struct lpm_stream_block block = {.length = lpm_be64(data + need - 8)};

    if (!data[0])
        return lpm_stream_degrade(p, "a memory block without a name");
    if (block.length > p->list_left)
        return lpm_stream_degrade(p, "memory blocks that are longer than their total");
    if (p->blocks->len == LPM_STREAM_BLOCKS_MAX)
        return lpm_stream_degrade(p, "too many memory blocks");
    block.name = g_strndup((const char *)data + 1, data[0]);
    p->list_left -= block.length;
    g_array_append_val(p->blocks, block);
    g_hash_table_insert(p->block_by_name, block.name, GUINT_TO_POINTER(p->blocks->len));
    if (p->stats && !lpm_page_stats_add_block(p->stats, block.length))
        g_clear_pointer(&p->stats, lpm_page_stats_free);
    p->info.pages_tracked = p->stats != NULL;
    p->info.blocks = p->blocks->len;
    p->state = LPM_STATE_EXTRA;
    return need;
}

void lpm_stream_resumed_block(LpmStreamParser *p, const uint8_t *name)
{
    struct lpm_stream_block block = {.length = G_MAXUINT64};

    if (!name[0] || p->blocks->len == LPM_STREAM_BLOCKS_MAX)
        return;
    block.name = g_strndup((const char *)name + 1, name[0]);
    if (g_hash_table_contains(p->block_by_name, block.name)) {
        g_free(block.name);
        return;
    }
    g_array_append_val(p->blocks, block);
    g_hash_table_insert(p->block_by_name, block.name, GUINT_TO_POINTER(p->blocks->len));
    p->info.blocks = p->blocks->len;
}

gsize lpm_stream_extra_need(LpmStreamParser *p, const uint8_t *data, gsize have G_GNUC_UNUSED)
{
    /* Only with post-copy, and then a name says at once that there is no page size. */
    return p->info.postcopy_advised && !data[0] ? 8 : 1;
}

gsize lpm_stream_extra_take(LpmStreamParser *p, const uint8_t *data, gsize have G_GNUC_UNUSED,
                            gsize need, struct lpm_stream_event *event G_GNUC_UNUSED)
{
    uint64_t value = need == 8 ? lpm_be64(data) : 0;
    gboolean present = value >= 4096 && !(value & (value - 1));

    if (p->ignore_shared)
        p->state = LPM_STATE_ADDRESS;
    else
        after_block(p);
    if (!present)
        return 0;
    g_array_index(p->blocks, struct lpm_stream_block, p->blocks->len - 1).page_size = value;
    return need;
}

gsize lpm_stream_address_take(LpmStreamParser *p, const uint8_t *data G_GNUC_UNUSED,
                              gsize have G_GNUC_UNUSED, gsize need,
                              struct lpm_stream_event *event G_GNUC_UNUSED)
{
    after_block(p);
    return need;
}

gsize lpm_stream_htab_take(LpmStreamParser *p, const uint8_t *data, gsize have G_GNUC_UNUSED,
                           gsize need, struct lpm_stream_event *event G_GNUC_UNUSED)
{
    p->state = lpm_be32(data) ? LPM_STATE_FOOTER : LPM_STATE_HTAB_CHUNK;
    return need;
}

gsize lpm_stream_htab_chunk_take(LpmStreamParser *p, const uint8_t *data, gsize have G_GNUC_UNUSED,
                                 gsize need, struct lpm_stream_event *event G_GNUC_UNUSED)
{
    if (lpm_be64(data))
        lpm_stream_skip(p, (uint64_t)lpm_be16(data + 4) * 16, LPM_STATE_HTAB_CHUNK);
    else
        p->state = LPM_STATE_FOOTER;
    return need;
}
