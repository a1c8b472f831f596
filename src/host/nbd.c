/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* As much of the NBD protocol (fixed newstyle, simple replies) as it takes to read a few blocks of
 * an export: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md */
#include "host/challenge.h"

#include "base/fdio.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define LIMIT_S 2 /* of the connection and of each answer */
#define INIT_MAGIC G_GUINT64_CONSTANT(0x4e42444d41474943)
#define OPTION_MAGIC G_GUINT64_CONSTANT(0x49484156454f5054)
#define FIXED_NEWSTYLE 1
#define NO_ZEROES 2
#define OPTION_EXPORT_NAME 1
#define REQUEST_MAGIC 0x25609513u
#define REPLY_MAGIC 0x67446698u
#define COMMAND_READ 0
#define COMMAND_DISCONNECT 2
#define NAME_MAX_BYTES 4096

struct greeting {
    guint64 magic, option_magic;
    guint16 flags;
} __attribute__((packed));

struct option {
    guint64 magic;
    guint32 option, length;
} __attribute__((packed));

struct export
{
    guint64 size;
    guint16 flags;
}
__attribute__((packed));

struct request {
    guint32 magic;
    guint16 flags, type;
    guint64 cookie, offset;
    guint32 length;
} __attribute__((packed));

struct reply {
    guint32 magic, error;
    guint64 cookie;
} __attribute__((packed));

/* The socket's own limits cover connecting, too. */
static int dial(const char *address, const char *port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const struct timeval limit = {.tv_sec = LIMIT_S};
    struct addrinfo *list = NULL;
    lpm_autofd fd = -1;
    int on = 1;

    if (getaddrinfo(address, port, &hints, &list) != 0)
        return -1;
    fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (connect(fd, list->ai_addr, list->ai_addrlen) < 0)
            lpm_fd_clear(&fd);
    }
    freeaddrinfo(list);
    return lpm_steal_fd(&fd);
}

/* Reads the greeting and asks for the export; what is wrong, or NULL. */
static const char *negotiate(int fd, const char *name, guint64 *size)
{
    const guint32 flags = GUINT32_TO_BE(FIXED_NEWSTYLE | NO_ZEROES);
    const struct option option = {.magic = GUINT64_TO_BE(OPTION_MAGIC),
                                  .option = GUINT32_TO_BE(OPTION_EXPORT_NAME),
                                  .length = GUINT32_TO_BE((guint32)strlen(name))};
    struct greeting greeting;
    struct export export;
    guint8 zeros[124];

    if (!lpm_read_all(fd, &greeting, sizeof(greeting), NULL))
        return "its server does not answer";
    if (GUINT64_FROM_BE(greeting.magic) != INIT_MAGIC ||
        GUINT64_FROM_BE(greeting.option_magic) != OPTION_MAGIC ||
        !(GUINT16_FROM_BE(greeting.flags) & FIXED_NEWSTYLE))
        return "its server does not speak NBD as it should";
    if (!lpm_write_all(fd, &flags, sizeof(flags), NULL) ||
        !lpm_write_all(fd, &option, sizeof(option), NULL) ||
        !lpm_write_all(fd, name, strlen(name), NULL))
        return "its server went away";
    if (!lpm_read_all(fd, &export, sizeof(export), NULL) ||
        (!(GUINT16_FROM_BE(greeting.flags) & NO_ZEROES) &&
         !lpm_read_all(fd, zeros, sizeof(zeros), NULL)))
        return "its server has no such export, or demands encryption";
    *size = GUINT64_FROM_BE(export.size);
    return NULL;
}

static gboolean read_block(void *user, guint64 offset, void *data, gsize length)
{
    int fd = *(const int *)user;
    const struct request request = {.magic = GUINT32_TO_BE(REQUEST_MAGIC),
                                    .type = GUINT16_TO_BE(COMMAND_READ),
                                    .cookie = offset,
                                    .offset = GUINT64_TO_BE(offset),
                                    .length = GUINT32_TO_BE((guint32)length)};
    struct reply reply;

    return lpm_write_all(fd, &request, sizeof(request), NULL) &&
           lpm_read_all(fd, &reply, sizeof(reply), NULL) &&
           GUINT32_FROM_BE(reply.magic) == REPLY_MAGIC && reply.error == 0 &&
           reply.cookie == request.cookie && lpm_read_all(fd, data, length, NULL);
}

static const char *text(const json_t *object, const char *name, const char *otherwise)
{
    const char *value = json_string_value(json_object_get(object, name));

    return value ? value : otherwise;
}

const char *lpm_nbd_read(int fd, const char *name, const struct lpm_challenge *challenge,
                         json_t *facts)
{
    const struct request bye = {.magic = GUINT32_TO_BE(REQUEST_MAGIC),
                                .type = GUINT16_TO_BE(COMMAND_DISCONNECT)};
    guint64 size = 0;
    const char *cause = negotiate(fd, name, &size);

    if (cause)
        return cause;
    json_object_set_new(facts, "size_bytes", json_integer((json_int_t)size));
    json_object_set_new(facts, "samples", lpm_challenge_answer(challenge, size, read_block, &fd));
    lpm_write_all(fd, &bye, sizeof(bye), NULL);
    return NULL;
}

void lpm_nbd_look(const json_t *disk, const struct lpm_challenge *challenge, json_t *facts)
{
    const char *address = text(disk, "address", ""), *port = text(disk, "port", "10809");
    const char *name = text(disk, "name", "");
    g_autofree char *at = g_strdup_printf("nbd://%s:%s/%s", address, port, name);

    json_object_set_new(facts, "at", json_string(at));
    if (!*address || strlen(name) > NAME_MAX_BYTES) {
        json_object_set_new(facts, "cause", json_string("it is not on a server of the network"));
        return;
    }
    lpm_autofd fd = dial(address, port);
    const char *cause =
        fd < 0 ? "its server cannot be reached" : lpm_nbd_read(fd, name, challenge, facts);
    if (cause)
        json_object_set_new(facts, "cause", json_string(cause));
}
