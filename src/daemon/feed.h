/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Feeding a copy in post-copy. When the movers are lost, the target's QEMU may wait for a page with
 * its lock held; then its monitor does not answer, libvirt cannot give it another connection, and
 * no page would ever come. So lpmd brings what QEMU's threads wait for itself, page by page, over
 * the control connection, until QEMU has that connection and tells the source which pages it has.
 *
 *   target                                                  source
 *   F1 QEMU has provably closed its stream, and for a second nothing helped
 *   F2 hears what its threads wait for (host/page-feeder.h)
 *   F3 asks for these pages                             ->  F4 behind the switch only: reads them
 *   F5 journals which they are, then puts them into QEMU     (host/guest-pages.h)
 *      ... F2 to F5 again
 *   F6 the next mover holds what QEMU says of its pages (BITMAPS): the feeding ends, those that
 *      were fed and are there are marked, and only then does the source begin to send
 *
 * A page that is fed is the one version there is: the source stands still since the switch, and a
 * page that the copy changed is one that it has. It is not sent a second time, since F6 is behind
 * the last F5, and between F1 and F6 no stream can bring a page. F5 is on disk before, so that no
 * crash forgets a page; one that was journalled and not put is found missing in F6, and sent. An
 * answer that does not come, and any doubt of which memory is meant, leaves the copy as it is.
 */
#ifndef LPM_DAEMON_FEED_H
#define LPM_DAEMON_FEED_H

#include "daemon/migration.h"

/* Target: what the mover tells of the partition's memory at the word to run. Any thread. */
void lpm_feed_note_memory(LpmMigration *migration, const json_t *memory);
/* Target: into the journal with it, as that mover may be gone when it is needed; once. With `act`
 * held, on a thread that may wait for the journal. */
void lpm_feed_keep_memory(LpmMigration *migration);
/* Target, the copy runs and has lost its mover: F1 to F5 in a thread of its own until F6 or the
 * migration's end. Nothing if that is under way, and for a copy that is not let go, is given up, or
 * has everything. */
void lpm_feed_begin(LpmMigration *migration);
/* Target: F6, in a thread of its own. */
void lpm_feed_on_bitmaps(LpmMigration *migration);

/* Source, F4: the pages that `body` names, {pages: [base64]} in its order. NOT_PREPARED unless this
 * side stands still behind the switch. */
json_t *lpm_feed_read(LpmMigration *migration, const json_t *body, GError **error);

#endif
