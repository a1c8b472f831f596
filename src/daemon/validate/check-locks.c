/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Where libvirt locks disks and leases (lock_manager in qemu.conf) the target must do so too
 * (R2.2). libvirt 9.0 moves a partition from virtlockd to a host without it and says nothing; and a
 * lease that the target looks for in another folder is missed only when the partition is to be
 * resumed there, its source being ended. libvirt tells nobody what it is configured to, so its
 * files are read.
 */
#include "daemon/validate/checks.h"

#include <string.h>

#define FOLDER "/etc/libvirt"

/* What must be alike, with libvirt's defaults. */
static const struct {
    const char *manager, *key, *usual;
} settings[] = {
    {"lockd", "auto_disk_leases", "1"},   {"lockd", "file_lockspace_dir", ""},
    {"lockd", "lvm_lockspace_dir", ""},   {"lockd", "scsi_lockspace_dir", ""},
    {"sanlock", "auto_disk_leases", "0"}, {"sanlock", "disk_lease_dir", "/var/lib/libvirt/sanlock"},
};

/* A file of libvirt's configuration; a file that is not there is an empty one. */
static char *read_file(const char *name, GError **error)
{
    g_autoptr(GError) reason = NULL;
    g_autofree char *path = g_build_filename(FOLDER, name, NULL);
    char *text = NULL;

    if (g_file_get_contents(path, &text, NULL, &reason))
        return text;
    if (g_error_matches(reason, G_FILE_ERROR, G_FILE_ERROR_NOENT))
        return g_strdup("");
    lpm_fail(error, LPM_E_LOCKS_LOST, "whether disks are locked is not known: %s", reason->message);
    return NULL;
}

/* `key = "value"` or a number, a line each; the last one counts. A new string. */
static char *value_of(const char *text, const char *key, const char *usual)
{
    g_autofree char *pattern =
        g_strdup_printf("^[ \\t]*%s[ \\t]*=[ \\t]*(?|\"([^\"\\n]*)\"|'([^'\\n]*)'|([0-9]+))", key);
    g_autoptr(GRegex) regex = g_regex_new(pattern, G_REGEX_MULTILINE | G_REGEX_RAW, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;
    g_autofree char *found = g_strdup(usual);

    g_regex_match(regex, text, 0, &match);
    while (g_match_info_matches(match)) {
        g_free(found);
        found = g_match_info_fetch(match, 1);
        g_match_info_next(match, NULL);
    }
    return g_utf8_make_valid(found, -1);
}

json_t *lpm_gather_locks(struct lpm_validation *validation G_GNUC_UNUSED, GError **error)
{
    g_autofree char *hypervisor = read_file("qemu.conf", error);

    if (!hypervisor)
        return NULL;
    g_autofree char *manager = value_of(hypervisor, "lock_manager", "nop");
    g_autofree char *name = g_strdup_printf("qemu-%s.conf", manager);
    g_autofree char *own = read_file(name, error);
    if (!own)
        return NULL;
    json_t *facts = json_pack("{s:s}", "manager", manager);
    for (gsize i = 0; i < G_N_ELEMENTS(settings); i++) {
        if (strcmp(settings[i].manager, manager) != 0)
            continue;
        g_autofree char *value = value_of(own, settings[i].key, settings[i].usual);
        json_object_set_new(facts, settings[i].key, json_string(value));
    }
    return facts;
}

void lpm_judge_locks(struct lpm_judgement *judgement)
{
    const char *here = lpm_fact(judgement->source, "manager");
    const char *there = lpm_fact(judgement->target, "manager");

    if (!*here || strcmp(here, "nop") == 0) {
        lpm_does_not_apply(judgement);
        return;
    }
    if (strcmp(here, there) != 0) {
        gboolean none = !*there || strcmp(there, "nop") == 0;

        lpm_find_loss(
            judgement, LPM_E_LOCKS_LOST,
            "libvirt on %s locks disks with '%s', on %s %s%s: the partition's locks would "
            "be given up",
            judgement->source_name, here, judgement->target_name, none ? "it locks none" : "with ",
            none ? "" : there);
        return;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(settings); i++) {
        const char *key = settings[i].key, *value = lpm_fact(judgement->source, key);
        const char *theirs = lpm_fact(judgement->target, key);

        if (strcmp(settings[i].manager, here) == 0 && strcmp(value, theirs) != 0)
            lpm_find(judgement, LPM_E_LOCKS_LOST, "%s of '%s' is '%s' on %s and '%s' on %s", key,
                     here, value, judgement->source_name, theirs, judgement->target_name);
    }
}
