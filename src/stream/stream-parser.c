/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The machine of the stream parser: gathers units, hands out every byte exactly once and in order.
 *
 * Two rules carry the identity of input and output. A byte is either in the caller's input beyond
 * what was taken, or in `hold` and not `emitted`, or it left. And an event's bytes are always the
 * oldest that have not left. The grammar only decides where events end and what they are called; if
 * it is wrong about either, the bytes are still right.
 */
#include "stream/stream-internal.h"

#include <string.h>

LpmStreamParser *lpm_stream_parser_new(void)
{
    LpmStreamParser *p = g_new0(LpmStreamParser, 1);

    p->info.page_size = 4096;
    p->hold = g_malloc(LPM_STREAM_UNIT_MAX);
    p->sections = g_array_new(FALSE, TRUE, sizeof(struct lpm_stream_section));
    p->section_by_id = g_hash_table_new(NULL, NULL);
    p->blocks = g_array_new(FALSE, TRUE, sizeof(struct lpm_stream_block));
    p->block_by_name = g_hash_table_new(g_str_hash, g_str_equal);
    p->block = -1;
    p->last_block = -1;
    return p;
}

void lpm_stream_parser_free(LpmStreamParser *p)
{
    if (!p)
        return;
    g_hash_table_destroy(p->section_by_id);
    g_hash_table_destroy(p->block_by_name);
    for (guint i = 0; i < p->sections->len; i++)
        g_free(g_array_index(p->sections, struct lpm_stream_section, i).name);
    for (guint i = 0; i < p->blocks->len; i++)
        g_free(g_array_index(p->blocks, struct lpm_stream_block, i).name);
    g_array_free(p->sections, TRUE);
    g_array_free(p->blocks, TRUE);
    lpm_page_stats_free(p->stats);
    g_free(p->hold);
    g_free(p);
}

gsize lpm_stream_degrade(LpmStreamParser *p, const char *reason)
{
    p->state = LPM_STATE_OPAQUE;
    p->info.degraded = TRUE;
    p->info.degraded_at = p->consumed;
    p->info.degraded_reason = reason;
    return 0;
}

void lpm_stream_skip(LpmStreamParser *p, uint64_t length, enum lpm_stream_state after)
{
    p->state = length ? LPM_STATE_SKIP : after;
    p->skip = length;
    p->after_skip = after;
}

static void set_event(struct lpm_stream_event *event, const uint8_t *data, gsize length)
{
    if (event->type == LPM_STREAM_NONE)
        event->type = LPM_STREAM_LITERAL;
    event->data = data;
    event->length = length;
}

/* A package is carried as it is; its first and last command say what it makes the target do. */
static void watch_package(LpmStreamParser *p, const uint8_t *data, gsize length)
{
    gsize tail = MIN(length, sizeof p->package_tail);

    for (gsize i = 0; i < length && p->package_passed + i < sizeof p->package_head; i++)
        p->package_head[p->package_passed + i] = data[i];
    p->package_passed += length;
    memmove(p->package_tail, p->package_tail + tail, sizeof p->package_tail - tail);
    memcpy(p->package_tail + sizeof p->package_tail - tail, data + length - tail, tail);
}

static void end_package(LpmStreamParser *p)
{
    static const uint8_t listen[5] = {0x08, 0, 4, 0, 0}, run[5] = {0x08, 0, 5, 0, 0};
    static const uint8_t ping[5] = {0x08, 0, 2, 0, 4}; /* and four bytes, its number */
    const uint8_t *last = p->package_tail + sizeof p->package_tail - sizeof run;

    p->in_package = FALSE;
    p->info.postcopy_packaged = TRUE;
    if (p->package_passed < sizeof listen)
        return;
    if (!memcmp(p->package_head, listen, sizeof listen))
        p->info.postcopy_listen = TRUE;
    if (memcmp(last, run, sizeof run))
        return;
    if (p->package_passed >= sizeof p->package_tail &&
        !memcmp(p->package_tail, ping, sizeof ping)) {
        p->info.package_pinged = TRUE;
        p->info.package_ping = lpm_be32(p->package_tail + sizeof ping);
    }
    p->info.postcopy_run = TRUE;
    p->info.phase = LPM_STREAM_PHASE_POSTCOPY;
}

/* SKIP and OPAQUE: how many of these bytes belong there; they are counted as consumed. */
static gsize pass(LpmStreamParser *p, const uint8_t *data, gsize length)
{
    if (p->state == LPM_STATE_SKIP) {
        length = (gsize)MIN((uint64_t)length, p->skip);
        if (p->in_package)
            watch_package(p, data, length);
        p->skip -= length;
        if (!p->skip) {
            p->state = p->after_skip;
            if (p->in_package)
                end_package(p);
            if (p->in_description)
                p->info.description_done = TRUE;
        }
    }
    p->consumed += length;
    return length;
}

/* Everything in `hold` that has not left becomes the event. FALSE if that is nothing. */
static gboolean emit_hold(LpmStreamParser *p, struct lpm_stream_event *event)
{
    if (p->emitted == p->held)
        return FALSE;
    if (p->emitted) {
        event->type = LPM_STREAM_LITERAL;
        event->unit = LPM_STREAM_UNIT_OTHER;
    }
    set_event(event, p->hold + p->emitted, p->held - p->emitted);
    p->emitted = p->held;
    return TRUE;
}

/* Removes from `hold` what the last unit took. Events that pointed there have been used by now. */
static void apply_drop(LpmStreamParser *p)
{
    if (!p->drop)
        return;
    p->held -= p->drop;
    p->emitted -= MIN(p->emitted, p->drop);
    memmove(p->hold, p->hold + p->drop, p->held);
    p->drop = 0;
}

/* Gathers bytes until the unit is complete or the input used up; TRUE if complete. */
static gboolean gather(LpmStreamParser *p, const uint8_t *data, gsize length, gsize *taken)
{
    for (;;) {
        gsize need = 1, more;

        if (p->held)
            need = lpm_stream_units[p->state].need(p, p->hold, p->held);
        if (need <= p->held)
            return TRUE;
        more = MIN(need - p->held, length - *taken);
        if (!more)
            return FALSE;
        memcpy(p->hold + p->held, data + *taken, more);
        p->held += more;
        *taken += more;
    }
}

/* One unit, gathered; or what was gathered and turned out to belong to no unit. TRUE if the event
 * is set. */
static gboolean take_held(LpmStreamParser *p, struct lpm_stream_event *event)
{
    gboolean set;
    gsize used;

    if (p->state >= LPM_STATE_COUNT) {
        used = pass(p, p->hold, p->held);
    } else {
        gsize need = lpm_stream_units[p->state].need(p, p->hold, p->held);

        used = lpm_stream_units[p->state].take(p, p->hold, p->held, need, event);
        p->consumed += used;
    }
    if (!used)
        return FALSE;
    p->drop = used;
    if (used != p->held) { /* bytes of the next unit leave with it */
        event->type = LPM_STREAM_LITERAL;
        event->unit = LPM_STREAM_UNIT_OTHER;
    }
    set = emit_hold(p, event);
    if (!set) {
        event->type = LPM_STREAM_NONE;
        apply_drop(p);
    }
    return set;
}

/* A unit or bytes without one, in place. Returns the bytes used; 0 if the unit is not whole, or if
 * it only named the next state. */
static gsize take_in_place(LpmStreamParser *p, const uint8_t *data, gsize have,
                           struct lpm_stream_event *event, gboolean *whole)
{
    gsize need, used;

    *whole = TRUE;
    if (p->state >= LPM_STATE_COUNT)
        return pass(p, data, have);
    need = lpm_stream_units[p->state].need(p, data, have);
    *whole = need <= have;
    if (!*whole)
        return 0;
    used = lpm_stream_units[p->state].take(p, data, have, need, event);
    p->consumed += used;
    return used;
}

static gboolean withholds(const LpmStreamParser *p)
{
    return p->state == LPM_STATE_RAM ||
           (p->whole_units && (p->state == LPM_STATE_SECTION || p->state == LPM_STATE_FOOTER));
}

static gsize step(LpmStreamParser *p, const uint8_t *data, gsize length,
                  struct lpm_stream_event *event)
{
    gsize taken = 0;

    while (taken < length || p->held) {
        if (!p->held) {
            gboolean whole;
            gsize used = take_in_place(p, data + taken, length - taken, event, &whole);

            if (used) {
                set_event(event, data + taken, used);
                return taken + used;
            }
            if (whole)
                continue;
        }
        if (p->state < LPM_STATE_COUNT && !gather(p, data, length, &taken))
            break;
        if (take_held(p, event))
            return taken;
    }
    if (!withholds(p))
        emit_hold(p, event);
    return taken;
}

/* Units whose last bytes left with the unit before them, which was found by looking ahead: what
 * they say is taken note of now, since it may be the last that comes. Nothing is moved, because the
 * event points there. */
static void settle(LpmStreamParser *p)
{
    struct lpm_stream_event unseen = {.block = -1};

    while (p->drop && p->held > p->drop && p->emitted == p->held) {
        const uint8_t *data = p->hold + p->drop;
        gsize have = p->held - p->drop;

        if (p->state >= LPM_STATE_COUNT) {
            p->drop += pass(p, data, have);
            continue;
        }
        gsize need = lpm_stream_units[p->state].need(p, data, have);
        if (need > have)
            return;
        gsize used = lpm_stream_units[p->state].take(p, data, have, need, &unseen);
        p->consumed += used;
        p->drop += used;
    }
}

gsize lpm_stream_parser_step(LpmStreamParser *p, const uint8_t *data, gsize length,
                             struct lpm_stream_event *event)
{
    gsize taken;

    memset(event, 0, sizeof *event);
    event->block = -1;
    if (!length)
        return 0;
    apply_drop(p);
    taken = step(p, data, length, event);
    settle(p);
    p->info.position += taken;
    return taken;
}

void lpm_stream_parser_flush(LpmStreamParser *p, struct lpm_stream_event *event)
{
    memset(event, 0, sizeof *event);
    event->block = -1;
    apply_drop(p);
    if (emit_hold(p, event))
        event->type = LPM_STREAM_LITERAL;
}

void lpm_stream_parser_whole_units(LpmStreamParser *p)
{
    p->whole_units = TRUE;
}

gsize lpm_stream_parser_withheld(const LpmStreamParser *p)
{
    return p->held - p->emitted;
}

const struct lpm_stream_info *lpm_stream_parser_info(const LpmStreamParser *p)
{
    return &p->info;
}

const struct lpm_stream_block *lpm_stream_parser_block(const LpmStreamParser *p, guint index)
{
    return index < p->blocks->len ? &g_array_index(p->blocks, struct lpm_stream_block, index)
                                  : NULL;
}

const struct lpm_stream_section *lpm_stream_parser_section(const LpmStreamParser *p, guint index)
{
    return index < p->sections->len ? &g_array_index(p->sections, struct lpm_stream_section, index)
                                    : NULL;
}

const char *lpm_stream_phase_name(enum lpm_stream_phase phase)
{
    static const char *const names[] = {
        [LPM_STREAM_PHASE_HEADER] = "header",       [LPM_STREAM_PHASE_SETUP] = "setup",
        [LPM_STREAM_PHASE_ITERATING] = "iterating", [LPM_STREAM_PHASE_COMPLETING] = "completing",
        [LPM_STREAM_PHASE_DEVICES] = "devices",     [LPM_STREAM_PHASE_POSTCOPY] = "postcopy",
        [LPM_STREAM_PHASE_ENDED] = "ended",
    };

    return (guint)phase < G_N_ELEMENTS(names) ? names[phase] : "unknown";
}
