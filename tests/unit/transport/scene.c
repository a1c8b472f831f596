/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "scene.h"

#include "base/clock.h"
#include "base/error.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the wire ---- */

static gboolean carry(struct wire *wire, int from, int to)
{
    guint8 buffer[4096];
    gsize room = sizeof(buffer);

    if (wire->budget >= 0)
        room = MIN(room, (gsize)wire->budget);
    if (!room)
        return FALSE;
    ssize_t n = read(from, buffer, room);

    if (wire->slow)
        g_usleep(100);

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
    while (wire->mute && !g_atomic_int_get(&wire->stop))
        g_usleep(5000); /* the time of silence is the tests' subject */
    close(wire->ends[0]);
    close(wire->ends[1]);
    return NULL;
}

/* ---- two sessions and what they carry ---- */

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

void scene_open(struct scene *scene, guint64 window, guint links_first, guint links_second)
{
    memset(scene, 0, sizeof(*scene));
    scene->flip_at = -1;
    scene->wires = g_ptr_array_new();
    for (guint i = 0; i < 2; i++) {
        struct lpm_session_config config = {.side = (enum lpm_side)i,
                                            .window = window,
                                            .links = i ? links_second : links_first,
                                            .ops = &lpm_link_plain};

        scene->session[i] = lpm_session_new(&config);
    }
}

void scene_start(struct scene *scene, gsize bytes)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(4711);

    for (guint i = 0; i < SCENE_STREAMS; i++) {
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
void scene_link(struct scene *scene, gint64 budget)
{
    struct wire *wire = g_new0(struct wire, 1);
    int a[2], b[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b) < 0)
        g_error("socketpair");
    *wire = (struct wire){.ends = {a[1], b[1]},
                          .budget = budget,
                          .flip_at = scene->flip_at,
                          .mute = scene->mute,
                          .slow = scene->slow};
    scene->flip_at = -1;
    scene->mute = FALSE;
    g_ptr_array_add(scene->wires, wire);
    wire->thread = g_thread_new("wire", run_wire, wire);
    /* May be refused while earlier ones wind up: then it is asked for again. */
    lpm_session_add_link(scene->session[0], a[0], FALSE, NULL);
    lpm_session_add_link(scene->session[1], b[0], TRUE, NULL);
}

gboolean scene_needs_link(struct scene *scene)
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

gboolean scene_done(struct scene *scene)
{
    for (guint i = 0; i < SCENE_STREAMS; i++)
        if (!g_atomic_int_get(&scene->in[i].done))
            return FALSE;
    return TRUE;
}

gboolean scene_await(struct scene *scene, guint seconds)
{
    gint64 deadline = lpm_monotonic_us() + (gint64)seconds * G_USEC_PER_SEC;

    while (!scene_done(scene) && lpm_monotonic_us() < deadline)
        g_usleep(500);
    return scene_done(scene);
}

gboolean scene_exact(const struct scene *scene)
{
    for (guint i = 0; i < SCENE_STREAMS; i++)
        if (scene->in[i].bytes->len != scene->out[i].bytes->len ||
            memcmp(scene->in[i].bytes->data, scene->out[i].bytes->data, scene->out[i].bytes->len) !=
                0)
            return FALSE;
    return TRUE;
}

static gboolean both_failed(struct scene *scene)
{
    gboolean both = TRUE;

    for (guint i = 0; i < 2; i++) {
        struct lpm_session_state told = {0};

        lpm_session_get_state(scene->session[i], &told);
        if (told.failed)
            assert_true(told.failed == LPM_E_DATA_DAMAGED || told.failed == LPM_E_PROTOCOL);
        both &= told.failed != 0;
        lpm_session_state_clear(&told);
    }
    return both;
}

void scene_assert_damage(struct scene *scene)
{
    gint64 deadline = lpm_monotonic_us() + 20 * G_USEC_PER_SEC;

    while (!both_failed(scene) && lpm_monotonic_us() < deadline)
        g_usleep(1000);
    assert_true(both_failed(scene));
    lpm_session_stop(scene->session[0]);
    lpm_session_stop(scene->session[1]);
    for (guint i = 0; i < SCENE_STREAMS; i++) {
        struct stream *in = &scene->in[i];

        g_thread_join(g_steal_pointer(&in->thread));
        assert_true(in->bytes->len <= scene->out[i].bytes->len);
        assert_memory_equal(in->bytes->data, scene->out[i].bytes->data, in->bytes->len);
    }
}

void scene_close(struct scene *scene)
{
    lpm_session_stop(scene->session[0]);
    lpm_session_stop(scene->session[1]);
    for (guint i = 0; i < SCENE_STREAMS && scene->out[i].thread; i++) {
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

        g_atomic_int_set(&wire->stop, 1);
        g_thread_join(wire->thread);
        g_free(wire);
    }
    g_ptr_array_unref(scene->wires);
}
