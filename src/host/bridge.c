/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/bridge.h"

#include "base/fdio.h"

#include <fcntl.h>
#include <linux/if_bridge.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ENTRIES_MAX (64 << 10)
/* What was learned before is of the time when the partition, or another of its address, was
 * elsewhere: a bridge forgets after 5 minutes. In USER_HZ, as the kernel gives it. */
#define RECENT_TICKS (10 * 100)

static gboolean parse_mac(const char *text, guint8 mac[6])
{
    unsigned part[6];
    char rest;

    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &part[0], &part[1], &part[2], &part[3], &part[4],
               &part[5], &rest) != 6)
        return FALSE;
    for (int i = 0; i < 6; i++)
        mac[i] = (guint8)part[i];
    return TRUE;
}

static gboolean is_name(const char *name)
{
    return *name && strlen(name) < IFNAMSIZ && !strchr(name, '/') && *name != '.';
}

guint lpm_bridge_find(const guint8 *entries, gsize length, const guint8 mac[6], gboolean *own)
{
    struct __fdb_entry entry;

    for (gsize at = 0; at + sizeof(entry) <= length; at += sizeof(entry)) {
        memcpy(&entry, entries + at, sizeof(entry));
        if (memcmp(entry.mac_addr, mac, 6) == 0 &&
            (entry.is_local || entry.ageing_timer_value <= RECENT_TICKS)) {
            *own = entry.is_local != 0;
            return (guint)entry.port_hi << 8 | entry.port_no;
        }
    }
    return 0;
}

/* The bridge's whole table; the kernel gives as many entries as fit, from the one at the offset. */
static GByteArray *read_table(const char *bridge)
{
    g_autofree char *path = g_build_filename("/sys/class/net", bridge, "brforward", NULL);
    lpm_autofd fd = open(path, O_RDONLY | O_CLOEXEC);
    GByteArray *table = g_byte_array_new();
    guint8 chunk[4096];
    ssize_t got;

    while (fd >= 0 && table->len < ENTRIES_MAX * sizeof(struct __fdb_entry) &&
           (got = read(fd, chunk, sizeof(chunk))) > 0)
        g_byte_array_append(table, chunk, (guint)got);
    return table;
}

/* The name of the port with that number. */
static char *port_name(const char *bridge, guint number)
{
    g_autofree char *folder = g_build_filename("/sys/class/net", bridge, "brif", NULL);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, "port_no", NULL);
        g_autofree char *text = NULL;

        if (g_file_get_contents(path, &text, NULL, NULL) &&
            g_ascii_strtoull(text, NULL, 16) == number)
            return g_strdup(name);
    }
    return NULL;
}

char *lpm_bridge_port_of(const char *bridge, const char *mac)
{
    guint8 address[6];
    gboolean own = FALSE;

    if (!is_name(bridge) || !parse_mac(mac, address))
        return NULL;
    g_autoptr(GByteArray) table = read_table(bridge);
    guint number = lpm_bridge_find(table->data, table->len, address, &own);
    if (own)
        return g_strdup(bridge);
    return number ? port_name(bridge, number) : NULL;
}
