/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "record.h"

#define RETRY_US 200000          /* between attempts to connect again */
#define CONNECT_LIMIT_US 5000000 /* for one attempt */
#define FLUSH_US 100000          /* the journal lags behind by no more than this */
#define IN_SIZE (64u * FRAME_MAX)

/* What a link's state permits: DOWN waits for next_try; CONNECTING is polled for the result, until
 * next_try; UP carries writes. DOWN -> CONNECTING -> UP -> DOWN, CONNECTING -> DOWN. */
enum link_state { LINK_DOWN, LINK_CONNECTING, LINK_UP };

struct sent {
    uint64_t number;
    int64_t at;
};

struct link {
    enum link_state state;
    int fd;
    int64_t next_try;
    uint64_t next_number;
    struct sent *ring; /* WINDOW entries: writes without an answer, oldest at head */
    size_t head, count;
    uint8_t *out;
    size_t out_at, out_len, out_size;
    size_t in_len;
    uint8_t in[IN_SIZE];
};

struct load {
    const struct load_options *opt;
    struct load_report *report;
    FILE *journal;
    uint32_t run;
    struct link *links;
    int64_t waiting_since; /* 0: not waiting */
    uint64_t outstanding;
    int64_t flushed;
    uint32_t *latencies;
    size_t latency_count, latency_size;
};

static volatile sig_atomic_t stop_wanted;

static void on_signal(int number)
{
    (void)number;
    stop_wanted = 1;
}

void load_report_error(struct load_report *report, const char *fmt, ...)
{
    report->errors_total++;
    if (report->errors_count == LOAD_ERRORS_MAX)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(report->errors[report->errors_count++], sizeof report->errors[0], fmt, ap);
    va_end(ap);
}

static void note(struct load *l, char kind, unsigned c, struct sent sent, int64_t at)
{
    struct journal_event event = {kind, c, sent.number, sent.at, at};
    journal_write(l->journal, &event);
}

static void end_wait(struct load *l, int64_t now)
{
    struct load_report *r = l->report;
    if (l->waiting_since && now - l->waiting_since > r->gap_us) {
        r->gap_us = now - l->waiting_since;
        r->gap_begin = l->waiting_since;
        r->gap_end = now;
    }
    l->waiting_since = l->outstanding ? now : 0;
}

static void forget_outstanding(struct load *l, unsigned c, int64_t now)
{
    struct link *k = &l->links[c];
    for (; k->count; k->count--, k->head = (k->head + 1) % l->opt->window) {
        note(l, 'U', c, k->ring[k->head], now);
        l->report->unacknowledged++;
        l->outstanding--;
    }
}

/* The connection is over, WHY says how; its writes without an answer stay without one. */
static void link_lost(struct load *l, unsigned c, const char *why)
{
    struct link *k = &l->links[c];
    int64_t now = now_us();
    if (k->state == LINK_UP) {
        l->report->resets++;
        load_report_error(l->report, "connection %u: %s, %zu writes without an answer", c, why,
                          k->count);
        note(l, 'R', c, (struct sent){0}, now);
        forget_outstanding(l, c, now);
    }
    close(k->fd);
    k->fd = -1;
    k->state = LINK_DOWN;
    k->next_try = now + RETRY_US;
    k->in_len = k->out_at = k->out_len = 0;
}

static void link_up(struct load *l, unsigned c)
{
    struct link *k = &l->links[c];
    int on = 1;
    setsockopt(k->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    k->state = LINK_UP;
}

static void link_try(struct load *l, unsigned c, int64_t now)
{
    struct link *k = &l->links[c];
    k->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    k->next_try = now + RETRY_US;
    if (k->fd < 0)
        return;
    if (connect(k->fd, (const struct sockaddr *)&l->opt->to, sizeof l->opt->to) == 0 ||
        errno == EINPROGRESS) {
        k->state = LINK_CONNECTING;
        k->next_try = now + CONNECT_LIMIT_US;
        return;
    }
    close(k->fd);
    k->fd = -1;
}

static void link_connected(struct load *l, unsigned c)
{
    struct link *k = &l->links[c];
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
        link_lost(l, c, "no connection");
        return;
    }
    link_up(l, c);
    l->report->reconnects++;
    note(l, 'C', c, (struct sent){0}, now_us());
}

static void link_flush(struct load *l, unsigned c)
{
    struct link *k = &l->links[c];
    while (k->state == LINK_UP && k->out_at < k->out_len) {
        ssize_t n = send(k->fd, k->out + k->out_at, k->out_len - k->out_at, MSG_NOSIGNAL);
        if (n > 0)
            k->out_at += (size_t)n;
        else if (n < 0 && errno == EAGAIN)
            return;
        else if (n == 0 || errno != EINTR)
            link_lost(l, c, strerror(errno));
    }
    k->out_at = k->out_len = 0;
}

/* Room for one more frame at the end; what was sent makes room first. */
static bool out_reserve(struct link *k)
{
    if (k->out_size - k->out_len >= FRAME_MAX)
        return true;
    if (k->out_at) {
        memmove(k->out, k->out + k->out_at, k->out_len - k->out_at);
        k->out_len -= k->out_at;
        k->out_at = 0;
    }
    if (k->out_size - k->out_len >= FRAME_MAX)
        return true;
    size_t size = 2 * k->out_size + 16 * FRAME_MAX; /* bounded by the window */
    uint8_t *out = realloc(k->out, size);
    if (!out)
        return false;
    k->out = out;
    k->out_size = size;
    return true;
}

/* A write is due now on connection C. */
static void due(struct load *l, unsigned c, int64_t now)
{
    struct link *k = &l->links[c];
    if (!l->waiting_since)
        l->waiting_since = now;
    if (k->state != LINK_UP || k->count == l->opt->window || k->next_number > BOOK_NUMBER_MAX ||
        !bits_reserve(&l->report->acked[c], k->next_number) || !out_reserve(k)) {
        l->report->withheld++;
        return;
    }
    uint8_t payload[PAYLOAD_MAX];
    struct sent sent = {k->next_number++, now};
    struct frame frame = {
        .type = FRAME_WRITE,
        .len = (uint16_t)l->opt->payload,
        .client = client_id(l->run, c),
        .number = sent.number,
        .payload = payload,
    };
    payload_make(frame.client, frame.number, payload, frame.len);
    k->out_len += frame_encode(&frame, k->out + k->out_len);
    k->ring[(k->head + k->count++) % l->opt->window] = sent;
    l->outstanding++;
    l->report->sent++;
}

static void note_latency(struct load *l, int64_t us)
{
    if (us > l->report->max_us)
        l->report->max_us = us;
    if (l->latency_count == l->latency_size) {
        size_t size = l->latency_size ? 2 * l->latency_size : 4096;
        uint32_t *latencies = realloc(l->latencies, size * sizeof *latencies);
        if (!latencies)
            return;
        l->latencies = latencies;
        l->latency_size = size;
    }
    l->latencies[l->latency_count++] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/* False when FRAME is not the answer that is due. */
static bool take_answer(struct load *l, unsigned c, const struct frame *frame, int64_t now)
{
    struct link *k = &l->links[c];
    struct load_report *r = l->report;
    if (frame->type != (FRAME_WRITE | FRAME_REPLY) || !k->count ||
        frame->client != client_id(l->run, c) || frame->number != k->ring[k->head].number)
        return false;
    struct sent sent = k->ring[k->head];
    k->head = (k->head + 1) % l->opt->window;
    k->count--;
    l->outstanding--;
    bool applied = frame->status == STATUS_OK || frame->status == STATUS_DOUBLED;
    note(l, frame->status == STATUS_OK ? 'A' : applied ? 'D' : 'F', c, sent, now);
    if (applied) {
        bits_set(&r->acked[c], sent.number);
        r->acknowledged++;
        r->doubled += frame->status == STATUS_DOUBLED;
    } else {
        r->refused++;
        load_report_error(r, "connection %u: number %llu refused: %s (%s)", c,
                          (unsigned long long)sent.number,
                          frame->status < STATUS_COUNT ? status_names[frame->status] : "?",
                          frame->aux ? strerror((int)(frame->aux & 0xfff)) : "-");
    }
    note_latency(l, now - sent.at);
    end_wait(l, now);
    return true;
}

static void link_read(struct load *l, unsigned c)
{
    struct link *k = &l->links[c];
    ssize_t n = recv(k->fd, k->in + k->in_len, IN_SIZE - k->in_len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        link_lost(l, c, n == 0 ? "closed by the service" : strerror(errno));
        return;
    }
    k->in_len += (size_t)n;
    int64_t now = now_us();
    size_t at = 0;
    for (;;) {
        struct frame frame;
        int used = frame_decode(k->in + at, k->in_len - at, &frame);
        if (used == 0)
            break;
        if (used < 0 || !take_answer(l, c, &frame, now)) {
            link_lost(l, c, "an answer that is malformed or not the one that is due");
            return;
        }
        at += (size_t)used;
    }
    memmove(k->in, k->in + at, k->in_len - at);
    k->in_len -= at;
}

/* Waits for the sockets until DEADLINE, and handles what they have. */
static void poll_links(struct load *l, int64_t deadline, const sigset_t *signals)
{
    struct pollfd p[RUN_CONNECTIONS_MAX];
    for (unsigned c = 0; c < l->opt->connections; c++) {
        struct link *k = &l->links[c];
        p[c] = (struct pollfd){.fd = k->fd, .events = POLLIN};
        if (k->state == LINK_CONNECTING || k->out_at < k->out_len)
            p[c].events |= POLLOUT;
    }
    int64_t left = deadline - now_us();
    left = left < 0 ? 0 : left > 100000 ? 100000 : left;
    struct timespec ts = {.tv_nsec = (long)left * 1000};
    if (ppoll(p, l->opt->connections, &ts, signals) <= 0)
        return;
    for (unsigned c = 0; c < l->opt->connections; c++) {
        struct link *k = &l->links[c];
        if (!p[c].revents)
            continue;
        if (k->state == LINK_CONNECTING)
            link_connected(l, c);
        else if (k->state == LINK_UP && p[c].revents & ~POLLOUT)
            link_read(l, c);
    }
}

/* What is to be done in each turn besides sending what is due. */
static void upkeep(struct load *l, bool reconnect)
{
    int64_t now = now_us();
    for (unsigned c = 0; c < l->opt->connections; c++) {
        struct link *k = &l->links[c];
        if (k->state == LINK_DOWN && reconnect && now >= k->next_try)
            link_try(l, c, now);
        else if (k->state == LINK_CONNECTING && now >= k->next_try)
            link_lost(l, c, "no connection");
        link_flush(l, c);
    }
    if (l->journal && now - l->flushed > FLUSH_US) {
        fflush(l->journal);
        l->flushed = now;
    }
}

static void send_phase(struct load *l, const sigset_t *signals)
{
    const struct load_options *opt = l->opt;
    int64_t start = now_us(), end = opt->seconds ? start + opt->seconds * 1000000 : INT64_MAX;
    uint64_t k = 0;
    while (!stop_wanted) {
        /* Whole seconds first: no overflow, and no drift of a rounded interval. */
        int64_t next =
            start + (int64_t)(k / opt->rate * 1000000 + k % opt->rate * 1000000 / opt->rate);
        int64_t now = now_us();
        if (now >= end)
            break;
        if (next <= now) {
            due(l, (unsigned)(k++ % opt->connections), now);
            continue;
        }
        upkeep(l, true);
        poll_links(l, next < end ? next : end, signals);
    }
    l->report->ran_us = now_us() - start;
}

static void drain_phase(struct load *l, const sigset_t *signals)
{
    int64_t until = now_us() + l->opt->drain_us;
    if (!l->outstanding)
        l->waiting_since = 0;
    while (l->outstanding && now_us() < until) {
        upkeep(l, false);
        poll_links(l, until, signals);
    }
    int64_t now = now_us();
    if (l->outstanding) {
        load_report_error(l->report, "%llu writes without an answer %lld s after the last was sent",
                          (unsigned long long)l->outstanding,
                          (long long)(l->opt->drain_us / 1000000));
        end_wait(l, now);
    }
    for (unsigned c = 0; c < l->opt->connections; c++)
        forget_outstanding(l, c, now);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void sum_up(struct load *l)
{
    size_t n = l->latency_count;
    if (!n)
        return;
    qsort(l->latencies, n, sizeof *l->latencies, by_value);
    l->report->p50_us = l->latencies[(n - 1) / 2];
    l->report->p99_us = l->latencies[(n - 1) * 99 / 100];
}

static bool connect_all(struct load *l, struct err *err)
{
    for (unsigned c = 0; c < l->opt->connections; c++) {
        struct link *k = &l->links[c];
        k->ring = calloc(l->opt->window, sizeof *k->ring);
        if (!k->ring)
            return err_set(err, "out of memory for the window; give a smaller --window");
        k->next_number = 1;
        k->fd = ask_connect(&l->opt->to, l->opt->wait_us, err);
        if (k->fd < 0)
            return false;
        int flags = fcntl(k->fd, F_GETFL);
        if (flags < 0 || fcntl(k->fd, F_SETFL, flags | O_NONBLOCK) < 0)
            return err_set(err, "cannot make a socket non-blocking: %s", strerror(errno));
        link_up(l, c);
    }
    return true;
}

static void catch_signals(sigset_t *during_poll)
{
    sigset_t block;
    struct sigaction sa = {.sa_handler = on_signal};
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    sigaddset(&block, SIGINT);
    sigprocmask(SIG_BLOCK, &block, during_poll);
    sigdelset(during_poll, SIGTERM);
    sigdelset(during_poll, SIGINT);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
}

bool load_run(const struct load_options *opt, uint32_t run, FILE *journal,
              struct load_report *report, struct err *err)
{
    struct load l = {.opt = opt, .report = report, .journal = journal, .run = run};
    l.links = calloc(opt->connections, sizeof *l.links);
    if (!l.links)
        return err_set(err, "out of memory");
    for (unsigned c = 0; c < opt->connections; c++)
        l.links[c].fd = -1;
    bool ok = connect_all(&l, err);
    if (ok) {
        sigset_t during_poll;
        catch_signals(&during_poll);
        send_phase(&l, &during_poll);
        drain_phase(&l, &during_poll);
        sum_up(&l);
    }
    for (unsigned c = 0; c < opt->connections; c++) {
        if (l.links[c].fd >= 0)
            close(l.links[c].fd);
        free(l.links[c].ring);
        free(l.links[c].out);
    }
    free(l.links);
    free(l.latencies);
    return ok;
}

void load_report_free(struct load_report *report)
{
    for (unsigned c = 0; c < RUN_CONNECTIONS_MAX; c++)
        free(report->acked[c].map);
}
