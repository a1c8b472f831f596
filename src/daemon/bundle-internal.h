/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Shared by bundle.c (the folder) and bundle-place.c (where libvirt looks). */
#ifndef LPM_DAEMON_BUNDLE_INTERNAL_H
#define LPM_DAEMON_BUNDLE_INTERNAL_H

#include "daemon/bundle.h"

/* libvirt's folders below the partition's own, by version of the TPM. */
static const char *const lpm_tpm_versions[] = {"tpm1.2", "tpm2"};

const char *lpm_bundle_text(const json_t *entry, const char *member);
gint64 lpm_bundle_size(const json_t *entry);
gboolean lpm_bundle_sync_folder(const char *path, GError **error);
/* The whole of file `number`, whose size is bounded. */
GBytes *lpm_bundle_content(const char *folder, guint number, GError **error);

/* Where libvirt on this host has the file of a manifest's entry: a new path, or NULL with
 * BAD_REQUEST or DEFINITION_FILES. */
char *lpm_bundle_path(const LpmConfig *config, const LpmDefinition *definition, const json_t *entry,
                      GError **error);

#endif
