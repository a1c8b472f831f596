/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The definition of a partition that is powered off, and the files that libvirt keeps beside it.
 * All functions may be called from any thread and block for the time of a few libvirt calls.
 */
#ifndef LPM_HOST_DEFINITION_H
#define LPM_HOST_DEFINITION_H

#include "host/host.h"

/* What a definition says of itself; strings are new. */
typedef struct lpm_definition {
    char *xml;  /* as libvirt would start it, with its secrets: never to a log */
    char *name; /* in the XML, as the following */
    char *uuid;
    char *nvram;        /* path of the firmware's variables; NULL: none, or none in a file */
    gboolean tpm;       /* an emulated TPM, whose state libvirt keeps by UUID */
    gboolean saved;     /* there is a saved state of its memory (managed save) */
    gboolean autostart; /* of the host, not of the XML */
} LpmDefinition;
void lpm_definition_free(LpmDefinition *definition);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmDefinition, lpm_definition_free)

/* Reads `xml` (borrowed), which may come from a peer: BAD_REQUEST if it is no description of a
 * partition. `saved` and `autostart` are FALSE. */
LpmDefinition *lpm_definition_parse(const char *xml, GError **error);

/* The definition of the partition with that UUID, whether it runs or not; PARTITION_NOT_FOUND if
 * it has none. */
LpmDefinition *lpm_host_definition(struct lpm_host *host, const char *uuid, GError **error);

/* Defines it: DEFINITION_REFUSED when libvirt was asked and did not, another error when it could
 * not be asked. A running transient partition of that UUID becomes persistent. */
gboolean lpm_host_define(struct lpm_host *host, const char *xml, GError **error);

/* Drops the definition, and keeps firmware variables, TPM state and images. What runs goes on, as
 * a transient partition: libvirt does that in one step, so who wants to know which it was looks at
 * lpm_host_state afterwards. Absent is success. */
gboolean lpm_host_undefine(struct lpm_host *host, const char *uuid, GError **error);

#endif
