/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "stream/return-path.h"

#include <string.h>

#define HEADER 4
#define BODY_MAX 512 /* QEMU refuses longer ones */

struct lpm_return_parser {
    struct lpm_return_info info;
    uint8_t hold[HEADER + BODY_MAX]; /* the message being gathered */
    gsize held, emitted;             /* of which so many left already */
    gboolean done;                   /* the message in `hold` was handed out */
    gboolean bitmap;                 /* a bitmap's size comes next */
    uint8_t size[8];
    guint size_held;
    uint64_t skip; /* bytes of the bitmap and its end mark still to come */
};

LpmReturnParser *lpm_return_parser_new(void)
{
    return g_new0(LpmReturnParser, 1);
}

void lpm_return_parser_free(LpmReturnParser *parser)
{
    g_free(parser);
}

static guint32 be16(const uint8_t *data)
{
    return (guint32)data[0] << 8 | data[1];
}

static uint32_t be32(const uint8_t *data)
{
    return be16(data) << 16 | be16(data + 2);
}

static uint64_t be64(const uint8_t *data)
{
    return (uint64_t)be32(data) << 32 | be32(data + 4);
}

static void degrade(LpmReturnParser *p)
{
    p->info.degraded = TRUE;
    p->info.degraded_at = p->info.position;
}

/* Whether `length` fits the type, whose body is not there yet. */
static gboolean plausible(guint32 type, guint32 length)
{
    switch (type) {
    case LPM_RETURN_SHUT:
    case LPM_RETURN_PONG:
    case LPM_RETURN_RESUME_ACK:
        return length == 4;
    case LPM_RETURN_REQ_PAGES_ID:
        return length >= 13 && length <= 13 + 255;
    case LPM_RETURN_REQ_PAGES:
        return length == 12;
    case LPM_RETURN_RECV_BITMAP:
        return length >= 1 && length <= 256;
    case LPM_RETURN_SWITCHOVER_ACK:
        return length == 0;
    default:
        return FALSE;
    }
}

/* A str8 that must end with the message. */
static void copy_name(struct lpm_return_event *event, const uint8_t *data, gsize length)
{
    gsize n = MIN((gsize)data[0], length - 1);

    memcpy(event->name, data + 1, n);
    event->name[n] = '\0';
}

static void understand(LpmReturnParser *p, const uint8_t *data, gsize length,
                       struct lpm_return_event *event)
{
    event->type = (enum lpm_return_type)be16(data);
    data += HEADER;
    length -= HEADER;
    p->info.messages++;
    switch (event->type) {
    case LPM_RETURN_SHUT:
        p->info.shut = TRUE;
        p->info.shut_value = event->value = be32(data);
        break;
    case LPM_RETURN_PONG:
    case LPM_RETURN_RESUME_ACK:
        event->value = be32(data);
        break;
    case LPM_RETURN_REQ_PAGES_ID:
        copy_name(event, data + 12, length - 12);
        G_GNUC_FALLTHROUGH;
    case LPM_RETURN_REQ_PAGES:
        event->start = be64(data);
        event->count = be32(data + 8);
        p->info.pages_requested++;
        break;
    case LPM_RETURN_RECV_BITMAP:
        copy_name(event, data, length);
        p->bitmap = TRUE;
        break;
    default:
        break;
    }
}

/* Copies up to the size of `want` bytes into `hold`; TRUE when they are there. */
static gboolean gather(LpmReturnParser *p, gsize want, const uint8_t *data, gsize length,
                       gsize *taken)
{
    gsize more = MIN(want - MIN(want, p->held), length - *taken);

    memcpy(p->hold + p->held, data + *taken, more);
    p->held += more;
    *taken += more;
    return p->held >= want;
}

static void emit(LpmReturnParser *p, struct lpm_return_event *event)
{
    if (p->held == p->emitted)
        return;
    if (p->emitted || event->type == LPM_RETURN_NONE)
        event->type = LPM_RETURN_BYTES;
    event->data = p->hold + p->emitted;
    event->length = p->held - p->emitted;
    p->emitted = p->held;
}

/* The bitmap after RECV_BITMAP, as it comes: its size is read on the way. */
static gsize pass_bitmap(LpmReturnParser *p, const uint8_t *data, gsize length)
{
    gsize taken = 0;

    while (p->bitmap && taken < length) {
        p->size[p->size_held++] = data[taken++];
        if (p->size_held < sizeof p->size)
            continue;
        p->bitmap = FALSE;
        p->size_held = 0;
        p->skip = be64(p->size);
        if (p->skip > G_MAXUINT64 - 8) {
            degrade(p);
            return length;
        }
        p->skip += 8; /* the end mark */
    }
    if (!p->bitmap) {
        gsize n = (gsize)MIN(p->skip, (uint64_t)(length - taken));

        p->skip -= n;
        taken += n;
    }
    return taken;
}

static gsize pass(LpmReturnParser *p, const uint8_t *data, gsize length,
                  struct lpm_return_event *event)
{
    event->type = LPM_RETURN_BYTES;
    event->data = data;
    event->length = p->info.degraded ? length : pass_bitmap(p, data, length);
    return event->length;
}

static gsize step(LpmReturnParser *p, const uint8_t *data, gsize length,
                  struct lpm_return_event *event)
{
    gsize taken = 0;

    if (p->done || (p->info.degraded && p->emitted == p->held)) {
        p->held = p->emitted = 0;
        p->done = FALSE;
    }
    if (p->bitmap || p->skip || (p->info.degraded && !p->held))
        return pass(p, data, length, event);
    if (!gather(p, HEADER, data, length, &taken))
        return taken;
    if (!plausible(be16(p->hold), be16(p->hold + 2))) {
        degrade(p);
        emit(p, event);
        return taken;
    }
    if (!gather(p, HEADER + be16(p->hold + 2), data, length, &taken))
        return taken;
    understand(p, p->hold, p->held, event);
    emit(p, event);
    p->done = TRUE;
    return taken;
}

gsize lpm_return_parser_step(LpmReturnParser *p, const uint8_t *data, gsize length,
                             struct lpm_return_event *event)
{
    gsize taken;

    memset(event, 0, sizeof *event);
    if (!length)
        return 0;
    taken = step(p, data, length, event);
    p->info.position += taken;
    return taken;
}

void lpm_return_parser_flush(LpmReturnParser *p, struct lpm_return_event *event)
{
    memset(event, 0, sizeof *event);
    emit(p, event);
    if (event->length)
        event->type = LPM_RETURN_BYTES;
}

const struct lpm_return_info *lpm_return_parser_info(const LpmReturnParser *p)
{
    return &p->info;
}
