/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The target's frames become original bytes: several threads decode and verify, one takes them in
 * order and gives them to QEMU.
 */
#ifndef LPM_MOVER_DECODE_CREW_H
#define LPM_MOVER_DECODE_CREW_H

#include "codec/page-ring.h"
#include "mover/crew.h"
#include "mover/page-offer.h"
#include "transport/session.h"

typedef struct lpm_decode_crew LpmDecodeCrew;

/* Takes the frames of the data channel from `session` (borrowed) by a thread of its own. `ring`
 * (borrowed) has the pages of all frames that were taken before, when bytes are asked for.
 * `threads` 0: as many as there are processors. */
LpmDecodeCrew *lpm_decode_crew_new(LpmSession *session, const LpmPageRing *ring, guint threads);
/* The session is over and the taker has ended. */
void lpm_decode_crew_free(LpmDecodeCrew *decode);

/* Batches may refer to this image from now on (borrowed for the crew's life; NULL: none). Any
 * thread. */
void lpm_decode_crew_set_offer(LpmDecodeCrew *decode, LpmPageOffer *offer);

/* The taker: the next frame in order, which it owns and gives to lpm_session_delivered. NULL: the
 * session is over. */
LpmFrame *lpm_decode_crew_take(LpmDecodeCrew *decode);
/* The taker: the original bytes of the DATA frame taken last, `frame->original` of them, verified;
 * valid as long as the frame. NULL with the error if there are none: LPM_E_PROTOCOL or
 * LPM_E_DATA_DAMAGED. */
const guint8 *lpm_decode_crew_bytes(LpmDecodeCrew *decode, const LpmFrame *frame, GError **error);

/* The main thread. 0: as many as there are processors. */
void lpm_decode_crew_set_threads(LpmDecodeCrew *decode, guint threads);
/* Any thread. */
void lpm_decode_crew_get(LpmDecodeCrew *decode, struct lpm_crew_state *state);

#endif
