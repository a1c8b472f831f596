/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The source's side of feed.h: F4. */
#include "base/error.h"
#include "daemon/feed-internal.h"

static gboolean stands_still(LpmMigration *migration, GError **error)
{
    enum lpm_partition_state state;

    g_mutex_lock(&migration->lock);
    gboolean post_copy = migration->state == LPM_STATE_POST_COPY;
    g_mutex_unlock(&migration->lock);
    if (!post_copy || lpm_migration_fenced(migration))
        return lpm_fail(error, LPM_E_NOT_PREPARED, "partition '%s' is not in post-copy on %s",
                        migration->partition, migration->daemon->config->name);
    if (!lpm_host_state(migration->daemon->host, migration->uuid, &state, error))
        return FALSE;
    if (state == LPM_PARTITION_POST_COPY || state == LPM_PARTITION_POST_COPY_FAILED)
        return TRUE;
    return lpm_fail(error, LPM_E_NOT_PREPARED, "partition '%s' is %s on %s", migration->partition,
                    lpm_partition_state_name(state), migration->daemon->config->name);
}

/* An array of numbers, none negative, as a new array of guint64; NULL: it is something else. */
static GArray *numbers(const json_t *list, guint most, GError **error)
{
    g_autoptr(GArray) values = g_array_new(FALSE, FALSE, sizeof(guint64));

    for (gsize i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const guint64 value = (guint64)json_integer_value(item);

        if (!json_is_integer(item) || json_integer_value(item) < 0)
            break;
        g_array_append_val(values, value);
    }
    if (values->len == json_array_size(list) && values->len && values->len <= most)
        return g_steal_pointer(&values);
    lpm_fail(error, LPM_E_BAD_REQUEST, "lengths or pages are not of the form that lpmd sends");
    return NULL;
}

/* With `act` held. The areas of a QEMU that stands still are looked up once. */
static LpmGuestPages *open_pages(LpmMigration *migration, const json_t *body, GError **error)
{
    g_autoptr(GArray) lengths =
        numbers(json_object_get(body, "lengths"), LPM_FEED_BLOCKS_MAX, error);
    gboolean gone = FALSE;

    if (migration->guest_pages || !lengths)
        return lengths ? migration->guest_pages : NULL;
    g_autoptr(LpmQemuProcess) process =
        lpm_qemu_process_reopen(migration->qemu_pid, migration->qemu_start_time, &gone, error);
    if (gone)
        lpm_fail(error, LPM_E_PARTITION_ENDED, "the QEMU of partition '%s' ended on %s",
                 migration->partition, migration->daemon->config->name);
    if (process)
        migration->guest_pages =
            lpm_guest_pages_open(process, (const guint64 *)(void *)lengths->data, lengths->len,
                                 LPM_MEMORY_BLOCK_MIN, error);
    return migration->guest_pages;
}

json_t *lpm_feed_read(LpmMigration *migration, const json_t *body, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&migration->act);
    g_autoptr(GArray) places = numbers(json_object_get(body, "pages"), 2 * LPM_FEED_AT_ONCE, error);
    json_int_t size = json_integer_value(json_object_get(body, "size"));

    if (!places || !stands_still(migration, error))
        return NULL;
    if (places->len % 2 || size < 1 || size > LPM_FEED_PAGE_MAX) {
        lpm_fail(error, LPM_E_BAD_REQUEST, "pages or size are not of the form that lpmd sends");
        return NULL;
    }
    LpmGuestPages *pages = open_pages(migration, body, error);
    g_autofree guint8 *data = g_malloc((gsize)size);
    json_auto_t *list = json_array();

    for (guint i = 0; pages && i < places->len; i += 2) {
        if (!lpm_guest_pages_read(pages, g_array_index(places, guint64, i),
                                  g_array_index(places, guint64, i + 1), data, (gsize)size, error))
            return NULL;
        g_autofree char *text = g_base64_encode(data, (gsize)size);
        json_array_append_new(list, json_string(text));
    }
    return pages ? json_pack("{s:O}", "pages", list) : NULL;
}
