/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The source's batches become frames: several threads compress, the frames go to the session in the
 * order in which the batches were cut. Between a batch that is cut and the link nothing else
 * stands.
 */
#ifndef LPM_MOVER_ENCODE_CREW_H
#define LPM_MOVER_ENCODE_CREW_H

#include "codec/batch.h"
#include "mover/crew.h"
#include "mover/ladder.h"
#include "mover/ring.h"
#include "transport/session.h"

#include <xxhash.h>

typedef struct lpm_encode_crew LpmEncodeCrew;

/* One batch on its way to be a frame; the cutter fills both. */
struct lpm_encode_job {
    LpmBatch *batch;
    XXH3_state_t *hash; /* XXH3-64 over the original bytes of the batch */
    LpmFrame *frame;    /* the crew's */
};

struct lpm_encode_state {
    struct lpm_crew_state crew;
    struct lpm_ladder_choice last; /* of the newest batch; method NULL: none yet */
};

/* `session` and `ring` are borrowed; the ring is told of what is under way. `method` NULL: chosen
 * for each batch (ladder.h). `threads` 0: as many as there are processors. */
LpmEncodeCrew *lpm_encode_crew_new(LpmSession *session, LpmRing *ring,
                                   const struct lpm_compressor *method, int level, guint threads);
/* Close before, and the cutter has ended. */
void lpm_encode_crew_free(LpmEncodeCrew *encode);
/* Ends every wait for good: from then on nothing that is given is sent. Any thread. */
void lpm_encode_crew_close(LpmEncodeCrew *encode);

/* The cutter: an empty job, waiting until there may be one more. Never NULL. */
struct lpm_encode_job *lpm_encode_crew_open(LpmEncodeCrew *encode);
/* The cutter: the batch, which is not empty, becomes the next frame. */
void lpm_encode_crew_give(LpmEncodeCrew *encode, struct lpm_encode_job *job);
/* The cutter: waits until everything given is with the session. */
void lpm_encode_crew_drain(LpmEncodeCrew *encode);
/* The cutter: a job that is not given. NULL is allowed. */
void lpm_encode_job_free(struct lpm_encode_job *job);

/* The main thread. 0: as many as there are processors. */
void lpm_encode_crew_set_threads(LpmEncodeCrew *encode, guint threads);
/* Any thread: from now on no batch shall take long (TRUE), or as before. */
void lpm_encode_crew_hurry(LpmEncodeCrew *encode, gboolean hurry);
void lpm_encode_crew_get(LpmEncodeCrew *encode, struct lpm_encode_state *state);

#endif
