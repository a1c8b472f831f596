/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* libvirt's RPC through two real movers: keepalive answered, Finish held, and the framing by
 * itself. */
#include "pair.h"

#include "base/clock.h"
#include "mover/rpc.h"
#include "transport/bytes.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the stepper by itself ---- */

static void append_message(GByteArray *out, guint32 program, guint32 procedure, guint32 type,
                           guint32 serial, guint32 status, gsize payload)
{
    struct lpm_rpc_header header = {.length = (guint32)(LPM_RPC_HEADER_BYTES + payload),
                                    .program = program,
                                    .version = 1,
                                    .procedure = procedure,
                                    .type = type,
                                    .serial = serial,
                                    .status = status};
    guint8 bytes[LPM_RPC_HEADER_BYTES];

    lpm_rpc_put_header(&header, bytes);
    g_byte_array_append(out, bytes, sizeof(bytes));
    for (gsize i = 0; i < payload; i++) {
        guint8 byte = (guint8)(serial + i);

        g_byte_array_append(out, &byte, 1);
    }
}

/* Steps through `in` in pieces of `chunk` bytes; gives the bytes, messages and their ends seen. */
static GByteArray *step_all(const GByteArray *in, gsize chunk, guint *messages, guint *ends)
{
    struct lpm_rpc_stepper stepper = {0};
    struct lpm_rpc_piece piece;
    GByteArray *out = g_byte_array_new();

    *messages = *ends = 0;
    for (gsize done = 0; done < in->len;) {
        gsize room = MIN(chunk, in->len - done);
        gsize n = lpm_rpc_step(&stepper, in->data + done, room, &piece);

        assert_true(n > 0 && n <= room);
        done += n;
        if (piece.type == LPM_RPC_NONE)
            continue;
        *messages += piece.type == LPM_RPC_HEADER;
        *ends += piece.last ? 1 : 0;
        g_byte_array_append(out, piece.data, (guint)piece.length);
    }
    lpm_rpc_flush(&stepper, &piece);
    g_byte_array_append(out, piece.data, (guint)piece.length);
    return out;
}

static void test_stepper_any_split(void **state)
{
    g_autoptr(GByteArray) in = g_byte_array_new();
    guint messages, ends;

    (void)state;
    append_message(in, LPM_RPC_PROGRAM_REMOTE, 1, LPM_RPC_CALL, 1, 0, 0);
    append_message(in, LPM_RPC_PROGRAM_REMOTE, 306, LPM_RPC_REPLY, 2, 0, 1001);
    append_message(in, LPM_RPC_PROGRAM_KEEPALIVE, 1, LPM_RPC_MESSAGE, 0, 0, 0);
    append_message(in, LPM_RPC_PROGRAM_REMOTE, 3, LPM_RPC_REPLY, 3, 1, 4);
    for (gsize chunk = 1; chunk < in->len; chunk++) {
        g_autoptr(GByteArray) out = step_all(in, chunk, &messages, &ends);

        assert_int_equal(messages, 4);
        assert_int_equal(ends, 4);
        assert_int_equal(out->len, in->len);
        assert_memory_equal(out->data, in->data, in->len);
    }
}

static void test_stepper_odd_lengths(void **state)
{
    static const guint32 lengths[] = {0, 4, 27, LPM_RPC_MESSAGE_MAX + 1, 0xffffffff};
    guint messages, ends;

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_autoptr(GByteArray) in = g_byte_array_new();

        append_message(in, LPM_RPC_PROGRAM_REMOTE, 1, LPM_RPC_CALL, 1, 0, 8);
        guint8 word[4];

        lpm_put_be32(word, lengths[i]);
        g_byte_array_append(in, word, 4);
        append_message(in, LPM_RPC_PROGRAM_REMOTE, 1, LPM_RPC_CALL, 1, 0, 8);
        for (gsize chunk = 1; chunk < 40; chunk++) {
            g_autoptr(GByteArray) out = step_all(in, chunk, &messages, &ends);

            assert_int_equal(messages, 1); /* from the odd length on it is opaque */
            assert_int_equal(out->len, in->len);
            assert_memory_equal(out->data, in->data, in->len);
        }
    }
}

static void test_error_reply(void **state)
{
    const struct lpm_rpc_header reply = {.length = 99,
                                         .program = LPM_RPC_PROGRAM_REMOTE,
                                         .version = 1,
                                         .procedure = 306,
                                         .type = LPM_RPC_REPLY,
                                         .serial = 77};
    g_autoptr(GByteArray) out = g_byte_array_new();
    struct lpm_rpc_stepper stepper = {0};
    struct lpm_rpc_piece piece;

    (void)state;
    lpm_rpc_error_reply(&reply, "stopped", out);
    lpm_rpc_step(&stepper, out->data, 4, &piece);
    lpm_rpc_step(&stepper, out->data + 4, out->len - 4, &piece);
    assert_int_equal(piece.type, LPM_RPC_HEADER);
    assert_int_equal(piece.header.length, out->len);
    assert_int_equal(piece.header.serial, 77);
    assert_int_equal(piece.header.status, 1);
    assert_int_equal(out->len % 4, 0);
    /* code, domain, present, length, text */
    assert_int_equal(lpm_get_be32(out->data + 28), 9);
    assert_int_equal(lpm_get_be32(out->data + 36), 1);
    assert_int_equal(lpm_get_be32(out->data + 40), 7);
    assert_memory_equal(out->data + 44, "stopped\0", 8);
}

/* ---- through two movers ---- */

static void say(int fd, guint32 program, guint32 procedure, guint32 type, guint32 serial,
                guint32 status, gsize payload)
{
    g_autoptr(GByteArray) out = g_byte_array_new();

    append_message(out, program, procedure, type, serial, status, payload);
    assert_true(lpm_write_all(fd, out->data, out->len, NULL));
}

static gboolean readable(int fd, int timeout_ms)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};

    return poll(&item, 1, timeout_ms) > 0;
}

/* Reads one message, checking its payload; fails the test if none comes within 10 s. */
static struct lpm_rpc_header hear(int fd, gboolean check_payload)
{
    guint8 bytes[LPM_RPC_HEADER_BYTES];
    struct lpm_rpc_stepper stepper = {0};
    struct lpm_rpc_piece piece;

    assert_true(readable(fd, 10000));
    assert_true(lpm_read_all(fd, bytes, sizeof(bytes), NULL));
    lpm_rpc_step(&stepper, bytes, 4, &piece);
    lpm_rpc_step(&stepper, bytes + 4, sizeof(bytes) - 4, &piece);
    assert_int_equal(piece.type, LPM_RPC_HEADER);
    gsize payload = piece.header.length - LPM_RPC_HEADER_BYTES;
    g_autofree guint8 *body = g_malloc(payload + 1);

    assert_true(lpm_read_all(fd, body, payload, NULL));
    for (gsize i = 0; check_payload && i < payload; i++)
        assert_int_equal(body[i], (guint8)(piece.header.serial + i));
    return piece.header;
}

struct talk {
    struct pair *pair;
    int client, server; /* the source's libvirtd, the target's */
};

static struct talk begin(void)
{
    struct pair *pair = pair_new(LPM_BACKLOG_MIN, "zstd", 1);

    pair_connect(pair, LPM_CHANNEL_RPC);
    return (struct talk){.pair = pair,
                         .client = pair->end[LPM_SIDE_SOURCE].program[LPM_CHANNEL_RPC],
                         .server = pair->end[LPM_SIDE_TARGET].program[LPM_CHANNEL_RPC]};
}

static void ping(int fd)
{
    say(fd, LPM_RPC_PROGRAM_KEEPALIVE, LPM_RPC_KEEPALIVE_PING, LPM_RPC_MESSAGE, 0, 0, 0);
    struct lpm_rpc_header pong = hear(fd, TRUE);

    assert_int_equal(pong.program, LPM_RPC_PROGRAM_KEEPALIVE);
    assert_int_equal(pong.procedure, LPM_RPC_KEEPALIVE_PONG);
    assert_int_equal(pong.type, LPM_RPC_MESSAGE);
    assert_int_equal(pong.length, LPM_RPC_HEADER_BYTES);
}

static void test_calls_and_keepalive(void **state)
{
    struct talk talk = begin();

    (void)state;
    say(talk.client, LPM_RPC_PROGRAM_REMOTE, 1, LPM_RPC_CALL, 1, 0, 16);
    ping(talk.client);
    assert_int_equal(hear(talk.server, TRUE).serial, 1);
    ping(talk.server);
    say(talk.server, LPM_RPC_PROGRAM_REMOTE, 1, LPM_RPC_REPLY, 1, 0, 40);
    assert_int_equal(hear(talk.client, TRUE).serial, 1);
    /* Neither PING nor PONG went through: what comes next is the next call. */
    say(talk.client, LPM_RPC_PROGRAM_REMOTE, 2, LPM_RPC_CALL, 2, 0, 0);
    assert_int_equal(hear(talk.server, TRUE).procedure, 2);
    /* And without a link keepalive is answered all the same. */
    talk.pair->keep_linked = FALSE;
    pair_cut(talk.pair);
    ping(talk.client);
    ping(talk.server);
    talk.pair->keep_linked = TRUE;
    pair_free(talk.pair);
}

/* A message eight times as large as the window, and a PING in the midst of many messages. */
static void test_large_message(void **state)
{
    struct talk talk = begin();

    (void)state;
    g_autoptr(GByteArray) out = g_byte_array_new();

    append_message(out, LPM_RPC_PROGRAM_REMOTE, 9, LPM_RPC_CALL, 5, 0, LPM_BACKLOG_MIN * 8);
    for (gsize done = 0, n; done < out->len; done += n) {
        n = MIN(64u << 10, out->len - done);
        assert_true(lpm_write_all(talk.client, out->data + done, n, NULL));
        pair_step(talk.pair, 0);
    }
    assert_int_equal(hear(talk.server, TRUE).length, out->len);
    pair_free(talk.pair);
}

static void call_finish(struct talk *talk, guint32 cancelled)
{
    g_autoptr(GByteArray) out = g_byte_array_new();

    append_message(out, LPM_RPC_PROGRAM_REMOTE, LPM_RPC_FINISH3_PARAMS, LPM_RPC_CALL, 21, 0, 64);
    lpm_put_be32(out->data + out->len - 4, cancelled);
    assert_true(lpm_write_all(talk->client, out->data, out->len, NULL));
    assert_int_equal(hear(talk->server, FALSE).procedure, LPM_RPC_FINISH3_PARAMS);
}

static void test_finish_is_held(void **state)
{
    struct talk talk = begin();
    struct mover_end *source = &talk.pair->end[LPM_SIDE_SOURCE];

    (void)state;
    call_finish(&talk, 0);
    say(talk.server, LPM_RPC_PROGRAM_REMOTE, LPM_RPC_FINISH3_PARAMS, LPM_RPC_REPLY, 21, 0, 100);
    say(talk.server, LPM_RPC_PROGRAM_REMOTE, 500, LPM_RPC_MESSAGE, 0, 0, 12);
    pair_until(talk.pair, &source->finish_held, 10, "holding the reply to Finish");
    assert_int_equal(source->finish_status, 0);
    assert_false(source->finish_cancelled);
    assert_false(readable(talk.client, 500));
    ping(talk.client);
    /* lpmd restarts: the mover tells the new one, and still holds; so it does across a cut. */
    pair_reattach(talk.pair, LPM_SIDE_SOURCE);
    pair_until(talk.pair, &source->finish_held, 10, "telling the new lpmd of the held reply");
    assert_int_equal(source->hello_finish, LPM_FINISH_HELD);
    pair_cut(talk.pair);
    pair_step(talk.pair, 500);
    assert_false(readable(talk.client, 300));
    assert_true(lpm_mover_send_release(source->control, NULL));
    struct lpm_rpc_header reply = hear(talk.client, TRUE);

    assert_int_equal(reply.serial, 21);
    assert_int_equal(reply.status, 0);
    assert_int_equal(reply.length, 128);
    assert_int_equal(hear(talk.client, TRUE).procedure, 500); /* what waited behind it follows */
    pair_free(talk.pair);
}

static void test_finish_is_refused(void **state)
{
    struct talk talk = begin();
    struct mover_end *source = &talk.pair->end[LPM_SIDE_SOURCE];

    (void)state;
    call_finish(&talk, 1);
    say(talk.server, LPM_RPC_PROGRAM_REMOTE, LPM_RPC_FINISH3_PARAMS, LPM_RPC_REPLY, 21, 1, 100);
    pair_until(talk.pair, &source->finish_held, 10, "holding the reply to Finish");
    assert_int_equal(source->finish_status, 1);
    assert_true(source->finish_cancelled);
    assert_true(
        lpm_mover_send_fail_finish(source->control, "the target is not ready to run it", NULL));
    /* The first word counts. */
    assert_true(lpm_mover_send_release(source->control, NULL));
    struct lpm_rpc_header reply = hear(talk.client, FALSE);

    assert_int_equal(reply.serial, 21);
    assert_int_equal(reply.status, 1);
    assert_int_not_equal(reply.length, 128);
    pair_free(talk.pair);
}

/* The target's libvirtd goes away while the reply is held: held it stays, until lpmd speaks. */
static void test_finish_outlives_server(void **state)
{
    struct talk talk = begin();
    struct mover_end *source = &talk.pair->end[LPM_SIDE_SOURCE];

    (void)state;
    call_finish(&talk, 0);
    say(talk.server, LPM_RPC_PROGRAM_REMOTE, LPM_RPC_FINISH3, LPM_RPC_REPLY, 21, 0, 8);
    pair_until(talk.pair, &source->finish_held, 10, "holding the reply to Finish");
    lpm_fd_clear(&talk.pair->end[LPM_SIDE_TARGET].program[LPM_CHANNEL_RPC]);
    pair_step(talk.pair, 300);
    assert_false(readable(talk.client, 300));
    assert_true(lpm_mover_send_release(source->control, NULL));
    assert_int_equal(hear(talk.client, TRUE).serial, 21);
    pair_free(talk.pair);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stepper_any_split), cmocka_unit_test(test_stepper_odd_lengths),
        cmocka_unit_test(test_error_reply),       cmocka_unit_test(test_calls_and_keepalive),
        cmocka_unit_test(test_large_message),     cmocka_unit_test(test_finish_is_held),
        cmocka_unit_test(test_finish_is_refused), cmocka_unit_test(test_finish_outlives_server),
    };

    if (geteuid() != 0) {
        print_message("skipped: a mover must be launched by root\n");
        return 77;
    }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
