/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Which names the target has for what the partition uses (R2.13). An operator says so with a map,
 * or both hosts' lpmd.conf give one role to a network or storage of theirs:
 *
 *   [networks]                        [storage]
 *   production = br0                  san = /dev/mapper/
 *
 * The source notes in the model what each disk and adapter is mapped to or which roles it has; only
 * the target knows its own names for roles, so it resolves them, looks at what it found under those
 * names, and tells them back. A map: {disks: {vda: SOURCE}, networks: {MAC: NAME}} with the sources
 * of host/mapping.h. A role that the target does not have changes no name.
 */
#ifndef LPM_DAEMON_VALIDATE_MAPPING_H
#define LPM_DAEMON_VALIDATE_MAPPING_H

#include "base/config.h"

#include <glib.h>
#include <jansson.h>

/* Source: adds a member `map` to entries of `model`: {to} or {roles, rest}. MAP_WRONG when an entry
 * of `map` (or NULL) is of no disk or adapter of the partition, or not of its kind. */
gboolean lpm_mapping_note(const LpmConfig *config, const json_t *map, json_t *model,
                          GError **error);

/* Target: gives the entries of `model`, a peer's, the names they have here; the old path of a disk
 * stays in `path_there`. {adapters: [{kind, adapter, target, by, cause?}]}, a new reference: by is
 * "map", "role NAME" or "name"; cause: why it cannot be mapped. */
json_t *lpm_mapping_resolve(const LpmConfig *config, json_t *model);

/* The virtual adapter map: which of the target's carries what each of the source's does. `told`: of
 * lpm_mapping_resolve there, or NULL. [{kind, adapter, source, target, by}], a new reference. */
json_t *lpm_mapping_table(const json_t *model, const json_t *told);

#endif
