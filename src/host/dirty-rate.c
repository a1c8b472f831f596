/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/dirty-rate.h"

#include "base/error.h"
#include "host/host-internal.h"

#include <stdio.h>
#include <string.h>

/* ---- the dirty rate ---- */

/* The partition, on a connection of its own: migrations may hold the control connection up. */
static gboolean find(struct lpm_host *host, const char *uuid, virConnectPtr *connection,
                     virDomainPtr *domain, GError **error)
{
    *connection = lpm_host_connect(host, error);
    if (!*connection)
        return FALSE;
    *domain = virDomainLookupByUUIDString(*connection, uuid);
    return *domain ? TRUE : lpm_host_fail(error, "looking the partition up");
}

gboolean lpm_host_dirty_rate_begin(struct lpm_host *host, const char *uuid, int seconds,
                                   GError **error)
{
    lpm_auto_connect connection = NULL;
    lpm_auto_domain domain = NULL;
    virDomainJobInfo job;

    if (!find(host, uuid, &connection, &domain, error))
        return FALSE;
    /* libvirt would let the call wait for the end of a migration or backup, half a minute at most.
     */
    if (virDomainGetJobInfo(domain, &job) < 0)
        return lpm_host_fail(error, "asking for its jobs");
    if (job.type != VIR_DOMAIN_JOB_NONE)
        return lpm_fail(error, LPM_E_PARTITION_BUSY, "libvirt has a job with the partition");
    if (virDomainStartDirtyRateCalc(domain, seconds, VIR_DOMAIN_DIRTYRATE_MODE_PAGE_SAMPLING) < 0)
        return lpm_host_fail(error, "sampling the dirty rate");
    return TRUE;
}

gboolean lpm_host_dirty_rate(struct lpm_host *host, const char *uuid, gint64 *rate, GError **error)
{
    lpm_auto_connect connection = NULL;
    lpm_auto_domain domain = NULL;
    virDomainStatsRecordPtr *records = NULL;
    int status = VIR_DOMAIN_DIRTYRATE_UNSTARTED;
    long long mib = -1;

    if (!find(host, uuid, &connection, &domain, error))
        return FALSE;
    virDomainPtr list[] = {domain, NULL};
    if (virDomainListGetStats(list, VIR_DOMAIN_STATS_DIRTYRATE, &records, 0) < 0)
        return lpm_host_fail(error, "reading the dirty rate");
    if (records && records[0]) {
        virTypedParamsGetInt(records[0]->params, records[0]->nparams, "dirtyrate.calc_status",
                             &status);
        virTypedParamsGetLLong(records[0]->params, records[0]->nparams,
                               "dirtyrate.megabytes_per_second", &mib);
    }
    virDomainStatsRecordListFree(records);
    if (status == VIR_DOMAIN_DIRTYRATE_UNSTARTED)
        return lpm_fail(error, LPM_E_LIBVIRT, "QEMU has sampled no dirty rate");
    *rate = status == VIR_DOMAIN_DIRTYRATE_MEASURED && mib >= 0 ? (gint64)mib << 20 : -1;
    return TRUE;
}

/* ---- resident memory ---- */

#define KIB 1024
/* The kernel walks all pages to tell the mappings apart: 40 ms for each GiB, which QEMU cannot map
 * anything in meanwhile. Of a larger partition its counters are taken, which know no mappings: what
 * QEMU itself has is little beside that. */
#define WALKED_MAX ((guint64)8 * KIB * KIB * KIB)

/* One mapping: "7f..-7f.. rw-p 00000000 00:00 0  NAME" and its figures below. */
struct mapping {
    guint64 size, resident;
    gboolean memory; /* may be a partition's */
};

/* QEMU's code cache is executable, its heap has a name; memory backends are files in memory or have
 * none. */
static gboolean may_be_memory(const char *permissions, const char *name)
{
    static const char *const backends[] = {"/memfd:", "/dev/shm/", "/dev/hugepages",
                                           "/anon_hugepage", "/var/lib/libvirt/qemu/ram/"};

    if (permissions[0] != 'r' || permissions[1] != 'w' || permissions[2] == 'x')
        return FALSE;
    if (!*name)
        return TRUE;
    for (gsize i = 0; i < G_N_ELEMENTS(backends); i++) {
        if (g_str_has_prefix(name, backends[i]))
            return TRUE;
    }
    return strstr(name, "/hugepages") != NULL;
}

static gboolean read_head(const char *line, struct mapping *mapping)
{
    guint64 begin, end;
    char permissions[5] = "";
    int name = 0;

    if (sscanf(line, "%" G_GINT64_MODIFIER "x-%" G_GINT64_MODIFIER "x %4s %*s %*s %*s %n", &begin,
               &end, permissions, &name) < 3 ||
        end < begin)
        return FALSE;
    *mapping = (struct mapping){.size = end - begin,
                                .memory = may_be_memory(permissions, name ? line + name : "")};
    return TRUE;
}

static void read_figure(const char *line, struct mapping *mapping)
{
    static const char *const names[] = {"Rss:", "Shared_Hugetlb:", "Private_Hugetlb:"};

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        if (g_str_has_prefix(line, names[i]))
            mapping->resident += g_ascii_strtoull(line + strlen(names[i]), NULL, 10) * KIB;
    }
}

guint64 lpm_smaps_resident(const char *smaps, guint64 memory_bytes)
{
    /* Memory is in few and large mappings; thread stacks and arenas are small beside them. */
    guint64 least = CLAMP(memory_bytes / 8, 16 * KIB * KIB, 64 * KIB * KIB), sum = 0;
    struct mapping mapping = {0};
    g_auto(GStrv) lines = g_strsplit(smaps, "\n", -1);

    for (char **line = lines; *line; line++) {
        struct mapping next;

        if (!read_head(*line, &next)) {
            read_figure(*line, &mapping);
            continue;
        }
        sum += mapping.memory && mapping.size >= least ? mapping.resident : 0;
        mapping = next;
    }
    sum += mapping.memory && mapping.size >= least ? mapping.resident : 0;
    return MIN(sum, memory_bytes);
}

guint64 lpm_status_resident(const char *status, guint64 memory_bytes)
{
    static const char *const names[] = {"RssAnon:", "RssShmem:", "HugetlbPages:"};
    g_auto(GStrv) lines = g_strsplit(status, "\n", -1);
    guint64 sum = 0;

    for (char **line = lines; *line; line++) {
        for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
            if (g_str_has_prefix(*line, names[i]))
                sum += g_ascii_strtoull(*line + strlen(names[i]), NULL, 10) * KIB;
        }
    }
    return MIN(sum, memory_bytes);
}

guint64 lpm_qemu_resident(pid_t pid, guint64 memory_bytes)
{
    gboolean walk = memory_bytes <= WALKED_MAX;
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)pid, walk ? "smaps" : "status");
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return 0;
    return walk ? lpm_smaps_resident(text, memory_bytes) : lpm_status_resident(text, memory_bytes);
}
