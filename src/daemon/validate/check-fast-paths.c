/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What is unplugged for the move, the fast path of a team, is on the target too (R2.5). */
#include "daemon/validate/checks.h"
#include "host/pci.h"

/* Of both lists in their order: [{address, found, virtual_function, iommu}]. */
json_t *lpm_gather_fast_paths(struct lpm_validation *validation, GError **error G_GNUC_UNUSED)
{
    static const char *const lists[] = {"hostdevs", "adapters"};
    json_t *found = json_array();
    const json_t *device;
    size_t i;

    for (gsize k = 0; k < G_N_ELEMENTS(lists); k++) {
        json_array_foreach (json_object_get(validation->model, lists[k]), i, device) {
            if (i < LPM_DEVICES_MAX && lpm_is_fast_path(device) && *lpm_fact(device, "address"))
                json_array_append_new(found,
                                      lpm_pci_look(LPM_PCI_DEVICES, lpm_fact(device, "address")));
        }
    }
    return json_pack("{s:o}", "devices", found);
}

/* A warning, since of one that runs libvirt does not tell whether it comes from a network of
 * devices, of which the target has others. */
void lpm_judge_fast_paths(struct lpm_judgement *judgement)
{
    const json_t *devices = json_object_get(judgement->target, "devices"), *device;
    size_t i;

    json_array_foreach (devices, i, device) {
        const char *address = lpm_fact(device, "address"), *name = judgement->target_name;

        if (!lpm_fact_true(device, "found"))
            lpm_find(judgement, LPM_E_FAST_PATH, "%s has no PCI device %s", name, address);
        else if (!lpm_fact_true(device, "virtual_function"))
            lpm_find(judgement, LPM_E_FAST_PATH, "%s of %s is no virtual function", address, name);
        else if (!lpm_fact_true(device, "iommu"))
            lpm_find(judgement, LPM_E_FAST_PATH, "%s of %s is behind no IOMMU", address, name);
    }
    if (!json_array_size(devices))
        lpm_does_not_apply(judgement);
}
