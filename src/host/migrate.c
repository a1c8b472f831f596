/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The migrate call, its job, and the two ends of a partition's life that the hand-over needs. */
#include "host/host-internal.h"

#include "base/error.h"
#include "host/mapping.h"

#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

/* Parameters as libvirt wants them; the caller frees with virTypedParamsFree. */
static gboolean fill_params(const struct lpm_migrate_params *params, virTypedParameterPtr *list,
                            int *count, GError **error)
{
    int limit = 0;
    g_autofree char *uri = g_strdup_printf("unix://%s", params->data_socket);

    if (virTypedParamsAddString(list, count, &limit, VIR_MIGRATE_PARAM_URI, uri) < 0)
        return lpm_host_fail(error, "preparing the migrate call");
    /* No bandwidth: libvirt lifts QEMU's own limit of 128 MiB/s then. What is on the wire is the
     * mover's to bound. */
    return TRUE;
}

/* The description of what runs, and of what is defined, with the target's names. libvirt takes the
 * source's own definition for the target if it is not given another one beside. */
static gboolean add_description(virDomainPtr domain, const json_t *adapters, gboolean persistent,
                                virTypedParameterPtr *list, int *count, GError **error)
{
    const unsigned int flags = VIR_DOMAIN_XML_MIGRATABLE | VIR_DOMAIN_XML_SECURE;
    char *text = virDomainGetXMLDesc(domain, flags | (persistent ? VIR_DOMAIN_XML_INACTIVE : 0));
    int limit = *count;

    if (!text)
        return lpm_host_fail(error, "describing the partition for the target");
    g_autofree char *mapped = lpm_map_description(text, adapters, error);
    free(text);
    if (!mapped)
        return FALSE;
    if (virTypedParamsAddString(
            list, count, &limit,
            persistent ? VIR_MIGRATE_PARAM_PERSIST_XML : VIR_MIGRATE_PARAM_DEST_XML, mapped) < 0)
        return lpm_host_fail(error, "preparing the migrate call");
    return TRUE;
}

static gboolean add_mapping(virDomainPtr domain, const struct lpm_migrate_params *params,
                            virTypedParameterPtr *list, int *count, GError **error)
{
    /* One that is resumed has its descriptions already. */
    if (!lpm_map_is_needed(params->adapters) || params->resume)
        return TRUE;
    return add_description(domain, params->adapters, FALSE, list, count, error) &&
           (!params->persistent ||
            add_description(domain, params->adapters, TRUE, list, count, error));
}

static unsigned int migrate_flags(const struct lpm_migrate_params *params)
{
    unsigned int flags = VIR_MIGRATE_LIVE | VIR_MIGRATE_PEER2PEER;

    flags |= params->post_copy ? VIR_MIGRATE_POSTCOPY : VIR_MIGRATE_PAUSED;
    if (params->resume)
        flags |= VIR_MIGRATE_POSTCOPY_RESUME;
    if (params->persistent)
        flags |= VIR_MIGRATE_PERSIST_DEST | VIR_MIGRATE_UNDEFINE_SOURCE;
    return flags;
}

gboolean lpm_host_migrate(struct lpm_host *host, const struct lpm_migrate_params *params,
                          GError **error)
{
    lpm_auto_connect connection = lpm_host_connect(host, error);
    lpm_auto_domain domain = NULL;
    virTypedParameterPtr list = NULL;
    int count = 0;
    unsigned int flags = migrate_flags(params);
    g_autofree char *uri = g_strdup_printf("qemu+unix:///system?socket=%s", params->rpc_socket);

    if (!connection)
        return FALSE;
    domain = virDomainLookupByUUIDString(connection, params->uuid);
    if (!domain)
        return lpm_host_fail(error, "looking the partition up");
    gboolean ok = fill_params(params, &list, &count, error) &&
                  add_mapping(domain, params, &list, &count, error);
    if (ok && virDomainMigrateToURI3(domain, uri, list, (unsigned int)count, flags) < 0)
        ok = lpm_host_fail(error, "libvirt's migration");
    virTypedParamsFree(list, count);
    return ok;
}

static guint64 stat_value(virTypedParameterPtr list, int count, const char *name)
{
    unsigned long long value = 0;

    return virTypedParamsGetULLong(list, count, name, &value) == 1 ? value : 0;
}

gboolean lpm_host_job(struct lpm_host *host, const char *uuid, struct lpm_job *job, GError **error)
{
    lpm_auto_connect connection = NULL;
    lpm_auto_domain domain = NULL;
    virTypedParameterPtr list = NULL;
    int type = VIR_DOMAIN_JOB_NONE, count = 0;

    memset(job, 0, sizeof(*job));
    if (!lpm_host_find(host, uuid, &connection, &domain, error))
        return FALSE;
    if (!domain)
        return TRUE;
    if (virDomainGetJobStats(domain, &type, &list, &count, 0) < 0) {
        /* What libvirt says of the target's end of a migration: there is a job, without figures. */
        job->active = virGetLastErrorCode() == VIR_ERR_OPERATION_UNSUPPORTED;
        if (job->active)
            return TRUE;
        return lpm_host_fail(error, "asking the job's progress");
    }
    job->active = type != VIR_DOMAIN_JOB_NONE;
    job->memory_total = stat_value(list, count, VIR_DOMAIN_JOB_MEMORY_TOTAL);
    job->memory_done = stat_value(list, count, VIR_DOMAIN_JOB_MEMORY_PROCESSED);
    job->memory_left = stat_value(list, count, VIR_DOMAIN_JOB_MEMORY_REMAINING);
    job->rate = stat_value(list, count, VIR_DOMAIN_JOB_MEMORY_BPS);
    job->page_size = stat_value(list, count, VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE);
    job->dirty_rate = stat_value(list, count, VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE) *
                      (job->page_size ? job->page_size : 4096);
    job->iteration = stat_value(list, count, VIR_DOMAIN_JOB_MEMORY_ITERATION);
    job->expected_suspend_ms = stat_value(list, count, VIR_DOMAIN_JOB_DOWNTIME);
    virTypedParamsFree(list, count);
    return TRUE;
}

/* What is done to a partition that must be there: one call of libvirt, or two. 0, or below 0 with
 * libvirt's error set. */
typedef int (*domain_fn)(virDomainPtr domain, void *value);

static gboolean with_domain(struct lpm_host *host, const char *uuid, domain_fn act, void *value,
                            const char *doing, GError **error)
{
    lpm_auto_connect connection = NULL;
    lpm_auto_domain domain = NULL;

    if (!lpm_host_find(host, uuid, &connection, &domain, error))
        return FALSE;
    if (!domain)
        return lpm_fail(error, LPM_E_PARTITION_NOT_FOUND, "no partition %s on %s", uuid,
                        host->config->name);
    return act(domain, value) < 0 ? lpm_host_fail(error, doing) : TRUE;
}

static int set_max_suspend(virDomainPtr domain, void *value)
{
    return virDomainMigrateSetMaxDowntime(domain, *(const guint *)value, 0);
}

gboolean lpm_host_set_max_suspend(struct lpm_host *host, const char *uuid, guint milliseconds,
                                  GError **error)
{
    return with_domain(host, uuid, set_max_suspend, &milliseconds, "setting the longest suspension",
                       error);
}

static int start_post_copy(virDomainPtr domain, void *value G_GNUC_UNUSED)
{
    return virDomainMigrateStartPostCopy(domain, 0);
}

gboolean lpm_host_start_post_copy(struct lpm_host *host, const char *uuid, GError **error)
{
    return with_domain(host, uuid, start_post_copy, NULL, "going over to post-copy", error);
}

/* Of one that is not persistent libvirt keeps none. */
static int get_autostart(virDomainPtr domain, void *value)
{
    return virDomainIsPersistent(domain) == 1 ? virDomainGetAutostart(domain, value) : 0;
}

gboolean lpm_host_autostart(struct lpm_host *host, const char *uuid, gboolean *autostart,
                            GError **error)
{
    int value = 0;
    gboolean ok = with_domain(host, uuid, get_autostart, &value,
                              "asking for the partition's autostart", error);

    *autostart = value != 0;
    return ok;
}

static int set_autostart(virDomainPtr domain, void *value)
{
    return virDomainSetAutostart(domain, *(const gboolean *)value);
}

gboolean lpm_host_set_autostart(struct lpm_host *host, const char *uuid, gboolean autostart,
                                GError **error)
{
    return with_domain(host, uuid, set_autostart, &autostart, "setting the partition's autostart",
                       error);
}

static int abort_job(virDomainPtr domain, void *value G_GNUC_UNUSED)
{
    return virDomainAbortJob(domain);
}

gboolean lpm_host_abort(struct lpm_host *host, const char *uuid, GError **error)
{
    return with_domain(host, uuid, abort_job, NULL, "aborting libvirt's migration", error);
}

static int resume(virDomainPtr domain, void *value G_GNUC_UNUSED)
{
    return virDomainResume(domain);
}

gboolean lpm_host_resume(struct lpm_host *host, const char *uuid, GError **error)
{
    return with_domain(host, uuid, resume, NULL, "resuming the partition", error);
}

gboolean lpm_host_discard(struct lpm_host *host, const char *uuid, gboolean undefine,
                          GError **error)
{
    lpm_auto_connect connection = NULL;
    lpm_auto_domain domain = NULL;

    if (!lpm_host_find(host, uuid, &connection, &domain, error))
        return FALSE;
    if (!domain)
        return TRUE;
    if (virDomainIsActive(domain) == 1 && virDomainDestroy(domain) < 0 &&
        virDomainIsActive(domain) == 1)
        return lpm_host_fail(error, "ending the copy that must not run");
    if (undefine && virDomainIsPersistent(domain) == 1 &&
        virDomainUndefineFlags(domain,
                               VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | VIR_DOMAIN_UNDEFINE_KEEP_TPM) < 0)
        return lpm_host_fail(error, "dropping the definition that is not used");
    return TRUE;
}
