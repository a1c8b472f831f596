/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What data-pump.c and its two halves share: data-source.c reads QEMU's stream, data-target.c
 * writes it. */
#ifndef LPM_MOVER_DATA_INTERNAL_H
#define LPM_MOVER_DATA_INTERNAL_H

#include "mover/data-pump.h"
#include "mover/decode-crew.h"
#include "mover/demand-meter.h"
#include "mover/encode-crew.h"
#include "mover/flight.h"
#include "mover/page-keeper.h"
#include "mover/page-offer.h"
#include "mover/page-placer.h"
#include "mover/page-tags.h"
#include "mover/postcopy.h"
#include "mover/ring.h"
#include "stream/return-path.h"

#include <pthread.h>
#include <xxhash.h>

struct lpm_data_pump {
    /* immutable */
    struct lpm_pump pump;
    LpmSwitchover *switchover;
    LpmBitmapGate *gate;         /* borrowed */
    GThread *forward, *backward; /* of this side's ends of the stream and of the return path */
    GThread *cutter;             /* source only */
    LpmRing *ring;               /* source only */
    LpmEncodeCrew *encode;       /* source only */
    LpmDecodeCrew *decode;       /* target only */

    /* owned by the reader at the source until it has ended the ring, then read by the cutter */
    int read_failure;

    /* owned by the cutter, or by the target's writer */
    LpmStreamParser *parser;
    LpmPageTags *tags;
    LpmPageRing *page_ring; /* target: read by the writer's decoder too, the same thread */

    /* owned by the cutter */
    struct lpm_encode_job *job; /* the batch that is being filled */
    guint64 job_first;          /* number of the next page in the ring when the job was empty */
    guint8 *delta;              /* owned: a page */
    gsize cut_bytes;            /* it is given away with so many original bytes */
    gboolean hurry;             /* the partition stands still: small batches */
    gsize emitted;              /* bytes said by the post-copy for the present item */
    struct lpm_flight flight;

    LpmTagger *tagger; /* target: the main thread's, until there is an offer */
    guint threads;     /* the main thread's; 0: one for each processor */

    /* owned by the target's writer */
    GArray *given;   /* of struct lpm_given: pages in the frame under way */
    GByteArray *out; /* what of the frame under way is for QEMU, if pages are placed */

    /* owned by the thread of the return path */
    LpmReturnParser *requests;

    pthread_mutex_t lock;
    /* guarded by lock */
    XXH3_state_t *stream_hash;
    guint64 hash_bytes;
    guint8 page_digest[LPM_TAG_BYTES];
    guint64 pages_unchanged, pages_kept, pages_same, pages_delta;
    LpmPageKeeper *keeper; /* source; set once at most, before the first byte */
    LpmPageOffer *offer;   /* target; likewise */
    LpmPagePlacer *placer; /* target; likewise; used by its writer */
    char *no_placement;    /* target; why there is none; NULL: nothing was said */
    struct lpm_placer_facts placed;
    struct lpm_stream_info info;
    json_t *memory;                 /* target: as of describe_memory, from the word to run on */
    struct lpm_latency handed_over; /* source: from a request to the page's frame */

    /* set once, under the lock, at the word to run; then immutable */
    LpmPostcopy *postcopy; /* source, owned by the cutter but for its queue */
    LpmDemandMeter *meter; /* target */
    gboolean awaits_pong;  /* target: QEMU says with the PONG of number `pong` that it has loaded */
    guint32 pong;
};

/* Both halves. */
void lpm_data_hash(LpmDataPump *data, const guint8 *bytes, gsize length);
/* Tells the switchover and the facts what the parser has found out by now. */
void lpm_data_note_progress(LpmDataPump *data);

void lpm_data_source_start(LpmDataPump *data, const struct lpm_data_config *config);
void lpm_data_target_start(LpmDataPump *data, const struct lpm_data_config *config);

#endif
