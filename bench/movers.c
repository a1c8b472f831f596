/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Two movers alone, over loopback: how fast they carry a stream, what it costs of the processors,
 * and what they hold in memory. No guest, no libvirt: the part of a migration that is theirs.
 *
 *     LPM_MOVER=BUILD/src/mover/lpm-mover BUILD/bench/bench-movers --compression zstd --level 1
 */
#include "tests/unit/mover/pair.h"
#include "tests/unit/mover/synthetic.h"

#include "base/clock.h"

#include "transport/session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PAGE 4096u
#define CHUNK (256u << 10)

static struct options {
    char *content, *compression;
    int level, mib, zeros, repeat, threads, links;
    gboolean sink, json;
    int64_t backlog, bandwidth;
} options = {.level = -1, .mib = 512, .zeros = 38, .repeat = 1, .links = 1, .backlog = 0};

/* One direction of bytes through the movers; the reader only counts. */
struct trip {
    int from, to;
    const GByteArray *sent;
    guint64 received;
    gint64 begun_us, done_us;
    gint done; /* atomic */
};

static gpointer run_writer(gpointer opaque)
{
    struct trip *trip = opaque;

    for (gsize done = 0; done < trip->sent->len;) {
        ssize_t n = send(trip->from, trip->sent->data + done, MIN(trip->sent->len - done, CHUNK),
                         MSG_NOSIGNAL);

        if (n < 0)
            break;
        done += (gsize)n;
    }
    shutdown(trip->from, SHUT_WR);
    return NULL;
}

static gpointer run_reader(gpointer opaque)
{
    struct trip *trip = opaque;
    g_autofree guint8 *buffer = g_malloc(CHUNK);
    ssize_t n;

    while ((n = read(trip->to, buffer, CHUNK)) > 0)
        trip->received += (guint64)n;
    trip->done_us = lpm_monotonic_us();
    g_atomic_int_set(&trip->done, 1);
    return NULL;
}

/* Pages of zeros among those of the file, at even distances, over and over up to the size. */
static GByteArray *stream_of_file(void)
{
    g_autofree char *file = NULL;
    g_autoptr(GError) error = NULL;
    gsize length = 0;
    guint pages = (guint)options.mib * 256;

    if (!g_file_get_contents(options.content, &file, &length, &error) || length < PAGE) {
        fprintf(stderr, "%s\n", error ? error->message : "the content is too short");
        exit(1);
    }
    guint8 *memory =
        mmap(NULL, (gsize)pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    gsize at = 0;

    if (memory == MAP_FAILED)
        exit(1);
    for (guint i = 0; i < pages; i++) {
        if ((i + 1) * (guint)options.zeros / 100 != i * (guint)options.zeros / 100)
            continue;
        memcpy(memory + (gsize)i * PAGE, file + at, PAGE);
        at += PAGE;
        if (at + PAGE > length)
            at = 0;
    }
    GByteArray *stream = synthetic_stream_of(memory, pages);

    munmap(memory, (gsize)pages * PAGE);
    return stream;
}

/* "VmHWM" of the process, bytes. */
static guint64 peak_bytes(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pid);
    g_autofree char *status = NULL;

    if (!g_file_get_contents(path, &status, NULL, NULL))
        return 0;
    const char *line = strstr(status, "VmHWM:");

    return line ? g_ascii_strtoull(line + 6, NULL, 10) << 10 : 0;
}

static json_int_t number(json_t *stats, const char *key)
{
    return json_integer_value(json_object_get(stats, key));
}

static void print_result(struct pair *pair, const struct trip *trip)
{
    double seconds = (double)(trip->done_us - trip->begun_us) / 1e6;
    double gigabytes = (double)trip->sent->len / 1e9;
    json_int_t cpu[2];
    json_t *stats = pair_stats(pair, LPM_SIDE_TARGET);
    g_autofree char *hash = g_strdup(json_string_value(json_object_get(stats, "stream_hash")));

    cpu[1] = number(stats, "cpu_us");
    stats = pair_stats(pair, LPM_SIDE_SOURCE);
    cpu[0] = number(stats, "cpu_us");
    json_int_t wire = number(json_object_get(stats, "transmit"), "bytes");
    /* The lengths may differ: pages that have not changed are left out. */
    gboolean same =
        hash && g_strcmp0(hash, json_string_value(json_object_get(stats, "stream_hash"))) == 0;

    printf(
        "%s level %d, %zu links: %.0f MB/s of stream, %.3f of the bytes on the wire (%.0f MB/s); "
        "CPU s/GB: source %.2f, target %.2f; peak MiB: source %.0f, target %.0f; %s\n",
        options.compression, options.level, json_array_size(json_object_get(stats, "links")),
        gigabytes * 1e3 / seconds, (double)wire / (double)trip->sent->len,
        (double)wire / 1e6 / seconds, (double)cpu[0] / 1e6 / gigabytes,
        (double)cpu[1] / 1e6 / gigabytes, (double)peak_bytes(pair->end[0].pid) / 0x1p20,
        (double)peak_bytes(pair->end[1].pid) / 0x1p20, same ? "identical" : "DIFFERENT");
    fflush(stdout);
    if (!same)
        exit(1);
}

/* ---- the source's mover alone: what it sends is acknowledged and dropped ---- */

static gpointer run_sink(gpointer session)
{
    LpmFrame *frame;

    while ((frame = lpm_session_take(session, LPM_CHANNEL_DATA)))
        lpm_session_delivered(session, frame);
    return NULL;
}

/* A TCP connection with itself: one end is the mover's, the other the sink's. */
static void link_sink(struct pair *pair, LpmSession *sink)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(address);
    lpm_autofd listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    lpm_autofd dialled = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0 ||
        connect(dialled, (struct sockaddr *)&address, length) < 0 ||
        !lpm_mover_send_link(pair->end[LPM_SIDE_SOURCE].control, FALSE, dialled, NULL) ||
        !lpm_session_add_link(sink, accept4(listener, NULL, NULL, SOCK_CLOEXEC), TRUE, NULL)) {
        fprintf(stderr, "the link: %s\n", g_strerror(errno));
        exit(1);
    }
}

static int connect_program(struct pair *pair)
{
    g_autofree char *path = g_build_filename(pair->folder, "data.sock", NULL);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        fprintf(stderr, "the program's socket: %s\n", g_strerror(errno));
        exit(1);
    }
    return fd;
}

/* `memory`: what the partition has, zeros included; of them little is in the stream. */
static void print_alone(guint64 stream, guint64 encoded, double seconds, json_int_t cpu_us)
{
    double memory = (double)options.mib * 0x1p20;

    printf(options.json
               ? "{\"seconds\": %.4f, \"mb_per_s\": %.1f, \"stream_mb_per_s\": %.1f, "
                 "\"encoded_share\": %.4f, \"cpu_s_per_gb\": %.3f}\n"
               : "%.2f s, %.0f MB/s of memory, %.0f MB/s of stream, %.3f of its bytes; CPU %.2f s "
                 "per GB of memory\n",
           seconds, memory / 1e6 / seconds, (double)stream / 1e6 / seconds,
           (double)encoded / (double)stream, (double)cpu_us * 1e3 / memory);
    fflush(stdout);
}

static void run_source_alone(const GByteArray *stream)
{
    struct pair *pair = pair_new((guint64)options.backlog, options.compression, options.level);
    struct lpm_session_config config = {
        .side = LPM_SIDE_TARGET, .window = options.backlog ? (guint64)options.backlog : 4u << 20};
    struct trip trip = {.sent = stream};
    struct lpm_session_state state = {0};

    pair->keep_linked = FALSE;
    memset(config.id, 0x5a, sizeof(config.id)); /* pair.c's */
    memcpy(config.psk, pair->end[LPM_SIDE_SOURCE].psk, sizeof(config.psk));
    LpmSession *sink = lpm_session_new(&config);
    GThread *taker = g_thread_new("sink", run_sink, sink);

    link_sink(pair, sink);
    trip.from = connect_program(pair);
    trip.begun_us = lpm_monotonic_us();
    GThread *writer = g_thread_new("writer", run_writer, &trip);

    do {
        lpm_session_state_clear(&state);
        pair_step(pair, 2);
        lpm_session_get_state(sink, &state);
    } while (!state.channels[LPM_CHANNEL_DATA].received_all);
    double seconds = (double)(lpm_monotonic_us() - trip.begun_us) / 1e6;
    json_int_t cpu = number(pair_stats(pair, LPM_SIDE_SOURCE), "cpu_us");
    guint64 encoded = state.channels[LPM_CHANNEL_DATA].received_encoded;

    print_alone(stream->len, encoded, seconds, cpu);
    lpm_session_state_clear(&state);
    g_thread_join(writer);
    lpm_session_stop(sink);
    g_thread_join(taker);
    lpm_session_free(sink);
    close(trip.from);
    pair_free(pair);
}

static void run_once(const GByteArray *stream)
{
    struct pair *pair = pair_new((guint64)options.backlog, options.compression, options.level);
    struct trip trip = {.sent = stream};

    pair_connect(pair, LPM_CHANNEL_DATA);
    trip.from = pair->end[LPM_SIDE_SOURCE].program[LPM_CHANNEL_DATA];
    trip.to = pair->end[LPM_SIDE_TARGET].program[LPM_CHANNEL_DATA];
    trip.begun_us = lpm_monotonic_us();
    GThread *writer = g_thread_new("writer", run_writer, &trip);
    GThread *reader = g_thread_new("reader", run_reader, &trip);

    while (!g_atomic_int_get(&trip.done))
        pair_step(pair, 20);
    g_thread_join(writer);
    g_thread_join(reader);
    print_result(pair, &trip);
    pair_free(pair);
}

int main(int argc, char **argv)
{
    const GOptionEntry entries[] = {
        {"content", 0, 0, G_OPTION_ARG_FILENAME, &options.content,
         "take the pages from this file (default: made up)", "FILE"},
        {"zeros", 0, 0, G_OPTION_ARG_INT, &options.zeros, "share of zero pages with --content",
         "PERCENT"},
        {"mib", 0, 0, G_OPTION_ARG_INT, &options.mib, "memory of the partition", "MIB"},
        {"compression", 0, 0, G_OPTION_ARG_STRING, &options.compression, "method", "NAME"},
        {"level", 0, 0, G_OPTION_ARG_INT, &options.level, "its level", "N"},
        {"threads", 0, 0, G_OPTION_ARG_INT, &options.threads,
         "that encode, and that decode; 0: one for each processor", "N"},
        {"links", 0, 0, G_OPTION_ARG_INT, &options.links,
         "connections at a time; 0: as many as the source finds useful", "N"},
        {"bandwidth", 0, 0, G_OPTION_ARG_INT64, &options.bandwidth,
         "most bytes per second on the wire", "BYTES"},
        {"backlog", 0, 0, G_OPTION_ARG_INT64, &options.backlog, "window, 0: the default", "BYTES"},
        {"source-alone", 0, 0, G_OPTION_ARG_NONE, &options.sink,
         "nobody decodes: what the source's host carries by itself", NULL},
        {"json", 0, 0, G_OPTION_ARG_NONE, &options.json, "of --source-alone: as JSON", NULL},
        {"repeat", 0, 0, G_OPTION_ARG_INT, &options.repeat, "times", "N"},
        G_OPTION_ENTRY_NULL};
    g_autoptr(GOptionContext) context = g_option_context_new("- two movers alone");
    g_autoptr(GError) error = NULL;

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "%s\n", error->message);
        return 2;
    }
    pair_threads = (guint)options.threads;
    pair_bandwidth = (guint64)options.bandwidth;
    pair_grow = options.links == 0;
    pair_links = pair_grow ? LPM_LINKS_MOST : (guint)options.links;
    if (!options.compression)
        options.compression = g_strdup("zstd");
    if (geteuid() != 0) {
        fprintf(stderr, "a mover must be launched by root\n");
        return 77;
    }
    g_autoptr(GByteArray) stream =
        options.content ? stream_of_file() : synthetic_stream(23, (guint)options.mib * 256);

    for (int i = 0; i < options.repeat; i++)
        options.sink ? run_source_alone(stream) : run_once(stream);
    return 0;
}
