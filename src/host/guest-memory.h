/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The memory of a QEMU that another process may write as well: what its command line calls a shared
 * memory backend, and the file behind it.
 *
 * Which file is which backend's QEMU does not tell. It is found by what must be so: QEMU has the
 * file open and mapped, shared, and it is as large as the backend. Where two backends or two files
 * have one size nothing is decided, and these are left out.
 */
#ifndef LPM_HOST_GUEST_MEMORY_H
#define LPM_HOST_GUEST_MEMORY_H

#include "host/qemu-process.h"

struct lpm_guest_memory {
    char *name;   /* owned: the backend's id, "pc.ram" */
    guint64 size; /* bytes, of the backend and the file */
    int fd;       /* owned: read and write */
};

/* An array of struct lpm_guest_memory, freed with its members; never empty. NULL: there is none,
 * and `*reason` (owned) says why, for an operator; it stays NULL if the memory is simply not
 * shared. Looks into /proc only. Any thread. */
GArray *lpm_guest_memory_find(const LpmQemuProcess *process, char **reason);

#endif
