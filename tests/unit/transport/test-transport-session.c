/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Sessions with one link at a time (scene.h). */
#include "scene.h"

#include "base/clock.h"
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* However often and wherever the link is cut, every byte comes once and in order. */
static void test_cut_anywhere(void **state)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    gint64 deadline = lpm_monotonic_us() + 60 * G_USEC_PER_SEC;
    struct lpm_session_state told;
    struct scene scene;

    (void)state;
    scene_open(&scene, LPM_BACKLOG_MIN, 1, 1);
    scene_start(&scene, 400000);
    while (!scene_done(&scene) && lpm_monotonic_us() < deadline) {
        if (scene_needs_link(&scene))
            scene_link(&scene, g_rand_int_range(random, 0, 60000));
        g_usleep(500);
    }
    assert_true(scene_done(&scene));
    assert_true(scene_exact(&scene));
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
        struct scene scene;

        scene_open(&scene, LPM_BACKLOG_MIN, 1, 1);
        scene.flip_at = at;
        scene_start(&scene, 200000);
        scene_link(&scene, -1);
        scene_assert_damage(&scene);
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
    scene_open(&scene, LPM_BACKLOG_MIN, 1, 1);
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
    scene_open(&scene, LPM_BACKLOG_MIN, 1, 1);
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
