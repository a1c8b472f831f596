/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/definition.h"

#include "base/error.h"
#include "host/host-internal.h"
#include "host/xml.h"

#include <libvirt/virterror.h>
#include <string.h>

void lpm_definition_free(LpmDefinition *definition)
{
    if (!definition)
        return;
    if (definition->xml)
        explicit_bzero(definition->xml, strlen(definition->xml)); /* passwords of displays */
    g_free(definition->xml);
    g_free(definition->name);
    g_free(definition->uuid);
    g_free(definition->nvram);
    g_free(definition);
}

LpmDefinition *lpm_definition_parse(const char *xml, GError **error)
{
    g_autoptr(LpmXml) doc = lpm_xml_parse(xml, NULL);
    g_autoptr(LpmDefinition) definition = g_new0(LpmDefinition, 1);

    if (!doc) {
        lpm_fail(error, LPM_E_BAD_REQUEST, "the partition's definition is no XML");
        return NULL;
    }
    definition->xml = g_strdup(xml);
    definition->name = lpm_xml_text(doc, NULL, "name");
    definition->uuid = lpm_xml_text(doc, NULL, "uuid");
    definition->tpm = lpm_xml_has(doc, NULL, "devices/tpm/backend[@type='emulator']");
    g_autofree char *path = lpm_xml_text(doc, NULL, "os/nvram");
    g_strstrip(path);
    if (*path == '/') /* a volume or a network source has no text of its own */
        definition->nvram = g_steal_pointer(&path);
    if (!*definition->name || !g_uuid_string_is_valid(definition->uuid)) {
        lpm_fail(error, LPM_E_BAD_REQUEST, "the partition's definition has no name or no UUID");
        return NULL;
    }
    return g_steal_pointer(&definition);
}

LpmDefinition *lpm_host_definition(struct lpm_host *host, const char *uuid, GError **error)
{
    lpm_auto_connect connection = NULL;
    lpm_auto_domain domain = NULL;
    int autostart = 0;

    if (!lpm_host_find(host, uuid, &connection, &domain, error))
        return NULL;
    if (!domain || virDomainIsPersistent(domain) != 1) {
        lpm_fail(error, LPM_E_PARTITION_NOT_FOUND, "%s has no definition of partition %s",
                 host->config->name, uuid);
        return NULL;
    }
    char *xml = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
    if (!xml || virDomainGetAutostart(domain, &autostart) < 0) {
        lpm_host_fail(error, "reading the partition's definition");
        free(xml);
        return NULL;
    }
    LpmDefinition *definition = lpm_definition_parse(xml, error);
    explicit_bzero(xml, strlen(xml));
    free(xml);
    if (definition) {
        definition->autostart = autostart != 0;
        definition->saved = virDomainHasManagedSaveImage(domain, 0) == 1;
    }
    return definition;
}

gboolean lpm_host_define(struct lpm_host *host, const char *xml, GError **error)
{
    lpm_auto_connect connection = lpm_host_connect(host, error);

    if (!connection)
        return FALSE;
    lpm_auto_domain domain = virDomainDefineXMLFlags(connection, xml, 0);
    if (domain)
        return TRUE;
    virErrorPtr last = virGetLastError();
    /* A connection that broke leaves open whether it was done. */
    if (virConnectIsAlive(connection) != 1 || !last || last->domain == VIR_FROM_RPC ||
        last->code == VIR_ERR_NO_MEMORY)
        return lpm_host_fail(error, "defining the partition");
    return lpm_fail(error, LPM_E_DEFINITION_REFUSED, "%s: %s", host->config->name,
                    last->message ? last->message : "no cause");
}

gboolean lpm_host_undefine(struct lpm_host *host, const char *uuid, GError **error)
{
    lpm_auto_connect connection = NULL;
    lpm_auto_domain domain = NULL;

    if (!lpm_host_find(host, uuid, &connection, &domain, error))
        return FALSE;
    if (!domain || virDomainIsPersistent(domain) == 0)
        return TRUE;
    if (virDomainUndefineFlags(domain,
                               VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | VIR_DOMAIN_UNDEFINE_KEEP_TPM) < 0)
        return lpm_host_fail(error, "dropping the partition's definition");
    return TRUE;
}
