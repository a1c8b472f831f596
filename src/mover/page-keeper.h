/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The source: keeps the pages that it sends, as a retained image (page-image.h).
 *
 * A thread of its own writes what the encoder puts. The row between them is bounded
 * (LPM_KEEPER_PAGES); a page that does not fit is missed, so that a slow disk never slows a
 * migration: the image has an older version then, or none, which costs bytes when the partition
 * comes home and nothing else. After the first failure to write nothing more is.
 */
#ifndef LPM_MOVER_PAGE_KEEPER_H
#define LPM_MOVER_PAGE_KEEPER_H

#include "base/log.h"
#include "mover/page-image.h"
#include "stream/stream-parser.h"

#define LPM_KEEPER_PAGES 4096u /* 16 MiB */

typedef struct lpm_page_keeper LpmPageKeeper;

struct lpm_keeper_facts {
    guint64 kept, missed; /* pages written (or waiting), and not */
    gboolean failed;      /* the file took no more */
};

/* `fd` is taken over. `log` is borrowed for its life. */
LpmPageKeeper *lpm_page_keeper_new(int fd, const guint8 key[LPM_IMAGE_KEY_BYTES],
                                   const struct lpm_log_context *log);
/* Writes what waits, joins, frees. */
void lpm_page_keeper_free(LpmPageKeeper *keeper);

/* The encoder: `event` of `parser` is sent. Pages with content are kept; does not wait. */
void lpm_page_keeper_put(LpmPageKeeper *keeper, LpmStreamParser *parser,
                         const struct lpm_stream_event *event);
/* Any thread. */
void lpm_page_keeper_get(LpmPageKeeper *keeper, struct lpm_keeper_facts *facts);

#endif
