/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "transport/channel.h"

#include "base/error.h"

#include <string.h>

void lpm_outbox_push(struct lpm_outbox *outbox, LpmFrame *frame)
{
    frame->sequence = outbox->next++;
    frame->carrier = LPM_CARRIER_NONE;
    frame->next = NULL;
    if (outbox->tail)
        outbox->tail->next = frame;
    else
        outbox->head = frame;
    outbox->tail = frame;
    if (!outbox->unsent)
        outbox->unsent = frame;
    outbox->waiting++;
    outbox->frames++;
    outbox->original += frame->original;
    outbox->encoded += frame->length;
}

/* `frame` waits no more; `unsent` is it or one before it. */
static void take_out(struct lpm_outbox *outbox, LpmFrame *frame, guint32 carrier)
{
    frame->carrier = carrier;
    outbox->waiting--;
    if (outbox->unsent != frame)
        return;
    if (!outbox->waiting) {
        outbox->unsent = NULL;
        return;
    }
    do
        outbox->unsent = outbox->unsent->next;
    while (outbox->unsent->carrier != LPM_CARRIER_NONE);
}

const LpmFrame *lpm_outbox_take(struct lpm_outbox *outbox, guint32 link)
{
    LpmFrame *frame = outbox->unsent;

    if (!frame)
        return NULL;
    take_out(outbox, frame, link);
    outbox->given = MAX(outbox->given, frame->sequence + 1);
    return frame;
}

gboolean lpm_outbox_ack(struct lpm_outbox *outbox, guint64 next, GError **error)
{
    if (next > outbox->given)
        return lpm_fail(error, LPM_E_PROTOCOL,
                        "frames up to %" G_GUINT64_FORMAT
                        " are acknowledged, only %" G_GUINT64_FORMAT " were sent",
                        next, outbox->given);
    while (outbox->head && outbox->head->sequence < next) {
        LpmFrame *frame = outbox->head;

        /* It was to be sent again, and had arrived after all. */
        if (frame->carrier == LPM_CARRIER_NONE)
            take_out(outbox, frame, LPM_CARRIER_ARRIVED);
        outbox->head = frame->next;
        outbox->used -= MIN(outbox->used, frame->original);
        outbox->original_acked += frame->original;
        outbox->frames--;
        lpm_frame_free(frame);
    }
    if (!outbox->head)
        outbox->tail = NULL;
    outbox->acked = MAX(outbox->acked, next);
    outbox->told = MAX(outbox->told, next);
    return TRUE;
}

gboolean lpm_outbox_has(struct lpm_outbox *outbox, guint64 next, gboolean fresh, GError **error)
{
    if (next > outbox->given || (fresh && next < outbox->told))
        return lpm_fail(error, LPM_E_PROTOCOL,
                        "the other mover expects frame %" G_GUINT64_FORMAT
                        ", which is not between %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT,
                        next, outbox->told, outbox->given);
    while (outbox->unsent && outbox->unsent->sequence < next)
        take_out(outbox, outbox->unsent, LPM_CARRIER_ARRIVED);
    outbox->told = MAX(outbox->told, next);
    return TRUE;
}

void lpm_outbox_lost(struct lpm_outbox *outbox, guint32 link)
{
    LpmFrame *first = NULL;

    for (LpmFrame *frame = outbox->head; frame; frame = frame->next) {
        if (frame->carrier == link && frame->sequence < outbox->told) {
            frame->carrier = LPM_CARRIER_ARRIVED;
        } else if (frame->carrier == link) {
            frame->carrier = LPM_CARRIER_NONE;
            outbox->waiting++;
        }
        if (!first && frame->carrier == LPM_CARRIER_NONE)
            first = frame;
    }
    outbox->unsent = first;
}

void lpm_outbox_clear(struct lpm_outbox *outbox)
{
    while (outbox->head) {
        LpmFrame *frame = outbox->head;

        outbox->head = frame->next;
        lpm_frame_free(frame);
    }
    outbox->tail = outbox->unsent = NULL;
    outbox->frames = outbox->waiting = 0;
    outbox->used = 0;
}

void lpm_inbox_init(struct lpm_inbox *inbox)
{
    memset(inbox, 0, sizeof(*inbox));
    inbox->ahead = g_hash_table_new(g_int64_hash, g_int64_equal);
}

void lpm_inbox_clear(struct lpm_inbox *inbox)
{
    GHashTableIter iter;
    gpointer frame;

    g_hash_table_iter_init(&iter, inbox->ahead);
    while (g_hash_table_iter_next(&iter, NULL, &frame))
        lpm_frame_free(frame);
    g_clear_pointer(&inbox->ahead, g_hash_table_unref);
    while (inbox->head) {
        frame = inbox->head;
        inbox->head = inbox->head->next;
        lpm_frame_free(frame);
    }
    inbox->tail = NULL;
}

static gboolean out_of_grammar(const LpmFrame *frame, GError **error)
{
    return lpm_fail(error, LPM_E_PROTOCOL,
                    "a frame of type %u (number %" G_GUINT64_FORMAT
                    ") of channel '%s' is out of place",
                    frame->type, frame->sequence, lpm_channel_name(frame->channel));
}

/* Appends the frame that was expected to the queue in order. The caller frees it on FALSE. */
static gboolean append(struct lpm_inbox *inbox, LpmFrame *frame, GError **error)
{
    if (inbox->ended || (inbox->closed && frame->type != LPM_FRAME_RESET) ||
        (inbox->opened && frame->type == LPM_FRAME_OPEN))
        return out_of_grammar(frame, error);
    inbox->opened = TRUE;
    inbox->closed |= frame->type == LPM_FRAME_CLOSE;
    inbox->ended |= frame->type == LPM_FRAME_RESET;
    frame->next = NULL;
    if (inbox->tail)
        inbox->tail->next = frame;
    else
        inbox->head = frame;
    inbox->tail = frame;
    inbox->expected++;
    return TRUE;
}

/* Appends what waited for the frame that just came. */
static gboolean append_waiting(struct lpm_inbox *inbox, GError **error)
{
    LpmFrame *frame;

    while ((frame = g_hash_table_lookup(inbox->ahead, &inbox->expected))) {
        g_hash_table_remove(inbox->ahead, &frame->sequence);
        if (!append(inbox, frame, error)) {
            lpm_frame_free(frame);
            return FALSE;
        }
    }
    return TRUE;
}

gboolean lpm_inbox_put(struct lpm_inbox *inbox, LpmFrame *frame, guint64 window, GError **error)
{
    g_autoptr(LpmFrame) owned = frame;

    if (frame->sequence < inbox->expected || g_hash_table_lookup(inbox->ahead, &frame->sequence)) {
        inbox->duplicates++;
        return TRUE;
    }
    if (inbox->held + frame->original > window + LPM_FRAME_ORIGINAL_MAX ||
        inbox->frames >= LPM_CHANNEL_FRAMES_MAX ||
        frame->sequence - inbox->delivered >= LPM_CHANNEL_FRAMES_MAX)
        return lpm_fail(
            error, LPM_E_PROTOCOL,
            "the other mover sends more on channel '%s' than the window of %" G_GUINT64_FORMAT
            " bytes allows",
            lpm_channel_name(frame->channel), window);
    gboolean ahead = frame->sequence != inbox->expected;

    if (!ahead && !append(inbox, frame, error))
        return FALSE;
    inbox->held += frame->original;
    inbox->frames++;
    owned = NULL;
    if (!ahead)
        return append_waiting(inbox, error);
    g_hash_table_insert(inbox->ahead, &frame->sequence, frame);
    return TRUE;
}

LpmFrame *lpm_inbox_take(struct lpm_inbox *inbox)
{
    LpmFrame *frame = inbox->head;

    if (!frame)
        return NULL;
    inbox->head = frame->next;
    if (!inbox->head)
        inbox->tail = NULL;
    frame->next = NULL;
    return frame;
}

void lpm_inbox_delivered(struct lpm_inbox *inbox, LpmFrame *frame)
{
    inbox->held -= frame->original;
    inbox->frames--;
    inbox->original += frame->original;
    inbox->encoded += frame->length;
    inbox->delivered = frame->sequence + 1;
    lpm_frame_free(frame);
}
