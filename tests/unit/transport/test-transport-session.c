/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Two sessions in one process, over plain links with a wire between them that can be cut after any
 * number of bytes (in the midst of a frame, as networks do) or turn a bit over.
 */
#include "base/clock.h"
#include "base/error.h"
#include "transport/session.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the wire ---- */

struct wire {
    int ends[2];    /* our ends of two socket pairs */
    gint64 budget;  /* bytes carried before it is cut; < 0: without end */
    gint64 flip_at; /* which byte has a bit turned over; < 0: none */
    GThread *thread;
};

static gboolean carry(struct wire *wire, int from, int to)
{
    guint8 buffer[4096];
    gsize room = sizeof(buffer);

    if (wire->budget >= 0)
        room = MIN(room, (gsize)wire->budget);
    if (!room)
        return FALSE;
    ssize_t n = read(from, buffer, room);

    if (n <= 0)
        return FALSE;
    if (wire->flip_at >= 0 && wire->flip_at < n)
        buffer[wire->flip_at] ^= 0x10;
    if (wire->flip_at >= 0)
        wire->flip_at = wire->flip_at < n ? -1 : wire->flip_at - n;
    if (wire->budget >= 0)
        wire->budget -= n;
    /* A receiver that is gone does not end the other direction. */
    for (ssize_t done = 0, m; done < n; done += m)
        if ((m = send(to, buffer + done, (gsize)(n - done), MSG_NOSIGNAL)) <= 0)
            break;
    return TRUE;
}

static gpointer run_wire(gpointer opaque)
{
    struct wire *wire = opaque;
    struct pollfd items[2] = {{.fd = wire->ends[0], .events = POLLIN},
                              {.fd = wire->ends[1], .events = POLLIN}};

    /* An end of file is passed on, as a network does; when the budget is spent all is over. */
    while (wire->budget != 0 && (items[0].fd >= 0 || items[1].fd >= 0)) {
        poll(items, 2, -1);
        for (guint i = 0; i < 2; i++) {
            if (!items[i].revents || carry(wire, wire->ends[i], wire->ends[1 - i]))
                continue;
            shutdown(wire->ends[1 - i], SHUT_WR);
            items[i].fd = -1;
        }
    }
    close(wire->ends[0]);
    close(wire->ends[1]);
    return NULL;
}

/* ---- two sessions and what they carry ---- */

#define STREAMS 4 /* both channels, both directions */

struct stream {
    LpmSession *session; /* of the sender, or of the receiver */
    enum lpm_channel channel;
    GByteArray *bytes;
    gint done; /* atomic */
    GThread *thread;
};

struct scene {
    LpmSession *session[2];
    GPtrArray *wires;
    struct stream out[STREAMS], in[STREAMS];
    gint64 flip_at;
};

static gpointer run_sender(gpointer opaque)
{
    struct stream *stream = opaque;
    g_autoptr(GRand) random = g_rand_new_with_seed(stream->bytes->len);

    for (gsize done = 0; done < stream->bytes->len;) {
        gsize piece = (gsize)g_rand_int_range(random, 1, 9000);
        gsize n = lpm_session_reserve(stream->session, stream->channel,
                                      MIN(piece, stream->bytes->len - done));

        if (!n)
            return NULL;
        lpm_session_push(stream->session, lpm_frame_new_raw(LPM_FRAME_DATA, stream->channel,
                                                            stream->bytes->data + done, n));
        done += n;
    }
    lpm_session_mark(stream->session, stream->channel, LPM_FRAME_CLOSE);
    return NULL;
}

static gpointer run_receiver(gpointer opaque)
{
    struct stream *stream = opaque;
    LpmFrame *frame;

    while ((frame = lpm_session_take(stream->session, stream->channel))) {
        g_autoptr(GError) error = NULL;
        gboolean last = frame->type == LPM_FRAME_CLOSE;

        if (!last && !lpm_frame_verify(frame, &error)) {
            lpm_session_fail(stream->session, error->code, error->message);
        } else if (!last) {
            g_byte_array_append(stream->bytes, frame->body, frame->length);
        }
        lpm_session_delivered(stream->session, frame);
        if (last) {
            g_atomic_int_set(&stream->done, 1);
            break;
        }
    }
    return NULL;
}

static void scene_open(struct scene *scene, guint64 window)
{
    memset(scene, 0, sizeof(*scene));
    scene->flip_at = -1;
    scene->wires = g_ptr_array_new();
    for (guint i = 0; i < 2; i++) {
        struct lpm_session_config config = {
            .side = (enum lpm_side)i, .window = window, .ops = &lpm_link_plain};

        scene->session[i] = lpm_session_new(&config);
    }
}

static void scene_start(struct scene *scene, gsize bytes)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(4711);

    for (guint i = 0; i < STREAMS; i++) {
        struct stream *out = &scene->out[i], *in = &scene->in[i];

        out->channel = in->channel = i < 2 ? LPM_CHANNEL_RPC : LPM_CHANNEL_DATA;
        out->session = scene->session[i % 2];
        in->session = scene->session[1 - i % 2];
        out->bytes = g_byte_array_new();
        in->bytes = g_byte_array_new();
        g_byte_array_set_size(out->bytes, (guint)(bytes + i * 1000));
        for (guint j = 0; j < out->bytes->len; j++)
            out->bytes->data[j] = (guint8)g_rand_int(random);
        out->thread = g_thread_new("sender", run_sender, out);
        in->thread = g_thread_new("receiver", run_receiver, in);
    }
}

/* A connection that carries `budget` bytes and is cut then. */
static void scene_link(struct scene *scene, gint64 budget)
{
    struct wire *wire = g_new0(struct wire, 1);
    int a[2], b[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b), 0);
    *wire = (struct wire){.ends = {a[1], b[1]}, .budget = budget, .flip_at = scene->flip_at};
    scene->flip_at = -1;
    g_ptr_array_add(scene->wires, wire);
    wire->thread = g_thread_new("wire", run_wire, wire);
    /* May be refused while earlier ones wind up: then it is asked for again. */
    lpm_session_add_link(scene->session[0], a[0], FALSE, NULL);
    lpm_session_add_link(scene->session[1], b[0], TRUE, NULL);
}

static gboolean needs_link(struct scene *scene)
{
    struct lpm_session_state state;
    gboolean needs = FALSE;

    for (guint i = 0; i < 2; i++) {
        lpm_session_get_state(scene->session[i], &state);
        needs |= state.needs_link;
        lpm_session_state_clear(&state);
    }
    return needs;
}

static gboolean scene_done(struct scene *scene)
{
    for (guint i = 0; i < STREAMS; i++)
        if (!g_atomic_int_get(&scene->in[i].done))
            return FALSE;
    return TRUE;
}

static void scene_close(struct scene *scene)
{
    lpm_session_stop(scene->session[0]);
    lpm_session_stop(scene->session[1]);
    for (guint i = 0; i < STREAMS && scene->out[i].thread; i++) {
        g_thread_join(scene->out[i].thread);
        if (scene->in[i].thread)
            g_thread_join(scene->in[i].thread);
        g_byte_array_unref(scene->out[i].bytes);
        g_byte_array_unref(scene->in[i].bytes);
    }
    lpm_session_free(scene->session[0]);
    lpm_session_free(scene->session[1]);
    for (guint i = 0; i < scene->wires->len; i++) {
        struct wire *wire = scene->wires->pdata[i];

        g_thread_join(wire->thread);
        g_free(wire);
    }
    g_ptr_array_unref(scene->wires);
}

/* However often and wherever the link is cut, every byte comes once and in order. */
static void test_cut_anywhere(void **state)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    gint64 deadline = lpm_monotonic_us() + 60 * G_USEC_PER_SEC;
    struct lpm_session_state told;
    struct scene scene;

    (void)state;
    scene_open(&scene, LPM_BACKLOG_MIN);
    scene_start(&scene, 400000);
    while (!scene_done(&scene) && lpm_monotonic_us() < deadline) {
        if (needs_link(&scene))
            scene_link(&scene, g_rand_int_range(random, 0, 60000));
        g_usleep(500);
    }
    assert_true(scene_done(&scene));
    for (guint i = 0; i < STREAMS; i++) {
        assert_int_equal(scene.in[i].bytes->len, scene.out[i].bytes->len);
        assert_memory_equal(scene.in[i].bytes->data, scene.out[i].bytes->data,
                            scene.out[i].bytes->len);
    }
    assert_true(scene.wires->len > 20);
    lpm_session_get_state(scene.session[0], &told);
    assert_int_equal(told.failed, 0);
    assert_true(told.links > 10);
    lpm_session_state_clear(&told);
    scene_close(&scene);
}

/* A bit that turns over on an unprotected link fails the session on both sides; nothing of the
 * damaged frame, and nothing after it, is delivered. */
static void test_flipped_bit(void **state)
{
    (void)state;
    for (gint64 at = 300; at < 300000; at += 41111) {
        gint64 deadline = lpm_monotonic_us() + 20 * G_USEC_PER_SEC;
        struct lpm_session_state told[2] = {0};
        struct scene scene;

        scene_open(&scene, LPM_BACKLOG_MIN);
        scene.flip_at = at;
        scene_start(&scene, 200000);
        scene_link(&scene, -1);
        while (!(told[0].failed && told[1].failed) && lpm_monotonic_us() < deadline) {
            for (guint i = 0; i < 2; i++) {
                lpm_session_state_clear(&told[i]);
                lpm_session_get_state(scene.session[i], &told[i]);
            }
            g_usleep(1000);
        }
        for (guint i = 0; i < 2; i++) {
            assert_true(told[i].failed == LPM_E_DATA_DAMAGED || told[i].failed == LPM_E_PROTOCOL);
            lpm_session_state_clear(&told[i]);
        }
        lpm_session_stop(scene.session[0]);
        lpm_session_stop(scene.session[1]);
        for (guint i = 0; i < STREAMS; i++) {
            g_thread_join(g_steal_pointer(&scene.in[i].thread));
            assert_true(scene.in[i].bytes->len <= scene.out[i].bytes->len);
            assert_memory_equal(scene.in[i].bytes->data, scene.out[i].bytes->data,
                                scene.in[i].bytes->len);
        }
        scene_close(&scene);
    }
}

/* Nobody takes: the sender stops at the window, the other channel does not. */
static void test_window(void **state)
{
    struct lpm_session_state told;
    struct scene scene;
    g_autofree guint8 *body = g_malloc0(LPM_BACKLOG_MIN);
    gsize sent = 0;

    (void)state;
    scene_open(&scene, LPM_BACKLOG_MIN);
    scene_link(&scene, -1);
    while (sent < LPM_BACKLOG_MIN) {
        gsize n = lpm_session_reserve(scene.session[0], LPM_CHANNEL_DATA, 10000);

        lpm_session_push(scene.session[0],
                         lpm_frame_new_raw(LPM_FRAME_DATA, LPM_CHANNEL_DATA, body, n));
        sent += n;
    }
    assert_int_equal(sent, LPM_BACKLOG_MIN);
    assert_int_equal(lpm_session_reserve(scene.session[0], LPM_CHANNEL_RPC, 4), 4);
    lpm_session_push(scene.session[0], lpm_frame_new_raw(LPM_FRAME_DATA, LPM_CHANNEL_RPC, body, 4));
    LpmFrame *frame = lpm_session_take(scene.session[1], LPM_CHANNEL_RPC);

    assert_int_equal(frame->length, 4);
    lpm_session_delivered(scene.session[1], frame);
    lpm_session_get_state(scene.session[0], &told);
    assert_int_equal(told.channels[LPM_CHANNEL_DATA].unacknowledged, LPM_BACKLOG_MIN);
    lpm_session_state_clear(&told);
    lpm_session_delivered(scene.session[1], lpm_session_take(scene.session[1], LPM_CHANNEL_DATA));
    /* This returns once the acknowledgement is here. */
    assert_int_equal(lpm_session_reserve(scene.session[0], LPM_CHANNEL_DATA, 1u << 20), 10000);
    scene_close(&scene);
}

/* A link on which nothing is heard is given up, so that another can be asked for. */
static void test_silence(void **state)
{
    gint64 begun = lpm_monotonic_us();
    struct lpm_session_state told;
    struct scene scene;
    gboolean needs = FALSE;
    int mute[2];

    (void)state;
    scene_open(&scene, LPM_BACKLOG_MIN);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, mute), 0);
    assert_true(lpm_session_add_link(scene.session[0], mute[0], FALSE, NULL));
    while (!needs && lpm_monotonic_us() - begun < 9 * G_USEC_PER_SEC) {
        g_usleep(20000);
        lpm_session_get_state(scene.session[0], &told);
        needs = told.needs_link;
        if (needs)
            assert_non_null(strstr(told.link_cause, "nothing was heard"));
        lpm_session_state_clear(&told);
    }
    assert_true(needs);
    assert_true(lpm_monotonic_us() - begun > 4 * G_USEC_PER_SEC);
    close(mute[1]);
    scene_close(&scene);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_flipped_bit),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_silence),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
