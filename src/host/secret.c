/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/secret.h"

#include "host/host-internal.h"

#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

static virSecretPtr look_up(virConnectPtr connection, const json_t *disk)
{
    const char *uuid = json_string_value(json_object_get(disk, "secret_uuid"));
    const char *use = json_string_value(json_object_get(disk, "secret_usage"));
    const char *protocol = json_string_value(json_object_get(disk, "protocol"));
    gboolean iscsi = g_strcmp0(protocol, "iscsi") == 0;

    if (uuid)
        return virSecretLookupByUUIDString(connection, uuid);
    return virSecretLookupByUsage(connection,
                                  iscsi ? VIR_SECRET_USAGE_TYPE_ISCSI : VIR_SECRET_USAGE_TYPE_CEPH,
                                  use ? use : "");
}

guint8 *lpm_host_secret(struct lpm_host *host, const json_t *disk, gsize *length, gboolean *unable,
                        char **cause)
{
    lpm_auto_connect connection = lpm_host_connect(host, NULL);
    virSecretPtr secret = connection ? look_up(connection, disk) : NULL;
    size_t size = 0;
    unsigned char *value = secret ? virSecretGetValue(secret, &size, 0) : NULL;
    guint8 *copy = NULL;

    *unable = FALSE;
    *length = size;
    if (value) {
        copy = g_malloc(size + 1);
        memcpy(copy, value, size);
        copy[size] = 0;
        explicit_bzero(value, size);
        free(value);
    } else {
        const virError *reason = virGetLastError();

        *unable = secret && reason && reason->code == VIR_ERR_INVALID_SECRET;
        *cause = g_strdup_printf("libvirt does not tell its secret: %s",
                                 reason && reason->message ? reason->message : "no connection");
    }
    if (secret)
        virSecretFree(secret);
    return copy;
}
