/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/guest-areas.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LINE_MAX_BYTES 8192 /* a path, and what precedes it */

/* The area whose lines of /proc/PID/smaps are being read. */
struct reading {
    struct lpm_guest_area area;
    gboolean fits; /* rights and length */
    unsigned long page_kib;
};

/* "START-END rw-p OFFSET MAJOR:MINOR INODE PATH". FALSE: it is another line. */
static gboolean begins(const char *line, guint64 least, struct reading *reading)
{
    unsigned long start, end, offset, inode;
    unsigned int high, low;
    char rights[5];

    if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu", &start, &end, rights, &offset, &high, &low,
               &inode) != 7)
        return FALSE;
    reading->area = (struct lpm_guest_area){.start = start, .length = end - start};
    if (!strcmp(rights, "rw-s")) {
        reading->area.device = makedev(high, low);
        reading->area.inode = inode;
        reading->area.file_offset = offset;
    }
    reading->fits = (!strcmp(rights, "rw-p") || !strcmp(rights, "rw-s")) && end - start >= least;
    reading->page_kib = 0;
    return TRUE;
}

/* "VmFlags: rd wr mr mw me dc ac": the last line of an area. */
static gboolean has_flag(const char *line, const char *flag)
{
    g_auto(GStrv) words = g_strsplit_set(line, " \n", -1);

    return g_strv_contains((const char *const *)words, flag);
}

GArray *lpm_guest_areas_find(pid_t pid, gboolean watched, guint64 least, GError **error)
{
    const unsigned long page_kib = (unsigned long)sysconf(_SC_PAGESIZE) / 1024;
    g_autofree char *path = g_strdup_printf("/proc/%d/smaps", (int)pid);
    g_autofree char *line = g_malloc(LINE_MAX_BYTES);
    g_autoptr(GArray) areas = g_array_new(FALSE, FALSE, sizeof(struct lpm_guest_area));
    struct reading reading = {0};
    FILE *file = fopen(path, "re");

    if (!file) {
        lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED, "%s cannot be read: %s", path,
                 g_strerror(errno));
        return NULL;
    }
    while (fgets(line, LINE_MAX_BYTES, file)) {
        if (begins(line, least, &reading))
            continue;
        sscanf(line, "KernelPageSize: %lu kB", &reading.page_kib);
        if (g_str_has_prefix(line, "VmFlags:") && reading.fits && reading.page_kib == page_kib &&
            has_flag(line, watched ? "um" : "dc"))
            g_array_append_val(areas, reading.area);
    }
    gboolean whole = !ferror(file);

    fclose(file);
    if (whole)
        return g_steal_pointer(&areas);
    lpm_fail(error, LPM_E_QEMU_NOT_IDENTIFIED, "%s cannot be read to its end", path);
    return NULL;
}

static guint count_of(const GArray *areas, guint64 length)
{
    guint count = 0;

    for (guint i = 0; i < areas->len; i++)
        count += g_array_index(areas, struct lpm_guest_area, i).length == length;
    return count;
}

gboolean lpm_guest_areas_are(const GArray *areas, const guint64 *lengths, guint count)
{
    if (areas->len != count)
        return FALSE;
    for (guint i = 0; i < count; i++) {
        guint same = 0;

        for (guint j = 0; j < count; j++)
            same += lengths[j] == lengths[i];
        if (count_of(areas, lengths[i]) != same)
            return FALSE;
    }
    return TRUE;
}

const struct lpm_guest_area *lpm_guest_areas_get(const GArray *areas, guint64 length)
{
    if (count_of(areas, length) != 1)
        return NULL;
    for (guint i = 0;; i++)
        if (g_array_index(areas, struct lpm_guest_area, i).length == length)
            return &g_array_index(areas, struct lpm_guest_area, i);
}
