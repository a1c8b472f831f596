/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Both hosts have versions that go together (R2.1). */
#include "daemon/peer-client.h"
#include "daemon/validate/checks.h"
#include "host/host.h"

#include "lpm-version.h"

#include <stdio.h>
#include <string.h>

json_t *lpm_gather_versions(struct lpm_validation *validation, GError **error)
{
    json_t *versions = lpm_host_versions(validation->daemon->host, error);

    if (versions) {
        json_object_set_new(versions, "openlpm", json_string(LPM_VERSION));
        json_object_set_new(versions, "protocol", json_integer(LPM_API_PROTOCOL));
        json_object_set_new(versions, "socket_dir",
                            json_string(validation->daemon->config->socket_dir));
    }
    return versions;
}

/* "9.0.0" as one number; 0 if it is none. */
static long number_of(const char *version)
{
    long major = 0, minor = 0, micro = 0;

    if (sscanf(version, "%4ld.%4ld.%4ld", &major, &minor, &micro) < 1)
        return 0;
    return (major * 1000 + minor) * 1000 + micro;
}

void lpm_judge_versions(struct lpm_judgement *judgement)
{
    static const char *const names[] = {"qemu", "libvirt"};
    gint64 protocol = lpm_fact_int(judgement->target, "protocol");
    const char *here = lpm_fact(judgement->source, "socket_dir");
    const char *there = lpm_fact(judgement->target, "socket_dir");

    if (protocol != LPM_API_PROTOCOL)
        lpm_find(judgement, LPM_E_PEER_ANSWER,
                 "%s speaks protocol %" G_GINT64_FORMAT ", this host %d", judgement->target_name,
                 protocol, LPM_API_PROTOCOL);
    if (strcmp(here, there) != 0)
        lpm_find(judgement, LPM_E_BAD_REQUEST,
                 "socket_dir is %s on %s and %s on %s: both must be the same", here,
                 judgement->source_name, there, judgement->target_name);
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        const char *ours = lpm_fact(judgement->source, names[i]);
        const char *theirs = lpm_fact(judgement->target, names[i]);

        if (number_of(theirs) && number_of(ours) && number_of(theirs) < number_of(ours))
            lpm_find(judgement, LPM_E_HYPERVISOR_OLDER, "%s is %s on %s and %s on %s", names[i],
                     ours, judgement->source_name, theirs, judgement->target_name);
    }
}
