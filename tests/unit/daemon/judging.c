/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "judging.h"

gboolean force;

json_t *report_on(const char *model, const char *source, const char *target)
{
    static LpmConfig config = {.name = (char *)"alpha"};
    static struct lpm_daemon daemon = {.config = &config};
    json_t *described = json_loads(model, 0, NULL);
    json_t *here = json_loads(source, 0, NULL), *there = json_loads(target, 0, NULL);
    struct lpm_validation validation = {.daemon = &daemon,
                                        .side = LPM_SIDE_SOURCE,
                                        .peer = "beta",
                                        .model = described,
                                        .force = force};

    assert_non_null(described);
    assert_non_null(here);
    json_t *report = lpm_validation_report(&validation, here, there, NULL);
    json_decref(described);
    json_decref(here);
    json_decref(there);
    return report;
}

const json_t *line_of(const json_t *report, const char *id)
{
    const json_t *check;
    size_t i;

    json_array_foreach (json_object_get(report, "checks"), i, check) {
        if (strcmp(lpm_fact(check, "id"), id) == 0)
            return check;
    }
    fail_msg("no check %s", id);
    return NULL;
}

void expect(const char *id, const char *model, const char *source, const char *target,
            const char *verdict, const char *codes, const char *word)
{
    g_autofree char *here = g_strdup_printf("{\"%s\": %s}", id, source);
    g_autofree char *there = g_strdup_printf("{\"%s\": %s}", id, target);
    json_t *report = report_on(model, here, there);
    const json_t *line = line_of(report, id), *finding;
    g_autoptr(GString) found = g_string_new(NULL);
    gboolean said = *word == 0;
    size_t i;

    json_array_foreach (json_object_get(line, "findings"), i, finding) {
        g_string_append_printf(found, "%s%s", i ? " " : "", lpm_fact(finding, "code"));
        said = said || strstr(lpm_fact(finding, "cause"), word);
    }
    assert_string_equal(found->str, codes);
    assert_string_equal(lpm_fact(line, "verdict"), verdict);
    assert_true(said);
    json_decref(report);
}

void expect_disk(const char *source, const char *target, const char *verdict, const char *codes,
                 const char *word)
{
    g_autofree char *here = g_strdup_printf("{\"disks\": [%s]}", source);
    g_autofree char *there = g_strdup_printf("{\"disks\": [%s]}", target);

    expect("disks", DISK, here, there, verdict, codes, word);
}
