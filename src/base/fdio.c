/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "base/fdio.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void lpm_fd_close_value(lpm_fd fd)
{
    if (fd >= 0)
        close(fd);
}

void lpm_fd_clear(lpm_fd *fd)
{
    lpm_fd_close_value(*fd);
    *fd = -1;
}

int lpm_steal_fd(lpm_fd *fd)
{
    int value = *fd;

    *fd = -1;
    return value;
}

gboolean lpm_read_all(int fd, void *data, gsize length, GError **error)
{
    gsize done = 0;

    while (done < length) {
        ssize_t n = read(fd, (char *)data + done, length - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return lpm_fail(error, LPM_E_INTERNAL, "reading failed: %s", g_strerror(errno));
        if (n == 0)
            return lpm_fail(error, LPM_E_INTERNAL,
                            "ended after %" G_GSIZE_FORMAT " of %" G_GSIZE_FORMAT " bytes", done,
                            length);
        done += (gsize)n;
    }
    return TRUE;
}

gboolean lpm_write_all(int fd, const void *data, gsize length, GError **error)
{
    gsize done = 0;

    while (done < length) {
        ssize_t n = write(fd, (const char *)data + done, length - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return lpm_fail(error, LPM_E_INTERNAL, "writing failed: %s", g_strerror(errno));
        done += (gsize)n;
    }
    return TRUE;
}

gboolean lpm_message_send(int socket, const json_t *message, int fd, GError **error)
{
    g_autofree char *text = json_dumps(message, JSON_COMPACT);
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    ssize_t n;

    if (!text || strlen(text) > LPM_MESSAGE_MAX)
        return lpm_fail(error, LPM_E_INTERNAL, "a message is too large to send");
    struct iovec iov = {.iov_base = text, .iov_len = strlen(text)};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        header.msg_control = control.space;
        header.msg_controllen = sizeof(control.space);
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    }
    do {
        n = sendmsg(socket, &header, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return lpm_fail(error, LPM_E_INTERNAL, "sending a message failed: %s", g_strerror(errno));
    return TRUE;
}

/* Takes the first descriptor out of the control data and closes any other. */
static int take_fd(struct msghdr *header)
{
    int taken = -1;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        gsize count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (gsize i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (taken < 0)
                taken = fd;
            else
                close(fd);
        }
    }
    return taken;
}

json_t *lpm_message_receive(int socket, int *fd, GError **error)
{
    g_autofree char *buffer = g_malloc(LPM_MESSAGE_MAX + 1);
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = buffer, .iov_len = LPM_MESSAGE_MAX + 1};
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control.space,
                            .msg_controllen = sizeof(control.space)};
    json_error_t reason;
    ssize_t n;

    *fd = -1;
    do {
        n = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        lpm_fail(error, LPM_E_INTERNAL, "receiving a message failed: %s", g_strerror(errno));
        return NULL;
    }
    if (n == 0)
        return NULL;
    lpm_fd passed = take_fd(&header);
    json_t *message = NULL;

    if (n <= LPM_MESSAGE_MAX && !(header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        message = json_loadb(buffer, (gsize)n, JSON_REJECT_DUPLICATES, &reason);
    if (!json_is_object(message)) {
        g_clear_pointer(&message, json_decref);
        lpm_fd_clear(&passed);
        lpm_fail(error, LPM_E_PROTOCOL, "a message is not one JSON object of at most %d bytes",
                 LPM_MESSAGE_MAX);
        return NULL;
    }
    *fd = passed;
    return message;
}
