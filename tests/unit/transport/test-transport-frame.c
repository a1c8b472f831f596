/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Frames: to bytes and back, damage, and the bookkeeping of a channel. */
#include "base/error.h"
#include "transport/bytes.h"
#include "transport/channel.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void append(GByteArray *out, const LpmFrame *frame)
{
    guint8 header[LPM_FRAME_HEADER_BYTES];

    lpm_frame_encode_header(frame, header);
    g_byte_array_append(out, header, sizeof(header));
    g_byte_array_append(out, frame->body, frame->length);
}

/* A small conversation: HELLO, ACK, PING, DATA of several lengths, CLOSE. */
static GByteArray *conversation(void)
{
    const struct lpm_hello hello = {.side = LPM_SIDE_TARGET, .window = 1u << 20, .next = {0, 3, 9}};
    const guint64 next[LPM_CHANNEL_COUNT] = {0, 7, 8};
    GByteArray *out = g_byte_array_new();
    guint8 body[500];

    memset(body, 0xa5, sizeof(body));
    LpmFrame *frames[] = {lpm_frame_hello(&hello),
                          lpm_frame_ack(1u << LPM_CHANNEL_RPC | 1u << LPM_CHANNEL_DATA, next),
                          lpm_frame_ping(LPM_FRAME_PING, 12345),
                          lpm_frame_new_raw(LPM_FRAME_DATA, LPM_CHANNEL_RPC, body, 1),
                          lpm_frame_new_raw(LPM_FRAME_DATA, LPM_CHANNEL_DATA, body, sizeof(body)),
                          lpm_frame_new_raw(LPM_FRAME_CLOSE, LPM_CHANNEL_DATA, NULL, 0),
                          lpm_frame_fail(LPM_E_DATA_DAMAGED, "why")};

    for (guint i = 0; i < G_N_ELEMENTS(frames); i++) {
        frames[i]->sequence = frames[i]->channel ? i : 0;
        append(out, frames[i]);
        lpm_frame_free(frames[i]);
    }
    return out;
}

/* Decodes in pieces; returns how many whole frames came, and the error's number (0: none). */
static guint decode(const GByteArray *in, gsize piece, guint8 *types, int *failure)
{
    g_autoptr(LpmFrameDecoder) decoder = lpm_frame_decoder_new();
    g_autoptr(GError) error = NULL;
    guint count = 0;

    *failure = 0;
    for (gsize done = 0, taken; done < in->len; done += taken) {
        g_autoptr(LpmFrame) frame = NULL;

        if (!lpm_frame_decoder_step(decoder, in->data + done, MIN(piece, in->len - done), &taken,
                                    &frame, &error)) {
            *failure = error->code;
            break;
        }
        if (frame) {
            types[count++] = frame->type;
            if (frame->channel && !lpm_frame_verify(frame, &error)) {
                *failure = error->code;
                break;
            }
        }
    }
    return count;
}

static void test_any_split(void **state)
{
    static const guint8 expected[] = {LPM_FRAME_HELLO, LPM_FRAME_ACK,  LPM_FRAME_PING,
                                      LPM_FRAME_DATA,  LPM_FRAME_DATA, LPM_FRAME_CLOSE,
                                      LPM_FRAME_FAIL};
    g_autoptr(GByteArray) in = conversation();
    guint8 types[16];
    int failure;

    (void)state;
    for (gsize piece = 1; piece <= in->len; piece++) {
        assert_int_equal(decode(in, piece, types, &failure), G_N_ELEMENTS(expected));
        assert_int_equal(failure, 0);
        assert_memory_equal(types, expected, sizeof(expected));
    }
}

/* Whatever single bit turns over, it is noticed. */
static void test_every_bit_counts(void **state)
{
    g_autoptr(GByteArray) in = conversation();
    guint8 types[16];
    int failure;

    (void)state;
    for (gsize bit = 0; bit < in->len * 8; bit++) {
        in->data[bit / 8] ^= (guint8)(1u << bit % 8);
        decode(in, in->len, types, &failure);
        assert_true(failure == LPM_E_DATA_DAMAGED || failure == LPM_E_PROTOCOL);
        in->data[bit / 8] ^= (guint8)(1u << bit % 8);
    }
}

static void test_control_bodies(void **state)
{
    struct lpm_hello hello = {
        .side = LPM_SIDE_SOURCE, .window = 77, .next = {0, 1, G_MAXUINT64}, .links = 1};
    const guint64 next[LPM_CHANNEL_COUNT] = {0, 7, 8};
    guint64 told[LPM_CHANNEL_COUNT] = {0};
    g_autofree char *cause = NULL;
    struct lpm_hello back;
    guint64 value;
    guint mask;
    int code;

    (void)state;
    memset(hello.session, 9, sizeof(hello.session));
    g_autoptr(LpmFrame) greeting = lpm_frame_hello(&hello);
    g_autoptr(LpmFrame) ack = lpm_frame_ack(1u << LPM_CHANNEL_DATA, next);
    g_autoptr(LpmFrame) ping = lpm_frame_ping(LPM_FRAME_PONG, 0x1122334455667788);
    g_autoptr(LpmFrame) fail = lpm_frame_fail(LPM_E_PROTOCOL, "bad\n\xff");

    assert_true(lpm_frame_parse_hello(greeting, &back, NULL));
    assert_memory_equal(&back, &hello, sizeof(hello));
    assert_int_equal(lpm_get_be16(greeting->body), 1);
    assert_true(lpm_frame_parse_ack(ack, &mask, told, NULL));
    assert_int_equal(mask, 1u << LPM_CHANNEL_DATA);
    assert_int_equal(told[LPM_CHANNEL_DATA], 8);
    assert_true(lpm_frame_parse_ping(ping, &value, NULL));
    assert_int_equal(value, 0x1122334455667788);
    assert_true(lpm_frame_parse_fail(fail, &code, &cause, NULL));
    assert_int_equal(code, LPM_E_PROTOCOL);
    assert_true(g_str_has_prefix(cause, "bad ") && g_utf8_validate(cause, -1, NULL));
}

/* A number of links is said in version 2 only, and within bounds. */
static void test_hello_links(void **state)
{
    struct lpm_hello hello = {.window = 77}, back;

    (void)state;
    for (hello.links = 2; hello.links <= LPM_LINKS_MOST; hello.links++) {
        g_autoptr(LpmFrame) greeting = lpm_frame_hello(&hello);

        assert_int_equal(lpm_get_be16(greeting->body), 2);
        assert_true(lpm_frame_parse_hello(greeting, &back, NULL));
        assert_memory_equal(&back, &hello, sizeof(hello));
        lpm_put_be16(greeting->body, 1); /* it is too long for version 1 */
        assert_false(lpm_frame_parse_hello(greeting, &back, NULL));
    }
    for (guint bad = 0; bad < 256; bad++) {
        hello.links = 2;
        g_autoptr(LpmFrame) greeting = lpm_frame_hello(&hello);

        greeting->body[greeting->length - 1] = (guint8)bad;
        assert_int_equal(lpm_frame_parse_hello(greeting, &back, NULL),
                         bad >= 2 && bad <= LPM_LINKS_MOST);
    }
}

static void test_other_version(void **state)
{
    const struct lpm_hello hello = {.window = 1, .links = 1};
    g_autoptr(LpmFrame) greeting = lpm_frame_hello(&hello);
    g_autoptr(GError) error = NULL;
    struct lpm_hello back;

    (void)state;
    lpm_put_be16(greeting->body, 3);
    assert_false(lpm_frame_parse_hello(greeting, &back, &error));
    assert_int_equal(error->code, LPM_E_PROTOCOL);
    assert_non_null(strstr(error->message, "version 3"));
}

/* ---- bookkeeping ---- */

static LpmFrame *data_frame(guint64 sequence)
{
    LpmFrame *frame = lpm_frame_new_raw(LPM_FRAME_DATA, LPM_CHANNEL_DATA, &sequence, 8);

    frame->sequence = sequence;
    return frame;
}

static void test_inbox_orders(void **state)
{
    static const guint64 arrival[] = {3, 0, 2, 2, 0, 1, 5, 4, 3};
    struct lpm_inbox inbox;

    (void)state;
    lpm_inbox_init(&inbox);
    for (guint i = 0; i < G_N_ELEMENTS(arrival); i++)
        assert_true(lpm_inbox_put(&inbox, data_frame(arrival[i]), 1000, NULL));
    assert_int_equal(inbox.duplicates, 3);
    assert_int_equal(inbox.expected, 6);
    for (guint64 i = 0; i < 6; i++) {
        LpmFrame *frame = lpm_inbox_take(&inbox);

        assert_non_null(frame);
        assert_int_equal(frame->sequence, i);
        lpm_inbox_delivered(&inbox, frame);
        assert_int_equal(inbox.delivered, i + 1);
    }
    assert_null(lpm_inbox_take(&inbox));
    assert_int_equal(inbox.held, 0);
    lpm_inbox_clear(&inbox);
}

static void test_inbox_bounds(void **state)
{
    g_autofree guint8 *body = g_malloc0(LPM_FRAME_ORIGINAL_MAX);
    g_autoptr(GError) error = NULL;
    struct lpm_inbox inbox;
    guint accepted = 0;

    (void)state;
    lpm_inbox_init(&inbox);
    for (guint64 i = 0; i < 10; i++) {
        LpmFrame *frame =
            lpm_frame_new_raw(LPM_FRAME_DATA, LPM_CHANNEL_DATA, body, LPM_FRAME_ORIGINAL_MAX);

        frame->sequence = i;
        if (!lpm_inbox_put(&inbox, frame, 2 * LPM_FRAME_ORIGINAL_MAX, &error))
            break;
        accepted++;
    }
    assert_int_equal(accepted, 3); /* the window and one frame */
    assert_int_equal(error->code, LPM_E_PROTOCOL);
    g_clear_error(&error);
    assert_false(lpm_inbox_put(&inbox, data_frame(LPM_CHANNEL_FRAMES_MAX), 1u << 30, &error));
    assert_int_equal(error->code, LPM_E_PROTOCOL);
    lpm_inbox_clear(&inbox);
}

static void test_inbox_grammar(void **state)
{
    static const enum lpm_frame_type bad[][2] = {{LPM_FRAME_CLOSE, LPM_FRAME_DATA},
                                                 {LPM_FRAME_RESET, LPM_FRAME_CLOSE},
                                                 {LPM_FRAME_CLOSE, LPM_FRAME_CLOSE},
                                                 {LPM_FRAME_DATA, LPM_FRAME_OPEN}};

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        struct lpm_inbox inbox;
        LpmFrame *first =
            lpm_frame_new_raw(bad[i][0], LPM_CHANNEL_DATA, "x", bad[i][0] == LPM_FRAME_DATA);
        LpmFrame *second =
            lpm_frame_new_raw(bad[i][1], LPM_CHANNEL_DATA, "x", bad[i][1] == LPM_FRAME_DATA);

        second->sequence = 1;
        lpm_inbox_init(&inbox);
        assert_true(lpm_inbox_put(&inbox, first, 1000, NULL));
        assert_false(lpm_inbox_put(&inbox, second, 1000, &error));
        assert_int_equal(error->code, LPM_E_PROTOCOL);
        lpm_inbox_clear(&inbox);
    }
}

/* `count` frames that wait in an empty outbox. */
static void fill_outbox(struct lpm_outbox *outbox, guint count)
{
    for (guint i = 0; i < count; i++) {
        outbox->used += 8;
        lpm_outbox_push(outbox, data_frame(0));
    }
}

/* The link takes exactly these, in this order. */
static void assert_takes(struct lpm_outbox *outbox, guint32 link, guint64 first, guint64 end)
{
    for (; first < end; first++)
        assert_int_equal(lpm_outbox_take(outbox, link)->sequence, first);
}

static void test_outbox(void **state)
{
    struct lpm_outbox outbox = {0};

    (void)state;
    fill_outbox(&outbox, 6);
    assert_takes(&outbox, 1, 0, 4);
    assert_int_equal(outbox.waiting, 2);
    assert_false(lpm_outbox_ack(&outbox, 5, NULL)); /* never sent */
    assert_true(lpm_outbox_ack(&outbox, 2, NULL));
    assert_int_equal(outbox.used, 32);
    assert_true(lpm_outbox_ack(&outbox, 1, NULL)); /* late, no news */
    lpm_outbox_lost(&outbox, 1);
    assert_int_equal(outbox.waiting, 4);
    assert_false(lpm_outbox_has(&outbox, 1, TRUE, NULL));  /* regression */
    assert_true(lpm_outbox_has(&outbox, 1, FALSE, NULL));  /* overtaken */
    assert_false(lpm_outbox_has(&outbox, 5, FALSE, NULL)); /* never sent */
    assert_true(lpm_outbox_has(&outbox, 3, TRUE, NULL));
    assert_int_equal(outbox.waiting, 3);
    assert_takes(&outbox, 2, 3, 6);
    assert_null(lpm_outbox_take(&outbox, 2));
    assert_true(lpm_outbox_ack(&outbox, 6, NULL));
    assert_int_equal(outbox.used, 0);
    assert_null(outbox.head);
    lpm_outbox_clear(&outbox);
}

/* What a lost link carried is taken by the others, and nothing that they carry themselves. */
static void test_outbox_of_several_links(void **state)
{
    struct lpm_outbox outbox = {0};

    (void)state;
    fill_outbox(&outbox, 8);
    assert_takes(&outbox, 1, 0, 2);
    assert_takes(&outbox, 2, 2, 4);
    assert_takes(&outbox, 1, 4, 5);
    assert_takes(&outbox, 3, 5, 6);
    /* A link that joins says what has come: nothing of what is under way is sent over it. */
    assert_true(lpm_outbox_has(&outbox, 1, FALSE, NULL));
    assert_int_equal(outbox.waiting, 2);
    lpm_outbox_lost(&outbox, 1); /* 0 has arrived; 1 and 4 have not */
    assert_int_equal(outbox.waiting, 4);
    assert_takes(&outbox, 3, 1, 2);
    assert_takes(&outbox, 3, 4, 5);
    assert_takes(&outbox, 3, 6, 7);
    lpm_outbox_lost(&outbox, 2);
    /* One that was to be sent again is acknowledged: it had come. */
    assert_true(lpm_outbox_ack(&outbox, 3, NULL));
    assert_int_equal(outbox.waiting, 2);
    assert_takes(&outbox, 3, 3, 4);
    lpm_outbox_lost(&outbox, 3);
    assert_int_equal(outbox.waiting, 5);
    assert_true(lpm_outbox_has(&outbox, 7, FALSE, NULL));
    assert_takes(&outbox, 4, 7, 8);
    assert_null(lpm_outbox_take(&outbox, 4));
    lpm_outbox_lost(&outbox, 9); /* carried nothing */
    assert_null(lpm_outbox_take(&outbox, 4));
    assert_true(lpm_outbox_ack(&outbox, 8, NULL));
    assert_null(outbox.head);
    lpm_outbox_clear(&outbox);
}

/* Whatever happens, each frame is either acknowledged, known to have come, carried or offered. */
static void test_outbox_at_random(void **state)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(11);
    struct lpm_outbox outbox = {0};
    guint64 has = 0;

    (void)state;
    for (guint step = 0; step < 200000; step++) {
        guint32 link = (guint32)g_rand_int_range(random, 1, 4);

        switch (g_rand_int_range(random, 0, 8)) {
        case 0:
            has += (guint64)g_rand_int_range(random, 0, (gint)(outbox.given - has) + 1);
            if (g_rand_boolean(random))
                assert_true(lpm_outbox_ack(&outbox, has, NULL));
            else
                assert_true(lpm_outbox_has(&outbox, has, FALSE, NULL));
            break;
        case 1:
            lpm_outbox_lost(&outbox, link);
            break;
        case 2:
        case 3:
        case 4:
            if (outbox.frames < 64)
                fill_outbox(&outbox, 1);
            break;
        default:
            lpm_outbox_take(&outbox, link);
            break;
        }
        const LpmFrame *first = NULL;
        guint waiting = 0, frames = 0;
        guint64 next = outbox.acked;

        for (const LpmFrame *frame = outbox.head; frame; frame = frame->next, frames++) {
            assert_int_equal(frame->sequence, next++);
            if (frame->carrier != LPM_CARRIER_NONE)
                continue;
            first = first ? first : frame;
            waiting++;
            assert_true(frame->sequence >= has);
        }
        assert_int_equal(next, outbox.next);
        assert_int_equal(frames, outbox.frames);
        assert_int_equal(waiting, outbox.waiting);
        assert_ptr_equal(first, outbox.unsent);
    }
    assert_true(has > 1000);
    lpm_outbox_clear(&outbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_split),        cmocka_unit_test(test_every_bit_counts),
        cmocka_unit_test(test_control_bodies),   cmocka_unit_test(test_other_version),
        cmocka_unit_test(test_inbox_orders),     cmocka_unit_test(test_inbox_bounds),
        cmocka_unit_test(test_inbox_grammar),    cmocka_unit_test(test_outbox),
        cmocka_unit_test(test_hello_links),      cmocka_unit_test(test_outbox_of_several_links),
        cmocka_unit_test(test_outbox_at_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
