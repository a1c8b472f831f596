/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * What is asked of a running partition before a forecast: how much of its memory is there at all,
 * and how fast it writes to it. The partition runs on undisturbed: QEMU compares checksums of a
 * sample of pages (512 of each GiB) over a second.
 */
#ifndef LPM_HOST_DIRTY_RATE_H
#define LPM_HOST_DIRTY_RATE_H

#include "host/host.h"

#include <sys/types.h>

/* Begins a sample of `seconds` (from 1). LPM_E_PARTITION_BUSY during a job of libvirt's, as a
 * migration is; LPM_E_LIBVIRT, also when a sample is under way. Any thread. */
gboolean lpm_host_dirty_rate_begin(struct lpm_host *host, const char *uuid, int seconds,
                                   GError **error);
/* Asks for the sample begun last: *rate in bytes/s of distinct pages, or -1 while it is under way.
 * May be asked during a migration. Any thread. */
gboolean lpm_host_dirty_rate(struct lpm_host *host, const char *uuid, gint64 *rate, GError **error);

/* How much of the partition's memory is in the resident set of its QEMU: at most `memory_bytes`.
 * What it has never written to is not in it and goes as zero pages. 0 when /proc does not tell. */
guint64 lpm_qemu_resident(pid_t pid, guint64 memory_bytes);
/* The same of the text of /proc/PID/smaps, and of /proc/PID/status, where QEMU's own counts too and
 * which is taken of large partitions. Pure. */
guint64 lpm_smaps_resident(const char *smaps, guint64 memory_bytes);
guint64 lpm_status_resident(const char *status, guint64 memory_bytes);

#endif
