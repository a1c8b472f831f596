/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The grammar of header, configuration, sections and commands (docs/stream-format.md 1, 4), and the
 * table of all units.
 */
#include "stream/stream-internal.h"

#include <string.h>

#define MAGIC 0x5145564du
#define MULTIFD_MAGIC 0x11223344u
#define VERSION 3

enum {
    TYPE_EOF,
    TYPE_START,
    TYPE_PART,
    TYPE_END,
    TYPE_FULL,
    TYPE_SUBSECTION,
    TYPE_DESCRIPTION,
    TYPE_MACHINE,
    TYPE_COMMAND,
    TYPE_FOOTER = 0x7e
};
enum {
    COMMAND_RETURN_PATH = 1,
    COMMAND_ADVISE = 3,
    COMMAND_LISTEN = 4,
    COMMAND_RUN = 5,
    COMMAND_PACKAGED = 7,
    COMMAND_COLO = 8,
    COMMAND_RECV_BITMAP = 10
};

static gboolean name_is(const uint8_t *data, gsize length, const char *name)
{
    return strlen(name) == length && !memcmp(data, name, length);
}

static gsize need_1(LpmStreamParser *p G_GNUC_UNUSED, const uint8_t *data G_GNUC_UNUSED,
                    gsize have G_GNUC_UNUSED)
{
    return 1;
}

static gsize need_4(LpmStreamParser *p G_GNUC_UNUSED, const uint8_t *data G_GNUC_UNUSED,
                    gsize have G_GNUC_UNUSED)
{
    return 4;
}

static gsize need_8(LpmStreamParser *p G_GNUC_UNUSED, const uint8_t *data G_GNUC_UNUSED,
                    gsize have G_GNUC_UNUSED)
{
    return 8;
}

static gsize magic_need(LpmStreamParser *p G_GNUC_UNUSED, const uint8_t *data,
                        gsize have G_GNUC_UNUSED)
{
    return data[0] == TYPE_COMMAND ? 1 : 8;
}

static gsize magic_take(LpmStreamParser *p, const uint8_t *data, gsize have G_GNUC_UNUSED,
                        gsize need, struct lpm_stream_event *event G_GNUC_UNUSED)
{
    if (need == 1) {
        /* A post-copy that goes on after a cut. */
        p->state = LPM_STATE_SECTION;
        p->info.postcopy_resumed = TRUE;
        p->info.phase = LPM_STREAM_PHASE_POSTCOPY;
        return 0;
    }
    if (lpm_be32(data) == MULTIFD_MAGIC)
        return lpm_stream_degrade(p, "a multifd channel");
    if (lpm_be32(data) != MAGIC)
        return lpm_stream_degrade(p, "not a migration stream (wrong magic number)");
    if (lpm_be32(data + 4) != VERSION)
        return lpm_stream_degrade(p, "a version of the stream that is not known");
    p->state = LPM_STATE_MACHINE;
    return need;
}

static gsize machine_need(LpmStreamParser *p G_GNUC_UNUSED, const uint8_t *data, gsize have)
{
    uint32_t length;

    if (data[0] != TYPE_MACHINE)
        return 1;
    if (have < 5)
        return 5;
    length = lpm_be32(data + 1);
    return length < sizeof p->info.machine ? 5 + (gsize)length : 5;
}

static gsize machine_take(LpmStreamParser *p, const uint8_t *data, gsize have G_GNUC_UNUSED,
                          gsize need, struct lpm_stream_event *event G_GNUC_UNUSED)
{
    if (data[0] != TYPE_MACHINE) {
        p->state = LPM_STATE_SECTION;
        return 0;
    }
    if (lpm_be32(data + 1) >= sizeof p->info.machine)
        return lpm_stream_degrade(p, "the name of the machine is too long");
    memcpy(p->info.machine, data + 5, need - 5);
    p->info.machine[need - 5] = '\0';
    p->state = LPM_STATE_SUBSECTION;
    return need;
}

static gsize subsection_need(LpmStreamParser *p G_GNUC_UNUSED, const uint8_t *data, gsize have)
{
    if (data[0] != TYPE_SUBSECTION)
        return 1;
    return have < 2 ? 2 : 2 + (gsize)data[1] + 4;
}

static gsize subsection_take(LpmStreamParser *p, const uint8_t *data, gsize have G_GNUC_UNUSED,
                             gsize need, struct lpm_stream_event *event G_GNUC_UNUSED)
{
    if (data[0] != TYPE_SUBSECTION) {
        p->state = LPM_STATE_SECTION;
        return 0;
    }
    if (name_is(data + 2, data[1], "configuration/target-page-bits"))
        p->state = LPM_STATE_BITS;
    else if (name_is(data + 2, data[1], "configuration/capabilities"))
        p->state = LPM_STATE_CAPS;
    else if (name_is(data + 2, data[1], "configuration/uuid"))
        lpm_stream_skip(p, 16, LPM_STATE_SUBSECTION);
    else
        return lpm_stream_degrade(p, "a configuration subsection that is not known");
    return need;
}

static gsize bits_take(LpmStreamParser *p, const uint8_t *data, gsize have G_GNUC_UNUSED,
                       gsize need, struct lpm_stream_event *event G_GNUC_UNUSED)
{
    uint32_t bits = lpm_be32(data);

    if (bits < 10 || bits > 16)
        return lpm_stream_degrade(p, "a page size that is not possible");
    p->info.page_size = 1u << bits;
    p->state = LPM_STATE_SUBSECTION;
    return need;
}

static gsize caps_take(LpmStreamParser *p, const uint8_t *data, gsize have G_GNUC_UNUSED,
                       gsize need, struct lpm_stream_event *event G_GNUC_UNUSED)
{
    p->caps_left = lpm_be32(data);
    p->state = p->caps_left ? LPM_STATE_CAP : LPM_STATE_SUBSECTION;
    return need;
}

static gsize cap_need(LpmStreamParser *p G_GNUC_UNUSED, const uint8_t *data,
                      gsize have G_GNUC_UNUSED)
{
    return 1 + (gsize)data[0];
}

static gsize cap_take(LpmStreamParser *p, const uint8_t *data, gsize have G_GNUC_UNUSED, gsize need,
                      struct lpm_stream_event *event G_GNUC_UNUSED)
{
    if (name_is(data + 1, data[0], "x-ignore-shared"))
        p->ignore_shared = TRUE;
    if (name_is(data + 1, data[0], "mapped-ram"))
        return lpm_stream_degrade(p, "capability mapped-ram");
    if (!--p->caps_left)
        p->state = LPM_STATE_SUBSECTION;
    return need;
}

/* Bytes after a command's head that are looked at; the others are skipped. */
static gsize command_body(const uint8_t *data)
{
    guint32 number = lpm_be16(data + 1), length = lpm_be16(data + 3);

    if (number == COMMAND_ADVISE && length == 16)
        return 16;
    return number == COMMAND_RECV_BITMAP && length >= 2 && length <= 256 ? length : 0;
}

static gsize section_need(LpmStreamParser *p G_GNUC_UNUSED, const uint8_t *data, gsize have)
{
    switch (data[0]) {
    case TYPE_START:
    case TYPE_FULL:
        return have < 6 ? 6 : 6 + (gsize)data[5] + 8;
    case TYPE_COMMAND:
        return have < 5 ? 5 : 5 + command_body(data);
    case TYPE_PART:
    case TYPE_END:
        return 5;
    default:
        return 1;
    }
}

/* The body of the current section follows. */
static void enter_body(LpmStreamParser *p)
{
    const struct lpm_stream_section *section = lpm_stream_current(p);

    if (section->iterable && !strcmp(section->name, "ram") && section->version == 4)
        p->state = LPM_STATE_RAM;
    else if (section->iterable && !strcmp(section->name, "spapr/htab"))
        p->state = LPM_STATE_HTAB;
    else
        p->state = LPM_STATE_SCAN;
}

static gsize new_section(LpmStreamParser *p, const uint8_t *data, gsize need)
{
    struct lpm_stream_section section = {0};

    section.id = lpm_be32(data + 1);
    section.iterable = data[0] == TYPE_START;
    section.instance = lpm_be32(data + need - 8);
    section.version = lpm_be32(data + need - 4);
    if (p->sections->len == LPM_STREAM_SECTIONS_MAX)
        return lpm_stream_degrade(p, "too many sections");
    if (lpm_stream_find(p, section.id))
        return lpm_stream_degrade(p, "a section that starts twice");
    section.name = g_strndup((const char *)data + 6, data[5]);
    p->section = p->sections->len;
    g_array_append_val(p->sections, section);
    g_hash_table_insert(p->section_by_id, GUINT_TO_POINTER(section.id),
                        GUINT_TO_POINTER(p->sections->len));
    p->info.sections = p->sections->len;
    p->section_ends = FALSE;
    if (section.iterable) {
        p->open++;
        if (p->info.phase == LPM_STREAM_PHASE_HEADER)
            p->info.phase = LPM_STREAM_PHASE_SETUP;
    } else if (!p->open && p->sections->len > 1 && p->info.phase != LPM_STREAM_PHASE_POSTCOPY) {
        p->info.phase = LPM_STREAM_PHASE_DEVICES;
    }
    enter_body(p);
    return need;
}

/* A stream that resumes does not say again what its sections are. The first one that has parts can
 * only be memory, or else its records will not be understood. */
static void guess_ram(LpmStreamParser *p, const uint8_t *data)
{
    struct lpm_stream_section ram = {
        .name = g_strdup("ram"), .id = lpm_be32(data + 1), .version = 4, .iterable = TRUE};

    g_array_append_val(p->sections, ram);
    g_hash_table_insert(p->section_by_id, GUINT_TO_POINTER(ram.id), GUINT_TO_POINTER(1));
    p->info.sections = 1;
    p->open = 1;
}

static gsize next_section(LpmStreamParser *p, const uint8_t *data, gsize need)
{
    if (p->info.postcopy_resumed && !p->sections->len)
        guess_ram(p, data);
    struct lpm_stream_section *section = lpm_stream_find(p, lpm_be32(data + 1));

    if (!section || !section->iterable || section->ended)
        return lpm_stream_degrade(p, "a part of a section that did not start");
    p->section = (guint)(section - &g_array_index(p->sections, struct lpm_stream_section, 0));
    p->section_ends = data[0] == TYPE_END;
    p->info.setup_done = TRUE;
    if (p->section_ends) {
        section->ended = TRUE;
        p->open--;
    }
    if (p->info.phase < LPM_STREAM_PHASE_DEVICES)
        p->info.phase = MAX(p->info.phase, p->section_ends ? LPM_STREAM_PHASE_COMPLETING
                                                           : LPM_STREAM_PHASE_ITERATING);
    enter_body(p);
    return need;
}

static gsize command(LpmStreamParser *p, const uint8_t *data, gsize need)
{
    guint32 number = lpm_be16(data + 1), length = lpm_be16(data + 3);

    switch (number) {
    case COMMAND_RETURN_PATH:
        p->info.return_path = TRUE;
        break;
    case COMMAND_ADVISE:
        p->info.postcopy_advised = TRUE;
        if (need > 5)
            p->info.page_size_summary = lpm_be64(data + 5);
        break;
    case COMMAND_LISTEN:
        p->info.postcopy_listen = TRUE;
        break;
    case COMMAND_RUN:
        p->info.postcopy_run = TRUE;
        p->info.phase = LPM_STREAM_PHASE_POSTCOPY;
        break;
    case COMMAND_PACKAGED:
        if (length != 4)
            return lpm_stream_degrade(p, "a package whose length is not understood");
        p->state = LPM_STATE_PACKAGE;
        return need;
    case COMMAND_RECV_BITMAP:
        /* Its name is counted by its first byte, which the command's length may belie. */
        if (need > 6 && data[5] <= need - 6 && p->info.postcopy_resumed)
            lpm_stream_resumed_block(p, data + 5);
        break;
    case COMMAND_COLO:
        return lpm_stream_degrade(p, "COLO replication");
    default:
        break;
    }
    lpm_stream_skip(p, length - (need - 5), LPM_STATE_SECTION);
    return need;
}

static gsize section_take(LpmStreamParser *p, const uint8_t *data, gsize have G_GNUC_UNUSED,
                          gsize need, struct lpm_stream_event *event)
{
    switch (data[0]) {
    case TYPE_EOF:
        p->info.eof = TRUE;
        p->info.phase = LPM_STREAM_PHASE_ENDED;
        p->state = LPM_STATE_END;
        return need;
    case TYPE_START:
    case TYPE_FULL:
        return new_section(p, data, need);
    case TYPE_PART:
    case TYPE_END:
        need = next_section(p, data, need);
        if (p->state == LPM_STATE_RAM)
            event->unit = p->section_ends ? LPM_STREAM_UNIT_LAST : LPM_STREAM_UNIT_PART;
        return need;
    case TYPE_COMMAND:
        return command(p, data, need);
    default:
        return lpm_stream_degrade(p, "no section begins like this");
    }
}

static gsize package_take(LpmStreamParser *p, const uint8_t *data, gsize have G_GNUC_UNUSED,
                          gsize need, struct lpm_stream_event *event G_GNUC_UNUSED)
{
    uint32_t length = lpm_be32(data);

    p->info.phase = LPM_STREAM_PHASE_DEVICES;
    p->in_package = length > 0;
    p->package_passed = 0;
    lpm_stream_skip(p, length, LPM_STATE_SECTION);
    return need;
}

static gsize footer_need(LpmStreamParser *p G_GNUC_UNUSED, const uint8_t *data,
                         gsize have G_GNUC_UNUSED)
{
    return data[0] == TYPE_FOOTER ? 5 : 1;
}

static gsize footer_take(LpmStreamParser *p, const uint8_t *data, gsize have G_GNUC_UNUSED,
                         gsize need, struct lpm_stream_event *event)
{
    p->state = LPM_STATE_SECTION;
    if (need == 1)
        return 0;
    if (lpm_be32(data + 1) != lpm_stream_current(p)->id)
        return lpm_stream_degrade(p, "the footer of another section");
    p->info.footers = TRUE;
    event->unit = LPM_STREAM_UNIT_FOOTER;
    return need;
}

static gsize end_need(LpmStreamParser *p G_GNUC_UNUSED, const uint8_t *data,
                      gsize have G_GNUC_UNUSED)
{
    return data[0] == TYPE_DESCRIPTION ? 5 : 1;
}

static gsize end_take(LpmStreamParser *p, const uint8_t *data, gsize have G_GNUC_UNUSED, gsize need,
                      struct lpm_stream_event *event G_GNUC_UNUSED)
{
    if (need == 1)
        return lpm_stream_degrade(p, "bytes after the end");
    p->info.description_bytes = lpm_be32(data + 1);
    p->in_description = TRUE;
    lpm_stream_skip(p, p->info.description_bytes, LPM_STATE_DONE);
    return need;
}

static gsize done_take(LpmStreamParser *p, const uint8_t *data G_GNUC_UNUSED,
                       gsize have G_GNUC_UNUSED, gsize need G_GNUC_UNUSED,
                       struct lpm_stream_event *event G_GNUC_UNUSED)
{
    return lpm_stream_degrade(p, "bytes after the description");
}

const struct lpm_stream_unit lpm_stream_units[LPM_STATE_COUNT] = {
    [LPM_STATE_MAGIC] = {magic_need, magic_take},
    [LPM_STATE_MACHINE] = {machine_need, machine_take},
    [LPM_STATE_SUBSECTION] = {subsection_need, subsection_take},
    [LPM_STATE_BITS] = {need_4, bits_take},
    [LPM_STATE_CAPS] = {need_4, caps_take},
    [LPM_STATE_CAP] = {cap_need, cap_take},
    [LPM_STATE_SECTION] = {section_need, section_take},
    [LPM_STATE_RAM] = {lpm_stream_ram_need, lpm_stream_ram_take},
    [LPM_STATE_BLOCK] = {lpm_stream_block_need, lpm_stream_block_take},
    [LPM_STATE_EXTRA] = {lpm_stream_extra_need, lpm_stream_extra_take},
    [LPM_STATE_ADDRESS] = {need_8, lpm_stream_address_take},
    [LPM_STATE_HTAB] = {need_4, lpm_stream_htab_take},
    [LPM_STATE_HTAB_CHUNK] = {need_8, lpm_stream_htab_chunk_take},
    [LPM_STATE_FOOTER] = {footer_need, footer_take},
    [LPM_STATE_SCAN] = {lpm_stream_scan_need, lpm_stream_scan_take},
    [LPM_STATE_PACKAGE] = {need_4, package_take},
    [LPM_STATE_END] = {end_need, end_take},
    [LPM_STATE_DONE] = {need_1, done_take},
};
