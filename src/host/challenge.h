/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Comparing disks that do not say who they are by what is on them, while the partition runs. Both
 * hosts read the same blocks: the first ones, where partition tables and file systems describe
 * themselves, and others all over the disk that the run's nonce chooses. Each block's hash is keyed
 * by the nonce, so that what leaves the host says nothing about a disk's content to who does not
 * have it. Blocks that are written meanwhile differ, so those are read again, by number, until it
 * is known why (daemon/validate/doubts.h). Nothing is written.
 *
 * A copy of the disk that was made a moment ago passes too; only a disk that says who it is can be
 * told from its clone.
 */
#ifndef LPM_HOST_CHALLENGE_H
#define LPM_HOST_CHALLENGE_H

#include "host/host.h"

#include <glib.h>
#include <jansson.h>

#define LPM_CHALLENGE_NONCE_BYTES 16
#define LPM_CHALLENGE_BLOCK 4096
#define LPM_CHALLENGE_BLOCKS 256

/* What is asked of both hosts. */
struct lpm_challenge {
    guint8 nonce[LPM_CHALLENGE_NONCE_BYTES];
    /* Numbers of blocks, of which LPM_CHALLENGE_BLOCKS are read, borrowed; NULL: the first look, at
     * blocks that the nonce chooses. May be a peer's. */
    const json_t *blocks;
};

/* Reads `length` bytes at `offset` (both multiples of LPM_CHALLENGE_BLOCK) into `data`, which is
 * aligned likewise. FALSE ends the challenge. */
typedef gboolean (*lpm_challenge_read_fn)(void *user, guint64 offset, void *data, gsize length);

/* The number of the n-th block that a nonce chooses on a disk of `blocks` (not 0). The first look's
 * are those below LPM_CHALLENGE_BLOCKS; any further ones can be asked for by number. */
guint64 lpm_challenge_block(const guint8 nonce[LPM_CHALLENGE_NONCE_BYTES], guint n, guint64 blocks);

/* The blocks' hashes in order, "" for one that is all zeros, null for one that the disk does not
 * have; fewer than were asked for if reading fails or takes too long. A new array. */
json_t *lpm_challenge_answer(const struct lpm_challenge *challenge, guint64 size,
                             lpm_challenge_read_fn read, void *user);

/* How the answers of two hosts to one challenge compare: blocks of which neither is empty and that
 * are equal, and blocks that differ. */
void lpm_challenge_compare(const json_t *a, const json_t *b, guint *equal, guint *differ);

/* ---- nbd.c ---- */

/* Opens an export of an NBD server (no encryption), sets size_bytes in `facts` and the challenge's
 * answer as `samples`; `cause` on failure. Ends within a few seconds. */
void lpm_nbd_look(const json_t *disk, const struct lpm_challenge *challenge, json_t *facts);

/* The same over a connection that is there, whose time limits are the caller's: what is wrong, for
 * people, or NULL. */
const char *lpm_nbd_read(int fd, const char *name, const struct lpm_challenge *challenge,
                         json_t *facts);

/* ---- qemu-nbd.c ---- */

/* The same of a network disk that only QEMU's own drivers read, by a program of QEMU's that lives
 * for this look. `unable` in `facts`: the cause is this host's tools, not the disk. Blocks for a
 * few seconds at most; any thread. */
void lpm_qemu_look(struct lpm_host *host, const json_t *disk, const struct lpm_challenge *challenge,
                   json_t *facts);

/* How QEMU's drivers are told of the disk's storage, a new object without any secret in it. NULL
 * with *why: they are not asked. Pure. */
json_t *lpm_qemu_source(const json_t *disk, const char **why);

#endif
