/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/host-internal.h"

#include "base/error.h"

#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <string.h>

/* Keepalive of the control connection: libvirt's usual 5 s x 5 finds a hung libvirtd. */
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_COUNT 5

gboolean lpm_host_fail(GError **error, const char *doing)
{
    virErrorPtr last = virGetLastError();

    return lpm_fail(error, LPM_E_LIBVIRT, "%s: %s", doing,
                    last && last->message ? last->message : "unknown cause");
}

/* libvirt prints every error to stderr unless told otherwise; ours are reported by their callers.
 */
static void ignore_libvirt_error(void *user G_GNUC_UNUSED, virErrorPtr error G_GNUC_UNUSED)
{
}

static gpointer event_loop(gpointer user)
{
    struct lpm_host *host = user;

    while (!g_atomic_int_get(&host->closing)) {
        if (virEventRunDefaultImpl() < 0)
            g_usleep(10000); /* a broken poll must not become a busy loop */
    }
    return NULL;
}

/* Wakes the loop so that it sees `closing`. */
static void wake_timer(int timer G_GNUC_UNUSED, void *user G_GNUC_UNUSED)
{
}

static void on_monitor_event(virConnectPtr connection G_GNUC_UNUSED, virDomainPtr domain,
                             const char *event, long long seconds, unsigned int micros,
                             const char *details G_GNUC_UNUSED, void *user)
{
    struct lpm_host *host = user;
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (host->on_event && virDomainGetUUIDString(domain, uuid) == 0)
        host->on_event(uuid, event, (gint64)seconds * 1000000 + micros, host->user);
}

virConnectPtr lpm_host_connect(struct lpm_host *host, GError **error)
{
    virConnectPtr connection = virConnectOpen(host->config->libvirt_uri);

    if (!connection) {
        virErrorPtr last = virGetLastError();
        lpm_fail(error, LPM_E_LIBVIRT_UNREACHABLE, "%s: %s", host->config->libvirt_uri,
                 last && last->message ? last->message : "unknown cause");
        return NULL;
    }
    virConnectSetKeepAlive(connection, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT);
    return connection;
}

/* Events are lost with their connection, so they are registered with every new one. */
static void register_events(struct lpm_host *host)
{
    host->event_id = virConnectDomainQemuMonitorEventRegister(host->connection, NULL, NULL,
                                                              on_monitor_event, host, NULL, 0);
}

virConnectPtr lpm_host_control(struct lpm_host *host, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&host->lock);

    if (host->connection && virConnectIsAlive(host->connection) != 1)
        g_clear_pointer(&host->connection, virConnectClose);
    if (!host->connection) {
        host->connection = lpm_host_connect(host, error);
        if (!host->connection)
            return NULL;
        host->connections++;
        register_events(host);
    }
    virConnectRef(host->connection);
    return host->connection;
}

guint lpm_host_connections(struct lpm_host *host)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&host->lock);

    return host->connections;
}

struct lpm_host *lpm_host_open(const LpmConfig *config, lpm_host_event_fn on_event, void *user,
                               GError **error)
{
    struct lpm_host *host = g_new0(struct lpm_host, 1);
    g_autoptr(GError) reason = NULL;

    host->config = config;
    host->on_event = on_event;
    host->user = user;
    host->digests = lpm_digests_new();
    g_mutex_init(&host->lock);
    virSetErrorFunc(NULL, ignore_libvirt_error);
    if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0) {
        lpm_host_fail(error, "starting libvirt's client");
        g_mutex_clear(&host->lock);
        lpm_digests_free(host->digests);
        g_free(host);
        return NULL;
    }
    host->thread = g_thread_new("libvirt-events", event_loop, host);
    /* Connect early for the events' sake; failure is told by the first call that needs it. */
    lpm_auto_connect connection = lpm_host_control(host, &reason);
    (void)connection;
    return host;
}

void lpm_host_close(struct lpm_host *host)
{
    if (!host)
        return;
    g_mutex_lock(&host->lock);
    if (host->connection) {
        virConnectDomainQemuMonitorEventDeregister(host->connection, host->event_id);
        g_clear_pointer(&host->connection, virConnectClose);
    }
    g_mutex_unlock(&host->lock);
    g_atomic_int_set(&host->closing, 1);
    virEventAddTimeout(0, wake_timer, NULL, NULL);
    g_thread_join(host->thread);
    g_mutex_clear(&host->lock);
    lpm_digests_free(host->digests);
    g_free(host);
}

struct lpm_digests *lpm_host_digests(struct lpm_host *host)
{
    return host->digests;
}

static char *version_text(unsigned long version)
{
    return g_strdup_printf("%lu.%lu.%lu", version / 1000000, version / 1000 % 1000, version % 1000);
}

json_t *lpm_host_versions(struct lpm_host *host, GError **error)
{
    lpm_auto_connect connection = lpm_host_control(host, error);
    unsigned long libvirt = 0, qemu = 0;

    if (!connection)
        return NULL;
    if (virConnectGetLibVersion(connection, &libvirt) < 0) {
        lpm_host_fail(error, "asking libvirt's version");
        return NULL;
    }
    /* Fails on a host that has never started a partition and has no emulator installed. */
    if (virConnectGetVersion(connection, &qemu) < 0)
        qemu = 0;
    g_autofree char *libvirt_text = version_text(libvirt);
    g_autofree char *qemu_text = version_text(qemu);
    return json_pack("{s:s, s:s}", "libvirt", libvirt_text, "qemu", qemu_text);
}

virDomainPtr lpm_host_lookup(virConnectPtr connection, const char *name)
{
    virDomainPtr domain = virDomainLookupByUUIDString(connection, name);

    return domain ? domain : virDomainLookupByName(connection, name);
}

/* Is `uuid` in the list of all partitions? An error of the lookup is not an answer. */
gboolean lpm_host_find(struct lpm_host *host, const char *uuid, virConnectPtr *connection,
                       virDomainPtr *domain, GError **error)
{
    *connection = lpm_host_control(host, error);
    if (!*connection)
        return FALSE;
    *domain = virDomainLookupByUUIDString(*connection, uuid);
    if (!*domain) {
        virErrorPtr last = virGetLastError();
        if (!last || last->code != VIR_ERR_NO_DOMAIN)
            return lpm_host_fail(error, "looking a partition up");
    }
    return TRUE;
}
