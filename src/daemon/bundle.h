/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * What a powered-off partition consists of beside its disks: the definition, the firmware's
 * variables (NVRAM) and the state of its TPM; and how these lie in a folder of state_dir while they
 * move.
 *
 * A bundle is state_dir/bundles/ID: definition.xml, and the files by number, which the manifest
 * names: [{role: "nvram" or "tpm", name, size, sha256, mode, owner, group}]. The source fills one
 * before it gives its definition up, and can put everything back from it; the target fills one from
 * the source's words and places nothing before it owns the partition. Both are complete on disk
 * before anything is decided because of them.
 *
 * A manifest may come from a peer, so it names files and never paths: "nvram" is the one file that
 * the definition names, and only in nvram_dir; "tpm" is VERSION/FILE below tpm_dir/UUID.
 */
#ifndef LPM_DAEMON_BUNDLE_H
#define LPM_DAEMON_BUNDLE_H

#include "base/config.h"
#include "host/definition.h"

#include <glib.h>
#include <jansson.h>

#define LPM_BUNDLE_FILES_MAX 32
#define LPM_BUNDLE_FILE_MAX ((gsize)16 << 20) /* NVRAM: 64 KiB to 4 MiB; TPM: some 10 KiB */
#define LPM_BUNDLE_CHUNK ((gsize)512 << 10)   /* of a file, in one request of at most 1 MiB */
#define LPM_BUNDLE_XML_MAX ((gsize)512 << 10) /* likewise */

/* The folder of migration `id`, a new string. */
char *lpm_bundle_folder(const LpmConfig *config, const char *id);

/* Source: copies the files of `definition` and the definition itself into `folder`, on disk on
 * return, and returns the manifest, a new reference. DEFINITION_FILES when something cannot be
 * carried. With `folder` NULL nothing is written: what the manifest would be. */
json_t *lpm_bundle_fill(const LpmConfig *config, const LpmDefinition *definition,
                        const char *folder, GError **error);

/* Target: checks a manifest and the definition it belongs to, and makes the folder. BAD_REQUEST for
 * what lpmd does not send, DEFINITION_FILES for what this host does not take. */
gboolean lpm_bundle_begin(const LpmConfig *config, const LpmDefinition *definition,
                          const json_t *manifest, const char *folder, GError **error);
/* Writes bytes of file `number` at `offset`, within the size that was announced. */
gboolean lpm_bundle_write(const char *folder, const json_t *manifest, guint number, guint64 offset,
                          const guint8 *data, gsize length, GError **error);
/* Everything is there, has the announced digest, and is on disk. DATA_DAMAGED otherwise. */
gboolean lpm_bundle_check(const char *folder, const json_t *manifest, GError **error);

/* Bytes of file `number` from `offset`, at most LPM_BUNDLE_CHUNK; NULL with an error. */
GBytes *lpm_bundle_read(const char *folder, guint number, guint64 offset, GError **error);
LpmDefinition *lpm_bundle_definition(const char *folder, GError **error);
/* Bytes of all files together. */
guint64 lpm_bundle_bytes(const json_t *manifest);

/* Puts the files where libvirt on this host looks for them, each in one step, with mode and owner
 * (by name; if there is no such user here, qemu_user). May be repeated. */
gboolean lpm_bundle_place(const LpmConfig *config, const LpmDefinition *definition,
                          const json_t *manifest, const char *folder, GError **error);
/* Removes the placed files and their folders that are empty then; with `seen` (of
 * lpm_bundle_marks) only those that are still the files that were there at that time. */
void lpm_bundle_unplace(const LpmConfig *config, const LpmDefinition *definition,
                        const json_t *manifest, const json_t *seen);
/* Which files these are: device, inode and time of each, to tell later whether somebody has put
 * others in their place (the other host, on shared storage). */
json_t *lpm_bundle_marks(const LpmConfig *config, const LpmDefinition *definition,
                         const json_t *manifest);

/* Removes the folder and what is in it. */
void lpm_bundle_remove(const char *folder);

#endif
