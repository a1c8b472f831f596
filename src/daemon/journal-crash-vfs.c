/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Each file is held whole in memory (`image`; a journal is a few MB) and one range of it, `dirty`,
 * goes to the real file when SQLite syncs. Only the database and its WAL are held so: the
 * wal-index is shared memory that SQLite rebuilds from the WAL after a crash.
 */
#include "daemon/journal-crash-vfs.h"

#include <glib.h>
#include <sqlite3.h>
#include <string.h>

#define PIECE_BYTES (64 * 1024)

struct crash_file {
    sqlite3_file base;
    GByteArray *image; /* NULL: not held, everything goes through */
    gint64 dirty_from, dirty_to;
    gboolean truncated; /* the real file is longer than the image */
    sqlite3_file *real; /* in the memory behind this struct */
};

static struct crash_file *of(sqlite3_file *file)
{
    return (struct crash_file *)file;
}

static int crash_close(sqlite3_file *file)
{
    struct crash_file *held = of(file);

    g_clear_pointer(&held->image, g_byte_array_unref);
    return held->real->pMethods->xClose(held->real);
}

static int crash_read(sqlite3_file *file, void *to, int count, sqlite3_int64 at)
{
    const GByteArray *image = of(file)->image;

    if (!image)
        return of(file)->real->pMethods->xRead(of(file)->real, to, count, at);
    gint64 left = CLAMP((gint64)image->len - at, 0, count);
    if (left)
        memcpy(to, image->data + at, (gsize)left);
    memset((char *)to + left, 0, (gsize)(count - left));
    return left == count ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int crash_write(sqlite3_file *file, const void *from, int count, sqlite3_int64 at)
{
    struct crash_file *held = of(file);

    if (!held->image)
        return held->real->pMethods->xWrite(held->real, from, count, at);
    if (at + count > G_MAXINT32)
        return SQLITE_FULL;
    if (at + count > held->image->len) {
        guint before = held->image->len;
        g_byte_array_set_size(held->image, (guint)(at + count));
        memset(held->image->data + before, 0, held->image->len - before);
    }
    memcpy(held->image->data + at, from, (gsize)count);
    if (held->dirty_from == held->dirty_to)
        held->dirty_from = at;
    held->dirty_from = MIN(held->dirty_from, at);
    held->dirty_to = MAX(held->dirty_to, at + count);
    return SQLITE_OK;
}

static int crash_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct crash_file *held = of(file);

    if (!held->image)
        return held->real->pMethods->xTruncate(held->real, size);
    if (size < held->image->len)
        g_byte_array_set_size(held->image, (guint)size);
    held->dirty_to = MIN(held->dirty_to, size);
    held->dirty_from = MIN(held->dirty_from, held->dirty_to);
    held->truncated = TRUE;
    return SQLITE_OK;
}

/* In pieces, since SQLite's own xWrite takes a larger write for one of its length modulo 128 KiB.
 */
static int write_dirty(struct crash_file *held)
{
    int rc = SQLITE_OK;

    for (gint64 at = held->dirty_from; rc == SQLITE_OK && at < held->dirty_to; at += PIECE_BYTES)
        rc = held->real->pMethods->xWrite(held->real, held->image->data + at,
                                          (int)MIN(PIECE_BYTES, held->dirty_to - at), at);
    return rc;
}

/* A full disk shows here, where a file system that delays its allocation shows it too. */
static int crash_sync(sqlite3_file *file, int flags)
{
    struct crash_file *held = of(file);
    const sqlite3_io_methods *real = held->real->pMethods;
    int rc = SQLITE_OK;

    if (held->image && held->truncated)
        rc = real->xTruncate(held->real, held->image->len);
    if (rc == SQLITE_OK)
        rc = write_dirty(held);
    if (rc == SQLITE_OK)
        rc = real->xSync(held->real, flags);
    if (rc == SQLITE_OK) {
        held->dirty_from = held->dirty_to = 0;
        held->truncated = FALSE;
    }
    return rc;
}

static int crash_size(sqlite3_file *file, sqlite3_int64 *size)
{
    struct crash_file *held = of(file);

    if (!held->image)
        return held->real->pMethods->xFileSize(held->real, size);
    *size = held->image->len;
    return SQLITE_OK;
}

static int crash_lock(sqlite3_file *file, int level)
{
    return of(file)->real->pMethods->xLock(of(file)->real, level);
}

static int crash_unlock(sqlite3_file *file, int level)
{
    return of(file)->real->pMethods->xUnlock(of(file)->real, level);
}

static int crash_check_lock(sqlite3_file *file, int *taken)
{
    return of(file)->real->pMethods->xCheckReservedLock(of(file)->real, taken);
}

static int crash_control(sqlite3_file *file, int what, void *arg)
{
    return of(file)->real->pMethods->xFileControl(of(file)->real, what, arg);
}

static int crash_sector(sqlite3_file *file)
{
    return of(file)->real->pMethods->xSectorSize(of(file)->real);
}

static int crash_traits(sqlite3_file *file)
{
    return of(file)->real->pMethods->xDeviceCharacteristics(of(file)->real);
}

static int crash_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **at)
{
    return of(file)->real->pMethods->xShmMap(of(file)->real, page, size, extend, at);
}

static int crash_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return of(file)->real->pMethods->xShmLock(of(file)->real, offset, n, flags);
}

static void crash_shm_barrier(sqlite3_file *file)
{
    of(file)->real->pMethods->xShmBarrier(of(file)->real);
}

static int crash_shm_unmap(sqlite3_file *file, int remove)
{
    return of(file)->real->pMethods->xShmUnmap(of(file)->real, remove);
}

static const sqlite3_io_methods crash_methods = {
    .iVersion = 2, /* no memory-mapped reads, which would pass the image by */
    .xClose = crash_close,
    .xRead = crash_read,
    .xWrite = crash_write,
    .xTruncate = crash_truncate,
    .xSync = crash_sync,
    .xFileSize = crash_size,
    .xLock = crash_lock,
    .xUnlock = crash_unlock,
    .xCheckReservedLock = crash_check_lock,
    .xFileControl = crash_control,
    .xSectorSize = crash_sector,
    .xDeviceCharacteristics = crash_traits,
    .xShmMap = crash_shm_map,
    .xShmLock = crash_shm_lock,
    .xShmBarrier = crash_shm_barrier,
    .xShmUnmap = crash_shm_unmap,
};

static int load_image(struct crash_file *held)
{
    sqlite3_int64 size = 0;
    int rc = held->real->pMethods->xFileSize(held->real, &size);

    if (rc != SQLITE_OK || size > G_MAXINT32)
        return rc != SQLITE_OK ? rc : SQLITE_FULL;
    held->image = g_byte_array_sized_new((guint)size);
    g_byte_array_set_size(held->image, (guint)size);
    return size ? held->real->pMethods->xRead(held->real, held->image->data, (int)size, 0)
                : SQLITE_OK;
}

static int crash_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    struct crash_file *held = of(file);
    sqlite3_vfs *real = vfs->pAppData;

    memset(held, 0, sizeof(*held));
    held->real = (sqlite3_file *)(held + 1);
    int rc = real->xOpen(real, name, held->real, flags, out);
    if (rc != SQLITE_OK)
        return rc;
    if (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL))
        rc = load_image(held);
    if (rc != SQLITE_OK) {
        crash_close(file);
        return rc;
    }
    held->base.pMethods = &crash_methods;
    return SQLITE_OK;
}

const char *lpm_crash_vfs(void)
{
    static sqlite3_vfs vfs;
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);

    if (vfs.zName)
        return vfs.zName;
    if (!real)
        return NULL;
    vfs = *real; /* names, times and randomness stay those of the default */
    vfs.pNext = NULL;
    vfs.zName = "lpm-crash";
    vfs.szOsFile = (int)sizeof(struct crash_file) + real->szOsFile;
    vfs.pAppData = real;
    vfs.xOpen = crash_open;
    return sqlite3_vfs_register(&vfs, 0) == SQLITE_OK ? vfs.zName : NULL;
}
