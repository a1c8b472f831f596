/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The main thread: one poll over the control socket, the programs' listening sockets and an eventfd
 * that everybody else writes when a fact has changed.
 */
#include "mover/mover.h"

#include "base/clock.h"
#include "base/error.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* Without START and without a connection to lpmd the process ends after this. */
#define ORPHAN_US (60 * G_USEC_PER_SEC)
#define TICK_MS 250

/* For the signal handler; set once before it is installed. */
static int term_wake_fd = -1;
static volatile sig_atomic_t term_seen;

static void wake(int fd)
{
    guint64 one = 1;
    ssize_t ignored = write(fd, &one, sizeof(one));

    (void)ignored; /* an eventfd that is full has somebody to look at it already */
}

static void on_term(int number)
{
    int saved = errno;

    (void)number;
    term_seen = 1;
    wake(term_wake_fd);
    errno = saved;
}

/* Any thread. */
static void note_change(gpointer opaque)
{
    wake(((const LpmMover *)opaque)->wake_fd);
}

/* Any thread that has a link, with the session's lock held. */
static void note_drained(gpointer opaque, enum lpm_channel channel)
{
    LpmMover *mover = opaque;

    if (channel == LPM_CHANNEL_DATA && mover->data)
        lpm_data_pump_drained(mover->data);
}

/* The same. */
static void note_acknowledged(gpointer opaque, enum lpm_channel channel)
{
    LpmMover *mover = opaque;

    if (channel == LPM_CHANNEL_DATA && mover->data)
        lpm_data_pump_acknowledged(mover->data);
}

LpmMover *lpm_mover_new(int listen_fd, int stat_fd, enum lpm_side side)
{
    LpmMover *mover = g_new0(LpmMover, 1);
    struct sigaction term = {.sa_handler = on_term};

    mover->side = side;
    mover->born_us = lpm_monotonic_us();
    mover->listen_fd = listen_fd;
    mover->stat_fd = stat_fd;
    mover->control_fd = -1;
    mover->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (guint i = 0; i < LPM_CHANNEL_COUNT; i++)
        mover->program_fd[i] = -1;
    term_wake_fd = mover->wake_fd;
    sigaction(SIGTERM, &term, NULL);
    return mover;
}

void lpm_mover_free(LpmMover *mover)
{
    if (mover->started) {
        lpm_session_stop(mover->session);
        for (guint i = 1; i < LPM_CHANNEL_COUNT; i++)
            lpm_endpoint_cancel(mover->endpoint[i], "the mover ends");
        lpm_switchover_cancel(mover->switchover);
        lpm_bitmap_gate_cancel(mover->gate);
        lpm_rpc_pump_free(mover->rpc);
        lpm_data_pump_free(mover->data);
        mover->data = NULL; /* the session says `drained` once more */
        lpm_session_free(mover->session);
        for (guint i = 1; i < LPM_CHANNEL_COUNT; i++)
            lpm_endpoint_free(mover->endpoint[i]);
        lpm_switchover_free(mover->switchover);
        lpm_bitmap_gate_free(mover->gate);
        g_free((char *)mover->start.migration);
        g_free((char *)mover->start.partition);
        g_free((char *)mover->start.compression);
    }
    for (guint i = 0; i < LPM_CHANNEL_COUNT; i++)
        lpm_fd_clear(&mover->program_fd[i]);
    lpm_fd_clear(&mover->control_fd);
    signal(SIGTERM, SIG_DFL);
    lpm_fd_clear(&mover->wake_fd);
    g_free(mover);
}

/* ---- commands ---- */

static struct lpm_pump make_pump(LpmMover *mover, enum lpm_channel channel)
{
    mover->endpoint[channel] = lpm_endpoint_new(note_change, mover);
    return (struct lpm_pump){.session = mover->session,
                             .endpoint = mover->endpoint[channel],
                             .channel = channel,
                             .side = mover->side,
                             .hold_end = mover->start.hold_ends,
                             .log = mover->log};
}

static void set_bandwidth(LpmMover *mover, guint64 bandwidth)
{
    mover->bandwidth = bandwidth;
    lpm_session_set_rate(mover->session, bandwidth);
}

static gboolean on_start(LpmMover *mover, const LpmMoverStart *start, GError **error)
{
    gboolean automatic = strcmp(start->compression, "auto") == 0;
    const struct lpm_compressor *method =
        automatic ? NULL : lpm_compressor_by_name(start->compression);
    struct lpm_session_config config = {.side = start->side,
                                        .window = start->backlog_bytes,
                                        .links = start->links,
                                        .changed = note_change,
                                        .drained = note_drained,
                                        .acknowledged = note_acknowledged,
                                        .user = mover};

    if (mover->started)
        return lpm_fail(error, LPM_E_PROTOCOL, "a mover can be started only once");
    if (start->side != mover->side)
        return lpm_fail(error, LPM_E_PROTOCOL, "this mover was launched as the %s, not the %s",
                        lpm_side_name(mover->side), lpm_side_name(start->side));
    if (!method && !automatic)
        return lpm_fail(error, LPM_E_PROTOCOL, "there is no compression '%s'", start->compression);
    memcpy(config.id, start->session, sizeof(config.id));
    memcpy(config.psk, start->psk, sizeof(config.psk));
    mover->start = *start;
    explicit_bzero(mover->start.psk, sizeof(mover->start.psk));
    mover->start.migration = g_strdup(start->migration);
    mover->start.partition = g_strdup(start->partition);
    mover->start.compression = g_strdup(start->compression);
    mover->log = (struct lpm_log_context){.migration = mover->start.migration,
                                          .partition = mover->start.partition};
    mover->session = lpm_session_new(&config);
    lpm_mover_links_start(mover, start);
    if (start->side == LPM_SIDE_SOURCE)
        set_bandwidth(mover, start->bandwidth);
    struct lpm_pump rpc = make_pump(mover, LPM_CHANNEL_RPC);
    struct lpm_pump data = make_pump(mover, LPM_CHANNEL_DATA);

    gboolean target = mover->side == LPM_SIDE_TARGET;

    mover->switchover = lpm_switchover_new(target && start->gate_run, note_change, mover);
    mover->gate = lpm_bitmap_gate_new(target && start->hold_bitmaps, note_change, mover);
    mover->rpc = lpm_rpc_pump_new(
        &rpc, target && start->finish_by_outcome ? mover->switchover : NULL, note_change, mover);
    const struct lpm_data_config how = {.gate = mover->gate,
                                        .secret = config.psk,
                                        .secret_length = sizeof(config.psk),
                                        .method = method,
                                        .level = start->compression_level,
                                        .threads = start->threads};

    mover->data = lpm_data_pump_new(&data, mover->switchover, &how);
    explicit_bzero(&config, sizeof(config));
    mover->started_us = lpm_monotonic_us();
    mover->started = TRUE;
    return TRUE;
}

static gboolean on_socket(LpmMover *mover, LpmMoverCommand *command, GError **error)
{
    gboolean listening = command->type == LPM_MOVER_LISTEN;

    if (listening != (mover->side == LPM_SIDE_SOURCE))
        return lpm_fail(error, LPM_E_PROTOCOL, "a mover at the %s is not given such a socket",
                        lpm_side_name(mover->side));
    if (!listening) {
        if (!lpm_endpoint_attach(mover->endpoint[command->channel], lpm_steal_fd(&command->fd)))
            return lpm_fail(error, LPM_E_PROTOCOL, "channel '%s' has its socket already",
                            lpm_channel_name(command->channel));
        return TRUE;
    }
    if (lpm_endpoint_state(mover->endpoint[command->channel], NULL) != LPM_CHANNEL_NONE)
        return lpm_fail(error, LPM_E_PROTOCOL, "channel '%s' has its socket already",
                        lpm_channel_name(command->channel));
    lpm_fd_clear(&mover->program_fd[command->channel]);
    mover->program_fd[command->channel] = lpm_steal_fd(&command->fd);
    return TRUE;
}

static void send_stats(LpmMover *mover)
{
    LpmMoverEvent event = {.type = LPM_MOVER_STATS, .stats = lpm_mover_stats(mover)};

    lpm_mover_send(mover, &event);
    json_decref(event.stats);
}

/* Without its mark a page would be sent again, which QEMU does not survive for good: then rather
 * another session. */
static gboolean on_mark(LpmMover *mover, const LpmMoverCommand *command, GError **error)
{
    for (gsize i = 0; i < json_array_size(command->runs); i += 2) {
        guint64 first = (guint64)json_integer_value(json_array_get(command->runs, i));
        guint64 count = (guint64)json_integer_value(json_array_get(command->runs, i + 1));

        if (lpm_bitmap_gate_mark(mover->gate, command->block, first, count))
            continue;
        lpm_fail(error, LPM_E_PROTOCOL, "pages of '%s' cannot be marked", command->block);
        lpm_session_fail(mover->session, (*error)->code, (*error)->message);
        return FALSE;
    }
    return TRUE;
}

static gboolean obey(LpmMover *mover, LpmMoverCommand *command, GError **error)
{
    switch (command->type) {
    case LPM_MOVER_START:
        return on_start(mover, &command->start, error);
    case LPM_MOVER_ASK_STATS:
        send_stats(mover);
        return TRUE;
    case LPM_MOVER_QUIT:
        mover->quit = TRUE;
        return TRUE;
    case LPM_MOVER_LEAVE:
        _exit(EXIT_SUCCESS);
    default:
        break;
    }
    if (!mover->started)
        return lpm_fail(error, LPM_E_PROTOCOL, "a mover must be started first");
    switch (command->type) {
    case LPM_MOVER_LISTEN:
    case LPM_MOVER_ATTACH:
        return on_socket(mover, command, error);
    case LPM_MOVER_ADD_LINK:
        mover->told.need[LPM_NEED_LINK] = FALSE;
        return lpm_session_add_link(mover->session, lpm_steal_fd(&command->fd), command->server,
                                    error);
    case LPM_MOVER_END:
        lpm_endpoint_allow_end(mover->endpoint[command->channel]);
        return TRUE;
    case LPM_MOVER_RELEASE:
        lpm_rpc_pump_release(mover->rpc);
        return TRUE;
    case LPM_MOVER_ALLOW_RUN:
        lpm_switchover_allow(mover->switchover);
        return TRUE;
    case LPM_MOVER_MARK:
        return on_mark(mover, command, error);
    case LPM_MOVER_PASS_BITMAPS:
        lpm_bitmap_gate_pass(mover->gate);
        return TRUE;
    case LPM_MOVER_SET:
        if (command->set.has_threads)
            lpm_data_pump_set_threads(mover->data, command->set.threads);
        if (command->set.has_bandwidth && mover->side == LPM_SIDE_SOURCE)
            set_bandwidth(mover, command->set.bandwidth);
        return TRUE;
    case LPM_MOVER_RETAIN:
        return lpm_data_pump_retain(mover->data, lpm_steal_fd(&command->fd), command->key, error);
    case LPM_MOVER_MEMORY:
        if (command->block)
            return lpm_data_pump_memory(mover->data, command->block, command->size,
                                        lpm_steal_fd(&command->fd), error);
        lpm_data_pump_no_memory(mover->data, command->reason);
        return TRUE;
    case LPM_MOVER_FAIL_FINISH:
        lpm_rpc_pump_refuse(mover->rpc, command->cause);
        return TRUE;
    default:
        return TRUE;
    }
}

/* A command that makes no sense is logged and does nothing: a migration is not ended by it. */
static void on_control(LpmMover *mover)
{
    g_autoptr(GError) error = NULL;
    g_auto(LpmMoverCommand) command = {.fd = -1};

    if (lpm_mover_command_receive(mover->control_fd, &command, &error)) {
        if (!obey(mover, &command, &error))
            lpm_log(LPM_LOG_ERROR, &mover->log, "a command of lpmd is refused: %s", error->message);
        return;
    }
    if (error && error->code == LPM_E_PROTOCOL) {
        lpm_log(LPM_LOG_ERROR, &mover->log, "a command of lpmd is not understood: %s",
                error->message);
        return;
    }
    lpm_log(LPM_LOG_INFO, &mover->log, "lpmd is gone, waiting for another%s%s", error ? ": " : "",
            error ? error->message : "");
    lpm_fd_clear(&mover->control_fd);
}

/* ---- the loop ---- */

static void on_connection(LpmMover *mover)
{
    int fd = accept4(mover->listen_fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    lpm_fd_clear(&mover->control_fd);
    mover->control_fd = fd;
    lpm_mover_greet(mover);
}

/* The local program has connected: one connection per channel and migration. */
static void on_program(LpmMover *mover, guint channel)
{
    int fd = accept4(mover->program_fd[channel], NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    lpm_endpoint_attach(mover->endpoint[channel], fd);
    lpm_fd_clear(&mover->program_fd[channel]);
}

static gboolean wanted(LpmMover *mover)
{
    if (mover->quit)
        return FALSE;
    if (term_seen && (!mover->started || mover->told.failed || mover->told.ended))
        return FALSE;
    return mover->started || mover->control_fd >= 0 ||
           lpm_monotonic_us() - mover->born_us < ORPHAN_US;
}

static void look(LpmMover *mover)
{
    struct pollfd items[3 + LPM_CHANNEL_COUNT] = {
        {.fd = mover->listen_fd, .events = POLLIN},
        {.fd = mover->wake_fd, .events = POLLIN},
        {.fd = mover->control_fd, .events = POLLIN},
    };
    guint64 count;

    for (guint i = 0; i < LPM_CHANNEL_COUNT; i++)
        items[3 + i] = (struct pollfd){.fd = mover->program_fd[i], .events = POLLIN};
    if (poll(items, G_N_ELEMENTS(items), TICK_MS) < 0)
        return;
    if (items[1].revents && read(mover->wake_fd, &count, sizeof(count)) < 0)
        return;
    if (items[2].revents)
        on_control(mover);
    for (guint i = 0; i < LPM_CHANNEL_COUNT; i++)
        if (items[3 + i].revents && mover->program_fd[i] == items[3 + i].fd)
            on_program(mover, i);
    if (items[0].revents)
        on_connection(mover);
}

void lpm_mover_run(LpmMover *mover)
{
    while (wanted(mover)) {
        look(mover);
        if (mover->started)
            lpm_mover_links_look(mover);
        lpm_mover_tell(mover);
    }
}
