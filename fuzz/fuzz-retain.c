/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * What comes from a retained image and from the mover that has one. Inputs with an even first byte
 * are a file, opened as an image; with an odd one the body of a KEPT frame, for a stream whose
 * blocks are announced.
 */
#include "mover/page-image.h"
#include "mover/page-tags.h"
#include "require.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void open_image(const uint8_t *data, size_t size)
{
    static const guint8 key[LPM_IMAGE_KEY_BYTES];
    g_autoptr(GError) error = NULL;
    int fd = memfd_create("image", MFD_CLOEXEC);

    REQUIRE(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    g_autoptr(LpmImage) image = lpm_image_open(fd, key, &error);

    REQUIRE(!image == (error != NULL));
}

/* The beginning of a stream with one block of 64 pages, up to its first page. */
static LpmStreamParser *announced(void)
{
    static const uint8_t begin[] = {
        0x51, 0x45, 0x56, 0x4d, 0,    0,    0, 3, 1, 0, 0, 0, 2, 3, 'r', 'a', 'm',
        0,    0,    0,    0,    0,    0,    0, 4, 0, 0, 0, 0, 0, 4, 0,   4,   6,
        'p',  'c',  '.',  'r',  'a',  'm',  0, 0, 0, 0, 0, 4, 0, 0, 0,   0,   0,
        0,    0,    0,    0,    0x10, 0x7e, 0, 0, 0, 2, 2, 0, 0, 0, 2};
    LpmStreamParser *parser = lpm_stream_parser_new();
    struct lpm_stream_event event;

    for (gsize done = 0; done < sizeof(begin);)
        done += lpm_stream_parser_step(parser, begin + done, sizeof(begin) - done, &event);
    REQUIRE(lpm_stream_parser_info(parser)->setup_done);
    return parser;
}

static void take_offer(const uint8_t *data, size_t size)
{
    g_autoptr(LpmStreamParser) parser = announced();
    g_autoptr(LpmPageTags) tags = lpm_page_tags_new((const guint8 *)"secret", 6);
    g_autoptr(LpmFrame) frame = lpm_frame_new(size);
    g_autoptr(GError) error = NULL;

    memcpy(frame->body, data, size);
    frame->checksum = lpm_checksum(data, size);
    gboolean good = lpm_page_tags_offer(tags, frame, &error);

    REQUIRE(good == !error);
    lpm_page_tags_take(tags, parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if (data[0] & 1)
        take_offer(data + 1, size - 1);
    else
        open_image(data + 1, size - 1);
    return 0;
}
