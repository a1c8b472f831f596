/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The end of a body whose length nothing tells: its footer, 0x7e and its id, and then something
 * that can follow (docs/stream-format.md 5). The unit here is either a stretch without 0x7e, or a
 * 0x7e with as much after it as it takes to decide; nothing is withheld for it. A wrong find costs
 * recognition, never a byte.
 */
#include "stream/stream-internal.h"

#include <string.h>

#define FOOTER 5
#define COMMAND_MAX 32

static gboolean printable(const uint8_t *name, gsize length)
{
    for (gsize i = 0; i < length; i++)
        if (name[i] < 0x20 || name[i] > 0x7e)
            return FALSE;
    return length > 0;
}

/* Whether a section, command or end begins at `next`. Sets `*more` to the bytes it takes to tell
 * and returns FALSE if they are not there. */
static gboolean can_follow(LpmStreamParser *p, const uint8_t *next, gsize have, gsize *more)
{
    static const gsize least[] = {[0] = 7, [1] = 6, [2] = 5, [3] = 5, [4] = 6, [8] = 5};
    const struct lpm_stream_section *section;

    *more = 1;
    if (!have)
        return FALSE;
    *more = next[0] < G_N_ELEMENTS(least) ? least[next[0]] : 0;
    if (!*more || have < *more)
        return FALSE;
    switch (next[0]) {
    case 0:
        return next[1] == 6 && next[6] == '{';
    case 1:
    case 4:
        *more = 6 + (gsize)next[5];
        if (have < *more || lpm_stream_find(p, lpm_be32(next + 1)))
            return FALSE;
        return printable(next + 6, next[5]);
    case 2:
    case 3:
        section = lpm_stream_find(p, lpm_be32(next + 1));
        return section && section->iterable && !section->ended;
    default:
        return lpm_be16(next + 1) > 0 && lpm_be16(next + 1) <= COMMAND_MAX;
    }
}

/* 0 while it cannot be told, with `*need` bytes that are wanted; 1 found, -1 not the footer. */
static int footer(LpmStreamParser *p, const uint8_t *data, gsize have, gsize *need)
{
    uint32_t id = lpm_stream_current(p)->id;
    const uint8_t mark[FOOTER] = {0x7e, (uint8_t)(id >> 24), (uint8_t)(id >> 16),
                                  (uint8_t)(id >> 8), (uint8_t)id};
    gsize more;

    *need = FOOTER;
    if (memcmp(data, mark, MIN(have, FOOTER)))
        return -1;
    if (have < FOOTER)
        return 0;
    if (can_follow(p, data + FOOTER, have - FOOTER, &more))
        return 1;
    *need = FOOTER + more;
    return have < *need ? 0 : -1;
}

gsize lpm_stream_scan_need(LpmStreamParser *p, const uint8_t *data, gsize have)
{
    gsize need;

    if (data[0] != 0x7e)
        return 1;
    switch (footer(p, data, have, &need)) {
    case 0:
        return need;
    case 1:
        return FOOTER;
    default:
        return 1;
    }
}

gsize lpm_stream_scan_take(LpmStreamParser *p, const uint8_t *data, gsize have, gsize need,
                           struct lpm_stream_event *event G_GNUC_UNUSED)
{
    const uint8_t *mark;

    if (need == FOOTER) {
        p->state = LPM_STATE_SECTION;
        return FOOTER;
    }
    mark = memchr(data + 1, 0x7e, have - 1);
    return mark ? (gsize)(mark - data) : have;
}
