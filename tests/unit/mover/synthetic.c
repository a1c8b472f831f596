/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "synthetic.h"

#include "transport/bytes.h"

#define PAGE 4096u
#define SECTION_PAGES 300u

static void word(GByteArray *out, guint32 value)
{
    guint8 bytes[4];

    lpm_put_be32(bytes, value);
    g_byte_array_append(out, bytes, sizeof(bytes));
}

static void quad(GByteArray *out, guint64 value)
{
    guint8 bytes[8];

    lpm_put_be64(bytes, value);
    g_byte_array_append(out, bytes, sizeof(bytes));
}

static void byte(GByteArray *out, guint8 value)
{
    g_byte_array_append(out, &value, 1);
}

static void name(GByteArray *out, const char *text)
{
    byte(out, (guint8)strlen(text));
    g_byte_array_append(out, (const guint8 *)text, (guint)strlen(text));
}

static void section_end(GByteArray *out)
{
    quad(out, 0x10);
    byte(out, 0x7e);
    word(out, 2);
}

static guint32 next_random(guint32 *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Words out of a small vocabulary, so that it compresses about as text does. */
static guint32 vocabulary(guint32 random)
{
    static const char words[64][5] = {
        "the ", "and ", "of  ", "data",  "page",   "row ", "1024", "0000", "key=", "val=", "next",
        "prev", "node", "leaf", "root",  "tree",   "hash", "sum=", "len=", "off=", "<id>", "</a>",
        "http", "://w", "ww. ", "com/",  "GET ",   "POST", "200 ", "404 ", "true", "null", "int ",
        "char", "for(", "if( ", "){\n ", "}\n\n ", "    ", "++; ", "= 0;", "ret ", "lock", "free",
        "user", "name", "date", "time",  "2026",   "-01-", "Jan ", "Feb ", "err:", "warn", "info",
        "dbg ", "/usr", "/lib", "/bin",  ".so ",   "ELF ", "GCC ", "SELE", "FROM"};
    guint32 value;

    memcpy(&value, words[random >> 26], sizeof(value));
    return value;
}

/* Where the pages of a stream come from. */
struct pages {
    guint32 random;
    const guint8 *content; /* of `count` pages, or NULL: made up */
    guint count, sent;     /* different pages, and records: the first ones come again */
};

/* FALSE: a page of zeros. */
static gboolean next_page(struct pages *pages, guint index, guint8 content[PAGE])
{
    static const guint8 zeros[PAGE];

    if (pages->content) {
        memcpy(content, pages->content + (gsize)index * PAGE, PAGE);
        return memcmp(content, zeros, PAGE) != 0;
    }
    /* A third zero pages; of the others every fourth is random, the rest like text. */
    gboolean zero = next_random(&pages->random) % 3 == 0;
    gboolean noise = next_random(&pages->random) % 4 == 0;

    for (guint i = 0; !zero && i < PAGE; i += 4) {
        guint32 value = next_random(&pages->random);

        if (!noise)
            value = vocabulary(value);
        memcpy(content + i, &value, sizeof(value));
    }
    return !zero;
}

static void page(GByteArray *out, struct pages *pages, guint index, gboolean first)
{
    guint8 content[PAGE];
    gboolean full = next_page(pages, index, content);

    quad(out, (guint64)index * PAGE | (full ? 0x08u : 0x02u) | (first ? 0 : 0x20u));
    if (first)
        name(out, "pc.ram");
    if (full)
        g_byte_array_append(out, content, sizeof(content));
    else
        byte(out, 0);
}

static void pages_sections(GByteArray *out, struct pages *pages)
{
    gboolean first = TRUE;

    for (guint done = 0; done < pages->sent;) {
        gboolean last = done + SECTION_PAGES >= pages->sent;

        byte(out, last ? 0x03 : 0x02);
        word(out, 2);
        for (guint i = 0; i < SECTION_PAGES && done < pages->sent; i++, done++) {
            page(out, pages, done % pages->count, first);
            first = FALSE;
        }
        section_end(out);
    }
}

static GByteArray *whole_stream(struct pages *from)
{
    GByteArray *out = g_byte_array_sized_new(from->sent * PAGE);
    guint pages = from->count;

    word(out, 0x5145564d);
    word(out, 3);
    byte(out, 0x07);
    word(out, 9);
    g_byte_array_append(out, (const guint8 *)"synthetic", 9);
    byte(out, 0x01);
    word(out, 2);
    name(out, "ram");
    word(out, 0);
    word(out, 4);
    quad(out, (guint64)pages * PAGE | 0x04);
    name(out, "pc.ram");
    quad(out, (guint64)pages * PAGE);
    section_end(out);
    pages_sections(out, from);
    byte(out, 0x04);
    word(out, 7);
    name(out, "timer");
    word(out, 0);
    word(out, 2);
    for (guint i = 0; i < 24; i++)
        byte(out, (guint8)next_random(&from->random));
    byte(out, 0x7e);
    word(out, 7);
    byte(out, 0x00);
    return out;
}

GByteArray *synthetic_stream(guint32 seed, guint pages)
{
    struct pages from = {.random = seed | 1, .count = pages, .sent = pages + pages / 4};

    return whole_stream(&from);
}

GByteArray *synthetic_stream_of(const guint8 *content, guint pages)
{
    struct pages from = {.random = 1, .content = content, .count = pages, .sent = pages};

    return whole_stream(&from);
}

static void block(GByteArray *out, const char *text, guint64 bytes)
{
    name(out, text);
    quad(out, bytes);
}

static void command(GByteArray *out, guint16 number)
{
    guint8 head[5] = {0x08, 0, (guint8)number, 0, 0};

    g_byte_array_append(out, head, sizeof(head));
}

/* The page of index i: every 64th index is a page of "rom", the others are of "pc.ram". */
static void postcopy_page(GByteArray *out, guint32 *random, guint i, const char **last)
{
    const char *text = i % 64 == 63 ? "rom" : "pc.ram";
    guint64 page_index = i % 64 == 63 ? i / 64 : i - i / 64;
    guint8 content[PAGE];
    gboolean first = *last != text;

    *last = text;
    quad(out, page_index * PAGE | (i % 5 ? 0x08 : 0x02) | (first ? 0 : 0x20u));
    if (first)
        name(out, text);
    if (i % 5 == 0) {
        byte(out, 0);
        return;
    }
    for (guint at = 0; at < PAGE; at += 4) {
        guint32 value = next_random(random);

        memcpy(content + at, &value, sizeof(value));
    }
    g_byte_array_append(out, content, sizeof(content));
}

GByteArray *synthetic_postcopy(guint32 seed, guint pages)
{
    GByteArray *out = g_byte_array_sized_new(pages * PAGE);
    guint32 random = seed | 1;
    const char *last = NULL;

    word(out, 0x5145564d);
    word(out, 3);
    command(out, 3); /* ADVISE */
    out->data[out->len - 1] = 16;
    quad(out, PAGE);
    quad(out, PAGE);
    byte(out, 0x01);
    word(out, 2);
    name(out, "ram");
    word(out, 0);
    word(out, 4);
    quad(out, (guint64)pages * 2 * PAGE | 0x04);
    block(out, "pc.ram", (guint64)pages * PAGE);
    block(out, "rom", (guint64)pages * PAGE);
    section_end(out);
    command(out, 7); /* PACKAGED: LISTEN, RUN */
    out->data[out->len - 1] = 4;
    word(out, 10);
    command(out, 4);
    command(out, 5);
    for (guint i = 0; i < pages; i++) {
        if (i % SECTION_PAGES == 0) {
            if (i)
                section_end(out);
            if (i % (SECTION_PAGES * 8) == 0)
                command(out, 1);
            byte(out, i + SECTION_PAGES >= pages ? 0x03 : 0x02);
            word(out, 2);
        }
        postcopy_page(out, &random, i, &last);
    }
    section_end(out);
    byte(out, 0x00);
    return out;
}
