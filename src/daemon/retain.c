/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/retain.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define HOUR_US (3600 * (gint64)G_USEC_PER_SEC)
/* Of the disk this much stays free: one in so many parts. The journal is on it. */
#define FREE_PARTS 20

/* One file. */
struct image {
    char *path, *uuid, *migration;
    gboolean part;
    gint64 bytes; /* on the disk */
    gint64 kept_us;
};

static void free_image(gpointer opaque)
{
    struct image *image = opaque;

    g_free(image->path);
    g_free(image->uuid);
    g_free(image->migration);
    g_free(image);
}

static char *folder_of(const struct lpm_daemon *daemon)
{
    return g_build_filename(daemon->config->state_dir, "retain", NULL);
}

static gboolean enabled(const struct lpm_daemon *daemon)
{
    return !strcmp(daemon->config->retain, "on");
}

/* NULL: not a file of ours. */
static struct image *look_at(const char *folder, const char *name)
{
    g_auto(GStrv) words = g_strsplit(name, ".", 4);
    g_autofree char *path = g_build_filename(folder, name, NULL);
    struct stat status;

    if (g_strv_length(words) != 3 || (strcmp(words[2], "image") && strcmp(words[2], "part")) ||
        lstat(path, &status) < 0 || !S_ISREG(status.st_mode))
        return NULL;
    struct image *image = g_new0(struct image, 1);

    image->path = g_steal_pointer(&path);
    image->uuid = g_strdup(words[0]);
    image->migration = g_strdup(words[1]);
    image->part = !strcmp(words[2], "part");
    image->bytes = (gint64)status.st_blocks * 512;
    image->kept_us = (gint64)status.st_mtim.tv_sec * G_USEC_PER_SEC + status.st_mtim.tv_nsec / 1000;
    return image;
}

static gint older(gconstpointer one, gconstpointer other)
{
    const struct image *a = *(const struct image *const *)one;
    const struct image *b = *(const struct image *const *)other;

    return a->kept_us < b->kept_us ? -1 : a->kept_us > b->kept_us;
}

/* All files, oldest first. */
static GPtrArray *look_around(const struct lpm_daemon *daemon)
{
    GPtrArray *images = g_ptr_array_new_with_free_func(free_image);
    g_autofree char *folder = folder_of(daemon);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        struct image *image = look_at(folder, name);

        if (image)
            g_ptr_array_add(images, image);
    }
    g_ptr_array_sort(images, older);
    return images;
}

static void drop(struct lpm_daemon *daemon, const struct image *image, const char *why)
{
    if (unlink(image->path) < 0 && errno != ENOENT)
        lpm_event_log(daemon, LPM_LOG_WARNING, image->migration, NULL, "retain", "%s: %s",
                      image->path, g_strerror(errno));
    else if (!image->part)
        lpm_event_log(daemon, LPM_LOG_INFO, image->migration, NULL, "retain",
                      "the retained image of %s is dropped: %s", image->uuid, why);
}

/* ---- the key ---- */

static gboolean make_key(const char *path, guint8 *key, GError **error)
{
    lpm_autofd fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (gnutls_rnd(GNUTLS_RND_KEY, key, LPM_IMAGE_KEY_BYTES) < 0)
        return lpm_fail(error, LPM_E_RETAINED, "there are no random numbers");
    if (fd < 0 || write(fd, key, LPM_IMAGE_KEY_BYTES) != LPM_IMAGE_KEY_BYTES || fsync(fd) < 0)
        return lpm_fail(error, LPM_E_RETAINED, "%s: %s", path, g_strerror(errno));
    return TRUE;
}

/* The host's; one that is not whole is replaced, and its images with it are worth nothing. */
static gboolean get_host_key(const char *folder, guint8 *key, GError **error)
{
    g_autofree char *path = g_build_filename(folder, "retain.key", NULL);
    lpm_autofd fd = -1;

    if (g_mkdir_with_parents(folder, 0700) < 0)
        return lpm_fail(error, LPM_E_RETAINED, "%s: %s", folder, g_strerror(errno));
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && read(fd, key, LPM_IMAGE_KEY_BYTES) == LPM_IMAGE_KEY_BYTES)
        return TRUE;
    unlink(path);
    return make_key(path, key, error);
}

/* The partition's: an image of another one cannot be opened with it. */
static gboolean get_key(const char *folder, const char *uuid, guint8 *key, GError **error)
{
    static GMutex lock; /* the key is made once */
    g_autofree char *label = g_strdup_printf("lpm retained image of %s", uuid);
    guint8 host_key[LPM_IMAGE_KEY_BYTES];

    g_mutex_lock(&lock);
    gboolean ok = get_host_key(folder, host_key, error);

    g_mutex_unlock(&lock);
    if (ok && gnutls_hmac_fast(GNUTLS_MAC_SHA256, host_key, sizeof(host_key), label, strlen(label),
                               key) < 0)
        ok = lpm_fail(error, LPM_E_RETAINED, "there is no HMAC-SHA256");
    explicit_bzero(host_key, sizeof(host_key));
    return ok;
}

/* ---- room ---- */

/* What the partition may need: all of its memory, and 24 bytes for each page. */
static gint64 need_of(const LpmMigration *migration)
{
    return (gint64)(migration->memory_bytes + migration->memory_bytes / 128 + (4u << 20));
}

static gboolean disk_has(const char *folder, gint64 need)
{
    struct statvfs disk;

    if (statvfs(folder, &disk) < 0)
        return FALSE;
    gint64 room = (gint64)(disk.f_bavail * disk.f_frsize);

    return room - need >= (gint64)(disk.f_blocks / FREE_PARTS * disk.f_frsize);
}

/* Makes room by dropping the oldest. FALSE: not even without all others. */
static gboolean make_room(LpmMigration *migration, const char *folder, GError **error)
{
    struct lpm_daemon *daemon = migration->daemon;
    g_autoptr(GPtrArray) images = look_around(daemon);
    gint64 need = need_of(migration), used = 0, size = (gint64)daemon->config->retain_size;

    for (guint i = 0; i < images->len; i++)
        used += ((const struct image *)images->pdata[i])->bytes;
    for (guint i = 0; i < images->len && (used + need > size || !disk_has(folder, need)); i++) {
        const struct image *image = images->pdata[i];

        if (image->part || need > size)
            continue;
        drop(daemon, image, "the room is needed");
        used -= image->bytes;
    }
    if (used + need > size)
        return lpm_fail(error, LPM_E_RETAINED,
                        "%" G_GINT64_FORMAT
                        " bytes do not fit into [retain] size = %" G_GINT64_FORMAT,
                        need, size);
    if (!disk_has(folder, need))
        return lpm_fail(error, LPM_E_RETAINED, "%s has no room for %" G_GINT64_FORMAT " bytes",
                        folder, need);
    return TRUE;
}

/* ---- a migration ---- */

static char *path_of(const LpmMigration *migration, const char *folder, const char *suffix)
{
    return g_strdup_printf("%s/%s.%s.%s", folder, migration->uuid, migration->id, suffix);
}

static int open_part(LpmMigration *migration, const char *folder, GError **error)
{
    g_autofree char *path = path_of(migration, folder, "part");

    if (!make_room(migration, folder, error))
        return -1;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        lpm_fail(error, LPM_E_RETAINED, "%s: %s", path, g_strerror(errno));
    return fd;
}

/* The image of the partition, -1 without an error if there is none. */
static int open_image(LpmMigration *migration, GError **error)
{
    g_autoptr(GPtrArray) images = look_around(migration->daemon);

    for (guint i = images->len; i-- > 0;) {
        const struct image *image = images->pdata[i];

        if (image->part || strcmp(image->uuid, migration->uuid) != 0)
            continue;
        int fd = open(image->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

        if (fd < 0)
            lpm_fail(error, LPM_E_RETAINED, "%s: %s", image->path, g_strerror(errno));
        return fd;
    }
    return -1;
}

guint64 lpm_retain_kept(struct lpm_daemon *daemon, const char *uuid)
{
    g_autoptr(GPtrArray) images = look_around(daemon);

    for (guint i = images->len; i-- > 0;) {
        const struct image *image = images->pdata[i];

        if (!image->part && strcmp(image->uuid, uuid) == 0)
            return (guint64)MAX(image->bytes, 0);
    }
    return 0;
}

static gboolean give(LpmMigration *migration, GError **error)
{
    g_autofree char *folder = folder_of(migration->daemon);
    gboolean source = migration->side == LPM_SIDE_SOURCE;
    guint8 key[LPM_IMAGE_KEY_BYTES];

    if (source ? !enabled(migration->daemon) : !g_file_test(folder, G_FILE_TEST_IS_DIR))
        return TRUE;
    if (!get_key(folder, migration->uuid, key, error))
        return FALSE;
    lpm_autofd fd = source ? open_part(migration, folder, error) : open_image(migration, error);
    gboolean ok = TRUE;

    if (fd >= 0) {
        ok = lpm_mover_send_retain(lpm_mover_lock(migration->mover), fd, key, error);
        lpm_mover_unlock(migration->mover);
    }
    explicit_bzero(key, sizeof(key));
    return ok && !(error && *error);
}

void lpm_retain_begin(LpmMigration *migration)
{
    g_autoptr(GError) error = NULL;

    lpm_retain_expire(migration->daemon);
    if (!give(migration, &error) && error)
        lpm_migration_log(migration, LPM_LOG_WARNING, "retain",
                          migration->side == LPM_SIDE_SOURCE ? "no image is retained: %s"
                                                             : "the retained image is not used: %s",
                          error->message);
}

/* All of the partition but the one of `but`. */
static void drop_of(LpmMigration *migration, const char *but, const char *why)
{
    g_autoptr(GPtrArray) images = look_around(migration->daemon);

    for (guint i = 0; i < images->len; i++) {
        const struct image *image = images->pdata[i];

        if (!strcmp(image->uuid, migration->uuid) && g_strcmp0(image->migration, but) != 0)
            drop(migration->daemon, image, why);
    }
}

/* The file of a migration that ended well becomes the partition's image. It is not waited for to be
 * on the disk: what a crash takes of it is found out page by page. */
static void keep(LpmMigration *migration)
{
    g_autofree char *folder = folder_of(migration->daemon);
    g_autofree char *part = path_of(migration, folder, "part");
    g_autofree char *image = path_of(migration, folder, "image");
    const json_t *facts = json_object_get(migration->source_stats, "retain");

    if (json_is_true(json_object_get(facts, "failed"))) {
        unlink(part);
        lpm_migration_log(migration, LPM_LOG_WARNING, "retain",
                          "no image is retained: the disk took no more");
    } else if (rename(part, image) == 0) {
        drop_of(migration, migration->id, "there is a newer one");
    }
}

static gboolean is_damage(LpmMigration *migration, const GError *failure)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->lock);

    return g_error_matches(failure, LPM_ERROR, LPM_E_RETAINED) ||
           g_error_matches(migration->mover_error, LPM_ERROR, LPM_E_RETAINED);
}

void lpm_retain_end(LpmMigration *migration, enum lpm_state state, const GError *failure)
{
    gboolean done = state == LPM_STATE_DONE;

    if (migration->side == LPM_SIDE_SOURCE && done) {
        keep(migration);
    } else if (migration->side == LPM_SIDE_SOURCE) {
        g_autofree char *folder = folder_of(migration->daemon);
        g_autofree char *part = path_of(migration, folder, "part");

        unlink(part);
    } else if (done) {
        drop_of(migration, NULL, "the partition is here again");
    } else if (is_damage(migration, failure)) {
        drop_of(migration, NULL, "it is damaged");
    }
}

/* ---- what the operator sees ---- */

static gboolean is_over(struct lpm_daemon *daemon, const char *id)
{
    LpmMigration *migration = lpm_migrations_get(daemon->migrations, id);

    if (migration)
        lpm_migration_unref(migration);
    return !migration;
}

void lpm_retain_expire(struct lpm_daemon *daemon)
{
    g_autoptr(GPtrArray) images = look_around(daemon);
    gint64 limit = daemon->config->retain_hours * HOUR_US, now = lpm_wall_us();

    for (guint i = 0; i < images->len; i++) {
        const struct image *image = images->pdata[i];

        if (image->part ? is_over(daemon, image->migration) : now - image->kept_us > limit)
            drop(daemon, image, "it is too old");
    }
}

void lpm_retain_drop_destroyed(struct lpm_daemon *daemon, const char *uuid, const char *migration)
{
    g_autoptr(GPtrArray) images = look_around(daemon);

    for (guint i = 0; i < images->len; i++) {
        const struct image *image = images->pdata[i];

        if (!image->part && !strcmp(image->uuid, uuid) && !strcmp(image->migration, migration))
            drop(daemon, image, "the partition was destroyed");
    }
}

/* The name that the partition had when it left, NULL if the journal does not know it any more. */
static char *name_of(struct lpm_daemon *daemon, const struct image *image)
{
    LpmMigrationRow *row = lpm_journal_migration_get(daemon->journal, image->migration, NULL);
    char *name = row ? g_strdup(row->partition) : NULL;

    if (row)
        lpm_migration_row_free(row);
    return name;
}

json_t *lpm_retain_list(struct lpm_daemon *daemon)
{
    json_t *list = json_array();
    gint64 used = 0;

    lpm_retain_expire(daemon);
    g_autoptr(GPtrArray) images = look_around(daemon);

    for (guint i = 0; i < images->len; i++) {
        const struct image *image = images->pdata[i];
        g_autofree char *name = name_of(daemon, image);

        used += image->bytes;
        if (!image->part)
            json_array_append_new(list,
                                  json_pack("{s:s?, s:s, s:s, s:I, s:I}", "partition", name, "uuid",
                                            image->uuid, "migration", image->migration, "bytes",
                                            (json_int_t)image->bytes, "kept_ms",
                                            (json_int_t)(image->kept_us / 1000)));
    }
    return json_pack("{s:b, s:I, s:i, s:I, s:o}", "enabled", enabled(daemon), "size_bytes",
                     (json_int_t)daemon->config->retain_size, "hours",
                     (int)daemon->config->retain_hours, "used_bytes", (json_int_t)used, "images",
                     list);
}

int lpm_retain_drop(struct lpm_daemon *daemon, const char *partition, GError **error)
{
    g_autoptr(GPtrArray) images = look_around(daemon);
    int dropped = 0;

    for (guint i = 0; i < images->len; i++) {
        const struct image *image = images->pdata[i];
        g_autofree char *name = name_of(daemon, image);

        if (image->part ||
            (partition && strcmp(partition, image->uuid) != 0 && g_strcmp0(partition, name) != 0))
            continue;
        drop(daemon, image, "an operator said so");
        dropped++;
    }
    if (partition && !dropped) {
        lpm_fail(error, LPM_E_NOT_RETAINED, "this host retains no image of partition '%s'",
                 partition);
        return -1;
    }
    return dropped;
}
