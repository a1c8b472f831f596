/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Sessions with several links at a time (scene.h). */
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

#define LINKS 3u

static guint links_up(LpmSession *session)
{
    struct lpm_session_state state;
    guint up = 0;

    lpm_session_get_state(session, &state);
    for (guint i = 0; i < state.places; i++)
        up += state.link[i].up ? 1 : 0;
    lpm_session_state_clear(&state);
    return up;
}

/* Waits until both sides have so many. */
static void await_links(struct scene *scene, guint links)
{
    gint64 deadline = lpm_monotonic_us() + 10 * G_USEC_PER_SEC;

    while ((links_up(scene->session[0]) != links || links_up(scene->session[1]) != links) &&
           lpm_monotonic_us() < deadline)
        g_usleep(500);
    assert_int_equal(links_up(scene->session[0]), links);
    assert_int_equal(links_up(scene->session[1]), links);
}

/* Waits until so many have come up, on both sides. */
static void await_came(struct scene *scene, guint64 links)
{
    gint64 deadline = lpm_monotonic_us() + 10 * G_USEC_PER_SEC;
    struct lpm_session_state told[2] = {0};

    do {
        g_usleep(500);
        for (guint i = 0; i < 2; i++) {
            lpm_session_state_clear(&told[i]);
            lpm_session_get_state(scene->session[i], &told[i]);
        }
    } while ((told[0].links < links || told[1].links < links) && lpm_monotonic_us() < deadline);
    assert_true(told[0].links == links && told[1].links == links);
    lpm_session_state_clear(&told[0]);
    lpm_session_state_clear(&told[1]);
}

/* What must be true of a session that carried everything over links that never were all gone. */
static void assert_whole(struct scene *scene, guint64 outages, gint64 duplicates)
{
    for (guint i = 0; i < 2; i++) {
        struct lpm_session_state state;

        lpm_session_get_state(scene->session[i], &state);
        assert_int_equal(state.failed, 0);
        assert_int_equal(state.outages, outages);
        if (duplicates >= 0)
            assert_int_equal(state.receive.duplicates, duplicates);
        lpm_session_state_clear(&state);
    }
    assert_true(scene_exact(scene));
}

/* However often and wherever links are cut, one at a time or all at once, every byte comes once and
 * in order, and several are used. */
static void test_cut_anywhere(void **state)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(2);
    gint64 deadline = lpm_monotonic_us() + 60 * G_USEC_PER_SEC;
    struct scene scene;
    guint most = 0;

    (void)state;
    scene_open(&scene, LPM_BACKLOG_MIN, LINKS, LINKS);
    lpm_session_set_links(scene.session[0], LINKS);
    scene_start(&scene, 5000000);
    while (!scene_done(&scene) && lpm_monotonic_us() < deadline) {
        if (scene_needs_link(&scene))
            scene_link(&scene, g_rand_int_range(random, 0, 1000000));
        most = MAX(most, links_up(scene.session[0]));
        g_usleep(200);
    }
    assert_true(scene_done(&scene));
    assert_true(scene_exact(&scene));
    assert_true(scene.wires->len > 20);
    assert_int_equal(most, LINKS);
    scene_close(&scene);
}

/* A link that joins while others are busy makes nobody send a frame twice, and takes its share. */
static void test_join_while_busy(void **state)
{
    struct lpm_session_state told;
    struct scene scene;

    (void)state;
    scene_open(&scene, 16 * LPM_BACKLOG_MIN, LINKS, LINKS);
    scene.slow = TRUE; /* one alone would take too long */
    lpm_session_set_links(scene.session[0], LINKS);
    scene_link(&scene, -1);
    await_links(&scene, 1);
    scene_start(&scene, 4000000);
    g_usleep(10000); /* for frames to be under way; the outcome does not depend on it */
    for (guint i = 2; i <= LINKS; i++) {
        scene_link(&scene, -1);
        await_links(&scene, i);
    }
    assert_true(scene_await(&scene, 60));
    lpm_session_get_state(scene.session[0], &told);
    assert_int_equal(told.places, LINKS);
    for (guint i = 0; i < LINKS; i++)
        assert_true(told.link[i].sent > 100000);
    assert_int_equal(told.reconnects, 0);
    lpm_session_state_clear(&told);
    assert_whole(&scene, 0, 0);
    scene_close(&scene);
}

/* One of two is cut with frames under way: the other carries them, and no new link is needed. */
static void test_one_is_lost(void **state)
{
    (void)state;
    for (gint64 budget = 100000; budget < 1000000; budget += 123457) {
        struct scene scene;

        scene_open(&scene, LPM_BACKLOG_MIN, LINKS, LINKS);
        lpm_session_set_links(scene.session[0], 2);
        scene_link(&scene, -1);
        scene_link(&scene, budget);
        await_links(&scene, 2);
        scene_start(&scene, 1000000);
        assert_true(scene_await(&scene, 60));
        await_links(&scene, 1);
        assert_whole(&scene, 0, -1);
        scene_close(&scene);
    }
}

/* One falls silent with frames under way: after five seconds the other carries them. */
static void test_one_falls_silent(void **state)
{
    gint64 begun = lpm_monotonic_us();
    struct scene scene;

    (void)state;
    scene_open(&scene, LPM_BACKLOG_MIN, LINKS, LINKS);
    lpm_session_set_links(scene.session[0], 2);
    scene_link(&scene, -1);
    scene.mute = TRUE;
    scene_link(&scene, 500000);
    await_links(&scene, 2);
    scene_start(&scene, 1000000);
    assert_true(scene_await(&scene, 15));
    assert_true(lpm_monotonic_us() - begun > 4 * G_USEC_PER_SEC); /* else nothing was under way */
    assert_whole(&scene, 0, -1);
    scene_close(&scene);
}

/* All are lost, and one comes later. */
static void test_all_are_lost(void **state)
{
    struct lpm_session_state told;
    struct scene scene;

    (void)state;
    scene_open(&scene, LPM_BACKLOG_MIN, LINKS, LINKS);
    lpm_session_set_links(scene.session[0], LINKS);
    for (guint i = 0; i < LINKS; i++)
        scene_link(&scene, 300000 + 1000 * i);
    scene_start(&scene, 1000000);
    await_links(&scene, 0);
    assert_false(scene_done(&scene));
    scene_link(&scene, -1);
    assert_true(scene_await(&scene, 60));
    lpm_session_get_state(scene.session[0], &told);
    assert_non_null(told.link_cause);
    assert_int_equal(told.links, LINKS + 1);
    assert_int_equal(told.reconnects, 1);
    lpm_session_state_clear(&told);
    assert_whole(&scene, 1, -1);
    scene_close(&scene);
}

/* There are no more than both sides take: one more replaces one, which harms nobody. */
static void test_no_more_than_both_take(void **state)
{
    (void)state;
    for (guint other = 1; other <= LINKS; other++) {
        struct scene scene;

        scene_open(&scene, LPM_BACKLOG_MIN, LINKS, other);
        lpm_session_set_links(scene.session[0], LPM_LINKS_MOST);
        scene_start(&scene, 3000000);
        for (guint i = 1; i <= 2 * LINKS; i++) {
            scene_link(&scene, -1);
            await_came(&scene, i);
            for (guint side = 0; side < 2; side++)
                assert_in_range(links_up(scene.session[side]), 1, other);
        }
        assert_true(scene_await(&scene, 60));
        assert_true(scene_exact(&scene));
        scene_close(&scene);
    }
}

/* A bit that turns over on one link fails the session, and nothing damaged is delivered. */
static void test_damage_on_one(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene, LPM_BACKLOG_MIN, LINKS, LINKS);
    lpm_session_set_links(scene.session[0], 2);
    scene_link(&scene, -1);
    scene.flip_at = 100000;
    scene_link(&scene, -1);
    await_links(&scene, 2);
    scene_start(&scene, 1000000);
    scene_assert_damage(&scene);
    scene_close(&scene);
}

/* ---- a peer that lies ---- */

struct lie {
    const char *what;
    struct lpm_hello hello; /* on the second link */
    guint64 ack;            /* then */
    gboolean damaged;       /* then */
};

static void say(int fd, LpmFrame *frame)
{
    guint8 header[LPM_FRAME_HEADER_BYTES];
    g_autoptr(LpmFrame) owned G_GNUC_UNUSED = frame;

    lpm_frame_encode_header(frame, header);
    assert_int_equal(send(fd, header, sizeof(header), MSG_NOSIGNAL), sizeof(header));
    assert_int_equal(send(fd, frame->body, frame->length, MSG_NOSIGNAL), frame->length);
}

/* Gives the session a link, of which the other end is ours. */
static int give_link(LpmSession *session)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_true(lpm_session_add_link(session, pair[0], FALSE, NULL));
    return pair[1];
}

static int await_failure(LpmSession *session)
{
    gint64 deadline = lpm_monotonic_us() + 5 * G_USEC_PER_SEC;
    struct lpm_session_state state = {0};
    int failed;

    do {
        lpm_session_state_clear(&state);
        g_usleep(500);
        lpm_session_get_state(session, &state);
        failed = state.failed;
    } while (!failed && lpm_monotonic_us() < deadline);
    lpm_session_state_clear(&state);
    return failed;
}

/* A breach on any link fails the session. */
static void test_lies(void **state)
{
    static const struct lie lies[] = {
#define TRUTH .side = LPM_SIDE_TARGET, .links = LINKS
        {"of what was never sent", {TRUTH, .window = LPM_BACKLOG_MIN, .next = {0, 0, 5}}, 0, FALSE},
        {"of its side", {.links = LINKS, .window = LPM_BACKLOG_MIN}, 0, FALSE},
        {"of its session", {TRUTH, .window = LPM_BACKLOG_MIN, .session = {1}}, 0, FALSE},
        {"of its window", {TRUTH, .window = 1}, 0, FALSE},
        {"in an acknowledgement", {TRUTH, .window = LPM_BACKLOG_MIN}, 9, FALSE},
        {"in a frame", {TRUTH, .window = LPM_BACKLOG_MIN}, 0, TRUE},
#undef TRUTH
    };

    (void)state;
    for (guint i = 0; i < G_N_ELEMENTS(lies); i++) {
        struct lpm_hello good = {
            .side = LPM_SIDE_TARGET, .window = LPM_BACKLOG_MIN, .links = LINKS};
        struct lpm_session_config config = {
            .window = LPM_BACKLOG_MIN, .links = LINKS, .ops = &lpm_link_plain};
        LpmSession *session = lpm_session_new(&config);
        int first = give_link(session), second = give_link(session);

        say(first, lpm_frame_hello(&good));
        while (links_up(session) != 1)
            g_usleep(500);
        assert_int_equal(lpm_session_reserve(session, LPM_CHANNEL_DATA, 1), 1);
        lpm_session_push(session, lpm_frame_new_raw(LPM_FRAME_DATA, LPM_CHANNEL_DATA, "x", 1));
        say(second, lpm_frame_hello(&lies[i].hello));
        if (lies[i].ack) {
            const guint64 next[LPM_CHANNEL_COUNT] = {0, 0, lies[i].ack};

            say(second, lpm_frame_ack(1u << LPM_CHANNEL_DATA, next));
        }
        if (lies[i].damaged)
            assert_int_equal(send(second, "this is no frame, but it is long enough", 40, 0), 40);
        if (await_failure(session) != LPM_E_PROTOCOL)
            fail_msg("a lie %s is believed", lies[i].what);
        lpm_session_free(session);
        close(first);
        close(second);
    }
}

/* A number in a HELLO that an acknowledgement over another link has overtaken is no lie. */
static void test_overtaken_hello(void **state)
{
    struct lpm_hello hello = {.side = LPM_SIDE_TARGET, .window = LPM_BACKLOG_MIN, .links = LINKS};
    struct lpm_session_config config = {
        .window = LPM_BACKLOG_MIN, .links = LINKS, .ops = &lpm_link_plain};
    const guint64 next[LPM_CHANNEL_COUNT] = {0, 0, 1};
    LpmSession *session = lpm_session_new(&config);
    int first = give_link(session), second = give_link(session);
    struct lpm_session_flow flow = {0};

    (void)state;
    say(first, lpm_frame_hello(&hello));
    assert_int_equal(lpm_session_reserve(session, LPM_CHANNEL_DATA, 1), 1);
    lpm_session_push(session, lpm_frame_new_raw(LPM_FRAME_DATA, LPM_CHANNEL_DATA, "x", 1));
    do {
        g_usleep(500);
        lpm_session_get_flow(session, LPM_CHANNEL_DATA, &flow);
    } while (flow.waiting);
    say(first, lpm_frame_ack(1u << LPM_CHANNEL_DATA, next));
    while (flow.acknowledged != 1) {
        g_usleep(500);
        lpm_session_get_flow(session, LPM_CHANNEL_DATA, &flow);
    }
    say(second, lpm_frame_hello(&hello));
    while (links_up(session) != 2)
        g_usleep(500);
    assert_false(lpm_session_over(session));
    lpm_session_free(session);
    close(first);
    close(second);
}

/* ---- the rate ---- */

static guint64 bytes_sent(LpmSession *session)
{
    struct lpm_session_state state;

    lpm_session_get_state(session, &state);
    guint64 bytes = state.transmit.bytes;

    lpm_session_state_clear(&state);
    return bytes;
}

/* All links together keep to it, within 5 % over two seconds. */
static void test_rate_over_all(void **state)
{
    const double rate = 2e6;
    struct scene scene;

    (void)state;
    scene_open(&scene, 4 * LPM_BACKLOG_MIN, LINKS, LINKS);
    lpm_session_set_links(scene.session[0], LINKS);
    for (guint i = 0; i < LINKS; i++)
        scene_link(&scene, -1);
    await_links(&scene, LINKS);
    lpm_session_set_rate(scene.session[0], (guint64)rate);
    scene_start(&scene, 5000000);
    g_usleep(300000); /* what may be made up for at the start is past */
    gint64 begun = lpm_monotonic_us();
    guint64 before = bytes_sent(scene.session[0]);

    g_usleep(2000000); /* the time is the test's subject */
    double bytes = (double)(bytes_sent(scene.session[0]) - before);
    double seconds = (double)(lpm_monotonic_us() - begun) / 1e6;
    double share = bytes * 1.02 / seconds / rate; /* pace.c adds 2 % for the headers below */

    if (share < 0.95 || share > 1.05)
        fail_msg("%.1f %% of the rate", 100 * share);
    lpm_session_set_rate(scene.session[0], 0);
    assert_true(scene_await(&scene, 60));
    assert_whole(&scene, 0, 0);
    scene_close(&scene);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_anywhere),    cmocka_unit_test(test_join_while_busy),
        cmocka_unit_test(test_one_is_lost),     cmocka_unit_test(test_one_falls_silent),
        cmocka_unit_test(test_all_are_lost),    cmocka_unit_test(test_no_more_than_both_take),
        cmocka_unit_test(test_damage_on_one),   cmocka_unit_test(test_lies),
        cmocka_unit_test(test_overtaken_hello), cmocka_unit_test(test_rate_over_all),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
