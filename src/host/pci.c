/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/pci.h"

#include <string.h>

char *lpm_pci_address(guint domain, guint bus, guint slot, guint function)
{
    return g_strdup_printf("%04x:%02x:%02x.%u", domain, bus, slot, function);
}

static gboolean has(const char *folder, const char *address, const char *name)
{
    g_autofree char *path = g_build_filename(folder, address, name, NULL);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

json_t *lpm_pci_look(const char *folder, const char *address)
{
    gboolean name = *address && strspn(address, "0123456789abcdef:.") == strlen(address) &&
                    g_ascii_isxdigit(*address);

    return json_pack("{s:s, s:b, s:b, s:b}", "address", address, "found",
                     name && has(folder, address, ""), "virtual_function",
                     name && has(folder, address, "physfn"), "iommu",
                     name && has(folder, address, "iommu_group"));
}
