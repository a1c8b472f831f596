/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "pair.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Movers outlive whoever launched them: those of a test that failed are ended here. */
static pid_t launched[64];
static guint launched_count;

static void end_launched(void)
{
    for (guint i = 0; i < launched_count; i++)
        if (launched[i] > 0)
            kill(launched[i], SIGKILL);
}

static void on_signal(int number)
{
    end_launched();
    _exit(128 + number);
}

static void forget_launched(pid_t pid)
{
    for (guint i = 0; i < launched_count; i++)
        if (launched[i] == pid)
            launched[i] = 0;
}

static void remember_launched(pid_t pid)
{
    if (launched_count == 0) {
        atexit(end_launched);
        signal(SIGTERM, on_signal);
        signal(SIGINT, on_signal);
    }
    assert_true(launched_count < G_N_ELEMENTS(launched));
    launched[launched_count++] = pid;
}

static void check(gboolean ok, GError *error)
{
    if (!ok)
        fail_msg("%s", error ? error->message : "end of file");
}

/* ---- sockets ---- */

static int unix_listen(const char *path, int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static int unix_connect(const char *path, int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void tcp_listen(struct pair *pair)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(address);

    pair->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(pair->listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(pair->listener, 4), 0);
    assert_int_equal(getsockname(pair->listener, (struct sockaddr *)&address, &length), 0);
    pair->port = pair->via_port = ntohs(address.sin_port);
}

static void give_link(struct mover_end *end, int fd)
{
    g_autoptr(GError) error = NULL;

    check(lpm_mover_send_link(end->control, end->side == LPM_SIDE_TARGET, fd, &error), error);
    lpm_fd_clear(&end->link);
    end->link = fd;
    end->need[LPM_NEED_LINK] = FALSE;
}

static void make_link(struct pair *pair)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(pair->via_port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    int accepted = accept4(pair->listener, NULL, NULL, SOCK_CLOEXEC);

    assert_true(accepted >= 0);
    give_link(&pair->end[LPM_SIDE_SOURCE], fd);
    give_link(&pair->end[LPM_SIDE_TARGET], accepted);
}

/* ---- the processes ---- */

static pid_t launch(struct pair *pair, struct mover_end *end, int listening)
{
    const char *program = g_getenv("LPM_MOVER");
    g_autofree char *root = g_build_filename(pair->folder, "empty", NULL);

    assert_non_null(program);
    g_mkdir(root, 0755);
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        int copy = fcntl(listening, F_DUPFD, 10); /* never 3, so that dup2 clears close-on-exec */

        dup2(copy, 3);
        execl(program, program, "--user", "nobody", "--root", root, "--id", "test", "--side",
              lpm_side_name(end->side), NULL);
        _exit(127);
    }
    remember_launched(pid);
    return pid;
}

guint pair_threads;
guint64 pair_bandwidth;
guint pair_links;
gboolean pair_grow;

/* What the movers of a pair are started with. */
struct pair_options {
    guint64 backlog;
    const char *compression;
    int level;
    guint8 key[2]; /* by enum lpm_side */
    gboolean finish_by_outcome, gate_run;
};

static void end_start(struct pair *pair, struct mover_end *end, const struct pair_options *options)
{
    g_autoptr(GError) error = NULL;
    LpmMoverStart start = {.side = end->side,
                           .backlog_bytes = options->backlog ? options->backlog : 4u << 20,
                           .compression = options->compression,
                           .compression_level = options->level,
                           .finish_by_outcome = options->finish_by_outcome,
                           .gate_run = options->gate_run,
                           .threads = pair_threads,
                           .bandwidth = pair_bandwidth,
                           .links = pair_links,
                           .grow = pair_grow,
                           .migration = "test",
                           .partition = "partition"};
    lpm_autofd listening = -1;

    memset(start.session, 0x5a, sizeof(start.session));
    memcpy(start.psk, end->psk, sizeof(start.psk));
    end->socket_path = g_strdup_printf("%s/%s.sock", pair->folder, lpm_side_name(end->side));
    listening = unix_listen(end->socket_path, SOCK_SEQPACKET);
    end->pid = launch(pair, end, listening);
    end->control = unix_connect(end->socket_path, SOCK_SEQPACKET);
    check(lpm_mover_send_start(end->control, &start, &error), error);
}

static void source_listen(struct pair *pair, enum lpm_channel channel)
{
    g_autofree char *path = g_strdup_printf("%s/%s.sock", pair->folder, lpm_channel_name(channel));
    g_autoptr(GError) error = NULL;
    lpm_autofd fd = unix_listen(path, SOCK_STREAM);

    check(lpm_mover_send_listen(pair->end[LPM_SIDE_SOURCE].control, channel, fd, &error), error);
}

static struct pair *pair_start(const struct pair_options *options)
{
    struct pair *pair = g_new0(struct pair, 1);

    signal(SIGPIPE, SIG_IGN);
    pair->folder = g_dir_make_tmp("lpm-test-XXXXXX", NULL);
    pair->keep_linked = TRUE;
    assert_int_equal(chmod(pair->folder, 0755), 0);
    tcp_listen(pair);
    for (guint i = 0; i < 2; i++) {
        struct mover_end *end = &pair->end[i];

        end->side = (enum lpm_side)i;
        end->link = -1;
        for (guint c = 0; c < LPM_CHANNEL_COUNT; c++)
            end->program[c] = -1;
        memset(end->psk, options->key[i], sizeof(end->psk));
        end_start(pair, end, options);
    }
    source_listen(pair, LPM_CHANNEL_RPC);
    source_listen(pair, LPM_CHANNEL_DATA);
    return pair;
}

struct pair *pair_new_keys(guint64 backlog, const char *compression, int level, guint8 source_key,
                           guint8 target_key)
{
    const struct pair_options options = {.backlog = backlog,
                                         .compression = compression,
                                         .level = level,
                                         .key = {source_key, target_key}};

    return pair_start(&options);
}

struct pair *pair_new(guint64 backlog, const char *compression, int level)
{
    return pair_new_keys(backlog, compression, level, 0x33, 0x33);
}

struct pair *pair_new_postcopy(gboolean gate)
{
    const struct pair_options options = {.compression = "zstd",
                                         .level = 1,
                                         .key = {0x33, 0x33},
                                         .finish_by_outcome = TRUE,
                                         .gate_run = gate};

    return pair_start(&options);
}

static void end_free(struct mover_end *end)
{
    g_autoptr(GError) error = NULL;
    int status = -1;

    check(lpm_mover_send_quit(end->control, &error), error);
    for (guint i = 0; i < 1000 && waitpid(end->pid, &status, WNOHANG) == 0; i++)
        g_usleep(10000);
    if (status != 0)
        kill(end->pid, SIGKILL);
    forget_launched(end->pid);
    if (status != 0)
        fail_msg("the %s's mover ended with status %x", lpm_side_name(end->side), (unsigned)status);
    lpm_fd_clear(&end->control);
    lpm_fd_clear(&end->link);
    for (guint c = 0; c < LPM_CHANNEL_COUNT; c++)
        lpm_fd_clear(&end->program[c]);
    g_unlink(end->socket_path);
    g_free(end->socket_path);
    g_free(end->link_cause);
    g_free(end->failed_cause);
    if (end->stats)
        json_decref(end->stats);
}

void pair_free(struct pair *pair)
{
    static const char *const names[] = {"rpc.sock", "data.sock", "empty"};

    end_free(&pair->end[0]);
    end_free(&pair->end[1]);
    lpm_fd_clear(&pair->listener);
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(pair->folder, names[i], NULL);

        g_remove(path);
    }
    g_rmdir(pair->folder);
    g_free(pair->folder);
    g_free(pair);
}

/* ---- events ---- */

static void replace(char **text, const char *value)
{
    g_free(*text);
    *text = g_strdup(value);
}

static void note(struct mover_end *end, const LpmMoverEvent *event)
{
    switch (event->type) {
    case LPM_MOVER_HELLO:
        end->hello_started = event->started;
        end->hello_finish = event->finish;
        break;
    case LPM_MOVER_NEED:
        end->need[event->need] = TRUE;
        break;
    case LPM_MOVER_LINK:
        end->link_up = event->link_up;
        end->links_down += !event->link_up;
        end->reconnects = event->reconnects;
        if (!event->link_up)
            replace(&end->link_cause, event->cause);
        break;
    case LPM_MOVER_CHANNEL:
        end->state[event->channel] = event->state;
        break;
    case LPM_MOVER_FINISH_HELD:
        end->finish_held = TRUE;
        end->finish_status = event->status;
        end->finish_cancelled = event->cancelled;
        break;
    case LPM_MOVER_STATS:
        if (end->stats)
            json_decref(end->stats);
        end->stats = json_incref(event->stats);
        break;
    case LPM_MOVER_FAILED:
        end->failed = event->code;
        replace(&end->failed_cause, event->cause);
        break;
    case LPM_MOVER_POSTCOPY:
        end->postcopy = TRUE;
        end->run_waiting = event->waiting;
        break;
    case LPM_MOVER_BITMAPS:
        end->bitmaps_waiting = event->waiting;
        break;
    case LPM_MOVER_ENDED:
        end->ended = TRUE;
        break;
    }
}

void pair_step(struct pair *pair, int timeout_ms)
{
    struct pollfd items[2] = {{.fd = pair->end[0].control, .events = POLLIN},
                              {.fd = pair->end[1].control, .events = POLLIN}};

    poll(items, 2, timeout_ms);
    for (guint i = 0; i < 2; i++) {
        g_autoptr(GError) error = NULL;
        g_auto(LpmMoverEvent) event = {.fd = -1};

        if (!items[i].revents)
            continue;
        check(lpm_mover_event_receive(pair->end[i].control, &event, &error), error);
        note(&pair->end[i], &event);
    }
    /* The source dials; if the target alone misses the link, the source will too, by its silence.
     */
    if (pair->keep_linked && pair->end[LPM_SIDE_SOURCE].need[LPM_NEED_LINK])
        make_link(pair);
}

void pair_until(struct pair *pair, const gboolean *flag, guint seconds, const char *what)
{
    gint64 deadline = lpm_monotonic_us() + (gint64)seconds * G_USEC_PER_SEC;

    while (!*flag && lpm_monotonic_us() < deadline)
        pair_step(pair, 50);
    if (!*flag)
        fail_msg("%s did not happen within %u s", what, seconds);
}

void pair_until_state(struct pair *pair, enum lpm_side side, enum lpm_channel channel,
                      enum lpm_channel_state state, guint seconds)
{
    gint64 deadline = lpm_monotonic_us() + (gint64)seconds * G_USEC_PER_SEC;

    while (pair->end[side].state[channel] != state && lpm_monotonic_us() < deadline)
        pair_step(pair, 50);
    if (pair->end[side].state[channel] != state)
        fail_msg("channel %s of the %s is in state %d, not %d, after %u s",
                 lpm_channel_name(channel), lpm_side_name(side), pair->end[side].state[channel],
                 state, seconds);
}

void pair_connect(struct pair *pair, enum lpm_channel channel)
{
    g_autofree char *path = g_strdup_printf("%s/%s.sock", pair->folder, lpm_channel_name(channel));
    struct mover_end *source = &pair->end[LPM_SIDE_SOURCE], *target = &pair->end[LPM_SIDE_TARGET];
    enum lpm_mover_need need = channel == LPM_CHANNEL_RPC ? LPM_NEED_RPC : LPM_NEED_DATA;
    g_autoptr(GError) error = NULL;
    int sockets[2];

    source->program[channel] = unix_connect(path, SOCK_STREAM);
    pair_until(pair, &target->need[need], 20, "the target's need of a socket");
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    check(lpm_mover_send_attach(target->control, channel, sockets[0], &error), error);
    close(sockets[0]);
    target->program[channel] = sockets[1];
    pair_until_state(pair, LPM_SIDE_TARGET, channel, LPM_CHANNEL_OPEN, 20);
    pair_until_state(pair, LPM_SIDE_SOURCE, channel, LPM_CHANNEL_OPEN, 20);
}

void pair_give_memory(struct pair *pair, const char *block, guint64 size, int fd)
{
    g_autoptr(GError) error = NULL;

    check(lpm_mover_send_memory(pair->end[LPM_SIDE_TARGET].control, block, size, fd, &error),
          error);
}

void pair_cut(struct pair *pair)
{
    for (guint i = 0; i < 2; i++)
        if (pair->end[i].link >= 0)
            shutdown(pair->end[i].link, SHUT_RDWR);
}

json_t *pair_stats(struct pair *pair, enum lpm_side side)
{
    struct mover_end *end = &pair->end[side];
    g_autoptr(GError) error = NULL;
    gint64 deadline = lpm_monotonic_us() + 10 * G_USEC_PER_SEC;

    g_clear_pointer(&end->stats, json_decref);
    check(lpm_mover_send_stats(end->control, &error), error);
    while (!end->stats && lpm_monotonic_us() < deadline)
        pair_step(pair, 50);
    assert_non_null(end->stats);
    return end->stats;
}

void pair_set(struct pair *pair, enum lpm_side side, const struct lpm_mover_set *set)
{
    g_autoptr(GError) error = NULL;

    check(lpm_mover_send_set(pair->end[side].control, set, &error), error);
}

void pair_reattach(struct pair *pair, enum lpm_side side)
{
    struct mover_end *end = &pair->end[side];

    lpm_fd_clear(&end->control);
    end->hello_started = end->finish_held = end->ended = end->postcopy = FALSE;
    memset(end->state, 0, sizeof(end->state));
    memset(end->need, 0, sizeof(end->need));
    end->control = unix_connect(end->socket_path, SOCK_SEQPACKET);
    pair_until(pair, &end->hello_started, 10, "the greeting of the mover");
}
