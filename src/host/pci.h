/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* PCI devices of this host, as the kernel has them in sysfs. Any thread. */
#ifndef LPM_HOST_PCI_H
#define LPM_HOST_PCI_H

#include <glib.h>
#include <jansson.h>

#define LPM_PCI_DEVICES "/sys/bus/pci/devices"

/* {found, virtual_function, iommu} of the device with that address ("0000:65:00.1") in `folder`,
 * which is LPM_PCI_DEVICES but in tests. */
json_t *lpm_pci_look(const char *folder, const char *address);

/* "0000:65:00.1" of the four numbers of a description's address. A new string. */
char *lpm_pci_address(guint domain, guint bus, guint slot, guint function);

#endif
