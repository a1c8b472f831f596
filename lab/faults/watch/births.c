/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
#include "births.h"

#include <errno.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define RECEIVE_BYTES (4 * 1024 * 1024)

/* Only starts of programs pass: threads and forks come by thousands. */
static gboolean only_exec(int fd)
{
    const unsigned what = NLMSG_HDRLEN + sizeof(struct cn_msg) + offsetof(struct proc_event, what);
    struct sock_filter code[] = {
        /* Loads are big-endian, the kernel's messages are not. */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, what),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, GUINT32_TO_BE((guint32)PROC_EVENT_EXEC), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0xffffffffu),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {.len = G_N_ELEMENTS(code), .filter = code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

static gboolean subscribe(int fd)
{
    enum proc_cn_mcast_op op = PROC_CN_MCAST_LISTEN;
    struct cn_msg message = {.id = {CN_IDX_PROC, CN_VAL_PROC}, .len = sizeof op};
    struct nlmsghdr head = {.nlmsg_len = NLMSG_HDRLEN + sizeof message + sizeof op,
                            .nlmsg_type = NLMSG_DONE};
    struct iovec parts[] = {{&head, sizeof head}, {&message, sizeof message}, {&op, sizeof op}};
    return writev(fd, parts, G_N_ELEMENTS(parts)) == (ssize_t)head.nlmsg_len;
}

int births_open(void)
{
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_CONNECTOR);
    struct sockaddr_nl own = {.nl_family = AF_NETLINK, .nl_groups = CN_IDX_PROC};
    int size = RECEIVE_BYTES;
    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&own, sizeof own) == 0 && subscribe(fd) && only_exec(fd)) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
        return fd;
    }
    int cause = errno;
    close(fd);
    errno = cause;
    return -1;
}

pid_t births_next(int fd)
{
    for (;;) {
        char buffer[1024] __attribute__((aligned(8)));
        ssize_t n = recv(fd, buffer, sizeof buffer, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == ENOBUFS ? -1 : 0;
        const size_t head = NLMSG_HDRLEN + sizeof(struct cn_msg);
        if ((size_t)n <
            head + offsetof(struct proc_event, event_data) + sizeof(struct exec_proc_event))
            continue;
        struct proc_event event;
        memcpy(&event, buffer + head, MIN((size_t)n - head, sizeof event));
        if (event.what == PROC_EVENT_EXEC)
            return event.event_data.exec.process_tgid;
    }
}

void births_scan(void (*each)(void *user, pid_t pid), void *user)
{
    g_autoptr(GDir) dir = g_dir_open("/proc", 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        if (g_ascii_isdigit(name[0]))
            each(user, atoi(name));
    }
}
