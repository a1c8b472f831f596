/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/page-feeder.h"

#include "base/error.h"
#include "base/fdio.h"
#include "host/guest-areas.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LINK_MAX_BYTES 128
#define PAGEMAP_HERE (G_GUINT64_CONSTANT(3) << 62) /* in memory, or in swap */

struct lpm_page_feeder { /* immutable */
    LpmQemuProcess *process;
    char *stream_path;
    GArray *areas;
    lpm_fd fault_fd, pagemap_fd;
};

gsize lpm_page_feeder_page_size(void)
{
    return (gsize)sysconf(_SC_PAGESIZE);
}

/* ---- what QEMU has open ---- */

/* Calls `take` with the number and the link of each descriptor, until it says FALSE. FALSE: /proc
 * does not show them all. */
static gboolean each_descriptor(pid_t pid, gboolean (*take)(int fd, const char *link, void *user),
                                void *user)
{
    g_autofree char *folder = g_strdup_printf("/proc/%d/fd", (int)pid);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    if (!dir)
        return FALSE;
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        char link[LINK_MAX_BYTES] = "";

        if (readlink(path, link, sizeof(link) - 1) < 0)
            continue; /* closed meanwhile */
        if (!take(atoi(name), link, user))
            break;
    }
    return TRUE;
}

struct fault_fds {
    int fd;
    guint count;
};

static gboolean is_fault_fd(int fd, const char *link, void *user)
{
    struct fault_fds *found = user;

    if (!strcmp(link, "anon_inode:[userfaultfd]")) {
        found->fd = fd;
        found->count++;
    }
    return TRUE;
}

/* A duplicate of the one that QEMU has, or -1. */
static int take_fault_fd(pid_t pid, GError **error)
{
    struct fault_fds found = {.fd = -1};

    if (!each_descriptor(pid, is_fault_fd, &found) || found.count != 1) {
        lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED,
                 "process %d has %u userfaultfds that can be seen, and not one", (int)pid,
                 found.count);
        return -1;
    }
    lpm_autofd pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    lpm_autofd fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, found.fd, 0);
    int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);

    if (flags < 0) {
        lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED,
                 "the userfaultfd of process %d cannot be shared: %s", (int)pid, g_strerror(errno));
        return -1;
    }
    /* Its flags are QEMU's too: they are not to be changed, and a read must not wait. */
    if (!(flags & O_NONBLOCK)) {
        lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED, "the userfaultfd of process %d may block",
                 (int)pid);
        return -1;
    }
    return lpm_steal_fd(&fd);
}

/* ---- the stream ---- */

/* The inodes of connected unix sockets of this path, of lines "NUM: REFS PROTO FLAGS TYPE STATE
 * INODE PATH": 3 is connected; those that nobody has accepted yet have inode 0. NULL: not to be
 * read. */
static GHashTable *find_connections(pid_t pid, const char *path)
{
    g_autofree char *table_path = g_strdup_printf("/proc/%d/net/unix", (int)pid);
    g_autofree char *table = NULL;

    if (!g_file_get_contents(table_path, &table, NULL, NULL))
        return NULL;
    GHashTable *inodes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_auto(GStrv) lines = g_strsplit(table, "\n", -1);

    for (char **line = lines; *line; line++) {
        unsigned int state;
        unsigned long inode;
        int at = 0;

        if (sscanf(*line, "%*s %*x %*x %*x %*x %x %lu %n", &state, &inode, &at) == 2 && at &&
            state == 3 && inode && !strcmp(*line + at, path))
            g_hash_table_add(inodes, g_strdup_printf("socket:[%lu]", inode));
    }
    return inodes;
}

struct connection {
    GHashTable *inodes;
    gboolean found;
};

static gboolean is_connection(int fd G_GNUC_UNUSED, const char *link, void *user)
{
    struct connection *connection = user;

    connection->found = g_hash_table_contains(connection->inodes, link);
    return !connection->found;
}

gboolean lpm_page_feeder_alone(const LpmPageFeeder *feeder)
{
    pid_t pid = lpm_qemu_process_pid(feeder->process);
    g_autoptr(GHashTable) inodes = find_connections(pid, feeder->stream_path);
    struct connection connection = {.inodes = inodes};

    return inodes && each_descriptor(pid, is_connection, &connection) && !connection.found;
}

/* ---- the file of shared memory ---- */

struct file_search {
    pid_t pid;
    const struct lpm_guest_area *area;
    lpm_fd fd;
};

static gboolean is_file(int fd, const char *link G_GNUC_UNUSED, void *user)
{
    struct file_search *search = user;
    g_autofree char *path = g_strdup_printf("/proc/%d/fd/%d", (int)search->pid, fd);
    struct stat st;

    if (stat(path, &st) < 0 || st.st_dev != search->area->device ||
        st.st_ino != search->area->inode)
        return TRUE;
    search->fd = open(path, O_RDONLY | O_CLOEXEC);
    return search->fd < 0;
}

/* Of shared memory a page may be there, in swap or not, without being in QEMU's page table. FALSE
 * with *error set: that cannot be told. */
static gboolean file_has(const LpmPageFeeder *feeder, const struct lpm_guest_area *area,
                         guint64 offset, GError **error)
{
    struct file_search search = {
        .pid = lpm_qemu_process_pid(feeder->process), .area = area, .fd = -1};
    const off_t at = (off_t)(area->file_offset + offset);

    if (!each_descriptor(search.pid, is_file, &search) || search.fd < 0)
        return lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED,
                        "the file of QEMU's shared memory cannot be opened");
    off_t data = lseek(search.fd, at, SEEK_DATA);
    int failure = errno;

    lpm_fd_clear(&search.fd);
    if (data < 0 && failure != ENXIO) /* nothing from there on */
        return lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED,
                        "the file of QEMU's shared memory cannot be read: %s", g_strerror(failure));
    return data == at;
}

/* ---- the feeder ---- */

static gboolean open_parts(LpmPageFeeder *feeder, const guint64 *lengths, guint count,
                           guint64 least, GError **error)
{
    pid_t pid = lpm_qemu_process_pid(feeder->process);
    g_autofree char *pagemap = g_strdup_printf("/proc/%d/pagemap", (int)pid);

    feeder->fault_fd = take_fault_fd(pid, error);
    if (feeder->fault_fd < 0)
        return FALSE;
    feeder->areas = lpm_guest_areas_find(pid, TRUE, least, error);
    if (!feeder->areas)
        return FALSE;
    if (!lpm_guest_areas_are(feeder->areas, lengths, count))
        return lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED,
                        "which areas of process %d are the partition's memory cannot be told",
                        (int)pid);
    feeder->pagemap_fd = open(pagemap, O_RDONLY | O_CLOEXEC);
    if (feeder->pagemap_fd < 0)
        return lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED, "%s cannot be opened: %s", pagemap,
                        g_strerror(errno));
    if (lpm_qemu_process_is_ended(feeder->process))
        return lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED, "process %d has ended", (int)pid);
    return TRUE;
}

LpmPageFeeder *lpm_page_feeder_open(LpmQemuProcess *process, const char *stream_path,
                                    const guint64 *lengths, guint count, guint64 least,
                                    GError **error)
{
    g_autoptr(LpmPageFeeder) feeder = g_new0(LpmPageFeeder, 1);

    feeder->process = process;
    feeder->stream_path = g_strdup(stream_path);
    feeder->fault_fd = feeder->pagemap_fd = -1;
    return open_parts(feeder, lengths, count, least, error) ? g_steal_pointer(&feeder) : NULL;
}

static void wake(LpmPageFeeder *feeder)
{
    for (guint i = 0; i < feeder->areas->len; i++) {
        const struct lpm_guest_area *area = &g_array_index(feeder->areas, struct lpm_guest_area, i);
        struct uffdio_range range = {.start = area->start, .len = area->length};

        /* An area that is watched no more has nobody to be woken. */
        (void)ioctl(feeder->fault_fd, UFFDIO_WAKE, &range);
    }
}

void lpm_page_feeder_free(LpmPageFeeder *feeder)
{
    if (!feeder)
        return;
    if (feeder->areas && feeder->fault_fd >= 0)
        wake(feeder);
    lpm_fd_clear(&feeder->fault_fd);
    lpm_fd_clear(&feeder->pagemap_fd);
    lpm_qemu_process_free(feeder->process);
    g_clear_pointer(&feeder->areas, g_array_unref);
    g_free(feeder->stream_path);
    g_free(feeder);
}

/* The page at an address. FALSE: it cannot be named. */
static gboolean name_page(const LpmPageFeeder *feeder, guint64 address, struct lpm_fed_page *page)
{
    for (guint i = 0; i < feeder->areas->len; i++) {
        const struct lpm_guest_area *area = &g_array_index(feeder->areas, struct lpm_guest_area, i);

        if (address < area->start || address - area->start >= area->length)
            continue;
        page->length = area->length;
        page->offset = (address - area->start) & ~(guint64)(lpm_page_feeder_page_size() - 1);
        return lpm_guest_areas_get(feeder->areas, area->length) != NULL;
    }
    return FALSE;
}

static void add_page(struct lpm_fed_page *pages, guint *count, const struct lpm_fed_page *page)
{
    for (guint i = 0; i < *count; i++)
        if (pages[i].length == page->length && pages[i].offset == page->offset)
            return;
    pages[(*count)++] = *page;
}

guint lpm_page_feeder_wanted(LpmPageFeeder *feeder, struct lpm_fed_page *pages, guint room,
                             guint limit_ms, guint *unnamed)
{
    struct pollfd item = {.fd = feeder->fault_fd, .events = POLLIN};
    struct uffd_msg message;
    struct lpm_fed_page page;
    guint count = 0;

    *unnamed = 0;
    /* Each waits until it is woken, so that the whole of them is heard with every call. */
    wake(feeder);
    if (poll(&item, 1, (int)limit_ms) <= 0)
        return 0;
    while (count < room &&
           read(feeder->fault_fd, &message, sizeof(message)) == (ssize_t)sizeof(message)) {
        if (message.event != UFFD_EVENT_PAGEFAULT)
            continue;
        if (name_page(feeder, message.arg.pagefault.address, &page))
            add_page(pages, &count, &page);
        else
            (*unnamed)++;
    }
    return count;
}

/* Where the page is in QEMU; 0: nowhere. */
static guint64 address_of(const LpmPageFeeder *feeder, const struct lpm_fed_page *page,
                          GError **error)
{
    gsize size = lpm_page_feeder_page_size();
    const struct lpm_guest_area *area = lpm_guest_areas_get(feeder->areas, page->length);

    if (area && page->offset < area->length && page->offset % size == 0)
        return area->start + page->offset;
    lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED,
             "no page of a block of %" G_GUINT64_FORMAT " bytes is at %" G_GUINT64_FORMAT,
             page->length, page->offset);
    return 0;
}

gboolean lpm_page_feeder_put(LpmPageFeeder *feeder, const struct lpm_fed_page *page,
                             const void *data, GError **error)
{
    struct uffdio_copy copy = {.dst = address_of(feeder, page, error),
                               .src = (guintptr)data,
                               .len = lpm_page_feeder_page_size()};

    if (!copy.dst)
        return FALSE;
    if (ioctl(feeder->fault_fd, UFFDIO_COPY, &copy) < 0 && errno != EEXIST)
        return lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED, "QEMU's memory takes no page: %s",
                        g_strerror(errno));
    return TRUE;
}

gboolean lpm_page_feeder_has(LpmPageFeeder *feeder, const struct lpm_fed_page *page, GError **error)
{
    guint64 address = address_of(feeder, page, error), entry;

    if (!address)
        return FALSE;
    off_t at = (off_t)(address / lpm_page_feeder_page_size() * sizeof(entry));
    if (pread(feeder->pagemap_fd, &entry, sizeof(entry), at) != (ssize_t)sizeof(entry))
        return lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED, "QEMU's page table cannot be read: %s",
                        g_strerror(errno));
    if (entry & PAGEMAP_HERE)
        return TRUE;
    const struct lpm_guest_area *area = lpm_guest_areas_get(feeder->areas, page->length);

    return area->inode && file_has(feeder, area, page->offset, error);
}
