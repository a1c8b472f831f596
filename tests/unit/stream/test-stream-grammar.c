/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Pieces of the grammar that the captures do not have, made by hand; each is also cut in every way.
 */
#include "stream-support.h"

#include <string.h>

/* The parser after the whole input; the same input byte by byte must give the same facts. */
static LpmStreamParser *run(const GByteArray *input)
{
    LpmStreamParser *parser = support_run(input, input->len, NULL);
    g_autoptr(LpmStreamParser) cut = support_run(input, 1, NULL);

    assert_memory_equal(lpm_stream_parser_info(parser), lpm_stream_parser_info(cut),
                        sizeof(struct lpm_stream_info));
    return parser;
}

static void assert_degraded(const GByteArray *input, uint64_t at, const char *reason)
{
    g_autoptr(LpmStreamParser) parser = run(input);
    const struct lpm_stream_info *info = lpm_stream_parser_info(parser);

    assert_true(info->degraded);
    assert_string_equal(info->degraded_reason, reason);
    assert_int_equal(info->degraded_at, at);
}

static void rounds_and_resent(void **state G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) input = g_byte_array_new();
    g_autoptr(LpmStreamParser) parser = NULL;
    const struct lpm_stream_info *info;

    support_header(input);
    support_start_ram(input, 8);
    support_section(input, 2, 2, NULL, 0);
    support_page(input, 0x0000 | 0x02, "ram", 0, 1);
    support_page(input, 0x1000 | 0x28, NULL, 0xaa, 4096);
    support_page(input, 0x2000 | 0x22, NULL, 0, 1);
    support_number(input, 8, 0x10);
    support_footer(input, 2);
    support_section(input, 3, 2, NULL, 0);
    support_page(input, 0x1000 | 0x08, "ram", 0xbb, 4096);
    support_number(input, 8, 0x200);
    support_number(input, 8, 0x80);
    support_number(input, 8, 0x10);
    support_footer(input, 2);
    parser = run(input);
    info = lpm_stream_parser_info(parser);
    assert_false(info->degraded);
    assert_string_equal(info->machine, "m");
    assert_int_equal(info->ram_bytes, 8 * 4096);
    assert_int_equal(info->pages_zero, 2);
    assert_int_equal(info->pages_normal, 2);
    assert_int_equal(info->pages_resent, 1);
    assert_int_equal(info->pages_distinct, 3);
    assert_int_equal(info->rounds, 2);
    assert_int_equal(info->ram_sections, 3);
    assert_int_equal(info->phase, LPM_STREAM_PHASE_COMPLETING);
    assert_true(info->ram_ended);
    assert_true(info->multifd);
    assert_false(info->eof);
}

/* Pages that QEMU encoded itself are literals, and counted. */
static void encoded_pages(void **state G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) input = g_byte_array_new();
    g_autoptr(LpmStreamParser) parser = NULL;
    const struct lpm_stream_info *info;

    support_header(input);
    support_start_ram(input, 8);
    support_section(input, 2, 2, NULL, 0);
    support_hex(input, "0000000000001040 03 72616d 01 0005 0102030405");
    support_hex(input, "0000000000001060 01 0000");
    support_hex(input, "0000000000002120 00000003 789c01");
    support_page(input, 0x3028, NULL, 1, 4096);
    support_number(input, 8, 0x10);
    support_footer(input, 2);
    parser = run(input);
    info = lpm_stream_parser_info(parser);
    assert_false(info->degraded);
    assert_int_equal(info->pages_encoded, 3);
    assert_int_equal(info->pages_normal, 1);
    assert_int_equal(info->pages_resent, 1);
    assert_int_equal(info->pages_distinct, 3);
    assert_int_equal(info->ram_sections, 2);
}

/* The event of a record tells all about it and points into the input. */
static void page_event(void **state G_GNUC_UNUSED)
{
    g_autoptr(LpmStreamParser) parser = lpm_stream_parser_new();
    g_autoptr(GByteArray) input = g_byte_array_new();
    struct lpm_stream_event event;
    gsize at = 0, records;

    support_header(input);
    support_start_ram(input, 8);
    support_section(input, 2, 2, NULL, 0);
    records = input->len;
    support_page(input, 0x3000 | 0x08, "ram", 0xaa, 4096);
    support_page(input, 0x3000 | 0x28, NULL, 0xab, 4096);
    while (at < records)
        at += lpm_stream_parser_step(parser, input->data + at, records - at, &event);
    at += lpm_stream_parser_step(parser, input->data + at, input->len - at, &event);
    assert_int_equal(event.type, LPM_STREAM_PAGE);
    assert_ptr_equal(event.data, input->data + records);
    assert_int_equal(event.header_length, 12);
    assert_int_equal(event.length, 12 + 4096);
    assert_int_equal(event.offset, 0x3000);
    assert_int_equal(event.flags, 0x08);
    assert_false(event.resent);
    lpm_stream_parser_step(parser, input->data + at, input->len - at, &event);
    assert_int_equal(event.header_length, 8);
    assert_int_equal(event.flags, 0x28);
    assert_true(event.resent);
    assert_string_equal(lpm_stream_parser_block(parser, (guint)event.block)->name, "ram");
    assert_null(lpm_stream_parser_block(parser, 1));
}

/* A page of which half came: flush lets it go, and the rest follows as literal. */
static void flush_in_a_record(void **state G_GNUC_UNUSED)
{
    g_autoptr(LpmStreamParser) parser = lpm_stream_parser_new();
    g_autoptr(GByteArray) input = g_byte_array_new();
    struct lpm_stream_event event;
    gsize at = 0, half;

    support_header(input);
    support_start_ram(input, 8);
    support_section(input, 2, 2, NULL, 0);
    support_page(input, 0x08, "ram", 0xaa, 4096);
    half = input->len - 2000;
    while (at < half)
        at += lpm_stream_parser_step(parser, input->data + at, half - at, &event);
    assert_int_equal(event.type, LPM_STREAM_NONE);
    assert_int_equal(lpm_stream_parser_withheld(parser), 12 + 2096);
    lpm_stream_parser_flush(parser, &event);
    assert_int_equal(event.type, LPM_STREAM_LITERAL);
    assert_int_equal(event.length, 12 + 2096);
    assert_int_equal(lpm_stream_parser_withheld(parser), 0);
    lpm_stream_parser_flush(parser, &event);
    assert_int_equal(event.type, LPM_STREAM_NONE);
    assert_int_equal(lpm_stream_parser_step(parser, input->data + at, 2000, &event), 2000);
    assert_int_equal(event.type, LPM_STREAM_LITERAL);
    assert_int_equal(event.length, 2000);
    assert_int_equal(lpm_stream_parser_info(parser)->pages_normal, 1);
}

static void configuration(void **state G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) input = g_byte_array_new();
    g_autoptr(LpmStreamParser) parser = NULL;
    const struct lpm_stream_info *info;

    support_header(input);
    support_number(input, 1, 5);
    support_name(input, "configuration/target-page-bits");
    support_hex(input, "00000001 00000010");
    support_number(input, 1, 5);
    support_name(input, "configuration/capabilities");
    support_hex(input, "00000001 00000001");
    support_name(input, "x-ignore-shared");
    support_number(input, 1, 5);
    support_name(input, "configuration/uuid");
    support_hex(input, "00000001 000102030405060708090a0b0c0d0e0f");
    support_section(input, 1, 2, "ram", 4);
    support_number(input, 8, 0x40000 | 4);
    support_name(input, "a");
    support_number(input, 8, 0x30000);
    support_number(input, 8, 0); /* address */
    support_name(input, "b");
    support_number(input, 8, 0x10000);
    support_number(input, 8, 0x30000);
    support_number(input, 8, 0x10);
    support_footer(input, 2);
    support_section(input, 2, 2, NULL, 0);
    support_page(input, 0x08, "b", 0xaa, 65536);
    support_number(input, 8, 0x10);
    support_footer(input, 2);
    parser = run(input);
    info = lpm_stream_parser_info(parser);
    assert_false(info->degraded);
    assert_int_equal(info->page_size, 65536);
    assert_int_equal(info->blocks, 2);
    assert_int_equal(info->pages_normal, 1);
    assert_int_equal(info->ram_sections, 2);
}

/* A page size in the block list has no mark of its own. */
static void page_size_of_blocks(void **state G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) input = g_byte_array_new();
    g_autoptr(LpmStreamParser) parser = NULL;

    support_header(input);
    support_hex(input, "08 0003 0010 0000000000201000 0000000000001000");
    support_section(input, 1, 2, "ram", 4);
    support_number(input, 8, 0x600000 | 4);
    support_name(input, "a");
    support_number(input, 8, 0x200000);
    support_number(input, 8, 0x200000);
    support_name(input, "b");
    support_number(input, 8, 0x200000);
    support_name(input, "c");
    support_number(input, 8, 0x200000);
    support_number(input, 8, 0x200000);
    support_number(input, 8, 0x10);
    support_footer(input, 2);
    parser = run(input);
    assert_false(lpm_stream_parser_info(parser)->degraded);
    assert_true(lpm_stream_parser_info(parser)->postcopy_advised);
    assert_int_equal(lpm_stream_parser_block(parser, 0)->page_size, 0x200000);
    assert_int_equal(lpm_stream_parser_block(parser, 1)->page_size, 0);
    assert_int_equal(lpm_stream_parser_block(parser, 2)->page_size, 0x200000);
    assert_int_equal(lpm_stream_parser_info(parser)->ram_sections, 1);
}

/* An iterable of a kind that is not known, and device state during setup: ram is still recognised.
 */
static void unknown_bodies(void **state G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) input = g_byte_array_new();
    g_autoptr(LpmStreamParser) parser = NULL;
    const struct lpm_stream_info *info;

    support_header(input);
    support_section(input, 1, 1, "vfio", 1);
    support_hex(input, "7e 7e00 7e00000001 ff 7e00000001 02 00000009 7e0000");
    support_footer(input, 1);
    support_start_ram(input, 8);
    support_section(input, 4, 3, "0000:00:02.0/virtio-mem-early", 1);
    support_hex(input, "00010203 7e00000002 7e00000003 99");
    support_footer(input, 3);
    support_section(input, 2, 1, NULL, 0);
    support_hex(input, "deadbeef");
    support_footer(input, 1);
    support_section(input, 2, 2, NULL, 0);
    support_page(input, 0x02, "ram", 0, 1);
    support_number(input, 8, 0x10);
    support_footer(input, 2);
    support_section(input, 3, 1, NULL, 0);
    support_footer(input, 1);
    support_section(input, 3, 2, NULL, 0);
    support_number(input, 8, 0x10);
    support_footer(input, 2);
    support_section(input, 4, 5, "timer", 2);
    support_hex(input, "0102");
    support_footer(input, 5);
    support_hex(input, "00 06 00000002 7b7d");
    parser = run(input);
    info = lpm_stream_parser_info(parser);
    assert_false(info->degraded);
    assert_int_equal(info->pages_zero, 1);
    assert_int_equal(info->ram_sections, 3);
    assert_int_equal(info->sections, 4);
    assert_string_equal(lpm_stream_parser_section(parser, 3)->name, "timer");
    assert_true(info->eof);
    assert_int_equal(info->description_bytes, 2);
    assert_true(info->description_done);
}

static void hash_page_table(void **state G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) input = g_byte_array_new();
    g_autoptr(LpmStreamParser) parser = NULL;

    support_header(input);
    support_section(input, 1, 7, "spapr/htab", 1);
    support_hex(input, "00000018");
    support_footer(input, 7);
    support_section(input, 3, 7, NULL, 0);
    support_hex(input, "00000000 00000005 0001 0003 000102030405060708090a0b0c0d0e0f"
                       "0000000900000001 0000000000000000");
    support_footer(input, 7);
    support_section(input, 4, 8, "x", 1);
    parser = run(input);
    assert_false(lpm_stream_parser_info(parser)->degraded);
    assert_int_equal(lpm_stream_parser_info(parser)->phase, LPM_STREAM_PHASE_DEVICES);
}

static void package(void **state G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) input = g_byte_array_new();
    g_autoptr(LpmStreamParser) parser = NULL;

    support_header(input);
    support_start_ram(input, 8);
    support_hex(input, "08 0007 0004 0000000c 0800040000 ffff 0800050000");
    support_section(input, 3, 2, NULL, 0);
    support_page(input, 0x4000 | 0x08, "ram", 1, 4096);
    support_page(input, 0x1000 | 0x28, NULL, 1, 4096);
    support_number(input, 8, 0x10);
    support_footer(input, 2);
    parser = run(input);
    assert_false(lpm_stream_parser_info(parser)->degraded);
    assert_true(lpm_stream_parser_info(parser)->postcopy_listen);
    assert_true(lpm_stream_parser_info(parser)->postcopy_run);
    assert_int_equal(lpm_stream_parser_info(parser)->phase, LPM_STREAM_PHASE_POSTCOPY);
    assert_int_equal(lpm_stream_parser_info(parser)->rounds, 1);
    support_hex(input, "00");
    lpm_stream_parser_free(g_steal_pointer(&parser));
    parser = run(input);
    assert_int_equal(lpm_stream_parser_info(parser)->phase, LPM_STREAM_PHASE_ENDED);
}

/* A post-copy that goes on after a cut has no header and names sections of the stream before. */
static void resumed(void **state G_GNUC_UNUSED)
{
    static const char begin[] = "08 000a 0005 0472616d30 08 0009 0000 02 00000002";
    g_autoptr(GByteArray) input = g_byte_array_new();
    g_autoptr(GByteArray) other = g_byte_array_new();

    support_hex(input, begin);
    support_hex(input, "0000000000003002 04 72616d30 00 0000000000001022 00 0000000000000010");
    support_hex(input, "7e 00000002 03 00000002 0000000000000010 7e 00000002 00");
    g_autoptr(LpmStreamParser) parser = support_run(input, input->len, NULL);
    const struct lpm_stream_info *info = lpm_stream_parser_info(parser);

    assert_false(info->degraded);
    assert_true(info->postcopy_resumed);
    assert_int_equal(info->pages_zero, 2);
    assert_int_equal(info->phase, LPM_STREAM_PHASE_ENDED);
    support_hex(other, begin); /* not memory after all */
    support_hex(other, "0000000000000001");
    assert_degraded(other, 20, "a record of ram that is not known");
}

static void reasons(void **state G_GNUC_UNUSED)
{
    static const struct {
        const char *ram; /* after the header of a part of ram with 8 pages, in hexadecimal */
        const char *reason;
    } cases[] = {
        {"0000000000000001", "a record of ram that is not known"},
        {"000000000000000a", "a record of ram that is not known"},
        {"0000000000001004", "a second list of memory blocks"},
        {"0000000000000022 00", "a page of no block"},
        {"0000000000000002 01 78 00", "a page of a block that was not announced"},
        {"0000000000008002 03 72616d 00", "a page outside of its block"},
        {"0000000000000002 03 72616d 01", "a filled page that is not zero"},
        {"0000000000000040 03 72616d 02 0001", "an encoded page that cannot be one"},
        {"0000000000000100 03 72616d ffffffff", "an encoded page that cannot be one"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) input = g_byte_array_new();
        gsize at;

        support_header(input);
        support_start_ram(input, 8);
        support_section(input, 2, 2, NULL, 0);
        at = input->len;
        support_hex(input, cases[i].ram);
        support_hex(input, "000102030405060708");
        assert_degraded(input, at, cases[i].reason);
    }
}

static void not_a_stream(void **state G_GNUC_UNUSED)
{
    static const struct {
        const char *hex;
        uint64_t at;
        const char *reason;
    } cases[] = {
        {"4745542f 20485454 50", 0, "not a migration stream (wrong magic number)"},
        {"11223344 00000001 00", 0, "a multifd channel"},
        {"5145564d 00000002 00", 0, "a version of the stream that is not known"},
        {"5145564d 00000003 07 ffffffff 00", 8, "the name of the machine is too long"},
        {"5145564d 00000003 0b", 8, "no section begins like this"},
        {"5145564d 00000003 00 41", 9, "bytes after the end"},
        {"5145564d 00000003 08 0008 0000 41", 8, "COLO replication"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) input = g_byte_array_new();

        support_hex(input, cases[i].hex);
        assert_degraded(input, cases[i].at, cases[i].reason);
    }
}

/* More memory than can be counted: pages are recognised, not counted as sent before. */
static void too_much_memory(void **state G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) input = g_byte_array_new();
    g_autoptr(LpmStreamParser) parser = NULL;

    support_header(input);
    support_section(input, 1, 2, "ram", 4);
    support_number(input, 8, 1ULL << 60 | 4);
    support_name(input, "ram");
    support_number(input, 8, 1ULL << 60);
    support_page(input, 1ULL << 59 | 0x02, "ram", 0, 1);
    support_page(input, 1ULL << 59 | 0x22, NULL, 0, 1);
    parser = run(input);
    assert_false(lpm_stream_parser_info(parser)->degraded);
    assert_false(lpm_stream_parser_info(parser)->pages_tracked);
    assert_int_equal(lpm_stream_parser_info(parser)->pages_zero, 2);
    assert_int_equal(lpm_stream_parser_info(parser)->pages_resent, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_and_resent), cmocka_unit_test(encoded_pages),
        cmocka_unit_test(page_event),        cmocka_unit_test(flush_in_a_record),
        cmocka_unit_test(configuration),     cmocka_unit_test(page_size_of_blocks),
        cmocka_unit_test(unknown_bodies),    cmocka_unit_test(hash_page_table),
        cmocka_unit_test(package),           cmocka_unit_test(resumed),
        cmocka_unit_test(reasons),           cmocka_unit_test(not_a_stream),
        cmocka_unit_test(too_much_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
