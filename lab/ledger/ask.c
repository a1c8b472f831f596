/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "client.h"

#define VERIFY_TIMEOUT_US (120 * INT64_C(1000000)) /* a slow guest, a big table, a long log */
#define CONNECT_LIMIT_S 5 /* for one attempt, and for sending one request */

int fail(const struct err *err, int code)
{
    fprintf(stderr, "ledger: %s\n", err->text);
    return code;
}

bool opts_parse(int argc, char **argv, struct opt *opts, struct err *err)
{
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        size_t len = strncmp(arg, "--", 2) ? 0 : strcspn(arg + 2, "=");
        struct opt *opt = opts;
        while (len && opt->name && (strlen(opt->name) != len || strncmp(opt->name, arg + 2, len)))
            opt++;
        if (!len || !opt->name)
            return err_set(err, "'%.60s' is no option of this command; `ledger help`", arg);
        if (arg[2 + len] == '=')
            opt->value = arg + 2 + len + 1;
        else if (i + 1 < argc)
            opt->value = argv[++i];
        else
            return err_set(err, "%.60s needs a value", arg);
    }
    return true;
}

bool opt_number(const struct opt *opt, uint64_t default_value, uint64_t min, uint64_t max,
                uint64_t *value, struct err *err)
{
    *value = default_value;
    if (!opt->value || parse_u64(opt->value, min, max, value))
        return true;
    return err_set(err, "--%s '%.40s' is not a number within %llu..%llu", opt->name, opt->value,
                   (unsigned long long)min, (unsigned long long)max);
}

bool parse_to(const char *text, struct sockaddr_in *to, struct err *err)
{
    char address[INET_ADDRSTRLEN];
    uint64_t port;
    if (!text)
        return err_set(err, "--to ADDRESS:PORT is needed");
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : sizeof address;
    *to = (struct sockaddr_in){.sin_family = AF_INET};
    if (len < sizeof address && parse_u64(colon + 1, 1, 65535, &port)) {
        memcpy(address, text, len);
        address[len] = '\0';
        to->sin_port = htons((uint16_t)port);
        if (inet_pton(AF_INET, address, &to->sin_addr) == 1)
            return true;
    }
    return err_set(err, "--to '%.60s' is not ADDRESS:PORT with an IPv4 address", text);
}

int ask_connect(const struct sockaddr_in *to, int64_t wait_us, struct err *err)
{
    /* The kernel's own limit, for an address that nobody answers for, is over two minutes. */
    const struct timeval limit = {.tv_sec = CONNECT_LIMIT_S};
    int64_t until = now_us() + wait_us;
    for (;;) {
        int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0)
            setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        if (fd >= 0 && connect(fd, (const struct sockaddr *)to, sizeof *to) == 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            return fd;
        }
        int saved = errno == EINPROGRESS ? ETIMEDOUT : errno;
        if (fd >= 0)
            close(fd);
        if (now_us() >= until) {
            char text[INET_ADDRSTRLEN] = "?";
            inet_ntop(AF_INET, &to->sin_addr, text, sizeof text);
            err_set(err, "cannot connect to %s:%u: %s; is ledgerd running there?", text,
                    ntohs(to->sin_port), strerror(saved));
            return -1;
        }
        poll(NULL, 0, 100);
    }
}

/* One reply, whole, before UNTIL. */
static bool read_reply(int fd, int64_t until, uint8_t *buffer, struct frame *reply, struct err *err)
{
    size_t have = 0;
    for (;;) {
        int used = frame_decode(buffer, have, reply);
        if (used < 0)
            return err_set(err, "the service sent something that is no reply");
        if (used > 0)
            return true;
        int64_t left = until - now_us();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = left > 0 ? poll(&p, 1, (int)(left / 1000) + 1) : 0;
        if (ready == 0)
            return err_set(err, "the service did not answer in time");
        if (ready < 0)
            continue; /* a signal */
        /* No more than this reply needs: the next one must not be read with it. */
        size_t want = have < FRAME_HEAD ? FRAME_HEAD - have : FRAME_MAX - have;
        ssize_t n = recv(fd, buffer + have, want, 0);
        if (n == 0 || (n < 0 && errno != EINTR))
            return err_set(err, "the service closed the connection");
        have += n > 0 ? (size_t)n : 0;
    }
}

bool ask(int fd, const struct frame *request, int64_t timeout_us, uint8_t *buffer,
         struct frame *reply, struct err *err)
{
    int64_t until = now_us() + timeout_us;
    for (;;) {
        size_t len = frame_encode(request, buffer);
        if (send(fd, buffer, len, MSG_NOSIGNAL) != (ssize_t)len)
            return err_set(err, "cannot send to the service: %s", strerror(errno));
        if (!read_reply(fd, until, buffer, reply, err))
            return false;
        if (reply->type != (request->type | FRAME_REPLY))
            return err_set(err, "the service sent a reply to something else");
        if (reply->status == STATUS_OK)
            return true;
        if (reply->status != STATUS_BUSY)
            return err_set(err, "the service refused: %s",
                           reply->status < STATUS_COUNT ? status_names[reply->status] : "?");
        poll(NULL, 0, 100);
    }
}

bool ask_verify(int fd, uint32_t run, struct verify_reply *out, struct err *err)
{
    uint8_t buffer[FRAME_MAX];
    struct frame request = {.type = FRAME_VERIFY, .client = (uint64_t)run << 32}, reply;
    if (!ask(fd, &request, VERIFY_TIMEOUT_US, buffer, &reply, err))
        return false;
    fields_get(out, sizeof *out, reply.payload, reply.len);
    return true;
}

#define PRINT_FIELD(name)                                                                          \
    printf("%s\"" #name "\": %llu", first ? "" : ", ", (unsigned long long)reply->name);           \
    first = false;

void print_status_fields(const struct status_reply *reply)
{
    bool first = true;
    STATUS_FIELDS(PRINT_FIELD)
}

void print_verify_fields(const struct verify_reply *reply)
{
    bool first = true;
    VERIFY_FIELDS(PRINT_FIELD)
}

void print_json_string(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}
