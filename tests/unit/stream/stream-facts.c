/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Prints what the parser finds in the file given, for compare.py: facts as key=value, then one line
 * "position length kind" for each record of a whole page. */
#include "stream/stream-parser.h"

#include <stdio.h>

static void print_info(const LpmStreamParser *parser)
{
    const struct lpm_stream_info *info = lpm_stream_parser_info(parser);

    printf("machine=%s\nram_bytes=%" G_GUINT64_FORMAT "\nblocks=%u\nsections=%u\n", info->machine,
           info->ram_bytes, info->blocks, info->sections);
    printf("pages_normal=%" G_GUINT64_FORMAT "\npages_zero=%" G_GUINT64_FORMAT
           "\npages_encoded=%" G_GUINT64_FORMAT "\npages_resent=%" G_GUINT64_FORMAT
           "\npages_distinct=%" G_GUINT64_FORMAT "\n",
           info->pages_normal, info->pages_zero, info->pages_encoded, info->pages_resent,
           info->pages_distinct);
    printf("rounds=%u\nram_sections=%u\neof=%d\ndescription_bytes=%" G_GUINT64_FORMAT
           "\npackaged=%d\n",
           info->rounds, info->ram_sections, info->eof, info->description_bytes,
           info->postcopy_packaged);
    if (info->degraded)
        printf("degraded=%s at %" G_GUINT64_FORMAT "\n", info->degraded_reason, info->degraded_at);
}

int main(int argc, char **argv)
{
    g_autoptr(LpmStreamParser) parser = lpm_stream_parser_new();
    g_autofree char *data = NULL;
    gsize length, at = 0, out = 0;

    if (argc != 2 || !g_file_get_contents(argv[1], &data, &length, NULL)) {
        fprintf(stderr, "usage: stream-facts FILE\n");
        return 2;
    }
    while (at < length) {
        struct lpm_stream_event event;

        at += lpm_stream_parser_step(parser, (const uint8_t *)data + at, length - at, &event);
        if (event.type == LPM_STREAM_PAGE || event.type == LPM_STREAM_ZERO_PAGE)
            printf("%zu %zu %s\n", out, event.length,
                   event.type == LPM_STREAM_PAGE ? "normal" : "zero");
        out += event.length;
    }
    print_info(parser);
    return 0;
}
