/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Inside of the stream parser: the machine (stream-parser.c) and the grammar (stream-grammar.c for
 * sections, stream-ram.c for the bodies of `ram` and `spapr/htab`).
 *
 * The input is cut into units. For the state it is in, the grammar says how many bytes the unit
 * needs, given the bytes that are there, and when it has them takes them and names the next state.
 * A unit that lies whole in the input is looked at in place; a unit that is cut is gathered in
 * `hold`.
 */
#ifndef LPM_STREAM_STREAM_INTERNAL_H
#define LPM_STREAM_STREAM_INTERNAL_H

#include "stream/page-stats.h"
#include "stream/stream-parser.h"

/* The longest unit: word, name, largest page. */
#define LPM_STREAM_UNIT_MAX (8 + 256 + LPM_STREAM_PAGE_MAX)

/* In brackets: what may follow. Every state may be followed by OPAQUE. */
enum lpm_stream_state {
    LPM_STATE_MAGIC,      /* the first bytes (MACHINE, SECTION if resumed) */
    LPM_STATE_MACHINE,    /* optional 0x07 (SUBSECTION, SECTION) */
    LPM_STATE_SUBSECTION, /* optional 0x05 (SUBSECTION, BITS, CAPS, SKIP, SECTION) */
    LPM_STATE_BITS,       /* target-page-bits (SUBSECTION) */
    LPM_STATE_CAPS,       /* number of capabilities (CAP, SUBSECTION) */
    LPM_STATE_CAP,        /* one of them (CAP, SUBSECTION) */
    LPM_STATE_SECTION,    /* the type of a section (RAM, HTAB, SCAN, SKIP, PACKAGE, END) */
    LPM_STATE_RAM,   /* a record of ram; the only state that withholds (RAM, BLOCK, SKIP, FOOTER) */
    LPM_STATE_BLOCK, /* an entry of the block list (EXTRA, ADDRESS) */
    LPM_STATE_EXTRA, /* its optional page size (ADDRESS, BLOCK, RAM) */
    LPM_STATE_ADDRESS,    /* its address if announced (BLOCK, RAM) */
    LPM_STATE_HTAB,       /* header of spapr/htab (HTAB_CHUNK, FOOTER) */
    LPM_STATE_HTAB_CHUNK, /* (SKIP, FOOTER) */
    LPM_STATE_FOOTER,     /* optional 0x7e and id (SECTION) */
    LPM_STATE_SCAN,       /* a body of unknown length: looking for its footer (SCAN, SECTION) */
    LPM_STATE_PACKAGE,    /* length of a package (SKIP) */
    LPM_STATE_END,        /* after the EOF mark: optional description (SKIP) */
    LPM_STATE_DONE,       /* after the description: nothing may come */
    LPM_STATE_COUNT,      /* the states above have units; those below pass bytes through */
    LPM_STATE_SKIP = LPM_STATE_COUNT, /* `skip` bytes, then `after_skip` */
    LPM_STATE_OPAQUE,                 /* to the end of the input (nothing) */
};

struct lpm_stream_parser {
    struct lpm_stream_info info;
    enum lpm_stream_state state;

    /* SKIP only */
    uint64_t skip;
    enum lpm_stream_state after_skip;
    gboolean in_package;
    gboolean in_description;
    uint64_t package_passed;
    uint8_t package_head[5], package_tail[14];

    /* The unit being gathered: `held` bytes, of which `emitted` left already; `drop` of them were
     * taken by the unit before and go at the next step (an event may point to them). */
    uint8_t *hold; /* LPM_STREAM_UNIT_MAX bytes */
    gsize held, emitted, drop;
    gboolean whole_units;
    uint64_t consumed; /* bytes of all complete units: position of the unit being looked at */

    /* Configuration */
    guint32 caps_left;
    gboolean ignore_shared;

    /* Sections */
    GArray *sections;          /* of struct lpm_stream_section */
    GHashTable *section_by_id; /* id -> index + 1 */
    guint section;             /* index of the one whose body is read */
    guint open;                /* iterable sections not ended */
    gboolean section_ends;     /* the body is of an END */

    /* ram */
    GArray *blocks;            /* of struct lpm_stream_block */
    GHashTable *block_by_name; /* borrowed name -> index + 1 */
    uint64_t list_left;        /* bytes of memory that the block list still has to name */
    gint block;                /* the current one, -1 before the first */
    gboolean unordered;        /* QEMU compresses: records are not in the order of the walk */
    LpmPageStats *stats;       /* NULL: not counted */
    gint last_block;           /* where the pass over memory stands */
    uint64_t last_offset;
};

/* Bytes the unit in this state needs, seeing the first `have` (>= 1) of it; at most
 * LPM_STREAM_UNIT_MAX. A result above `have` asks for more. Any value <= have means complete. */
typedef gsize (*lpm_stream_need_fn)(LpmStreamParser *p, const uint8_t *data, gsize have);
/* Takes the complete unit (`need` bytes; `have` are there): sets the next state, may set the
 * event's type, and returns how many bytes were taken; 0 leaves them to the next state. */
typedef gsize (*lpm_stream_take_fn)(LpmStreamParser *p, const uint8_t *data, gsize have, gsize need,
                                    struct lpm_stream_event *event);

struct lpm_stream_unit {
    lpm_stream_need_fn need;
    lpm_stream_take_fn take;
};

extern const struct lpm_stream_unit lpm_stream_units[LPM_STATE_COUNT];

/* stream-parser.c. Each returns 0 so that a `take` can end in it. */
gsize lpm_stream_degrade(LpmStreamParser *p, const char *reason);
void lpm_stream_skip(LpmStreamParser *p, uint64_t length, enum lpm_stream_state after);

/* stream-ram.c */
gsize lpm_stream_ram_need(LpmStreamParser *p, const uint8_t *data, gsize have);
gsize lpm_stream_ram_take(LpmStreamParser *p, const uint8_t *data, gsize have, gsize need,
                          struct lpm_stream_event *event);
gsize lpm_stream_block_need(LpmStreamParser *p, const uint8_t *data, gsize have);
gsize lpm_stream_block_take(LpmStreamParser *p, const uint8_t *data, gsize have, gsize need,
                            struct lpm_stream_event *event);
gsize lpm_stream_extra_need(LpmStreamParser *p, const uint8_t *data, gsize have);
gsize lpm_stream_extra_take(LpmStreamParser *p, const uint8_t *data, gsize have, gsize need,
                            struct lpm_stream_event *event);
gsize lpm_stream_address_take(LpmStreamParser *p, const uint8_t *data, gsize have, gsize need,
                              struct lpm_stream_event *event);
/* A block of a stream that resumes, of which only the name (str8 at `name`, within 256 bytes) is
 * told again. */
void lpm_stream_resumed_block(LpmStreamParser *p, const uint8_t *name);
gsize lpm_stream_htab_take(LpmStreamParser *p, const uint8_t *data, gsize have, gsize need,
                           struct lpm_stream_event *event);
gsize lpm_stream_htab_chunk_take(LpmStreamParser *p, const uint8_t *data, gsize have, gsize need,
                                 struct lpm_stream_event *event);

/* stream-scan.c: the end of a body without a length. */
gsize lpm_stream_scan_need(LpmStreamParser *p, const uint8_t *data, gsize have);
gsize lpm_stream_scan_take(LpmStreamParser *p, const uint8_t *data, gsize have, gsize need,
                           struct lpm_stream_event *event);

static inline struct lpm_stream_section *lpm_stream_current(LpmStreamParser *p)
{
    return &g_array_index(p->sections, struct lpm_stream_section, p->section);
}

/* The section of that id, or NULL. */
static inline struct lpm_stream_section *lpm_stream_find(LpmStreamParser *p, guint32 id)
{
    guint slot = GPOINTER_TO_UINT(g_hash_table_lookup(p->section_by_id, GUINT_TO_POINTER(id)));

    return slot ? &g_array_index(p->sections, struct lpm_stream_section, slot - 1) : NULL;
}

static inline guint32 lpm_be16(const uint8_t *data)
{
    return (guint32)data[0] << 8 | data[1];
}

static inline uint32_t lpm_be32(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

static inline uint64_t lpm_be64(const uint8_t *data)
{
    return (uint64_t)lpm_be32(data) << 32 | lpm_be32(data + 4);
}

#endif
