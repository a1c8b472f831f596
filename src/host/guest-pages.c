/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/guest-pages.h"

#include "base/error.h"
#include "host/guest-areas.h"

#include <errno.h>
#include <sys/uio.h>

struct lpm_guest_pages { /* immutable */
    LpmQemuProcess *process;
    GArray *areas;
};

LpmGuestPages *lpm_guest_pages_open(const LpmQemuProcess *process, const guint64 *lengths,
                                    guint count, guint64 least, GError **error)
{
    pid_t pid = lpm_qemu_process_pid(process);
    gboolean gone;
    /* One of its own, so that what is read is still of this process and not of its pid's heir. */
    g_autoptr(LpmQemuProcess) own =
        lpm_qemu_process_reopen(pid, lpm_qemu_process_start_time(process), &gone, error);

    if (!own && gone)
        lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED, "process %d has ended", (int)pid);
    g_autoptr(GArray) areas = own ? lpm_guest_areas_find(pid, FALSE, least, error) : NULL;

    if (!areas)
        return NULL;
    if (!lpm_guest_areas_are(areas, lengths, count)) {
        lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED,
                 "which areas of process %d are the partition's memory cannot be told", (int)pid);
        return NULL;
    }
    LpmGuestPages *pages = g_new0(LpmGuestPages, 1);

    pages->process = g_steal_pointer(&own);
    pages->areas = g_steal_pointer(&areas);
    return pages;
}

void lpm_guest_pages_free(LpmGuestPages *pages)
{
    if (!pages)
        return;
    lpm_qemu_process_free(pages->process);
    g_array_unref(pages->areas);
    g_free(pages);
}

gboolean lpm_guest_pages_read(LpmGuestPages *pages, guint64 length, guint64 offset, void *data,
                              gsize size, GError **error)
{
    pid_t pid = lpm_qemu_process_pid(pages->process);
    const struct lpm_guest_area *area = lpm_guest_areas_get(pages->areas, length);

    if (!area || offset > length || size > length - offset)
        return lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED,
                        "no block of %" G_GUINT64_FORMAT " bytes, or more than one, or none that "
                        "has a page at %" G_GUINT64_FORMAT,
                        length, offset);
    struct iovec to = {.iov_base = data, .iov_len = size};
    struct iovec from = {.iov_base = (void *)(guintptr)(area->start + offset), .iov_len = size};
    ssize_t got = process_vm_readv(pid, &to, 1, &from, 1, 0);

    if (got != (ssize_t)size)
        return lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED, "memory of process %d cannot be read: %s",
                        (int)pid, got < 0 ? g_strerror(errno) : "not all of it is there");
    /* Its pid may have got another owner since it was opened; it has not while it lives. */
    if (lpm_qemu_process_is_ended(pages->process))
        return lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED, "process %d has ended", (int)pid);
    return TRUE;
}
