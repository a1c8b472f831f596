/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/reservations.h"

#include "base/error.h"
#include "daemon/node-demands.h"
#include "host/inspect.h"
#include "host/nodes.h"

#include <string.h>

/* Names in one sentence; the rest is counted. */
#define NAMED_MAX 8

static gint64 number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

gint64 lpm_reservations_need(gint64 memory_bytes, gboolean hugepages)
{
    return LPM_QEMU_OVERHEAD_BYTES + (hugepages ? 0 : memory_bytes);
}

static void add(json_t *room, const char *name, gint64 value)
{
    json_object_set_new(room, name, json_integer(number(room, name) + value));
}

/* What a QEMU that has been given `need` has not taken yet. */
static gint64 still_to_take(gint64 need, const json_t *running)
{
    return MAX(need - number(running, "resident_bytes"), 0);
}

static const json_t *find(const json_t *running, const char *uuid)
{
    const json_t *entry;
    size_t i;

    json_array_foreach (running, i, entry) {
        if (strcmp(json_string_value(json_object_get(entry, "uuid")), uuid) == 0)
            return entry;
    }
    return NULL;
}

/* A partition whose copy is arriving has a QEMU here already: it counts once, as promised. */
static void add_promised(json_t *room, const json_t *running, GPtrArray *active, const char *own)
{
    json_t *promised = json_object_get(room, "promised");

    for (guint i = 0; i < active->len; i++) {
        LpmMigration *migration = active->pdata[i];
        gint64 memory = (gint64)migration->memory_bytes;

        if (!g_atomic_int_get(&migration->reserved) || g_strcmp0(migration->uuid, own) == 0)
            continue;
        const json_t *arriving = find(running, migration->uuid);
        gint64 need = lpm_reservations_need(memory, migration->hugepages);
        add(room, "promised_bytes", still_to_take(need, arriving));
        add(room, "promised_huge_bytes", migration->hugepages ? memory : 0);
        add(room, "promised_vcpus", migration->vcpus);
        json_array_append_new(
            promised,
            json_pack("{s:s, s:s, s:I, s:i, s:o}", "partition", migration->partition, "migration",
                      migration->id, "memory_bytes", (json_int_t)memory, "vcpus",
                      (int)migration->vcpus, "memory_nodes",
                      lpm_node_demands_left(migration->node_demands, need,
                                            number(arriving, "resident_bytes"), arriving != NULL)));
    }
}

static gboolean is_promised(GPtrArray *active, const char *uuid)
{
    for (guint i = 0; i < active->len; i++) {
        LpmMigration *migration = active->pdata[i];

        if (g_atomic_int_get(&migration->reserved) && strcmp(migration->uuid, uuid) == 0)
            return TRUE;
    }
    return FALSE;
}

static void add_running(json_t *room, const json_t *running, GPtrArray *active, const char *own)
{
    const json_t *entry;
    size_t i;

    json_array_foreach (running, i, entry) {
        const char *uuid = json_string_value(json_object_get(entry, "uuid"));
        gboolean huge = json_is_true(json_object_get(entry, "hugepages"));

        if (g_strcmp0(uuid, own) == 0 || is_promised(active, uuid))
            continue;
        add(room, "untouched_bytes",
            still_to_take(huge ? 0 : number(entry, "memory_bytes"), entry));
        add(room, "running_vcpus", number(entry, "vcpus"));
    }
}

json_t *lpm_reservations_room(struct lpm_daemon *daemon, const char *own, GError **error)
{
    g_autoptr(GPtrArray) active = lpm_migrations_active(daemon->migrations);
    json_t *room = lpm_host_room(daemon->host, error);
    json_t *running = room ? lpm_host_running(daemon->host, error) : NULL;

    if (!running) {
        json_decref(room);
        return NULL;
    }
    json_t *sums =
        json_pack("{s:i, s:i, s:i, s:i, s:i, s:[]}", "untouched_bytes", 0, "promised_bytes", 0,
                  "promised_huge_bytes", 0, "promised_vcpus", 0, "running_vcpus", 0, "promised");
    json_object_update(room, sums);
    json_decref(sums);
    add_promised(room, running, active, own);
    add_running(room, running, active, own);
    json_decref(running);
    return room;
}

/* "web (migration 1f2e), db (migration 3c4d)" */
static char *names_of(const json_t *promised)
{
    GString *text = g_string_new(NULL);
    const json_t *entry;
    size_t i;

    json_array_foreach (promised, i, entry) {
        const char *partition = json_string_value(json_object_get(entry, "partition"));
        const char *id = json_string_value(json_object_get(entry, "migration"));

        if (i == NAMED_MAX) {
            g_string_append_printf(text, " and %zu more", json_array_size(promised) - i);
            break;
        }
        g_string_append_printf(text, "%s%s (migration %s)", i ? ", " : "",
                               partition ? partition : "?", id ? id : "?");
    }
    return g_string_free(text, FALSE);
}

static gint64 mib(gint64 bytes)
{
    return MAX(bytes, 0) >> 20;
}

char *lpm_reservations_shortage(const json_t *room, gint64 need, const char *host)
{
    gint64 available = number(room, "available_bytes"), promised = number(room, "promised_bytes");
    gint64 untouched = number(room, "untouched_bytes");
    gint64 have = available - promised - untouched;

    if (have >= need)
        return NULL;
    GString *text = g_string_new(NULL);
    g_string_printf(text, "%s has %" G_GINT64_FORMAT " MiB, required are %" G_GINT64_FORMAT " MiB",
                    host, mib(have), mib(need));
    if (promised > 0 || untouched > 0)
        g_string_append_printf(text, ": of the %" G_GINT64_FORMAT " MiB that are available",
                               mib(available));
    if (promised > 0) {
        g_autofree char *names = names_of(json_object_get(room, "promised"));
        g_string_append_printf(text, ", %" G_GINT64_FORMAT " MiB are promised to %s", mib(promised),
                               *names ? names : "others");
    }
    if (untouched > 0)
        g_string_append_printf(text,
                               ", %" G_GINT64_FORMAT
                               " MiB belong to partitions that run and have not used them yet",
                               mib(untouched));
    return g_string_free(text, FALSE);
}

/* NULL if the nodes that it is bound to have what it needs; else a new sentence. */
static char *shortage_of_nodes(const LpmMigration *migration, const json_t *room)
{
    json_t *host = json_array_size(migration->node_demands) > 0 ? lpm_host_nodes() : NULL;
    const json_t *demand;
    char *shortage = NULL;
    size_t i;

    json_array_foreach (migration->node_demands, i, demand) {
        if (!shortage)
            shortage = lpm_node_shortage(demand, json_object_get(host, "nodes"),
                                         json_object_get(room, "promised"),
                                         migration->daemon->config->name);
    }
    json_decref(host);
    return shortage;
}

gboolean lpm_reserve(LpmMigration *migration, gboolean (*insert)(LpmMigration *, GError **),
                     GError **error)
{
    static GMutex lock; /* of looking and taking: one at a time */
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&lock);
    gint64 need = lpm_reservations_need((gint64)migration->memory_bytes, migration->hugepages);
    json_t *room = lpm_reservations_room(migration->daemon, migration->uuid, error);

    if (!room)
        return FALSE;
    g_autofree char *shortage =
        lpm_reservations_shortage(room, need, migration->daemon->config->name);
    g_autofree char *of_nodes = shortage ? NULL : shortage_of_nodes(migration, room);
    json_decref(room);
    if (shortage)
        return lpm_fail(error, LPM_E_MEMORY_SHORT, "%s", shortage);
    if (of_nodes)
        return lpm_fail(error, LPM_E_NODE_SHORT, "%s", of_nodes);
    if (!insert(migration, error))
        return FALSE;
    g_atomic_int_set(&migration->reserved, 1);
    return TRUE;
}
