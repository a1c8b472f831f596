/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/relay.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fdio.h"
#include "mover/mover.h"
#include "mover/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_MS 100
#define RETRY_US (500 * 1000)
/* The last acknowledgement of all is acknowledged by nobody. So who has ended stays for a while:
 * the source, so that its own arrive, and the target until the source has gone. */
#define LINGER_SOURCE_US G_USEC_PER_SEC
#define LINGER_TARGET_US (10 * G_USEC_PER_SEC)
#define BACKLOG (G_GUINT64_CONSTANT(4) << 20) /* as lpmd.conf has it */

struct relay {
    const struct relay_options *options;
    char *folder; /* of the control socket and the mover's root; empty but for that */
    pid_t child;  /* 0: none yet */
    int control;
    struct relay_door door; /* target */
    guint8 session[LPM_SESSION_ID_BYTES];
    gboolean connected; /* the link came up once: the session is the one */
    gboolean linked, needs_link, needs_data, needs_rpc, post_copy, ended;
    gint64 alone_us, data_us, tried_us, ended_us; /* monotonic: without a link since, ... */
    json_t *stats;
};

/* ---- the mover ---- */

/* Never returns. */
static void be_mover(const struct relay *relay, int listen_fd)
{
    g_autoptr(GError) error = NULL;
    gboolean ok = TRUE;
    int stat_fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);

    lpm_log_init("lpm-mover", LPM_LOG_WARNING);
    if (geteuid() == 0)
        ok = lpm_sandbox_enter(relay->folder, relay->options->user, &error);
    else
        ok = prctl(PR_SET_DUMPABLE, 0) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
    /* After the change of user, which would undo it: who was relayed for is gone then. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!ok || !lpm_sandbox_filter(&error)) {
        fprintf(stderr, "lpm-mover: %s\n", error ? error->message : "the sandbox failed");
        _exit(EXIT_FAILURE);
    }
    LpmMover *mover = lpm_mover_new(listen_fd, stat_fd, relay->options->side);
    lpm_mover_run(mover);
    lpm_mover_free(mover);
    _exit(EXIT_SUCCESS);
}

/* A unix socket at `name` in the folder, listening, and a connection to it. */
static gboolean make_pair(const struct relay *relay, const char *name, int type, int *listening,
                          int *connected, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    lpm_autofd near = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    lpm_autofd far = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    g_snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", relay->folder, name);
    if (near < 0 || far < 0 || bind(near, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(near, 1) < 0 || connect(far, (struct sockaddr *)&address, sizeof(address)) < 0)
        return lpm_fail(error, LPM_E_MOVER_START, "%s: %s", address.sun_path, g_strerror(errno));
    unlink(address.sun_path);
    *listening = lpm_steal_fd(&near);
    *connected = lpm_steal_fd(&far);
    return TRUE;
}

static gboolean send_start(const struct relay *relay, GError **error)
{
    const struct relay_options *options = relay->options;
    LpmMoverStart start = {.side = options->side,
                           .backlog_bytes = options->backlog,
                           .compression = options->compression,
                           .compression_level = options->level,
                           .migration = "relay",
                           .partition = "",
                           .threads = options->threads,
                           .links = options->links,
                           .bandwidth = options->bandwidth};

    memcpy(start.session, relay->session, sizeof(start.session));
    relay_session_psk(options->key, relay->session, start.psk);
    gboolean ok = lpm_mover_send_start(relay->control, &start, error);
    explicit_bzero(start.psk, sizeof(start.psk));
    return ok;
}

/* Launches the mover of relay->session. */
static gboolean begin_mover(struct relay *relay, GError **error)
{
    lpm_autofd listening = -1;

    if (!make_pair(relay, "control", SOCK_SEQPACKET, &listening, &relay->control, error))
        return FALSE;
    relay->child = fork();
    if (relay->child < 0)
        return lpm_fail(error, LPM_E_MOVER_START, "fork: %s", g_strerror(errno));
    if (relay->child == 0) {
        lpm_fd_clear(&relay->control);
        relay_door_close(&relay->door);
        be_mover(relay, listening);
    }
    return send_start(relay, error);
}

static void end_mover(struct relay *relay)
{
    if (relay->child <= 0)
        return;
    /* Not QUIT, which a mover that has not accepted yet would never read. Nothing is lost: what
     * counts has been acknowledged. */
    kill(relay->child, SIGKILL);
    lpm_fd_clear(&relay->control);
    while (waitpid(relay->child, NULL, 0) < 0 && errno == EINTR)
        continue;
    relay->child = 0;
}

/* The channel without a program: it ends as soon as it began. */
static gboolean close_rpc(struct relay *relay, GError **error)
{
    lpm_autofd listening = -1, connected = -1;

    return make_pair(relay, "rpc", SOCK_STREAM, &listening, &connected, error) &&
           lpm_mover_send_listen(relay->control, LPM_CHANNEL_RPC, listening, error);
}

static gboolean begin_source(struct relay *relay, GError **error)
{
    lpm_autofd fd = relay_listen_unix(relay->options->unix_path, error);

    if (fd < 0)
        return FALSE;
    relay_session_new(relay->options->key, relay->session);
    return begin_mover(relay, error) &&
           lpm_mover_send_listen(relay->control, LPM_CHANNEL_DATA, fd, error) &&
           close_rpc(relay, error);
}

/* ---- what the mover needs ---- */

/* A source's connection. One that proves the key begins the session; until its link is up another
 * may take its place, so that an id that was overheard is of no use. */
static gboolean receive_link(struct relay *relay, GError **error)
{
    guint8 id[LPM_SESSION_ID_BYTES];
    lpm_autofd fd = relay_door_look(&relay->door, id);

    if (fd < 0 || !relay_session_is_ours(relay->options->key, id))
        return TRUE;
    if (memcmp(id, relay->session, sizeof(id)) != 0) {
        if (relay->connected)
            return TRUE;
        end_mover(relay);
        relay->needs_data = relay->needs_rpc = FALSE;
        memcpy(relay->session, id, sizeof(id));
        if (!begin_mover(relay, error))
            return FALSE;
    }
    return lpm_mover_send_link(relay->control, TRUE, fd, error);
}

static gboolean dial_link(struct relay *relay, GError **error)
{
    g_autoptr(GError) reason = NULL;
    gint64 now = lpm_monotonic_us();

    if (now - relay->tried_us < RETRY_US)
        return TRUE;
    lpm_autofd fd = relay_dial(relay->options->host, relay->options->port, relay->session, &reason);
    relay->tried_us = lpm_monotonic_us();
    if (fd < 0)
        return TRUE; /* the limit is for_too_long()'s */
    relay->needs_link = FALSE;
    return lpm_mover_send_link(relay->control, FALSE, fd, error);
}

static gboolean attach(struct relay *relay, GError **error)
{
    if (relay->needs_rpc) {
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
            return lpm_fail(error, LPM_E_MOVER_START, "socketpair: %s", g_strerror(errno));
        gboolean ok = lpm_mover_send_attach(relay->control, LPM_CHANNEL_RPC, pair[0], error);
        close(pair[0]);
        close(pair[1]);
        relay->needs_rpc = FALSE;
        if (!ok)
            return FALSE;
    }
    if (relay->needs_data) {
        g_autoptr(GError) reason = NULL;
        lpm_autofd fd = relay_connect_unix(relay->options->unix_path, &reason);

        if (fd < 0 && lpm_monotonic_us() - relay->data_us > 30 * G_USEC_PER_SEC) {
            g_propagate_error(error, g_steal_pointer(&reason));
            return FALSE;
        }
        if (fd < 0)
            return TRUE;
        relay->needs_data = FALSE;
        return lpm_mover_send_attach(relay->control, LPM_CHANNEL_DATA, fd, error);
    }
    return TRUE;
}

/* A pre-copy without a link is given up: the source's QEMU goes on. A post-copy is waited for,
 * since its partition would be lost. A target waits for its first source without a limit. */
static gboolean for_too_long(const struct relay *relay, GError **error)
{
    gint64 limit = (gint64)relay->options->link_timeout_s * G_USEC_PER_SEC;
    gboolean waiting = relay->options->side == LPM_SIDE_TARGET && !relay->connected;

    if (relay->linked || relay->post_copy || waiting ||
        lpm_monotonic_us() - relay->alone_us < limit)
        return FALSE;
    lpm_fail(error, LPM_E_LINK_LOST, "no link to the other relay for %u s",
             relay->options->link_timeout_s);
    return TRUE;
}

/* ---- what the mover tells ---- */

static void on_need(struct relay *relay, enum lpm_mover_need need)
{
    if (need == LPM_NEED_LINK)
        relay->needs_link = TRUE;
    if (need == LPM_NEED_RPC)
        relay->needs_rpc = TRUE;
    if (need == LPM_NEED_DATA) {
        relay->needs_data = TRUE;
        relay->data_us = lpm_monotonic_us();
    }
}

static gboolean on_event(struct relay *relay, LpmMoverEvent *event, GError **error)
{
    switch (event->type) {
    case LPM_MOVER_NEED:
        on_need(relay, event->need);
        break;
    case LPM_MOVER_LINK:
        if (relay->linked && !event->link_up && !relay->ended)
            fprintf(stderr, "lpm-mover: the link is down: %s\n",
                    event->cause ? event->cause : "no cause");
        if (relay->linked && !event->link_up)
            relay->alone_us = lpm_monotonic_us();
        relay->connected |= event->link_up;
        relay->linked = event->link_up;
        break;
    case LPM_MOVER_CHANNEL:
        if (event->channel == LPM_CHANNEL_DATA && relay->options->side == LPM_SIDE_SOURCE)
            unlink(relay->options->unix_path); /* QEMU has come; there is one stream per run */
        break;
    case LPM_MOVER_POSTCOPY:
    case LPM_MOVER_BITMAPS:
        relay->post_copy = TRUE;
        break;
    case LPM_MOVER_STATS:
        g_clear_pointer(&relay->stats, json_decref);
        relay->stats = g_steal_pointer(&event->stats);
        break;
    case LPM_MOVER_ENDED:
        relay->ended = TRUE;
        relay->ended_us = lpm_monotonic_us();
        return lpm_mover_send_stats(relay->control, error);
    case LPM_MOVER_FAILED:
        g_set_error_literal(error, LPM_ERROR, event->code,
                            event->cause ? event->cause : "no cause");
        return FALSE;
    case LPM_MOVER_HELLO:
    case LPM_MOVER_FINISH_HELD:
        break;
    }
    return TRUE;
}

static gboolean hear(struct relay *relay, GError **error)
{
    g_auto(LpmMoverEvent) event = {0};
    g_autoptr(GError) reason = NULL;

    if (lpm_mover_event_receive(relay->control, &event, &reason))
        return on_event(relay, &event, error);
    return lpm_fail(error, LPM_E_MOVER_FAILED, "the mover ended%s%s", reason ? ": " : "",
                    reason ? reason->message : "");
}

static gboolean is_over(const struct relay *relay)
{
    gint64 linger = relay->options->side == LPM_SIDE_SOURCE ? LINGER_SOURCE_US : LINGER_TARGET_US;

    return relay->ended && relay->stats &&
           (!relay->linked || lpm_monotonic_us() - relay->ended_us >= linger);
}

static gboolean serve(struct relay *relay, GError **error)
{
    gboolean target = relay->options->side == LPM_SIDE_TARGET;

    relay->alone_us = lpm_monotonic_us();
    while (!is_over(relay)) {
        struct pollfd items[] = {{.fd = relay->child ? relay->control : -1, .events = POLLIN},
                                 {.fd = relay->door.listen_fd, .events = POLLIN}};

        if (poll(items, G_N_ELEMENTS(items), TICK_MS) < 0 && errno != EINTR)
            return lpm_fail(error, LPM_E_INTERNAL, "poll: %s", g_strerror(errno));
        if (items[0].revents && !hear(relay, error))
            return FALSE;
        if (target && (!receive_link(relay, error) || (relay->child && !attach(relay, error))))
            return FALSE;
        if (!target && relay->needs_link && !dial_link(relay, error))
            return FALSE;
        if (for_too_long(relay, error))
            return FALSE;
    }
    return TRUE;
}

/* ---- the command ---- */

static void tell_result(const struct relay *relay)
{
    size_t index;
    json_t *stream;

    if (relay->options->json) {
        json_dumpf(relay->stats, stdout, JSON_INDENT(1) | JSON_SORT_KEYS);
        putchar('\n');
        return;
    }
    json_array_foreach (json_object_get(relay->stats, "streams"), index, stream) {
        if (g_strcmp0(json_string_value(json_object_get(stream, "channel")), "data") == 0)
            printf("%" JSON_INTEGER_FORMAT
                   " bytes of QEMU's stream went over as %" JSON_INTEGER_FORMAT "; hash %s\n",
                   json_integer_value(json_object_get(stream, "bytes_done")),
                   json_integer_value(json_object_get(stream, "encoded_bytes")),
                   json_string_value(json_object_get(relay->stats, "stream_hash")));
    }
}

static gboolean run(const struct relay_options *options, GError **error)
{
    struct relay relay = {.options = options, .control = -1};

    relay_door_init(&relay.door, -1);
    relay.folder = g_dir_make_tmp("lpm-relay-XXXXXX", error);
    if (!relay.folder)
        return FALSE;
    gboolean ok = TRUE;
    if (options->side == LPM_SIDE_SOURCE) {
        ok = begin_source(&relay, error);
    } else {
        relay.door.listen_fd = relay_listen_tcp(options->host, options->port, error);
        ok = relay.door.listen_fd >= 0;
    }
    ok = ok && serve(&relay, error);
    end_mover(&relay);
    relay_door_close(&relay.door);
    if (ok)
        tell_result(&relay);
    g_clear_pointer(&relay.stats, json_decref);
    rmdir(relay.folder);
    g_free(relay.folder);
    return ok;
}

/* As the words came; checked into `struct relay_options`. */
struct words {
    gboolean source, target, json;
    char *listen, *connect, *listen_unix, *connect_unix, *psk_file, *compression, *user;
    gint level, threads, links, link_timeout_s;
    gint64 bandwidth, backlog;
};

static gboolean parse(int argc, char **argv, struct words *words, GError **error)
{
    const GOptionEntry entries[] = {
        {"source", 0, 0, G_OPTION_ARG_NONE, &words->source, "the side of the running QEMU", NULL},
        {"target", 0, 0, G_OPTION_ARG_NONE, &words->target, "the side of QEMU -incoming", NULL},
        {"listen-unix", 0, 0, G_OPTION_ARG_FILENAME, &words->listen_unix,
         "source: where QEMU will connect (migrate unix:PATH)", "PATH"},
        {"connect", 0, 0, G_OPTION_ARG_STRING, &words->connect, "source: the other relay",
         "HOST:PORT"},
        {"listen", 0, 0, G_OPTION_ARG_STRING, &words->listen, "target: for the other relay",
         "[HOST]:PORT"},
        {"connect-unix", 0, 0, G_OPTION_ARG_FILENAME, &words->connect_unix,
         "target: where QEMU listens (-incoming unix:PATH)", "PATH"},
        {"psk-file", 0, 0, G_OPTION_ARG_FILENAME, &words->psk_file,
         "the key that both sides share, mode 0600", "FILE"},
        {"compression", 0, 0, G_OPTION_ARG_STRING, &words->compression,
         "source: auto, zstd, lz4 or none (auto)", "NAME"},
        {"level", 0, 0, G_OPTION_ARG_INT, &words->level, "source: of zstd, -7 to 19 (-1)", "N"},
        {"threads", 0, 0, G_OPTION_ARG_INT, &words->threads,
         "that compress; 0: one for each processor (0)", "N"},
        {"links", 0, 0, G_OPTION_ARG_INT, &words->links,
         "connections at a time; the smaller of both sides (1)", "N"},
        {"bandwidth", 0, 0, G_OPTION_ARG_INT64, &words->bandwidth,
         "source: most bytes per second on the wire; 0: no bound (0)", "BYTES"},
        {"backlog", 0, 0, G_OPTION_ARG_INT64, &words->backlog,
         "most bytes of the stream between the two QEMUs (4194304)", "BYTES"},
        {"link-timeout", 0, 0, G_OPTION_ARG_INT, &words->link_timeout_s,
         "how long a pre-copy waits for the other relay (300)", "SECONDS"},
        {"user", 0, 0, G_OPTION_ARG_STRING, &words->user,
         "whom the mover becomes when root runs this (nobody)", "USER"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &words->json, "print all counters at the end", NULL},
        G_OPTION_ENTRY_NULL};
    g_autoptr(GOptionContext) context =
        g_option_context_new("- OpenLPM's data path between two plain QEMUs");

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, error))
        return FALSE;
    if (argc > 1)
        return lpm_fail(error, LPM_E_USAGE, "'%s' is not understood", argv[1]);
    return TRUE;
}

static gboolean check_numbers(const struct words *words, GError **error)
{
    if (words->level < -7 || words->level > 19)
        return lpm_fail(error, LPM_E_USAGE, "--level %d: from -7 to 19", words->level);
    if (words->threads < 0 || words->threads > LPM_MOVER_THREADS_MAX)
        return lpm_fail(error, LPM_E_USAGE, "--threads %d: from 0 to %d", words->threads,
                        LPM_MOVER_THREADS_MAX);
    if (words->links < 1 || words->links > LPM_LINKS_MOST)
        return lpm_fail(error, LPM_E_USAGE, "--links %d: from 1 to %d", words->links,
                        LPM_LINKS_MOST);
    if (words->bandwidth < 0)
        return lpm_fail(error, LPM_E_USAGE, "--bandwidth: from 0");
    if (words->backlog < (gint64)LPM_BACKLOG_MIN || words->backlog > (gint64)LPM_BACKLOG_MAX)
        return lpm_fail(error, LPM_E_USAGE,
                        "--backlog: from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
                        LPM_BACKLOG_MIN, LPM_BACKLOG_MAX);
    if (words->link_timeout_s < 1)
        return lpm_fail(error, LPM_E_USAGE, "--link-timeout %d: from 1", words->link_timeout_s);
    return TRUE;
}

static gboolean check(const struct words *words, struct relay_options *options, GError **error)
{
    const char *address = words->source ? words->connect : words->listen;

    if (words->source == words->target)
        return lpm_fail(error, LPM_E_USAGE, "one of --source and --target is needed");
    if (words->source &&
        (!words->connect || !words->listen_unix || words->listen || words->connect_unix))
        return lpm_fail(error, LPM_E_USAGE, "--source goes with --listen-unix and --connect");
    if (words->target &&
        (!words->listen || !words->connect_unix || words->connect || words->listen_unix))
        return lpm_fail(error, LPM_E_USAGE, "--target goes with --listen and --connect-unix");
    if (!words->psk_file)
        return lpm_fail(error, LPM_E_USAGE, "--psk-file is needed");
    if (words->compression && strcmp(words->compression, "auto") != 0 &&
        !lpm_compressor_by_name(words->compression))
        return lpm_fail(error, LPM_E_USAGE,
                        "--compression '%s' is none of auto, zstd, lz4 and none",
                        words->compression);
    *options = (struct relay_options){
        .side = words->source ? LPM_SIDE_SOURCE : LPM_SIDE_TARGET,
        .unix_path = words->source ? words->listen_unix : words->connect_unix,
        .compression = words->compression ? words->compression : "auto",
        .level = words->level,
        .threads = (guint)words->threads,
        .links = (guint)words->links,
        .bandwidth = (guint64)words->bandwidth,
        .backlog = (guint64)words->backlog,
        .link_timeout_s = (guint)words->link_timeout_s,
        .user = words->user ? words->user : "nobody",
        .json = words->json};
    return check_numbers(words, error) &&
           relay_split(address, &options->host, &options->port, error) &&
           relay_key_read(words->psk_file, options->key, error);
}

int relay_main(int argc, char **argv)
{
    struct words words = {.level = -1, .links = 1, .backlog = BACKLOG, .link_timeout_s = 300};
    struct relay_options options = {0};
    g_autoptr(GError) error = NULL;

    signal(SIGPIPE, SIG_IGN);
    g_set_prgname("lpm-mover relay");
    gboolean ok = parse(argc, argv, &words, &error) && check(&words, &options, &error);
    int code = ok ? EXIT_SUCCESS : 2;
    if (ok && !run(&options, &error))
        code = EXIT_FAILURE;
    if (error)
        fprintf(stderr, "lpm-mover: %s\n", error->message);
    explicit_bzero(options.key, sizeof(options.key));
    g_free(options.host);
    g_free(options.port);
    g_free(words.listen);
    g_free(words.connect);
    g_free(words.listen_unix);
    g_free(words.connect_unix);
    g_free(words.psk_file);
    g_free(words.compression);
    g_free(words.user);
    return code;
}
