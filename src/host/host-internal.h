/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Shared by the files of src/host: the structure behind struct lpm_host, and libvirt's objects with
 * automatic release. */
#ifndef LPM_HOST_HOST_INTERNAL_H
#define LPM_HOST_HOST_INTERNAL_H

#include "host/digests.h"
#include "host/host.h"

#include <libvirt/libvirt.h>

struct lpm_host {
    const LpmConfig *config;     /* immutable */
    lpm_host_event_fn on_event;  /* immutable */
    void *user;                  /* immutable */
    struct lpm_digests *digests; /* immutable, locks itself */
    GThread *thread;             /* immutable: runs libvirt's event loop */
    gint closing;                /* atomic */
    GMutex lock;
    virConnectPtr connection; /* under lock: control connection, NULL while libvirtd is away */
    guint connections;        /* under lock: how many there have been */
    int event_id;             /* under lock: registration of monitor events on it */
};

static inline void lpm_release_connection(virConnectPtr *connection)
{
    if (*connection)
        virConnectClose(*connection);
}

static inline void lpm_release_domain(virDomainPtr *domain)
{
    if (*domain)
        virDomainFree(*domain);
}

#define lpm_auto_connect __attribute__((cleanup(lpm_release_connection))) virConnectPtr
#define lpm_auto_domain __attribute__((cleanup(lpm_release_domain))) virDomainPtr

/* Sets LPM_E_LIBVIRT: `doing`, then libvirt's last error of this thread. Returns FALSE. */
gboolean lpm_host_fail(GError **error, const char *doing);

/* A new connection, or a reference to the control connection; release it. NULL with an error. */
virConnectPtr lpm_host_connect(struct lpm_host *host, GError **error);
virConnectPtr lpm_host_control(struct lpm_host *host, GError **error);

/* What `describe` makes of each partition, running or only defined, those left out for which it
 * returns NULL. NULL with an error when libvirt cannot be asked. */
json_t *lpm_host_each(virConnectPtr connection, json_t *(*describe)(virDomainPtr domain),
                      GError **error);

/* By UUID or by name, NULL if there is none (libvirt's error is set). */
virDomainPtr lpm_host_lookup(virConnectPtr connection, const char *name);

/* By UUID. TRUE with *domain NULL when libvirt says that there is none; FALSE when it cannot be
 * asked. The caller releases both. */
gboolean lpm_host_find(struct lpm_host *host, const char *uuid, virConnectPtr *connection,
                       virDomainPtr *domain, GError **error);

#endif
