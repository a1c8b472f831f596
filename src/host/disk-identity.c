/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/disk-identity.h"

#include "base/fdio.h"
#include "host/inspect.h"
#include "host/multipath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DIGEST_MAX (64 << 20) /* of a larger file only its two ends are hashed, each that half */
#define CHUNK (256 << 10)
#define SYSFS_MAX 4096
#define MARK_PAUSE_US 20000
#define TYPE_T10 1 /* of designators */
#define TYPE_NAA 3
#define T10_VENDOR_BYTES 8

static const char *member(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static void set_text(json_t *facts, const char *name, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    json_object_set_new(facts, name, json_string(valid));
}

/* ---- VPD pages ---- */

static gint compare_text(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names of NAA that servers make of a LUN's number: those that administrators assign (3), and those
 * of a maker (5 and 6) whose number is zero. */
static gboolean is_made_up(const guint8 *naa, guint length)
{
    guint kind = naa[0] >> 4;

    return kind == 3 || ((kind == 5 || kind == 6) && length >= 4 && (naa[0] & 15) == 0 &&
                         naa[1] == 0 && naa[2] == 0 && naa[3] >> 4 == 0);
}

/* The same as the kernel writes them. */
static gboolean is_made_up_word(const char *text)
{
    static const char *const beginnings[] = {"naa.3",    "naa.5000000",    "naa.6000000",
                                             "mpath-33", "mpath-35000000", "mpath-36000000"};

    for (gsize i = 0; i < G_N_ELEMENTS(beginnings); i++) {
        if (g_str_has_prefix(text, beginnings[i]))
            return TRUE;
    }
    return FALSE;
}

/* A name that another disk may have, too: made up, blank, or the vendor without anything after. */
static gboolean names_nothing(const guint8 *d)
{
    guint type = d[1] & 15, from = type == TYPE_T10 ? T10_VENDOR_BYTES : 0;

    if (type == TYPE_NAA && d[3] && is_made_up(d + 4, d[3]))
        return TRUE;
    for (guint i = from; i < d[3]; i++) {
        if (d[4 + i] != 0 && d[4 + i] != ' ')
            return FALSE;
    }
    return TRUE;
}

/* One descriptor: code set, type and association, reserved, length, then that many bytes. Type 0 is
 * no name: what the vendor likes, of QEMU's disks the place on the bus. */
static char *designator(const guint8 *d)
{
    static const char *const types[16] = {[TYPE_T10] = "t10", [2] = "eui",  [TYPE_NAA] = "naa",
                                          [7] = "md5",        [8] = "name", [9] = "nvme"};
    const char *type = types[d[1] & 15];
    gboolean text = (d[0] & 15) >= 2;

    if ((d[1] & 0x30) != 0 || !type || names_nothing(d))
        return NULL; /* of the port or the target: another on each path */
    GString *out = g_string_new(type);
    g_string_append_c(out, ':');
    for (int i = 0; i < d[3]; i++) {
        if (text && d[4 + i] >= ' ' && d[4 + i] < 127)
            g_string_append_c(out, (char)d[4 + i]);
        else if (!text)
            g_string_append_printf(out, "%02x", d[4 + i]);
    }
    return g_strchomp(g_string_free(out, FALSE));
}

json_t *lpm_vpd_designators(const guint8 *page, gsize length)
{
    g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(g_free);
    json_t *list = json_array();
    gsize end = length >= 4 ? MIN(length, 4 + ((gsize)page[2] << 8 | page[3])) : 0;

    if (end && page[1] != 0x83)
        end = 0;
    for (gsize at = 4; at + 4 <= end && at + 4 + page[at + 3] <= end; at += 4u + page[at + 3]) {
        char *text = designator(page + at);
        if (text)
            g_ptr_array_add(found, text);
    }
    g_ptr_array_sort(found, compare_text);
    for (guint i = 0; i < found->len; i++)
        json_array_append_new(list, json_string(found->pdata[i]));
    return list;
}

char *lpm_vpd_serial(const guint8 *page, gsize length)
{
    if (length < 4 || page[1] != 0x80)
        return g_strdup("");
    gsize count = MIN(length - 4, page[3]);
    g_autofree char *raw = g_strndup((const char *)page + 4, count);
    g_autofree char *valid = g_utf8_make_valid(raw, -1);
    return g_strdup(g_strstrip(valid));
}

/* ---- block devices ---- */

/* A small file of sysfs; NULL if there is none. */
static char *sysfs(const char *folder, const char *name, gsize *length)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    lpm_autofd fd = open(path, O_RDONLY | O_CLOEXEC);
    g_autofree char *data = g_malloc0(SYSFS_MAX + 1);
    ssize_t got = fd < 0 ? -1 : read(fd, data, SYSFS_MAX);

    if (got < 0)
        return NULL;
    if (length)
        *length = (gsize)got;
    return g_steal_pointer(&data);
}

static void add_sysfs_text(json_t *facts, const char *as, const char *folder, const char *name)
{
    g_autofree char *text = sysfs(folder, name, NULL);

    if (text && *g_strstrip(text) && !is_made_up_word(text) && !json_object_get(facts, as))
        set_text(facts, as, text);
}

static void add_sysfs_pages(json_t *facts, const char *folder)
{
    gsize length = 0;
    g_autofree char *names = sysfs(folder, "device/vpd_pg83", &length);

    if (names)
        json_object_set_new(facts, "designators",
                            lpm_vpd_designators((const guint8 *)names, length));
    g_autofree char *serial = sysfs(folder, "device/vpd_pg80", &length);
    if (serial) {
        g_autofree char *text = lpm_vpd_serial((const guint8 *)serial, length);
        if (*text)
            set_text(facts, "serial", text);
    }
}

/* A partition of a disk is that disk's, with its number; a device of the mapper has a UUID that
 * names what it is made of, the same on every host that sees the same volume group or LUN. */
static void add_block(json_t *facts, dev_t device)
{
    g_autofree char *link = g_strdup_printf("/sys/dev/block/%u:%u", major(device), minor(device));
    g_autofree char *number = sysfs(link, "partition", NULL);
    g_autofree char *folder = number ? g_strconcat(link, "/..", NULL) : g_strdup(link);
    g_autofree char *sectors = sysfs(link, "size", NULL);
    g_autofree char *loop = sysfs(folder, "loop/backing_file", NULL);

    json_object_set_new(facts, "kind", json_string("block"));
    if (sectors)
        json_object_set_new(facts, "size_bytes",
                            json_integer(g_ascii_strtoll(sectors, NULL, 10) * 512));
    if (number)
        json_object_set_new(facts, "partition", json_integer(g_ascii_strtoll(number, NULL, 10)));
    if (loop)
        json_object_set_new(facts, "local", json_string("a loop device is a file of one host"));
    json_t *paths = lpm_multipath_paths(folder);
    if (paths)
        json_object_set_new(facts, "paths", paths);
    add_sysfs_pages(facts, folder);
    add_sysfs_text(facts, "identity", folder, "dm/uuid");
    add_sysfs_text(facts, "identity", folder, "wwid");
    add_sysfs_text(facts, "identity", folder, "device/wwid");
    add_sysfs_text(facts, "serial", folder, "serial");
    add_sysfs_text(facts, "serial", folder, "device/serial");
}

/* ---- files ---- */

/* FUSE holds both kinds; the mount table tells which. */
static gboolean fuse_is_shared(const char *path)
{
    FILE *table = setmntent("/proc/self/mounts", "r");
    struct mntent *entry;
    gsize best = 0;
    gboolean shared = FALSE;

    while (table && (entry = getmntent(table))) {
        gsize length = strlen(entry->mnt_dir);

        if (length < best || strncmp(path, entry->mnt_dir, length) != 0)
            continue;
        best = length;
        shared = strcmp(entry->mnt_type, "fuse.glusterfs") == 0 ||
                 strcmp(entry->mnt_type, "fuse.quobyte") == 0;
    }
    if (table)
        endmntent(table);
    return shared;
}

/* What libvirt, too, takes for shared: its migration refuses the others. */
static gboolean is_shared(const char *path, guint64 type)
{
    static const guint64 types[] = {
        NFS_SUPER_MAGIC,       0x01161970 /* gfs2 */,
        OCFS2_SUPER_MAGIC,     AFS_FS_MAGIC,
        SMB_SUPER_MAGIC,       CIFS_SUPER_MAGIC,
        SMB2_SUPER_MAGIC,      0x00c36400 /* ceph */,
        0x47504653 /* gpfs */, 0x19830326 /* fhgfs, beegfs */,
    };

    for (gsize i = 0; i < G_N_ELEMENTS(types); i++) {
        if (types[i] == type)
            return TRUE;
    }
    return type == 0x65735546 && fuse_is_shared(path);
}

static gboolean hash_range(int fd, GChecksum *checksum, off_t from, off_t to)
{
    g_autofree guint8 *chunk = g_malloc(CHUNK);

    while (from < to) {
        ssize_t got = pread(fd, chunk, (size_t)MIN((off_t)CHUNK, to - from), from);

        if (got <= 0)
            return FALSE;
        g_checksum_update(checksum, chunk, got);
        from += got;
    }
    return TRUE;
}

/* Does this kernel make the times of its files? */
static gboolean is_own(guint64 type)
{
    static const guint64 types[] = {EXT4_SUPER_MAGIC,  XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
                                    F2FS_SUPER_MAGIC,  TMPFS_MAGIC,     RAMFS_MAGIC,
                                    ISOFS_SUPER_MAGIC, SQUASHFS_MAGIC};

    for (gsize i = 0; i < G_N_ELEMENTS(types); i++) {
        if (types[i] == type)
            return TRUE;
    }
    return FALSE;
}

/* A new string; NULL if it cannot be read. */
static char *hash_file(int fd, off_t size)
{
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
    off_t half = DIGEST_MAX / 2;
    gboolean ok = size <= DIGEST_MAX ? hash_range(fd, checksum, 0, size)
                                     : hash_range(fd, checksum, 0, half) &&
                                           hash_range(fd, checksum, size - half, size);

    return ok ? g_strdup(g_checksum_get_string(checksum)) : NULL;
}

/* What changes while it is read has a digest that is of no state of it, and is not remembered. */
static void add_digest(json_t *facts, int fd, const struct stat *st, struct lpm_digests *digests)
{
    const struct lpm_digests_time begun = {g_get_real_time(), g_get_monotonic_time()};
    g_autofree char *known = digests ? lpm_digests_get(digests, st) : NULL;
    g_autofree char *digest = known ? g_strdup(known) : hash_file(fd, st->st_size);
    struct statfs fs;
    struct stat after;

    if (digest)
        json_object_set_new(facts, "digest", json_string(digest));
    if (known)
        json_object_set_new(facts, "remembered", json_true());
    else if (digest && digests && fstat(fd, &after) == 0 && lpm_digests_same(st, &after) &&
             fstatfs(fd, &fs) == 0)
        lpm_digests_put(digests, st, is_own((guint64)fs.f_type & 0xffffffff), begun, digest);
}

static void add_file(json_t *facts, int fd, const struct stat *st, const char *path)
{
    struct statfs fs;
    g_autofree char *device = g_strdup_printf("%u:%u", major(st->st_dev), minor(st->st_dev));

    json_object_set_new(facts, "kind", json_string("file"));
    json_object_set_new(facts, "size_bytes", json_integer(st->st_size));
    json_object_set_new(facts, "inode", json_integer((json_int_t)st->st_ino));
    json_object_set_new(facts, "device", json_string(device));
    if (fstatfs(fd, &fs) == 0) {
        g_autofree char *type = g_strdup_printf("0x%lx", (unsigned long)fs.f_type);

        json_object_set_new(facts, "file_system", json_string(type));
        json_object_set_new(facts, "shared",
                            json_boolean(is_shared(path, (guint64)fs.f_type & 0xffffffff)));
    }
}

/* Whatever lies at `path`, with a digest of a file if `digest`. Only files and block devices are
 * opened: opening a character device can do something (a watchdog's, a tape's), and the path may be
 * a peer's. */
static void look_at(json_t *facts, const char *path, gboolean digest, struct lpm_digests *digests)
{
    struct stat st;
    lpm_autofd fd = -1;

    set_text(facts, "at", path);
    if (stat(path, &st) == 0) {
        if (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode)) {
            json_object_set_new(facts, "cause",
                                json_string("it is neither a file nor a block device"));
            return;
        }
        fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    }
    if (fd < 0 || fstat(fd, &st) < 0) {
        json_object_set_new(facts, "missing", json_boolean(errno == ENOENT || errno == ENOTDIR));
        set_text(facts, "cause", g_strerror(errno));
        return;
    }
    if (S_ISBLK(st.st_mode)) {
        add_block(facts, st.st_rdev);
        return;
    }
    add_file(facts, fd, &st, path);
    if (digest)
        add_digest(facts, fd, &st, digests);
}

json_t *lpm_file_identity(struct lpm_digests *digests, const char *path)
{
    json_t *facts = json_object();

    look_at(facts, path, TRUE, digests);
    return facts;
}

static void look_at_volume(struct lpm_host *host, const json_t *disk, json_t *facts)
{
    const char *pool = member(disk, "pool"), *volume = member(disk, "volume");
    g_autofree char *path = pool && volume ? lpm_host_volume_path(host, pool, volume) : NULL;

    if (path) {
        look_at(facts, path, FALSE, NULL);
        return;
    }
    json_object_set_new(facts, "missing", json_true());
    g_autofree char *cause = g_strdup_printf("no volume '%s' in a storage pool '%s'",
                                             volume ? volume : "", pool ? pool : "");
    set_text(facts, "cause", cause);
}

gboolean lpm_disk_says_who_it_is(const json_t *facts)
{
    return json_array_size(json_object_get(facts, "designators")) > 0 ||
           json_object_get(facts, "identity") || json_object_get(facts, "serial");
}

static gboolean read_device(void *user, guint64 offset, void *data, gsize length)
{
    return pread(*(const int *)user, data, length, (off_t)offset) == (ssize_t)length;
}

/* Past the page cache, which may hold what another host has changed since. */
static void add_samples(json_t *facts, const struct lpm_challenge *challenge)
{
    lpm_autofd fd = open(member(facts, "at"), O_RDONLY | O_NONBLOCK | O_DIRECT | O_CLOEXEC);
    json_int_t size = json_integer_value(json_object_get(facts, "size_bytes"));

    if (fd >= 0 && size > 0)
        json_object_set_new(facts, "samples",
                            lpm_challenge_answer(challenge, (guint64)size, read_device, &fd));
}

json_t *lpm_disk_identity(struct lpm_host *host, const json_t *disk,
                          const struct lpm_challenge *challenge)
{
    const char *type = member(disk, "type"), *path = member(disk, "path");
    const char *protocol = member(disk, "protocol");
    json_t *facts = json_pack("{s:s}", "kind", "other");

    if (g_strcmp0(type, "network") == 0 && g_strcmp0(protocol, "iscsi") == 0) {
        json_object_set_new(facts, "kind", json_string("iscsi"));
        lpm_iscsi_identity(host, disk, challenge, facts);
    } else if (g_strcmp0(type, "network") == 0 && g_strcmp0(protocol, "nbd") == 0) {
        json_object_set_new(facts, "kind", json_string("nbd"));
        lpm_nbd_look(disk, challenge, facts);
    } else if (g_strcmp0(type, "network") == 0) {
        json_object_set_new(facts, "kind", json_string("network"));
        lpm_qemu_look(host, disk, challenge, facts);
    } else if (g_strcmp0(type, "volume") == 0) {
        look_at_volume(host, disk, facts);
    } else if (path) {
        look_at(facts, path, FALSE, NULL);
    } else if (g_strcmp0(type, "file") == 0 || g_strcmp0(type, "block") == 0) {
        json_object_set_new(facts, "kind", json_string("empty"));
    } else {
        g_autofree char *cause =
            g_strdup_printf("a disk of type %s%s%s is not looked at", type ? type : "none",
                            protocol ? " " : "", protocol ? protocol : "");
        set_text(facts, "cause", cause);
    }
    if (strcmp(member(facts, "kind"), "block") == 0 && !lpm_disk_says_who_it_is(facts))
        add_samples(facts, challenge);
    return facts;
}

/* ---- marks ---- */

static char *mark_path(const char *path, const char *nonce)
{
    g_autofree char *folder = g_path_get_dirname(path);

    return g_strdup_printf("%s/.lpm-%s", folder, nonce);
}

char *lpm_disk_mark(const char *path, const char *nonce)
{
    g_autofree char *mark = mark_path(path, nonce);
    lpm_autofd fd = open(mark, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return errno == EEXIST ? g_steal_pointer(&mark) : NULL;
    if (!lpm_write_all(fd, nonce, strlen(nonce), NULL)) {
        unlink(mark);
        return NULL;
    }
    return g_steal_pointer(&mark);
}

gboolean lpm_disk_mark_seen(const char *path, const char *nonce, guint limit_ms)
{
    g_autofree char *mark = mark_path(path, nonce);
    gint64 end = g_get_monotonic_time() + (gint64)limit_ms * 1000;

    for (;;) {
        g_autofree char *text = NULL;
        struct stat st;

        if (lstat(mark, &st) == 0 && S_ISREG(st.st_mode) && st.st_size < SYSFS_MAX &&
            g_file_get_contents(mark, &text, NULL, NULL) && strcmp(text, nonce) == 0)
            return TRUE;
        if (g_get_monotonic_time() >= end)
            return FALSE;
        g_usleep(MARK_PAUSE_US);
    }
}
