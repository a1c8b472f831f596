/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The target: a retained image (page-image.h), offered to the source.
 *
 * A thread of its own reads the whole image as soon as the mover has it, unseals each page, makes
 * its tag under the session's key and tells the source (KEPT frames). Only what was found good is
 * offered. When the source says that a page is one of those, it is read and unsealed again, at the
 * same place: the file may have been damaged meanwhile, which fails the session and never gives
 * wrong bytes.
 */
#ifndef LPM_MOVER_PAGE_OFFER_H
#define LPM_MOVER_PAGE_OFFER_H

#include "base/log.h"
#include "codec/tag.h"
#include "mover/page-image.h"
#include "transport/session.h"

typedef struct lpm_page_offer LpmPageOffer;

struct lpm_offer_facts {
    guint64 offered, damaged; /* pages */
    guint64 used;             /* read from the image for the source's references */
    gboolean done;            /* the image was read */
};

/* `fd` and `tagger` are taken over, also on error; `session` and `log` are borrowed for its life.
 * NULL with LPM_E_RETAINED if the file is no image under this key. */
LpmPageOffer *lpm_page_offer_new(int fd, const guint8 key[LPM_IMAGE_KEY_BYTES], LpmTagger *tagger,
                                 LpmSession *session, const struct lpm_log_context *log,
                                 GError **error);
/* The thread ends soon. */
void lpm_page_offer_cancel(LpmPageOffer *offer);
/* Cancels, joins, frees. */
void lpm_page_offer_free(LpmPageOffer *offer);

/* The pages of `count` slots from `slot` on, behind each other. FALSE with LPM_E_RETAINED: not one
 * of them may be used. Any thread. */
gboolean lpm_page_offer_fetch(LpmPageOffer *offer, guint64 slot, guint count, guint8 *pages,
                              GError **error);
void lpm_page_offer_get(LpmPageOffer *offer, struct lpm_offer_facts *facts);

/* ---- KEPT frames (docs/mover-protocol.md) ---- */

struct lpm_kept {
    char name[256];             /* of the block */
    guint64 page, slot;         /* of the first tag */
    const struct lpm_tag *tags; /* into the body; all zeros: not offered */
    guint count;
};

/* FALSE with LPM_E_PROTOCOL; with LPM_E_DATA_DAMAGED if the checksum is not right. Untrusted. */
gboolean lpm_kept_parse(const LpmFrame *frame, struct lpm_kept *kept, GError **error);

#endif
