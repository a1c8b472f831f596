/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What the partitions that run on this host have been given, and what of it they have taken. */
#include "host/host-internal.h"
#include "host/inspect.h"
#include "host/qemu-process.h"
#include "host/xml.h"

#include <stdio.h>
#include <unistd.h>

/* The pages of a process that are in memory; 0 when it is gone. */
static gint64 resident_bytes(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/statm", (int)pid);
    g_autofree char *text = NULL;
    char *rest = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return 0;
    g_ascii_strtoull(text, &rest, 10); /* the first field: its address space */
    return (gint64)g_ascii_strtoull(rest, NULL, 10) * sysconf(_SC_PAGESIZE);
}

static gboolean on_hugepages(virDomainPtr domain)
{
    char *text = virDomainGetXMLDesc(domain, 0);
    g_autoptr(LpmXml) xml = text ? lpm_xml_parse(text, NULL) : NULL;

    free(text);
    return xml && lpm_xml_has(xml, NULL, "memoryBacking/hugepages");
}

/* NULL when it ended meanwhile. */
static json_t *describe(struct lpm_host *host, virDomainPtr domain)
{
    char uuid[VIR_UUID_STRING_BUFLEN];
    const char *name = virDomainGetName(domain);
    virDomainInfo info;

    if (!name || virDomainGetUUIDString(domain, uuid) < 0 || virDomainGetInfo(domain, &info) < 0)
        return NULL;
    g_autoptr(LpmQemuProcess) process =
        lpm_qemu_process_open(host->config->qemu_run_dir, name, uuid, NULL);
    gint64 resident = process ? resident_bytes(lpm_qemu_process_pid(process)) : 0;
    return json_pack("{s:s, s:s, s:I, s:I, s:i, s:b}", "name", name, "uuid", uuid, "memory_bytes",
                     (json_int_t)info.memory * 1024, "resident_bytes", (json_int_t)resident,
                     "vcpus", (int)info.nrVirtCpu, "hugepages", on_hugepages(domain));
}

json_t *lpm_host_running(struct lpm_host *host, GError **error)
{
    lpm_auto_connect connection = lpm_host_connect(host, error);
    virDomainPtr *domains = NULL;

    if (!connection)
        return NULL;
    int count = virConnectListAllDomains(connection, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
    if (count < 0) {
        lpm_host_fail(error, "listing the partitions that run");
        return NULL;
    }
    json_t *list = json_array();
    for (int i = 0; i < count; i++) {
        json_t *entry = describe(host, domains[i]);

        if (entry)
            json_array_append_new(list, entry);
        virDomainFree(domains[i]);
    }
    free(domains);
    return list;
}
