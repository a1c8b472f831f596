/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Blocks of a disk that two hosts read at about the same time, and that were not alike: has the
 * partition written between the two readings, or is it another disk?
 *
 * They are read again, in rounds: here, there, here. What one disk holds cannot stay the same
 * before and after the other host read something else. So a block that
 *   - is there what it was here just before or just after: is the same, and left alone;
 *   - was the same here before and after, and another there, LPM_DOUBTS_STILL rounds in a row
 *     without a change on either side: is of another disk. One round is proof but for a writer that
 *     changes a block and changes it back, which several rounds make improbable;
 *   - changed here meanwhile: says nothing, and is asked again.
 * With them go other blocks that the nonce chooses, since those that are written all the time will
 * never say anything. Pure; one thread.
 */
#ifndef LPM_DAEMON_VALIDATE_DOUBTS_H
#define LPM_DAEMON_VALIDATE_DOUBTS_H

#include "host/challenge.h"

#define LPM_DOUBTS_STILL 2 /* rounds at least that make a proof */
#define LPM_DOUBTS_FRESH 64
#define LPM_DOUBTS_CERTAIN 8 /* blocks that are proof: no writer does that by chance */

struct lpm_doubts;

/* Of the answers of both hosts to the first look at a disk of `size` bytes; this host's are the
 * first reading of the first round. NULL if nothing differed. */
struct lpm_doubts *lpm_doubts_new(const guint8 nonce[LPM_CHALLENGE_NONCE_BYTES], guint64 size,
                                  const json_t *here, const json_t *there);
void lpm_doubts_free(struct lpm_doubts *doubts);

/* Numbers of the blocks that are still open, a new array; the answers below are of these, in this
 * order, and may be shorter or not be there at all. */
json_t *lpm_doubts_blocks(const struct lpm_doubts *doubts);
/* A round: the other host has read them, and then this one again. */
void lpm_doubts_round(struct lpm_doubts *doubts, const json_t *there, const json_t *here);
/* Would another round tell more? */
gboolean lpm_doubts_open(const struct lpm_doubts *doubts);

/* {rounds, same: blocks that are not empty and turned out to be alike, other: blocks that are
 * proof, offset: of the first of those, open: the rest}. A new reference. */
json_t *lpm_doubts_outcome(const struct lpm_doubts *doubts);

#endif
