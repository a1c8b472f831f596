/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Post-copy through two real movers: what decides whether the target's processors start. The
 * streams are QEMU's own, as captured. */
#include "flow.h"
#include "meaning.h"
#include "pair.h"
#include "synthetic.h"

#include "base/clock.h"
#include "mover/rpc.h"
#include "stream/return-path.h"
#include "transport/bytes.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

#define FINISH_BYTES (LPM_RPC_HEADER_BYTES + 64)
#define FLAGS 0x8241u /* LIVE, PEER2PEER and POSTCOPY among them, PAUSED not */

struct trial {
    struct pair *pair;
    struct mover_end *source, *target;
    GByteArray *stream, *received;
    gsize sent, got; /* of the stream */
    gboolean ended;  /* the target's program has read to the end */
    gsize run_end;   /* behind the word to run; 0: there is none */
};

/* A capture without what a mover leaves out, and where its package ends: RUN is its last command.
 */
static GByteArray *load(const char *name, gsize *run_end)
{
    g_autofree char *path = g_build_filename(g_getenv("LPM_GOLDEN_STREAMS"), name, NULL);
    static const guint8 packaged[] = {0x08, 0, 7, 0, 4};
    g_autofree char *packed = NULL;
    gsize length;

    assert_true(g_file_get_contents(path, &packed, &length, NULL));
    guint size = (guint)ZSTD_getFrameContentSize(packed, length);
    g_autoptr(GByteArray) whole = g_byte_array_new();

    g_byte_array_set_size(whole, size);
    assert_int_equal(ZSTD_decompress(whole->data, size, packed, length), size);
    GByteArray *stream = meaning_without_repeats(whole);
    const guint8 *found = memmem(stream->data, stream->len, packaged, sizeof(packaged));

    *run_end = 0;
    if (found)
        *run_end = (gsize)(found - stream->data) + 9 + lpm_get_be32(found + 5);
    return stream;
}

static void begin(struct trial *trial, const char *name, gboolean gate)
{
    trial->sent = trial->got = 0;
    trial->ended = FALSE;
    trial->pair = pair_new_postcopy(gate);
    trial->source = &trial->pair->end[LPM_SIDE_SOURCE];
    trial->target = &trial->pair->end[LPM_SIDE_TARGET];
    trial->received = g_byte_array_new();
    trial->stream = load(name, &trial->run_end);
    pair_connect(trial->pair, LPM_CHANNEL_RPC);
    pair_connect(trial->pair, LPM_CHANNEL_DATA);
}

static void end(struct trial *trial)
{
    g_byte_array_unref(trial->stream);
    g_byte_array_unref(trial->received);
    pair_free(trial->pair);
}

/* Sends the stream up to `to` and reads at the target until `expect` bytes of it have come. */
static void carry(struct trial *trial, gsize to, gsize expect)
{
    int in = trial->source->program[LPM_CHANNEL_DATA];
    int out = trial->target->program[LPM_CHANNEL_DATA];
    gint64 deadline = lpm_monotonic_us() + 20 * G_USEC_PER_SEC;
    g_autofree guint8 *buffer = g_malloc(64 << 10);

    while ((trial->sent < to || trial->got < expect) && !trial->ended &&
           lpm_monotonic_us() < deadline) {
        ssize_t n = send(in, trial->stream->data + trial->sent, MIN(to - trial->sent, 32u << 10),
                         MSG_DONTWAIT);

        if (n > 0)
            trial->sent += (gsize)n;
        pair_step(trial->pair, 0);
        n = recv(out, buffer, 64 << 10, MSG_DONTWAIT);
        trial->ended = n == 0;
        if (n <= 0) {
            pair_step(trial->pair, 1);
            continue;
        }
        g_byte_array_append(trial->received, buffer, (guint)n);
        trial->got += (gsize)n;
    }
    assert_int_equal(trial->sent, to);
    assert_true(trial->got >= expect || trial->ended);
    /* Up to the word to run nothing is changed. */
    gsize same = trial->run_end ? MIN(trial->got, trial->run_end) : trial->got;

    assert_true(same <= trial->stream->len);
    assert_memory_equal(trial->received->data, trial->stream->data, same);
}

/* Carries the rest of a stream in post-copy, of which the length of what comes is not known. */
static void carry_all(struct trial *trial, gboolean sorted)
{
    struct meaning *sent, *received;

    carry(trial, trial->stream->len, trial->got);
    shutdown(trial->source->program[LPM_CHANNEL_DATA], SHUT_WR);
    carry(trial, trial->stream->len, G_MAXSIZE);
    sent = meaning_of(trial->stream);
    received = meaning_of(trial->received);
    meaning_assert_same(sent, received, sorted);
    meaning_free(sent);
    meaning_free(received);
}

static void call_finish(struct trial *trial, guint32 procedure, guint32 cancelled)
{
    struct lpm_rpc_header header = {.length = FINISH_BYTES,
                                    .program = LPM_RPC_PROGRAM_REMOTE,
                                    .version = 1,
                                    .procedure = procedure,
                                    .serial = 9};
    guint8 bytes[FINISH_BYTES] = {0};

    lpm_rpc_put_header(&header, bytes);
    lpm_put_be32(bytes + FINISH_BYTES - 8, FLAGS);
    lpm_put_be32(bytes + FINISH_BYTES - 4, cancelled);
    assert_true(lpm_write_all(trial->source->program[LPM_CHANNEL_RPC], bytes, sizeof(bytes), NULL));
}

static gboolean finish_came(struct trial *trial, int timeout_ms)
{
    struct pollfd item = {.fd = trial->target->program[LPM_CHANNEL_RPC], .events = POLLIN};

    return poll(&item, 1, timeout_ms) > 0;
}

/* The flags of the call that comes at the target; all else must be as it was. */
static guint32 hear_finish(struct trial *trial, guint32 procedure, guint32 cancelled)
{
    guint8 bytes[FINISH_BYTES];

    assert_true(finish_came(trial, 10000));
    assert_true(lpm_read_all(trial->target->program[LPM_CHANNEL_RPC], bytes, sizeof(bytes), NULL));
    assert_int_equal(lpm_get_be32(bytes), FINISH_BYTES);
    assert_int_equal(lpm_get_be32(bytes + 12), procedure);
    for (gsize i = LPM_RPC_HEADER_BYTES; i < FINISH_BYTES - 8; i++)
        assert_int_equal(bytes[i], 0);
    assert_int_equal(lpm_get_be32(bytes + FINISH_BYTES - 4), cancelled);
    return lpm_get_be32(bytes + FINISH_BYTES - 8);
}

/* Pre-copy: Finish comes when the stream is over, here even before its last byte. */
static void test_precopy_stays_paused(void **state)
{
    static const guint32 procedures[] = {LPM_RPC_FINISH3, LPM_RPC_FINISH3_PARAMS};

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(procedures); i++) {
        struct trial trial;

        begin(&trial, "pc.stream.zst", TRUE);
        assert_int_equal(trial.run_end, 0);
        carry(&trial, 100000, 90000);
        call_finish(&trial, procedures[i], 0);
        assert_false(finish_came(&trial, 300));
        carry(&trial, trial.stream->len, trial.stream->len);
        assert_int_equal(hear_finish(&trial, procedures[i], 0), FLAGS | LPM_RPC_MIGRATE_PAUSED);
        assert_false(trial.target->postcopy);
        assert_false(trial.source->postcopy);
        end(&trial);
    }
}

/* Post-copy without a gate: Finish waits for the word to run and passes as it is. */
static void test_postcopy_runs(void **state)
{
    struct trial trial;

    (void)state;
    begin(&trial, "pc-postcopy.stream.zst", FALSE);
    assert_true(trial.run_end > 0);
    carry(&trial, trial.run_end - 1, trial.run_end - 1);
    call_finish(&trial, LPM_RPC_FINISH3_PARAMS, 0);
    assert_false(finish_came(&trial, 300));
    assert_false(trial.source->postcopy);
    carry(&trial, trial.run_end, trial.run_end);
    pair_until(trial.pair, &trial.source->postcopy, 10, "the source's news of post-copy");
    pair_until(trial.pair, &trial.target->postcopy, 10, "the target's news of post-copy");
    assert_int_equal(hear_finish(&trial, LPM_RPC_FINISH3_PARAMS, 0), FLAGS);
    carry_all(&trial, FALSE);
    end(&trial);
}

/* With the gate QEMU loads, and says so; Finish, which starts the processors, does not pass before
 * lpmd allows it, whatever is done to the link and to lpmd meanwhile. */
static void test_gate(void **state)
{
    struct trial trial;
    guint8 pong[8] = {0, LPM_RETURN_PONG, 0, 4};

    (void)state;
    begin(&trial, "pc-postcopy.stream.zst", TRUE);
    /* The package ends with a PING and the word to run, which has five bytes. */
    memcpy(pong + 4, trial.stream->data + trial.run_end - 9, 4);
    carry(&trial, trial.run_end, trial.run_end);
    assert_false(finish_came(&trial, 100));
    assert_int_equal(send(trial.target->program[LPM_CHANNEL_DATA], pong, sizeof(pong), 0),
                     sizeof(pong));
    assert_false(finish_came(&trial, 200));
    assert_false(trial.target->postcopy); /* not without what would start the processors */
    call_finish(&trial, LPM_RPC_FINISH3_PARAMS, 0);
    pair_until(trial.pair, &trial.target->postcopy, 10, "the target's news of post-copy");
    assert_true(trial.target->run_waiting);
    pair_cut(trial.pair);
    pair_reattach(trial.pair, LPM_SIDE_TARGET);
    pair_until(trial.pair, &trial.target->postcopy, 10, "the news told again");
    assert_true(trial.target->run_waiting);
    assert_false(finish_came(&trial, 300));
    assert_true(lpm_mover_send_allow_run(trial.target->control, NULL));
    assert_int_equal(hear_finish(&trial, LPM_RPC_FINISH3_PARAMS, 0), FLAGS);
    carry_all(&trial, FALSE);
    assert_false(trial.target->run_waiting);
    end(&trial);
}

/* Finish alone is not enough either: QEMU still loads, and may fail. */
static void test_gate_waits_for_loading(void **state)
{
    struct trial trial;

    (void)state;
    begin(&trial, "pc-postcopy.stream.zst", TRUE);
    carry(&trial, trial.run_end, trial.run_end);
    call_finish(&trial, LPM_RPC_FINISH3_PARAMS, 0);
    assert_false(finish_came(&trial, 300));
    assert_false(trial.target->postcopy);
    end(&trial);
}

/* A migration that the source gave up: nothing to wait for, nothing to change. */
static void test_cancelled(void **state)
{
    struct trial trial;

    (void)state;
    begin(&trial, "pc.stream.zst", TRUE);
    carry(&trial, 5000, 0);
    call_finish(&trial, LPM_RPC_FINISH3_PARAMS, 1);
    assert_int_equal(hear_finish(&trial, LPM_RPC_FINISH3_PARAMS, 1), FLAGS);
    end(&trial);
}

/* The stream breaks before the word to run: the processors must not start. */
static void test_broken_stream_stays_paused(void **state)
{
    struct trial trial;

    (void)state;
    begin(&trial, "pc-postcopy.stream.zst", FALSE);
    carry(&trial, trial.run_end - 1, trial.run_end - 1);
    call_finish(&trial, LPM_RPC_FINISH3_PARAMS, 0);
    assert_false(finish_came(&trial, 300));
    lpm_fd_clear(&trial.source->program[LPM_CHANNEL_DATA]);
    assert_int_equal(hear_finish(&trial, LPM_RPC_FINISH3_PARAMS, 0),
                     FLAGS | LPM_RPC_MIGRATE_PAUSED);
    end(&trial);
}

/* A stream that resumes: Finish waits until QEMU on the target has acknowledged it, and passes as
 * it came. */
static void test_resumed(void **state)
{
    static const guint8 begin_bytes[] = {8, 0, 10, 0, 5, 4, 'r', 'a', 'm', '0', 8, 0, 9, 0, 0};
    static const guint8 ack[] = {0, 6, 0, 4, 0, 0, 0, 1};
    struct trial trial;

    (void)state;
    begin(&trial, "pc.stream.zst", FALSE);
    g_byte_array_set_size(trial.stream, 0);
    g_byte_array_append(trial.stream, begin_bytes, sizeof(begin_bytes));
    carry(&trial, sizeof(begin_bytes), sizeof(begin_bytes));
    call_finish(&trial, LPM_RPC_FINISH3_PARAMS, 0);
    assert_false(finish_came(&trial, 300));
    assert_false(trial.target->postcopy);
    assert_true(lpm_write_all(trial.target->program[LPM_CHANNEL_DATA], ack, sizeof(ack), NULL));
    assert_int_equal(hear_finish(&trial, LPM_RPC_FINISH3_PARAMS, 0), FLAGS);
    pair_until(trial.pair, &trial.source->postcopy, 10, "the source's news of post-copy");
    pair_until(trial.pair, &trial.target->postcopy, 10, "the target's news of post-copy");
    end(&trial);
}

/* Other procedures are never touched, and neither is a call that is too short to have flags. */
static void test_only_finish_is_changed(void **state)
{
    struct lpm_rpc_header header = {.length = FINISH_BYTES,
                                    .program = LPM_RPC_PROGRAM_REMOTE,
                                    .version = 1,
                                    .procedure = 305,
                                    .serial = 9};
    guint8 bytes[FINISH_BYTES] = {0};
    struct trial trial;

    (void)state;
    begin(&trial, "pc.stream.zst", TRUE);
    lpm_rpc_put_header(&header, bytes);
    lpm_put_be32(bytes + FINISH_BYTES - 8, FLAGS);
    assert_true(lpm_write_all(trial.source->program[LPM_CHANNEL_RPC], bytes, sizeof(bytes), NULL));
    assert_int_equal(hear_finish(&trial, 305, 0), FLAGS); /* and it does not wait */
    end(&trial);
    header.length = LPM_RPC_HEADER_BYTES + 4;
    lpm_rpc_put_header(&header, bytes);
    assert_false(lpm_rpc_finish_add_flag(bytes, LPM_RPC_HEADER_BYTES + 4, LPM_RPC_MIGRATE_PAUSED));
    header.length = FINISH_BYTES; /* longer than the message */
    lpm_rpc_put_header(&header, bytes);
    assert_false(lpm_rpc_finish_add_flag(bytes, FINISH_BYTES - 4, LPM_RPC_MIGRATE_PAUSED));
    assert_true(lpm_rpc_finish_add_flag(bytes, FINISH_BYTES, LPM_RPC_MIGRATE_PAUSED));
    assert_false(lpm_rpc_finish_add_flag(bytes, FINISH_BYTES, LPM_RPC_MIGRATE_PAUSED));
}

/* ---- pages that are asked for, and a link that is cut ---- */

/* QEMU's request for a page of "pc.ram" that may or may not have come by then. */
static void ask(struct pair *pair, GByteArray *asked, guint page)
{
    guint8 bytes[4 + 13 + 6] = {0, 3, 0, 13 + 6};

    lpm_put_be64(bytes + 4, (guint64)page * 4096);
    lpm_put_be32(bytes + 12, 4096);
    bytes[16] = 6;
    memcpy(bytes + 17, "pc.ram", 6);
    g_byte_array_append(asked, bytes, sizeof(bytes));
    assert_true(lpm_write_all(pair->end[LPM_SIDE_TARGET].program[LPM_CHANNEL_DATA], bytes,
                              sizeof(bytes), NULL));
}

static void assert_answers(struct pair *pair, const GByteArray *asked)
{
    g_autofree guint8 *bytes = g_malloc(asked->len);
    g_autoptr(GError) error = NULL;

    if (!lpm_read_all(pair->end[LPM_SIDE_SOURCE].program[LPM_CHANNEL_DATA], bytes, asked->len,
                      &error))
        fail_msg("%s; the sessions: %s, %s", error->message,
                 pair->end[LPM_SIDE_SOURCE].failed_cause, pair->end[LPM_SIDE_TARGET].failed_cause);
    assert_memory_equal(bytes, asked->data, asked->len);
}

static json_int_t number(json_t *stats, const char *object, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(stats, object), key));
}

static void assert_same_hash(struct pair *pair)
{
    g_autofree char *sent =
        g_strdup(json_string_value(json_object_get(pair_stats(pair, 0), "stream_hash")));

    assert_string_equal(sent,
                        json_string_value(json_object_get(pair_stats(pair, 1), "stream_hash")));
}

static void assert_all_came(struct flow *flow)
{
    struct meaning *sent = meaning_of(flow->sent), *received = meaning_of(flow->received);

    meaning_assert_same(sent, received, TRUE);
    meaning_free(sent);
    meaning_free(received);
}

/* Pages asked for at random and cuts at random instants: every page comes once, other things keep
 * their places, and every request arrives. */
static void test_requests_and_cuts(void **state)
{
    const guint pages = 12000, cuts = 15;
    g_autoptr(GByteArray) stream = synthetic_postcopy(5, pages);
    g_autoptr(GByteArray) asked = g_byte_array_new();
    struct pair *pair = pair_new_postcopy(FALSE);
    struct mover_end *source = &pair->end[LPM_SIDE_SOURCE];
    gint64 deadline = lpm_monotonic_us() + 90 * G_USEC_PER_SEC;
    g_autoptr(GRand) random = g_rand_new_with_seed(7);
    struct flow there;
    guint cut = 0;

    (void)state;
    pair_connect(pair, LPM_CHANNEL_DATA);
    pair_until(pair, &source->link_up, 20, "the link");
    flow_start(&there, source->program[LPM_CHANNEL_DATA],
               pair->end[LPM_SIDE_TARGET].program[LPM_CHANNEL_DATA], stream);
    while (!g_atomic_int_get(&there.done) && lpm_monotonic_us() < deadline) {
        if (cut < cuts && source->link_up && g_rand_int_range(random, 0, 3) == 0) {
            source->link_up = FALSE;
            pair_cut(pair);
            cut++;
        }
        if (asked->len < 20000)
            ask(pair, asked, (guint)g_rand_int_range(random, 0, (gint32)pages));
        pair_step(pair, g_rand_int_range(random, 0, 4));
    }
    assert_true(g_atomic_int_get(&there.done));
    assert_true(cut >= 3); /* a fast machine may be through before the last */
    assert_true(pair->end[LPM_SIDE_TARGET].postcopy);
    assert_answers(pair, asked);
    assert_same_hash(pair);
    flow_join(&there);
    assert_all_came(&there);
    json_t *stats = pair_stats(pair, LPM_SIDE_SOURCE);

    assert_true(number(stats, "demand", "overtook") > 0);
    assert_int_equal(number(stats, "demand", "waiting_bytes"), 0);
    assert_int_equal(source->failed, 0);
    flow_free(&there);
    pair_free(pair);
}

/* Waits until the source's mover has read `stream`, and all of it but what is under way waits. */
static void until_all_waits(struct pair *pair, const GByteArray *stream)
{
    const json_int_t under_way = 700 << 10; /* far above the limit at the beginning */

    for (gint64 end = lpm_monotonic_us() + 20 * G_USEC_PER_SEC; lpm_monotonic_us() < end;) {
        json_t *stats = pair_stats(pair, LPM_SIDE_SOURCE);
        json_t *data = NULL;
        gsize i;
        json_t *each;

        json_array_foreach (json_object_get(stats, "streams"), i, each)
            if (strcmp(json_string_value(json_object_get(each, "channel")), "data") == 0)
                data = each;
        json_int_t held = json_integer_value(json_object_get(data, "unacknowledged"));
        json_int_t read = held + json_integer_value(json_object_get(data, "bytes_done"));

        if (read >= stream->len && held - number(stats, "demand", "waiting_bytes") < under_way)
            return;
        pair_step(pair, 5);
    }
    fail_msg("the source's mover does not read the stream to its end");
}

/* While the target's QEMU takes nothing all pages wait; the one that is asked for then comes next
 * after what was under way, though it was one of the last in the row. */
static guint pages_before_the_one_asked_for(guint pages, guint wanted)
{
    g_autoptr(GByteArray) stream = synthetic_postcopy(5, pages);
    g_autoptr(GByteArray) asked = g_byte_array_new();
    struct pair *pair = pair_new_postcopy(FALSE);
    struct mover_end *source = &pair->end[LPM_SIDE_SOURCE];
    struct flow there;
    guint before = 0;

    pair_connect(pair, LPM_CHANNEL_DATA);
    flow_start_held(&there, source->program[LPM_CHANNEL_DATA],
                    pair->end[LPM_SIDE_TARGET].program[LPM_CHANNEL_DATA], stream);
    pair_until(pair, &pair->end[LPM_SIDE_TARGET].postcopy, 20, "the word to run");
    ask(pair, asked, wanted);
    assert_answers(pair, asked); /* the source has it */
    until_all_waits(pair, stream);
    g_atomic_int_set(&there.held, 0);
    while (!g_atomic_int_get(&there.done))
        pair_step(pair, 5);
    flow_join(&there);
    struct meaning *received = meaning_of(there.received);

    while (g_array_index(received->pages, struct meaning_page, before).offset != wanted * 4096)
        before++;
    print_message("%u pages came before the one that was asked for, of %u\n", before, pages);
    meaning_free(received);
    assert_all_came(&there);
    flow_free(&there);
    pair_free(pair);
    return before;
}

/* What is under way is a small part, and the page that was asked for is next. */
static void test_request_does_not_wait(void **state)
{
    const guint pages = 1000, wanted = 800; /* 200 behind it: more than may be under way */

    (void)state;
    assert_true(pages_before_the_one_asked_for(pages, wanted) < pages / 2);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_precopy_stays_paused),
        cmocka_unit_test(test_postcopy_runs),
        cmocka_unit_test(test_gate),
        cmocka_unit_test(test_gate_waits_for_loading),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_broken_stream_stays_paused),
        cmocka_unit_test(test_resumed),
        cmocka_unit_test(test_only_finish_is_changed),
        cmocka_unit_test(test_requests_and_cuts),
        cmocka_unit_test(test_request_does_not_wait),
    };

    if (geteuid() != 0) {
        print_message("skipped: a mover must be launched by root\n");
        return 77;
    }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
