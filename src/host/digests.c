/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/digests.h"

struct entry {
    struct stat status;
    gint64 known_since; /* monotonic */
    guint64 used;       /* by the counter of uses */
    gboolean believed;
    char *digest;
};

struct lpm_digests {
    GMutex lock;
    GPtrArray *entries; /* under lock, of struct entry: few enough to be gone through */
    guint64 uses;       /* under lock */
};

static void free_entry(gpointer data)
{
    struct entry *entry = data;

    g_free(entry->digest);
    g_free(entry);
}

struct lpm_digests *lpm_digests_new(void)
{
    struct lpm_digests *digests = g_new0(struct lpm_digests, 1);

    g_mutex_init(&digests->lock);
    digests->entries = g_ptr_array_new_with_free_func(free_entry);
    return digests;
}

void lpm_digests_free(struct lpm_digests *digests)
{
    if (!digests)
        return;
    g_ptr_array_unref(digests->entries);
    g_mutex_clear(&digests->lock);
    g_free(digests);
}

static gboolean is_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static gboolean at_once(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

gboolean lpm_digests_same(const struct stat *a, const struct stat *b)
{
    return is_file(a, b) && a->st_size == b->st_size && at_once(a->st_mtim, b->st_mtim) &&
           at_once(a->st_ctim, b->st_ctim);
}

/* By device and inode. Called with the lock held. */
static struct entry *find(struct lpm_digests *digests, const struct stat *status)
{
    for (guint i = 0; i < digests->entries->len; i++) {
        struct entry *entry = digests->entries->pdata[i];

        if (is_file(&entry->status, status))
            return entry;
    }
    return NULL;
}

char *lpm_digests_get(struct lpm_digests *digests, const struct stat *status)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&digests->lock);
    struct entry *entry = find(digests, status);

    if (!entry || !entry->believed || !lpm_digests_same(&entry->status, status))
        return NULL;
    entry->used = ++digests->uses;
    return g_strdup(entry->digest);
}

static void forget_one(struct lpm_digests *digests)
{
    guint oldest = 0;

    for (guint i = 1; i < digests->entries->len; i++) {
        const struct entry *entry = digests->entries->pdata[i];
        const struct entry *least = digests->entries->pdata[oldest];

        if (entry->used < least->used)
            oldest = i;
    }
    g_ptr_array_remove_index_fast(digests->entries, oldest);
}

/* Had the ctime settled when the hashing began? */
static gboolean is_believed(const struct entry *entry, gboolean own, struct lpm_digests_time begun)
{
    const struct timespec *changed = &entry->status.st_ctim;
    gint64 changed_us = (gint64)changed->tv_sec * G_USEC_PER_SEC + changed->tv_nsec / 1000;
    gint64 age = own ? begun.real - changed_us : begun.monotonic - entry->known_since;

    return age >= LPM_DIGESTS_RACY_US;
}

void lpm_digests_put(struct lpm_digests *digests, const struct stat *status, gboolean own,
                     struct lpm_digests_time begun, const char *digest)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&digests->lock);
    struct entry *entry = find(digests, status);

    if (!entry) {
        if (digests->entries->len >= LPM_DIGESTS_MAX)
            forget_one(digests);
        entry = g_new0(struct entry, 1);
        g_ptr_array_add(digests->entries, entry);
    }
    if (!lpm_digests_same(&entry->status, status)) {
        entry->status = *status;
        entry->known_since = begun.monotonic;
    }
    entry->believed = is_believed(entry, own, begun);
    entry->used = ++digests->uses;
    g_free(entry->digest);
    entry->digest = g_strdup(digest);
}
