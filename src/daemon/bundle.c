/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/bundle.h"

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

#define SHA256_LENGTH 64 /* digits */
#define NAME_MAX_USER 32

char *lpm_bundle_folder(const LpmConfig *config, const char *id)
{
    return g_build_filename(config->state_dir, "bundles", id, NULL);
}

static char *file_of(const char *folder, guint number)
{
    return g_strdup_printf("%s/%u", folder, number);
}

static char *definition_of(const char *folder)
{
    return g_build_filename(folder, "definition.xml", NULL);
}

const char *lpm_bundle_text(const json_t *entry, const char *member)
{
    const char *text = json_string_value(json_object_get(entry, member));

    return text ? text : "";
}

gint64 lpm_bundle_size(const json_t *entry)
{
    return json_integer_value(json_object_get(entry, "size"));
}

static gboolean fail_errno(GError **error, const char *what, const char *path)
{
    int number = errno;

    return lpm_fail(error, LPM_E_DEFINITION_FILES, "%s: %s: %s", path, what, g_strerror(number));
}

gboolean lpm_bundle_sync_folder(const char *path, GError **error)
{
    lpm_autofd fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        return fail_errno(error, "cannot be written to disk", path);
    return TRUE;
}

static gboolean make_folder(const char *folder, GError **error)
{
    g_autofree char *outer = g_path_get_dirname(folder);

    if (g_mkdir_with_parents(outer, 0700) < 0 || (g_mkdir(folder, 0700) < 0 && errno != EEXIST))
        return fail_errno(error, "cannot be made", folder);
    return lpm_bundle_sync_folder(outer, error);
}

static gboolean write_whole(const char *path, gconstpointer data, gsize length, GError **error)
{
    lpm_autofd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 || !lpm_write_all(fd, data, length, NULL) || fsync(fd) < 0)
        return fail_errno(error, "cannot be written", path);
    return TRUE;
}

/* At most `most` bytes of a regular file; a link is not followed: QEMU's user may write where these
 * lie, and lpmd reads as root. */
static GBytes *read_whole(const char *path, gsize most, struct stat *out, GError **error)
{
    lpm_autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0 || fstat(fd, out) < 0) {
        fail_errno(error, "cannot be opened", path);
        return NULL;
    }
    if (!S_ISREG(out->st_mode) || out->st_size < 0 || (gsize)out->st_size > most) {
        lpm_fail(error, LPM_E_DEFINITION_FILES,
                 "%s is no regular file of at most %" G_GSIZE_FORMAT " bytes", path, most);
        return NULL;
    }
    gsize length = (gsize)out->st_size;
    g_autofree guint8 *data = g_malloc(length + 1);
    if (!lpm_read_all(fd, data, length, NULL)) {
        fail_errno(error, "cannot be read", path);
        return NULL;
    }
    return g_bytes_new_take(g_steal_pointer(&data), length);
}

static char *digest_of(GBytes *content)
{
    return g_compute_checksum_for_bytes(G_CHECKSUM_SHA256, content);
}

/* ---- the source ---- */

/* Adds one file to the manifest and, with a folder, its content there. */
static gboolean take_file(json_t *manifest, const char *role, const char *name, const char *path,
                          const char *folder, GError **error)
{
    struct stat stat;
    g_autoptr(GBytes) content = read_whole(path, LPM_BUNDLE_FILE_MAX, &stat, error);

    if (!content)
        return FALSE;
    if (json_array_size(manifest) >= LPM_BUNDLE_FILES_MAX)
        return lpm_fail(error, LPM_E_DEFINITION_FILES, "%s is one file too many: at most %d", path,
                        LPM_BUNDLE_FILES_MAX);
    if (folder) {
        g_autofree char *copy = file_of(folder, (guint)json_array_size(manifest));
        if (!write_whole(copy, g_bytes_get_data(content, NULL), g_bytes_get_size(content), error))
            return FALSE;
    }
    const struct passwd *user = getpwuid(stat.st_uid);
    g_autofree char *owner = g_strdup(user ? user->pw_name : "");
    const struct group *group = getgrgid(stat.st_gid);
    g_autofree char *digest = digest_of(content);
    json_array_append_new(manifest,
                          json_pack("{s:s, s:s, s:I, s:s, s:i, s:s, s:s}", "role", role, "name",
                                    name, "size", (json_int_t)g_bytes_get_size(content), "sha256",
                                    digest, "mode", (int)(stat.st_mode & 0666), "owner", owner,
                                    "group", group ? group->gr_name : ""));
    return TRUE;
}

static gboolean take_nvram(const LpmConfig *config, const LpmDefinition *definition,
                           json_t *manifest, const char *folder, GError **error)
{
    if (!definition->nvram || access(definition->nvram, F_OK) < 0)
        return TRUE; /* never started: libvirt makes it from its template */
    g_autofree char *name = g_path_get_basename(definition->nvram);
    g_autofree char *expected = g_build_filename(config->nvram_dir, name, NULL);
    if (strcmp(expected, definition->nvram) != 0)
        return lpm_fail(error, LPM_E_DEFINITION_FILES,
                        "the firmware's variables are in %s, and not in nvram_dir (%s)",
                        definition->nvram, config->nvram_dir);
    return take_file(manifest, "nvram", name, definition->nvram, folder, error);
}

static gboolean take_tpm(const LpmConfig *config, const LpmDefinition *definition,
                         const char *version, json_t *manifest, const char *folder, GError **error)
{
    g_autofree char *where = g_build_filename(config->tpm_dir, definition->uuid, version, NULL);
    g_autoptr(GDir) dir = g_dir_open(where, 0, NULL);
    const char *file;

    while (dir && (file = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(where, file, NULL);
        g_autofree char *name = g_build_filename(version, file, NULL);

        if (*file != '.' && !take_file(manifest, "tpm", name, path, folder, error)) /* .lock */
            return FALSE;
    }
    return TRUE;
}

static gboolean take_all(const LpmConfig *config, const LpmDefinition *definition, json_t *manifest,
                         const char *folder, GError **error)
{
    for (gsize i = 0; definition->tpm && i < G_N_ELEMENTS(lpm_tpm_versions); i++) {
        if (!take_tpm(config, definition, lpm_tpm_versions[i], manifest, folder, error))
            return FALSE;
    }
    return take_nvram(config, definition, manifest, folder, error);
}

json_t *lpm_bundle_fill(const LpmConfig *config, const LpmDefinition *definition,
                        const char *folder, GError **error)
{
    json_t *manifest = json_array();
    g_autofree char *path = folder ? definition_of(folder) : NULL;
    gboolean ok = TRUE;

    if (strlen(definition->xml) > LPM_BUNDLE_XML_MAX)
        ok = lpm_fail(error, LPM_E_DEFINITION_FILES, "the definition of '%s' is too large",
                      definition->name);
    if (ok && folder)
        ok = make_folder(folder, error) &&
             write_whole(path, definition->xml, strlen(definition->xml), error);
    ok = ok && take_all(config, definition, manifest, folder, error) &&
         (!folder || lpm_bundle_sync_folder(folder, error));
    if (!ok)
        g_clear_pointer(&manifest, json_decref);
    return manifest;
}

/* ---- the target ---- */

static gboolean check_entry(const LpmConfig *config, const LpmDefinition *definition,
                            const json_t *entry, GError **error)
{
    const char *digest = lpm_bundle_text(entry, "sha256");
    gint64 size = lpm_bundle_size(entry);

    if (size < 0 || (guint64)size > LPM_BUNDLE_FILE_MAX || strlen(digest) != SHA256_LENGTH ||
        strspn(digest, "0123456789abcdef") != SHA256_LENGTH ||
        strlen(lpm_bundle_text(entry, "owner")) > NAME_MAX_USER ||
        strlen(lpm_bundle_text(entry, "group")) > NAME_MAX_USER)
        return lpm_fail(error, LPM_E_BAD_REQUEST,
                        "a file of the partition is not described as lpmd does");
    g_autofree char *path = lpm_bundle_path(config, definition, entry, error);
    return path != NULL;
}

gboolean lpm_bundle_begin(const LpmConfig *config, const LpmDefinition *definition,
                          const json_t *manifest, const char *folder, GError **error)
{
    g_autofree char *path = definition_of(folder);
    const json_t *entry;
    size_t i;

    if (json_array_size(manifest) > LPM_BUNDLE_FILES_MAX ||
        strlen(definition->xml) > LPM_BUNDLE_XML_MAX)
        return lpm_fail(error, LPM_E_BAD_REQUEST,
                        "the definition, or the list of files, is too "
                        "long");
    json_array_foreach (manifest, i, entry) {
        if (!check_entry(config, definition, entry, error))
            return FALSE;
    }
    return make_folder(folder, error) &&
           write_whole(path, definition->xml, strlen(definition->xml), error);
}

gboolean lpm_bundle_write(const char *folder, const json_t *manifest, guint number, guint64 offset,
                          const guint8 *data, gsize length, GError **error)
{
    const json_t *entry = json_array_get(manifest, number);
    g_autofree char *path = file_of(folder, number);

    if (!entry || offset > (guint64)lpm_bundle_size(entry) ||
        length > (guint64)lpm_bundle_size(entry) - offset)
        return lpm_fail(error, LPM_E_BAD_REQUEST, "bytes beyond what was announced of file %u",
                        number);
    lpm_autofd fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || lseek(fd, (off_t)offset, SEEK_SET) < 0 || !lpm_write_all(fd, data, length, NULL))
        return fail_errno(error, "cannot be written", path);
    return TRUE;
}

static gboolean check_file(const char *folder, const json_t *entry, guint number, GError **error)
{
    g_autofree char *path = file_of(folder, number);
    struct stat stat;
    lpm_autofd fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600); /* empty ones */

    if (fd < 0 || fsync(fd) < 0)
        return fail_errno(error, "cannot be written to disk", path);
    g_autoptr(GBytes) content = read_whole(path, LPM_BUNDLE_FILE_MAX, &stat, error);
    if (!content)
        return FALSE;
    g_autofree char *digest = digest_of(content);
    if ((gint64)g_bytes_get_size(content) != lpm_bundle_size(entry) ||
        strcmp(digest, lpm_bundle_text(entry, "sha256")) != 0)
        return lpm_fail(error, LPM_E_DATA_DAMAGED, "%s %s arrived with another content",
                        lpm_bundle_text(entry, "role"), lpm_bundle_text(entry, "name"));
    return TRUE;
}

gboolean lpm_bundle_check(const char *folder, const json_t *manifest, GError **error)
{
    const json_t *entry;
    size_t i;

    json_array_foreach (manifest, i, entry) {
        if (!check_file(folder, entry, (guint)i, error))
            return FALSE;
    }
    return lpm_bundle_sync_folder(folder, error);
}

/* ---- both ---- */

GBytes *lpm_bundle_read(const char *folder, guint number, guint64 offset, GError **error)
{
    g_autofree char *path = file_of(folder, number);
    struct stat stat;
    g_autoptr(GBytes) content = read_whole(path, LPM_BUNDLE_FILE_MAX, &stat, error);

    if (!content)
        return NULL;
    gsize size = g_bytes_get_size(content), from = (gsize)MIN(offset, size);
    return g_bytes_new_from_bytes(content, from, MIN(size - from, LPM_BUNDLE_CHUNK));
}

GBytes *lpm_bundle_content(const char *folder, guint number, GError **error)
{
    g_autofree char *path = file_of(folder, number);
    struct stat stat;

    return read_whole(path, LPM_BUNDLE_FILE_MAX, &stat, error);
}

LpmDefinition *lpm_bundle_definition(const char *folder, GError **error)
{
    g_autofree char *path = definition_of(folder);
    struct stat stat;
    g_autoptr(GBytes) content = read_whole(path, LPM_BUNDLE_XML_MAX, &stat, error);

    if (!content)
        return NULL;
    g_autofree char *xml = g_strndup(g_bytes_get_data(content, NULL), g_bytes_get_size(content));
    return lpm_definition_parse(xml, error);
}

guint64 lpm_bundle_bytes(const json_t *manifest)
{
    const json_t *entry;
    guint64 sum = 0;
    size_t i;

    json_array_foreach (manifest, i, entry)
        sum += (guint64)lpm_bundle_size(entry);
    return sum;
}

void lpm_bundle_remove(const char *folder)
{
    g_autofree char *definition = definition_of(folder);

    for (guint i = 0; i < LPM_BUNDLE_FILES_MAX; i++) {
        g_autofree char *path = file_of(folder, i);
        unlink(path);
    }
    unlink(definition);
    rmdir(folder);
}
