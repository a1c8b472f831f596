/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Which disk is this? What this host finds at the place that a partition's description names, by
 * the very path that QEMU would use, so that two hosts can compare: a SCSI disk's designators (VPD
 * page 0x83) and serial number (0x80), what the kernel knows of a block device, a file's file
 * system. Nothing is ever written to a disk; a file system is marked with a file of its own beside
 * the image (lpm_disk_mark). Any thread; each call ends within LPM_DISK_LIMIT_MS or so.
 */
#ifndef LPM_HOST_DISK_IDENTITY_H
#define LPM_HOST_DISK_IDENTITY_H

#include "host/challenge.h"
#include "host/digests.h"
#include "host/host.h"

#define LPM_DISK_LIMIT_MS 2000

/* Of one entry of a model's disks (inspect.h), always an object:
 * kind: "iscsi", "nbd", "network" (by QEMU's own driver), "block", "file", "empty", "other" (this
 * program cannot look at it);
 * cause: why it cannot be had; absent when all is well; unable: that says nothing of the disk;
 * size_bytes; serial; designators: ["naa:6001...", ...]; identity: the one that others would name;
 * reservation: {type, key}, keys: number registered; file_system, shared (may two hosts mount it),
 * device, inode; local: why only this host has it; samples: answer to the challenge, of a
 * disk that does not say who it is; paths: {usable, all}, of a multipath device. */
json_t *lpm_disk_identity(struct lpm_host *host, const json_t *disk,
                          const struct lpm_challenge *challenge);

/* Whether such facts hold a name of the disk's own. Pure. */
gboolean lpm_disk_says_who_it_is(const json_t *facts);

/* The same for a file by its path, with `digest`, of a large one of both ends. `remembered`: it is
 * from `digests`, which may be NULL. */
json_t *lpm_file_identity(struct lpm_digests *digests, const char *path);

/* Makes `.lpm-NONCE` beside `path`, with the nonce in it; its own path, which the caller unlinks.
 * NULL when the folder cannot be written. */
char *lpm_disk_mark(const char *path, const char *nonce);
/* Whether that file is seen beside `path` here; waits for it at most `limit_ms`. */
gboolean lpm_disk_mark_seen(const char *path, const char *nonce, guint limit_ms);

/* ---- iscsi.c ---- */

/* Fills `facts` with size, serial, designators and reservation, and the challenge's answer if the
 * LUN does not say who it is; `cause` (and `unable`) on failure. */
void lpm_iscsi_identity(struct lpm_host *host, const json_t *disk,
                        const struct lpm_challenge *challenge, json_t *facts);

/* ---- VPD pages ---- */

/* The designators of the logical unit in a page 0x83 as "naa:HEX" and so on, sorted, without those
 * that another disk may have, too; an empty array when the page is not of its form. */
json_t *lpm_vpd_designators(const guint8 *page, gsize length);
/* The serial number of a page 0x80 without blanks around it, "" when there is none. A new string.
 */
char *lpm_vpd_serial(const guint8 *page, gsize length);

#endif
