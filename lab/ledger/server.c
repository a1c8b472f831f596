/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server-int.h"

#define TAG_LISTENER CONNECTIONS_MAX
#define TAG_WAKE (CONNECTIONS_MAX + 1)

static bool watch(struct server *s, int op, int fd, uint32_t events, unsigned tag)
{
    struct epoll_event ev = {.events = events, .data.u32 = tag};
    return epoll_ctl(s->epoll, op, fd, &ev) == 0;
}

struct server *server_new(struct disklog *log, struct book *book, struct table *table,
                          const struct scan *found, struct err *err)
{
    struct server *s = calloc(1, sizeof *s);
    if (!s) {
        err_set(err, "out of memory");
        return NULL;
    }
    s->listener = -1;
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll < 0 || pipe2(s->wake, O_CLOEXEC | O_NONBLOCK) < 0 ||
        !watch(s, EPOLL_CTL_ADD, s->wake[0], EPOLLIN, TAG_WAKE)) {
        err_set(err, "cannot set up the event loop: %s", strerror(errno));
        free(s);
        return NULL;
    }
    s->log = *log;
    s->book = *book;
    s->table = table;
    s->found = *found;
    s->started_us = now_us();
    return s;
}

uint16_t server_listen(struct server *s, const char *address, uint16_t port, struct err *err)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t len = sizeof sin;
    int on = 1;
    if (inet_pton(AF_INET, address, &sin.sin_addr) != 1) {
        err_set(err, "'%s' is no IPv4 address", address);
        return 0;
    }
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listener < 0 || setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(s->listener, (struct sockaddr *)&sin, sizeof sin) < 0 || listen(s->listener, 64) < 0 ||
        getsockname(s->listener, (struct sockaddr *)&sin, &len) < 0 ||
        !watch(s, EPOLL_CTL_ADD, s->listener, EPOLLIN, TAG_LISTENER)) {
        err_set(err, "cannot listen on %s port %u: %s", address, port, strerror(errno));
        return 0;
    }
    return ntohs(sin.sin_port);
}

void server_stop(struct server *s)
{
    int saved = errno;
    ssize_t n = write(s->wake[1], "s", 1);
    (void)n; /* a full pipe already holds a reason to wake up, and the next signal tries again */
    errno = saved;
}

static void conn_close(struct server *s, unsigned slot)
{
    struct conn *c = s->conns[slot];
    close(c->fd);
    free(c->out);
    free(c);
    s->conns[slot] = NULL;
    s->open--;
}

static void conn_accept(struct server *s)
{
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    unsigned slot = 0;
    while (slot < CONNECTIONS_MAX && s->conns[slot])
        slot++;
    struct conn *c = slot < CONNECTIONS_MAX ? calloc(1, sizeof *c) : NULL;
    int on = 1;
    if (!c || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        !watch(s, EPOLL_CTL_ADD, fd, EPOLLIN, slot)) {
        fprintf(stderr, "ledgerd: connection refused: %u are open\n", (unsigned)s->open);
        free(c);
        close(fd);
        return;
    }
    c->fd = fd;
    c->serial = ++s->serials;
    s->conns[slot] = c;
    s->open++;
}

void server_reply(struct server *s, unsigned slot, uint32_t serial, const struct frame *frame)
{
    struct conn *c = s->conns[slot];
    if (!c || c->serial != serial || c->dead)
        return;
    if (c->out_size - c->out_len < FRAME_MAX) {
        size_t size = c->out_size + OUT_HIGH;
        uint8_t *out = realloc(c->out, size);
        if (!out) {
            c->dead = true;
            return;
        }
        c->out = out;
        c->out_size = size;
    }
    c->out_len += frame_encode(frame, c->out + c->out_len);
}

static void conn_flush(struct server *s, unsigned slot)
{
    struct conn *c = s->conns[slot];
    size_t done = 0;
    while (done < c->out_len && !c->dead) {
        ssize_t n = send(c->fd, c->out + done, c->out_len - done, MSG_NOSIGNAL);
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno == EAGAIN)
            break;
        else if (n == 0 || errno != EINTR)
            c->dead = true;
    }
    if (done) {
        memmove(c->out, c->out + done, c->out_len - done);
        c->out_len -= done;
    }
    uint32_t events = c->out_len > OUT_HIGH ? EPOLLOUT : EPOLLIN;
    if (c->out_len)
        events |= EPOLLOUT;
    if (!c->dead && !watch(s, EPOLL_CTL_MOD, c->fd, events, slot))
        c->dead = true;
}

/* Reads once and handles what is whole; what is left over stays for the next time. */
static void conn_read(struct server *s, unsigned slot)
{
    struct conn *c = s->conns[slot];
    ssize_t n = recv(c->fd, c->in + c->in_len, IN_SIZE - c->in_len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        c->dead = true;
        return;
    }
    c->in_len += (size_t)n;
    size_t at = 0;
    while (!c->dead) {
        struct frame request;
        int used = frame_decode(c->in + at, c->in_len - at, &request);
        if (used == 0)
            break;
        if (used < 0 || !server_request(s, slot, &request)) {
            s->malformed++;
            fprintf(stderr, "ledgerd: malformed request on connection %u: closed\n", c->serial);
            c->dead = true;
            break;
        }
        at += (size_t)used;
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
}

static void on_wake(struct server *s)
{
    char reason[16];
    ssize_t n = read(s->wake[0], reason, sizeof reason);
    for (ssize_t i = 0; i < n; i++) {
        if (reason[i] == 's')
            s->stopping = true;
        else
            server_verified(s);
    }
}

bool server_run(struct server *s, struct err *err)
{
    while (!s->stopping) {
        struct epoll_event events[64];
        int n = epoll_wait(s->epoll, events, 64, -1);
        if (n < 0 && errno != EINTR)
            return err_set(err, "waiting for connections: %s", strerror(errno));
        for (int i = 0; i < n; i++) {
            unsigned tag = events[i].data.u32;
            if (tag == TAG_LISTENER)
                conn_accept(s);
            else if (tag == TAG_WAKE)
                on_wake(s);
            else if (s->conns[tag] && events[i].events & ~(uint32_t)EPOLLOUT)
                conn_read(s, tag);
        }
        server_commit(s);
        for (unsigned slot = 0; slot < CONNECTIONS_MAX; slot++) {
            if (s->conns[slot])
                conn_flush(s, slot);
            if (s->conns[slot] && s->conns[slot]->dead)
                conn_close(s, slot);
        }
    }
    return true;
}

void server_free(struct server *s)
{
    if (!s)
        return;
    if (s->job) {
        pthread_join(s->verifier, NULL);
        book_free(&s->job->book);
        free(s->job);
    }
    for (unsigned slot = 0; slot < CONNECTIONS_MAX; slot++) {
        if (s->conns[slot])
            conn_close(s, slot);
    }
    if (s->listener >= 0)
        close(s->listener);
    close(s->epoll);
    close(s->wake[0]);
    close(s->wake[1]);
    disklog_close(&s->log);
    book_free(&s->book);
    table_free(s->table);
    free(s);
}
