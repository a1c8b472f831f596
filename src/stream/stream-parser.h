/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * QEMU's migration stream, source to target: bytes in, events out.
 *
 * The grammar is docs/stream-format.md. The parser never reads, never writes and never fails: what
 * it does not know it hands out as literal bytes, and from the first thing it cannot skip exactly
 * everything is literal (`degraded`, with the reason and the place). Whatever the input and however
 * it is cut, the bytes of all events in order are the input.
 *
 * Memory is bounded: one record (at most 64 KiB + 264 bytes), names of at most
 * LPM_STREAM_BLOCKS_MAX blocks and LPM_STREAM_SECTIONS_MAX sections, and the page statistics
 * (page-stats.h).
 *
 * Bytes are withheld only inside one page record; every other byte leaves in the step that brought
 * it. So a mover that sends what it has when its input is idle never keeps back anything for
 * which the hypervisor would wait; lpm_stream_parser_flush() is for the end of the input and for
 * a long idle time.
 *
 * A parser belongs to one thread at a time.
 */
#ifndef LPM_STREAM_STREAM_PARSER_H
#define LPM_STREAM_STREAM_PARSER_H

#include <glib.h>
#include <stdint.h>

/* Beyond these the stream is carried as opaque bytes. */
#define LPM_STREAM_BLOCKS_MAX 4096
#define LPM_STREAM_SECTIONS_MAX 4096
#define LPM_STREAM_PAGE_MAX 65536

typedef struct lpm_stream_parser LpmStreamParser;

enum lpm_stream_event_type {
    LPM_STREAM_NONE,      /* all input is taken, no event; give more (or flush) */
    LPM_STREAM_LITERAL,   /* any bytes that are not one whole page record */
    LPM_STREAM_ZERO_PAGE, /* one whole record of a zero page */
    LPM_STREAM_PAGE,      /* one whole record of a page with its content */
};

/* The frame around records of `ram`, told for whole units (lpm_stream_parser_whole_units). */
enum lpm_stream_unit_kind {
    LPM_STREAM_UNIT_OTHER, /* anything else, or a piece of a unit */
    LPM_STREAM_UNIT_PART,  /* the head of a PART of `ram`: 5 bytes */
    LPM_STREAM_UNIT_LAST,  /* the head of its END: 5 bytes */
    LPM_STREAM_UNIT_EOS,   /* the record that ends a body of `ram`: 8 bytes */
    LPM_STREAM_UNIT_FOOTER /* a footer, of whatever section: 5 bytes */
};

/* `data` points into the caller's input or into the parser, and is valid until the next call on the
 * parser or until the input changes. */
struct lpm_stream_event {
    enum lpm_stream_event_type type;
    const uint8_t *data;            /* the bytes of the input that this event stands for */
    gsize length;                   /* how many; 0 only with NONE */
    enum lpm_stream_unit_kind unit; /* LITERAL only */
    /* ZERO_PAGE and PAGE only: */
    gsize header_length; /* bytes before the content: 8, or 9 + the length of the block's name */
    guint32 page_size;   /* bytes; PAGE: length == header_length + page_size */
    guint32 flags;       /* QEMU's flags of the record */
    uint64_t offset;     /* of the page in its block, bytes */
    gint block;          /* index of the block in lpm_stream_parser_block(), -1 if unannounced */
    gboolean resent;     /* the page was sent before */
};

/* Where the stream stands. The order is the order of a pre-copy stream. */
enum lpm_stream_phase {
    LPM_STREAM_PHASE_HEADER,     /* before the first section */
    LPM_STREAM_PHASE_SETUP,      /* the START sections */
    LPM_STREAM_PHASE_ITERATING,  /* PART sections: the partition runs on the source */
    LPM_STREAM_PHASE_COMPLETING, /* the first END: its processors stand still */
    LPM_STREAM_PHASE_DEVICES,    /* device state */
    LPM_STREAM_PHASE_POSTCOPY, /* the package passed whole: the target runs, the source serves pages
                                */
    LPM_STREAM_PHASE_ENDED,    /* EOF mark (a description may follow) */
};

/* All counters start at 0 and never decrease. */
struct lpm_stream_info {
    enum lpm_stream_phase phase;
    uint64_t position;       /* bytes of input taken so far */
    char machine[256];       /* "pc-q35-7.2", "" before it is known */
    guint32 page_size;       /* of the target's processor, bytes; 4096 unless announced */
    uint64_t ram_bytes;      /* announced by MEM_SIZE, 0 before */
    guint blocks;            /* announced memory blocks */
    guint sections;          /* entries of the section table */
    uint64_t pages_normal;   /* records with content */
    uint64_t pages_zero;     /* records of zero pages */
    uint64_t pages_encoded;  /* XBZRLE or compressed by QEMU: carried as literals */
    uint64_t pages_resent;   /* of the three above: pages sent before */
    uint64_t pages_distinct; /* different pages sent; 0 if not counted */
    gboolean pages_tracked; /* FALSE: resent and distinct are not counted (no or too many blocks) */
    guint rounds;         /* passes over memory, 1 from the first page (estimate: order of pages) */
    guint ram_sections;   /* START, PART and END sections of `ram` completed */
    gboolean footers;     /* sections end with a footer */
    gboolean setup_done;  /* every START passed, the first PART or END began */
    gboolean ram_ended;   /* END of `ram` passed whole */
    gboolean return_path; /* OPEN_RETURN_PATH passed */
    gboolean postcopy_advised, postcopy_packaged, postcopy_listen, postcopy_run;
    gboolean
        package_pinged; /* before the word to run the package asks for a PONG, of this number */
    uint32_t package_ping;
    gboolean postcopy_resumed;   /* the stream goes on with a post-copy that was cut */
    uint64_t page_size_summary;  /* of POSTCOPY_ADVISE: all page sizes in use, ored; 0 before */
    gboolean multifd;            /* a multifd flush mark passed: pages travel elsewhere */
    gboolean eof;                /* the EOF mark passed */
    uint64_t description_bytes;  /* length of the description, 0 before or without */
    gboolean description_done;   /* and the last byte of it passed */
    gboolean degraded;           /* carried as opaque bytes since `degraded_at` */
    uint64_t degraded_at;        /* position in the input */
    const char *degraded_reason; /* static text, NULL if not degraded */
};

/* A memory block as announced; owned by the parser. The pointer is valid until the next step (the
 * table may grow), the name for the parser's life. So are a section's. */
struct lpm_stream_block {
    char *name;         /* idstr */
    uint64_t length;    /* bytes */
    uint64_t page_size; /* of the source's memory, bytes; 0: the host's */
};

struct lpm_stream_section {
    char *name; /* idstr */
    guint32 id; /* in this stream */
    guint32 instance;
    guint32 version;
    gboolean iterable; /* START (else FULL) */
    gboolean ended;    /* END passed */
};

LpmStreamParser *lpm_stream_parser_new(void);
void lpm_stream_parser_free(LpmStreamParser *parser);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmStreamParser, lpm_stream_parser_free)

/* Takes bytes from `data` and returns how many were taken; `*event` is set. At most one event per
 * call: call again with the rest while some is left. Bytes taken may leave in a later event (only
 * within one page record). Progress is certain: 0 is returned only for length 0, or together with
 * an event. With length 0 the event is NONE. */
gsize lpm_stream_parser_step(LpmStreamParser *parser, const uint8_t *data, gsize length,
                             struct lpm_stream_event *event);

/* Hands out the bytes that are withheld, as LITERAL, or NONE if there are none. Parsing goes on
 * after it; only the record concerned loses its event. Call at the end of the input. */
void lpm_stream_parser_flush(LpmStreamParser *parser, struct lpm_stream_event *event);

/* From now on the heads of sections and footers are withheld until they are whole, as page records
 * are, so that each is one event and has its kind. The writer of a stream does not wait between the
 * bytes of one of these. */
void lpm_stream_parser_whole_units(LpmStreamParser *parser);

/* Bytes taken and not handed out. */
gsize lpm_stream_parser_withheld(const LpmStreamParser *parser);

/* Facts so far. Never NULL; updated by step, valid for the parser's life. */
const struct lpm_stream_info *lpm_stream_parser_info(const LpmStreamParser *parser);

/* Entry `index` in order of announcement, or NULL beyond the last. */
const struct lpm_stream_block *lpm_stream_parser_block(const LpmStreamParser *parser, guint index);
const struct lpm_stream_section *lpm_stream_parser_section(const LpmStreamParser *parser,
                                                           guint index);

/* "iterating" and so on; static. */
const char *lpm_stream_phase_name(enum lpm_stream_phase phase);

#endif
