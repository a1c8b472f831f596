/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Files that each host may have a copy of: media in drives that cannot be written, images that a
 * disk's own is laid over, firmware, and a kernel that the machine is started from (R2.2). QEMU
 * opens them on the target before anything has been copied, so they must be there; compared by size
 * and content (of large ones, by both ends).
 */
#include "daemon/validate/checks.h"
#include "host/disk-identity.h"

#include <string.h>

/* `of`: its path on the source, by which both hosts' are matched. */
static void add(struct lpm_host *host, json_t *files, const char *role, const char *path,
                const char *of)
{
    json_t *facts;

    if (json_array_size(files) >= LPM_DEVICES_MAX)
        return;
    facts = lpm_file_identity(lpm_host_digests(host), path);
    if (strcmp(lpm_fact(facts, "kind"), "block") == 0) { /* check-disks.c */
        json_decref(facts);
        return;
    }
    json_object_set_new(facts, "role", json_string(role));
    json_object_set_new(facts, "of", json_string(of));
    json_array_append_new(files, facts);
}

/* What the source calls a disk that is mapped to another path here. */
static const char *path_there(const json_t *disk)
{
    const char *path = lpm_fact(disk, "path_there");

    return *path ? path : lpm_fact(disk, "path");
}

json_t *lpm_gather_files(struct lpm_validation *validation, GError **error G_GNUC_UNUSED)
{
    struct lpm_host *host = validation->daemon->host;
    const json_t *model = validation->model, *entry, *layer;
    json_t *files = json_array();
    size_t i, k;

    json_array_foreach (json_object_get(model, "os_files"), i, entry)
        add(host, files, lpm_fact(entry, "role"), lpm_fact(entry, "path"), lpm_fact(entry, "path"));
    json_array_foreach (json_object_get(model, "disks"), i, entry) {
        if (lpm_fact_true(entry, "readonly") && *lpm_fact(entry, "path"))
            add(host, files, lpm_fact(entry, "target"), lpm_fact(entry, "path"), path_there(entry));
        json_array_foreach (json_object_get(entry, "backing"), k, layer)
            add(host, files, lpm_fact(entry, "target"), lpm_fact(layer, "path"),
                lpm_fact(layer, "path"));
    }
    return json_pack("{s:o}", "files", files);
}

static gboolean is_boot_file(const char *role)
{
    return strcmp(role, "kernel") == 0 || strcmp(role, "initrd") == 0 || strcmp(role, "dtb") == 0;
}

static void judge_file(struct lpm_judgement *judgement, const json_t *here, const json_t *there)
{
    const char *role = lpm_fact(here, "role"), *path = lpm_fact(here, "at");

    if (!there)
        lpm_find(judgement, LPM_E_FILE_DIFFERS, "%s: %s is no file on %s", role, path,
                 judgement->target_name);
    else if (*lpm_fact(there, "cause"))
        lpm_find(judgement, LPM_E_FILE_MISSING, "%s: %s on %s: %s", role, lpm_fact(there, "at"),
                 judgement->target_name, lpm_fact(there, "cause"));
    else if (*lpm_fact(here, "cause"))
        lpm_find(judgement, LPM_E_BOOT_FILE_DIFFERS, "%s: %s on %s: %s", role, path,
                 judgement->source_name, lpm_fact(here, "cause"));
    else if (lpm_fact_int(here, "size_bytes") != lpm_fact_int(there, "size_bytes") ||
             strcmp(lpm_fact(here, "digest"), lpm_fact(there, "digest")) != 0)
        lpm_find(judgement, is_boot_file(role) ? LPM_E_BOOT_FILE_DIFFERS : LPM_E_FILE_DIFFERS,
                 "%s: %s has other content (%" G_GINT64_FORMAT " bytes on %s, %" G_GINT64_FORMAT
                 " on %s)",
                 role, path, lpm_fact_int(here, "size_bytes"), judgement->source_name,
                 lpm_fact_int(there, "size_bytes"), judgement->target_name);
}

/* By path: what is a file here may be a device there, which is not in the list. */
static const json_t *same_path(const json_t *files, const char *path)
{
    const json_t *file;
    size_t i;

    json_array_foreach (files, i, file) {
        if (strcmp(lpm_fact(file, "of"), path) == 0)
            return file;
    }
    return NULL;
}

void lpm_judge_files(struct lpm_judgement *judgement)
{
    const json_t *here = json_object_get(judgement->source, "files"), *file;
    const json_t *there = json_object_get(judgement->target, "files");
    size_t i;

    json_array_foreach (here, i, file)
        judge_file(judgement, file, same_path(there, lpm_fact(file, "of")));
    if (!json_array_size(here))
        lpm_does_not_apply(judgement);
}
