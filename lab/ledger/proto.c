/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
#include "proto.h"

#include "bytes.h"
#include "util.h"

#define FRAME_MAGIC 0x3147444cu /* "LDG1" */

const char *const status_names[STATUS_COUNT] = {
    [STATUS_OK] = "ok",
    [STATUS_DOUBLED] = "doubled",
    [STATUS_IO] = "the disk refused",
    [STATUS_FULL] = "the log is full",
    [STATUS_LIMIT] = "beyond the service's bounds",
    [STATUS_BAD] = "not understood",
    [STATUS_BUSY] = "busy verifying",
};

const char *const content_names[CONTENT_COUNT] = {
    [CONTENT_RANDOM] = "random",
    [CONTENT_TEXT] = "text",
    [CONTENT_MOSTLY] = "mostly",
};

enum content content_parse(const char *name)
{
    unsigned i = 0;
    while (i < CONTENT_COUNT && strcmp(name, content_names[i]) != 0)
        i++;
    return (enum content)i;
}

static uint64_t frame_sum(const uint8_t *data, uint16_t len)
{
    return sum64(sum64(FRAME_MAGIC, data, 32), data + FRAME_HEAD, len);
}

size_t frame_encode(const struct frame *frame, uint8_t *out)
{
    put32(out, FRAME_MAGIC);
    out[4] = frame->type;
    out[5] = frame->status;
    put16(out + 6, frame->len);
    put64(out + 8, frame->client);
    put64(out + 16, frame->number);
    put64(out + 24, frame->aux);
    if (frame->len)
        memcpy(out + FRAME_HEAD, frame->payload, frame->len);
    put64(out + 32, frame_sum(out, frame->len));
    return FRAME_HEAD + (size_t)frame->len;
}

int frame_decode(const uint8_t *data, size_t have, struct frame *frame)
{
    if (have < FRAME_HEAD)
        return have >= 4 && get32(data) != FRAME_MAGIC ? -1 : 0;
    uint16_t len = get16(data + 6);
    if (get32(data) != FRAME_MAGIC || len > FRAME_PAYLOAD_MAX)
        return -1;
    if (have < FRAME_HEAD + (size_t)len)
        return 0;
    if (get64(data + 32) != frame_sum(data, len))
        return -1;
    *frame = (struct frame){
        .type = data[4],
        .status = data[5],
        .len = len,
        .client = get64(data + 8),
        .number = get64(data + 16),
        .aux = get64(data + 24),
        .payload = data + FRAME_HEAD,
    };
    return (int)(FRAME_HEAD + len);
}

uint16_t fields_put(const void *fields, size_t size, uint8_t *payload)
{
    const uint64_t *values = fields;
    for (size_t i = 0; i < size / 8; i++)
        put64(payload + 8 * i, values[i]);
    return (uint16_t)size;
}

void fields_get(void *fields, size_t size, const uint8_t *payload, uint16_t len)
{
    uint64_t *values = fields;
    for (size_t i = 0; i < size / 8; i++)
        values[i] = 8 * i + 8 <= len ? get64(payload + 8 * i) : 0;
}
