/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What both sides of feed.h agree on. */
#ifndef LPM_DAEMON_FEED_INTERNAL_H
#define LPM_DAEMON_FEED_INTERNAL_H

#include "daemon/feed.h"
#include "host/guest-pages.h"

#define LPM_FEED_AT_ONCE 64     /* pages in a request: more do not wait at a time */
#define LPM_FEED_PAGE_MAX 65536 /* bytes; the largest page that a host has but for huge ones */
#define LPM_FEED_BLOCKS_MAX 64  /* of the guest's memory */

#endif
