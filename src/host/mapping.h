/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Disks and networks that have other names on the target (R2.13). What a disk is made from, its
 * *source*, is one word here, as an operator writes it:
 *
 *   /dev/mapper/san-7            a block device or a file, and nothing else
 *   POOL/VOLUME                  a volume of libvirt's
 *   [//HOST[:PORT]/]NAME         a network disk; without HOST, where it is now
 *
 * An adapter's is the name of its network of libvirt's, else of its bridge, else of its device.
 * Only sources change: what libvirt calls the guest's view of a machine stays, as do the names of
 * targets (vda) and aliases (ua-...). No function here asks anybody; any thread.
 */
#ifndef LPM_HOST_MAPPING_H
#define LPM_HOST_MAPPING_H

#include <glib.h>
#include <jansson.h>

/* The source of an entry of a model's `disks` (inspect.h), "" if it has none. A new string. */
char *lpm_disk_source(const json_t *disk);
/* The same with where it is now: //HOST[:PORT]/NAME of a network disk. A new string. */
char *lpm_disk_full_source(const json_t *disk);
/* The source of an entry of its `adapters`, borrowed. */
const char *lpm_adapter_source(const json_t *adapter);

/* Makes `source` that of the entry. MAP_WRONG if a disk of its kind cannot have such a one. */
gboolean lpm_disk_set_source(json_t *disk, const char *source, GError **error);
gboolean lpm_adapter_set_source(json_t *adapter, const char *source, GError **error);

/* libvirt's description `text` with the sources on the target: of each entry of `adapters`,
 * {kind: "disk" or "network", adapter: vda or a MAC, source, target}, whose two last members
 * differ. Entries of which the description has no such device are passed over: a definition may
 * have others than what runs. A new string; NULL with LIBVIRT or MAP_WRONG. */
char *lpm_map_description(const char *text, const json_t *adapters, GError **error);

/* Has any entry another name on the target? */
gboolean lpm_map_is_needed(const json_t *adapters);

#endif
