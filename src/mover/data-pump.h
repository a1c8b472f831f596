/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The data channel: at the source QEMU's stream is read, parsed, batched, compressed and sent, and
 * the return path written; at the target the reverse. Threads: source reader, cutter (parses and
 * fills batches), several that encode, return-path writer; target taker, several that decode,
 * writer, return-path reader. Any function from any thread but as said.
 */
#ifndef LPM_MOVER_DATA_PUMP_H
#define LPM_MOVER_DATA_PUMP_H

#include "codec/compressor.h"
#include "mover/bitmap-gate.h"
#include "mover/crew.h"
#include "mover/demand-meter.h"
#include "mover/ladder.h"
#include "mover/page-keeper.h"
#include "mover/page-offer.h"
#include "mover/page-placer.h"
#include "mover/page-queue.h"
#include "mover/pump.h"
#include "mover/switchover.h"
#include "stream/stream-parser.h"

typedef struct lpm_data_pump LpmDataPump;

struct lpm_data_facts {
    struct lpm_stream_info stream; /* what passed: read at the source, written at the target */
    guint64 hash_bytes; /* of the forward stream as it went: sent at the source, written at the
                           target */
    char hash[33];      /* of them, and of what the target has of each page (docs/mover-protocol.md,
                           "Verification"), hexadecimal; "" while there are none */
    guint64 pages_unchanged;         /* source: records left out */
    guint64 pages_kept;              /* source: pages that the target had in its image */
    guint64 pages_same, pages_delta; /* source: sent as a page of the ring, or against one */
    gboolean keeps, offers;          /* what follows is set: of the source, the target */
    struct lpm_keeper_facts keeper;
    struct lpm_offer_facts offer;
    struct lpm_placer_facts placed; /* target: pages written into QEMU's memory */
    char *no_placement;             /* owned; target: why there are none; NULL: not said */
    struct lpm_demand_facts demand; /* post-copy: at the source until the page's frame was made, at
                                       the target until the page was given to QEMU */
    struct lpm_page_queue_state queue; /* the source's, in post-copy */
    struct lpm_crew_state crew;        /* the threads that encode or decode */
    struct lpm_ladder_choice choice;   /* source: of the newest batch; method NULL: none yet */
};

struct lpm_data_config {
    LpmBitmapGate *gate;  /* borrowed; target: what QEMU says of its pages passes it */
    const guint8 *secret; /* the session's key; borrowed by new */
    gsize secret_length;
    const struct lpm_compressor *method; /* source; NULL: chosen for each batch (ladder.h) */
    int level;                           /* of `method` */
    guint threads;                       /* that encode or decode; 0: one for each processor */
};

/* Starts. `switchover` (borrowed) is told the outcome of the stream, and asked before the word to
 * run is given to QEMU. */
LpmDataPump *lpm_data_pump_new(const struct lpm_pump *pump, LpmSwitchover *switchover,
                               const struct lpm_data_config *config);
/* From now on so many threads encode or decode; 0: one for each processor. The main thread. */
void lpm_data_pump_set_threads(LpmDataPump *data, guint threads);
/* Before the first byte and once at most: the source keeps pages in the file `fd` (taken over), the
 * target offers those of the image `fd`. FALSE: it will do without. */
gboolean lpm_data_pump_retain(LpmDataPump *data, int fd, const guint8 key[LPM_IMAGE_KEY_BYTES],
                              GError **error);
/* Target, before the program's socket is there: the memory of block `name`, `size` bytes, is the
 * file `fd` (taken over), and its pages are placed (page-placer.h). LPM_E_PROTOCOL. The main
 * thread. */
gboolean lpm_data_pump_memory(LpmDataPump *data, const char *name, guint64 size, int fd,
                              GError **error);
/* Target: nothing is placed, for this reason. */
void lpm_data_pump_no_memory(LpmDataPump *data, const char *reason);
/* The session's word that nothing waits for the link; does not wait. */
void lpm_data_pump_drained(LpmDataPump *data);
/* The session's word that something has arrived; does not wait. */
void lpm_data_pump_acknowledged(LpmDataPump *data);
void lpm_data_pump_facts(LpmDataPump *data, struct lpm_data_facts *facts);
void lpm_data_facts_clear(struct lpm_data_facts *facts);
/* Target: {page_size, blocks: [{name, length}]} of the stream, a new reference; NULL before the
 * word to run. Smaller blocks are left out. */
json_t *lpm_data_pump_describe_memory(LpmDataPump *data);
/* After the session was stopped or failed and the endpoint cancelled. */
void lpm_data_pump_cancel(LpmDataPump *data);
/* Joins and frees; cancel everything before. */
void lpm_data_pump_free(LpmDataPump *data);

#endif
