/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The files of a bundle where libvirt looks for them. */
#include "base/error.h"
#include "base/fdio.h"
#include "daemon/bundle-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME_MAX 128

/* ---- where ---- */

/* A name from a peer: letters, digits and . _ - only, not hidden. */
static gboolean is_plain(const char *name)
{
    gsize length = strlen(name);

    return length > 0 && length <= FILE_NAME_MAX && *name != '.' &&
           strspn(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._-") == length;
}

static char *tpm_path(const LpmConfig *config, const LpmDefinition *definition, const char *name)
{
    for (gsize i = 0; i < G_N_ELEMENTS(lpm_tpm_versions); i++) {
        gsize length = strlen(lpm_tpm_versions[i]);

        if (strncmp(name, lpm_tpm_versions[i], length) == 0 && name[length] == '/' &&
            is_plain(name + length + 1))
            return g_build_filename(config->tpm_dir, definition->uuid, name, NULL);
    }
    return NULL;
}

char *lpm_bundle_path(const LpmConfig *config, const LpmDefinition *definition, const json_t *entry,
                      GError **error)
{
    const char *role = lpm_bundle_text(entry, "role"), *name = lpm_bundle_text(entry, "name");
    char *path = NULL;

    if (strcmp(role, "tpm") == 0 && definition->tpm) {
        path = tpm_path(config, definition, name);
    } else if (strcmp(role, "nvram") == 0 && definition->nvram && !strchr(name, '/') &&
               *name != '.' && *name) {
        path = g_build_filename(config->nvram_dir, name, NULL);
        if (strcmp(path, definition->nvram) != 0) {
            g_free(path);
            lpm_fail(error, LPM_E_DEFINITION_FILES,
                     "the firmware's variables are in %s, and nvram_dir of %s is %s",
                     definition->nvram, config->name, config->nvram_dir);
            return NULL;
        }
    }
    if (!path)
        lpm_fail(error, LPM_E_BAD_REQUEST, "no file of a partition: %s %s", role, name);
    return path;
}

/* ---- placing ---- */

static gboolean fail_errno(GError **error, const char *path)
{
    int number = errno;

    return lpm_fail(error, LPM_E_DEFINITION_FILES, "%s: %s", path, g_strerror(number));
}

/* Users have other numbers on other hosts, and perhaps other names. */
static void find_owner(const LpmConfig *config, const json_t *entry, uid_t *uid, gid_t *gid)
{
    const struct passwd *user = getpwnam(lpm_bundle_text(entry, "owner"));

    if (!user)
        user = getpwnam(config->qemu_user);
    *uid = user ? user->pw_uid : 0;
    *gid = user ? user->pw_gid : 0;
    const struct group *group = getgrnam(lpm_bundle_text(entry, "group"));
    if (group)
        *gid = group->gr_gid;
}

/* libvirt makes these in the same way: tpm_dir and UUID for anybody to pass through, the version's
 * for the TPM's user alone. */
static gboolean make_folders(const LpmConfig *config, const LpmDefinition *definition,
                             const json_t *entry, const char *folder, GError **error)
{
    g_autofree char *own = g_build_filename(config->tpm_dir, definition->uuid, NULL);
    uid_t uid;
    gid_t gid;

    if (strcmp(lpm_bundle_text(entry, "role"), "tpm") != 0) {
        if (g_mkdir_with_parents(folder, 0755) < 0)
            return fail_errno(error, folder);
        return TRUE;
    }
    find_owner(config, entry, &uid, &gid);
    if (g_mkdir_with_parents(own, 0711) < 0)
        return fail_errno(error, own);
    if (g_mkdir(folder, 0700) == 0) {
        if (lchown(folder, uid, gid) < 0)
            return fail_errno(error, folder);
    } else if (errno != EEXIST) {
        return fail_errno(error, folder);
    }
    return lpm_bundle_sync_folder(own, error);
}

static gboolean place(const LpmConfig *config, const LpmDefinition *definition, const json_t *entry,
                      GBytes *content, GError **error)
{
    g_autofree char *path = lpm_bundle_path(config, definition, entry, error);
    mode_t mode = (mode_t)json_integer_value(json_object_get(entry, "mode")) & 0666;
    uid_t uid;
    gid_t gid;

    if (!path)
        return FALSE;
    g_autofree char *folder = g_path_get_dirname(path);
    g_autofree char *temporary = g_strconcat(path, ".lpm-new", NULL);
    if (!make_folders(config, definition, entry, folder, error))
        return FALSE;
    find_owner(config, entry, &uid, &gid);
    unlink(temporary);
    lpm_autofd fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 ||
        !lpm_write_all(fd, g_bytes_get_data(content, NULL), g_bytes_get_size(content), NULL) ||
        fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0 || fsync(fd) < 0 ||
        g_rename(temporary, path) < 0)
        return fail_errno(error, path);
    return lpm_bundle_sync_folder(folder, error);
}

gboolean lpm_bundle_place(const LpmConfig *config, const LpmDefinition *definition,
                          const json_t *manifest, const char *folder, GError **error)
{
    const json_t *entry;
    size_t i;

    json_array_foreach (manifest, i, entry) {
        g_autoptr(GBytes) content = lpm_bundle_content(folder, (guint)i, error);

        if (!content || !place(config, definition, entry, content, error))
            return FALSE;
    }
    return TRUE;
}

/* ---- removing ---- */

/* Opened anew, so that a network file system asks its server; "" when it is not there. */
static char *mark_of(const char *path)
{
    lpm_autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat stat;

    if (fd < 0 || fstat(fd, &stat) < 0)
        return g_strdup("");
    return g_strdup_printf("%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT ":%" G_GINT64_FORMAT ".%09ld",
                           (guint64)stat.st_dev, (guint64)stat.st_ino, (gint64)stat.st_mtim.tv_sec,
                           stat.st_mtim.tv_nsec);
}

json_t *lpm_bundle_marks(const LpmConfig *config, const LpmDefinition *definition,
                         const json_t *manifest)
{
    json_t *marks = json_array();
    const json_t *entry;
    size_t i;

    json_array_foreach (manifest, i, entry) {
        g_autofree char *path = lpm_bundle_path(config, definition, entry, NULL);
        g_autofree char *mark = path ? mark_of(path) : g_strdup("");
        json_array_append_new(marks, json_string(mark));
    }
    return marks;
}

void lpm_bundle_unplace(const LpmConfig *config, const LpmDefinition *definition,
                        const json_t *manifest, const json_t *seen)
{
    const json_t *entry;
    size_t i;

    json_array_foreach (manifest, i, entry) {
        g_autofree char *path = lpm_bundle_path(config, definition, entry, NULL);
        g_autofree char *mark = path ? mark_of(path) : NULL;

        if (!path || !*mark ||
            (seen && g_strcmp0(mark, json_string_value(json_array_get(seen, i))) != 0))
            continue;
        unlink(path);
        g_autofree char *folder = g_path_get_dirname(path);
        if (strcmp(lpm_bundle_text(entry, "role"), "tpm") == 0 && rmdir(folder) == 0) {
            g_autofree char *own = g_path_get_dirname(folder);
            rmdir(own);
        }
    }
}
