/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Digests of files, remembered so that the next look at a medium of some gigabytes costs a stat.
 *
 * A file is known by device, inode, size, mtime and ctime; whatever changes it changes its ctime,
 * which no program can set. But for one thing: a change within the grain of the clock (2 s at most)
 * of another leaves the ctime that was there. So a digest is only believed if that ctime was
 * LPM_DIGESTS_RACY_US old when the hashing began: by the clock of this kernel where the file system
 * is its own, and elsewhere, where another host's clock makes the ctime, by how long this program
 * has known the file so. What is not believed yet is hashed again. Not seen is a change through a
 * memory mapping until the kernel writes that page back.
 *
 * Bounded: of more than LPM_DIGESTS_MAX files the one asked for longest ago is forgotten. Any
 * thread.
 */
#ifndef LPM_HOST_DIGESTS_H
#define LPM_HOST_DIGESTS_H

#include <glib.h>
#include <sys/stat.h>

#define LPM_DIGESTS_MAX 256
#define LPM_DIGESTS_RACY_US (2 * G_USEC_PER_SEC)

struct lpm_digests;

struct lpm_digests *lpm_digests_new(void);
void lpm_digests_free(struct lpm_digests *digests);

/* When something was, by both clocks, in microseconds. */
struct lpm_digests_time {
    gint64 real, monotonic;
};

/* The digest of the file that `status` is of, a new string; NULL if none is believed. */
char *lpm_digests_get(struct lpm_digests *digests, const struct stat *status);

/* Remembers what a file was found to hash to. `status`: the same before and after, or the caller
 * does not call; `own`: its times are this kernel's; `begun`: when the hashing began. */
void lpm_digests_put(struct lpm_digests *digests, const struct stat *status, gboolean own,
                     struct lpm_digests_time begun, const char *digest);

/* Are two looks at a file of one state of it? */
gboolean lpm_digests_same(const struct stat *a, const struct stat *b);

#endif
