/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Judging, from made-up facts of both hosts to findings: devices, and the report itself. */
#include "judging.h"

/* ---- addresses that are seen elsewhere ---- */

#define SEEN(port, more)                                                                           \
    "{\"networks\": {\"adapters\": [{\"interface\": \"br0\", \"segments\": [{\"port\": \"" port    \
    "\"" more "}]}]}}"

static void expect_ports(const char *source, const char *target, const char *word)
{
    json_t *report =
        report_on("{\"adapters\": [{\"mac\": \"m\", \"tap\": \"vnet0\"}]}", source, target);
    const json_t *line = line_of(report, "macs");
    const json_t *finding = json_array_get(json_object_get(line, "findings"), 0);

    assert_string_equal(lpm_fact(finding, "code"), *word ? "LPM-6113" : "");
    assert_non_null(strstr(lpm_fact(finding, "cause"), word));
    json_decref(report);
}

static void test_addresses_elsewhere(void **state)
{
    (void)state;
    expect_ports(SEEN("vnet0", ""), SEEN("uplink", ", \"port_of_source\": \"uplink\""), "");
    expect_ports(SEEN("vnet0", ""), SEEN("vnet3", ", \"port_of_source\": \"uplink\""), "vnet3");
    expect_ports(SEEN("vnet0", ""), SEEN("br0", ", \"port_of_source\": \"uplink\""), "beta");
    expect_ports(SEEN("uplink", ""), SEEN("uplink", ", \"port_of_source\": \"uplink\""),
                 "of alpha through uplink");
    /* Nothing was seen of one of the two: nothing can be said. */
    expect_ports(SEEN("", ""), SEEN("vnet3", ""), "");
}

/* ---- devices ---- */

static void expect_devices(const char *model, const char *code)
{
    json_t *report = report_on(model, "{}", "{}");
    const json_t *findings = json_object_get(line_of(report, "devices"), "findings");

    assert_string_equal(lpm_fact(json_array_get(findings, 0), "code"), code);
    assert_int_equal(json_array_size(findings), *code != 0);
    json_decref(report);
}

#define FAST                                                                                       \
    "{\"type\": \"hostdev\", \"team\": \"transient\", \"partner\": \"ua-s\", \"address\": \"a\"}"
#define STANDBY "{\"type\": \"bridge\", \"team\": \"persistent\", \"alias\": \"ua-s\"}"
#define THERE(facts) "{\"devices\": [{\"address\": \"0000:65:00.1\", \"found\": true" facts "}]}"

static void test_fast_paths(void **state)
{
    (void)state;
    expect("fast-paths", "{}", "{}", "{\"devices\": []}", "not-applicable", "", "");
    expect("fast-paths", "{}", "{}", THERE(", \"virtual_function\": true, \"iommu\": true"), "pass",
           "", "");
    expect("fast-paths", "{}", "{}", THERE(""), "warning", "LPM-6117", "no virtual function");
    expect("fast-paths", "{}", "{}", THERE(", \"virtual_function\": true"), "warning", "LPM-6117",
           "no IOMMU");
    expect("fast-paths", "{}", "{}", "{\"devices\": [{\"address\": \"0000:65:00.1\"}]}", "warning",
           "LPM-6117", "no PCI device 0000:65:00.1");
}

static void test_devices(void **state)
{
    (void)state;
    expect_devices("{}", "");
    expect_devices("{\"redirdevs\": [{\"type\": \"spicevmc\"}, {}]}", "LPM-6116");
    expect_devices("{\"redirdevs\": []}", "");
    expect_devices("{\"hostdevs\": [{\"type\": \"usb\"}]}", "LPM-6040");
    expect_devices("{\"hostdevs\": [" FAST "], \"adapters\": [" STANDBY "]}", "");
    expect_devices("{\"hostdevs\": [" FAST "], \"adapters\": [{\"alias\": \"ua-s\"}]}", "LPM-6040");
    expect_devices("{\"adapters\": [{\"type\": \"vhostuser\"}]}", "LPM-6040");
    expect_devices("{\"adapters\": [" FAST ", " STANDBY "]}", "");
    expect_devices("{\"adapters\": [" FAST "]}", "LPM-6040");
    expect_devices("{\"disks\": [{\"type\": \"vhostuser\"}]}", "LPM-6040");
    expect_devices("{\"shmems\": [{\"role\": \"master\"}]}", "");
    expect_devices("{\"tpms\": [{\"backend\": \"passthrough\"}]}", "LPM-6040");
    expect_devices("{\"smartcards\": [{\"mode\": \"host\"}]}", "LPM-6040");
    expect_devices("{\"smartcards\": [{\"mode\": \"passthrough\"}]}", "");
}

/* ---- firmware ---- */

static void expect_firmware(const char *target, const char *others, const char *codes)
{
    g_autofree char *there =
        g_strdup_printf("{\"firmware\": {%s}, \"names\": {\"partitions\": [%s]}}", target, others);
    json_t *report =
        report_on("{\"uuid\": \"u\", \"state\": \"running\", \"nvram\": \"/n\", "
                  "\"nvram_template\": \"/t\", \"tpms\": [{\"backend\": \"emulator\"}]}",
                  "{\"firmware\": {}}", there);
    const json_t *finding =
        json_array_get(json_object_get(line_of(report, "firmware"), "findings"), 0);

    assert_string_equal(lpm_fact(finding, "code"), codes);
    json_decref(report);
}

#define PLACE "\"folder\": true, \"tpm\": true"

static void test_firmware(void **state)
{
    (void)state;
    expect_firmware(PLACE ", \"template\": true", "", "");
    expect_firmware(PLACE ", \"nvram\": true", "", "");
    expect_firmware(PLACE, "", "LPM-6114");
    expect_firmware("\"template\": true, \"tpm\": true", "", "LPM-6114");
    expect_firmware("\"folder\": true, \"template\": true", "", "LPM-6115");
    expect_firmware(PLACE ", \"nvram\": true", "{\"uuid\": \"v\", \"nvram\": \"/n\"}", "LPM-6114");
    expect_firmware(PLACE ", \"nvram\": true", "{\"uuid\": \"u\", \"nvram\": \"/n\"}", "");
}

/* ---- the report ---- */

/* What stops a migration names every error, the first one's code being its own; warnings do not
 * stop it. */
static void test_all_errors_are_named(void **state)
{
    const char *here = "{\"state\": {\"state\": \"paused\"}}";
    json_t *report = report_on("{\"block_jobs\": [\"vdq\"], \"disks\": "
                               "[{\"target\": \"vdc\", \"cache\": \"writeback\"}]}",
                               here, "null");
    g_autoptr(GError) error = NULL;

    (void)state;
    assert_false(lpm_validate_passed(report, &error));
    assert_int_equal(error->code, LPM_E_PEER_ANSWER);
    assert_true(g_str_has_prefix(error->message, "4 errors: [LPM-2006] "));
    assert_non_null(strstr(error->message, "; [LPM-6006] vdc"));
    assert_non_null(strstr(error->message, "; [LPM-3002] "));
    assert_non_null(strstr(error->message, "; [LPM-3005] "));
    json_decref(report);
}

static void test_warnings_pass(void **state)
{
    const json_t *report =
        json_pack("{s:i, s:i, s:[{s:[{s:s, s:s, s:s}]}]}", "errors", 0, "warnings", 1, "checks",
                  "findings", "code", "LPM-6060", "severity", "warning", "cause", "late");
    g_autoptr(GError) error = NULL;

    (void)state;
    assert_true(lpm_validate_passed(report, &error));
    assert_null(error);
    json_t *findings = lpm_validate_findings(report);
    assert_int_equal(json_array_size(findings), 1);
    json_decref(findings);
    json_decref((json_t *)report);
}

/* What a host could not gather is told as that host's error, and the rest is judged. */
static void test_side_that_failed(void **state)
{
    (void)state;
    expect("memory", "{}", "{}",
           "{\"error\": {\"code\": \"LPM-3004\", \"cause\": \"no libvirtd\"}}", "error", "LPM-3004",
           "beta: no libvirtd");
}

/* An older peer that does not know a check is not taken for one that passes it. */
static void test_check_that_the_peer_does_not_know(void **state)
{
    json_t *report = report_on(DISK, "{\"disks\": {\"disks\": []}}", "{}");

    (void)state;
    assert_string_equal(lpm_fact(line_of(report, "disks"), "verdict"), "error");
    assert_string_equal(lpm_fact(report, "verdict"), "not-possible");
    json_decref(report);
}

static void test_unreached_host(void **state)
{
    json_t *report =
        report_on("{\"state\": \"running\"}", "{\"state\": {\"state\": \"running\"}}", "null");
    GError *error = NULL;

    (void)state;
    assert_string_equal(lpm_fact(line_of(report, "trust"), "verdict"), "error");
    assert_string_equal(lpm_fact(line_of(report, "disks"), "verdict"), "not-checked");
    assert_string_equal(lpm_fact(line_of(report, "state"), "verdict"), "pass");
    assert_false(lpm_validate_passed(report, &error));
    assert_int_equal(error->code, LPM_E_PEER_ANSWER);
    g_clear_error(&error);
    json_decref(report);
}

/* Whatever a peer sends as facts, judging it neither fails nor passes by accident of its type. */
static void test_facts_of_any_type(void **state)
{
    static const char *const odd[] = {
        "[]", "7", "\"x\"", "{\"disks\": 1}", "{\"disks\": [[], 3]}", "{\"adapters\": [null]}"};

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(odd); i++) {
        json_t *facts = json_object();
        for (const struct lpm_check *check = lpm_checks; check->id; check++)
            json_object_set_new(facts, check->id, json_loads(odd[i], JSON_DECODE_ANY, NULL));
        g_autofree char *text = json_dumps(facts, 0);
        json_t *report = report_on("{\"disks\": [{\"target\": \"vda\"}], \"adapters\": "
                                   "[{\"mac\": \"a\", \"type\": \"bridge\"}]}",
                                   text, text);
        assert_string_equal(lpm_fact(report, "verdict"), "not-possible");
        json_decref(report);
        json_decref(facts);
    }
}

/* ---- many hosts ---- */

static void test_rank(void **state)
{
    json_t *reports =
        json_loads("[{\"target\": \"error\", \"errors\": 1, \"warnings\": 0},"
                   " {\"target\": \"unknown\", \"errors\": 0, \"warnings\": 0, \"forecast\": null},"
                   " {\"target\": \"warning\", \"errors\": 0, \"warnings\": 1,"
                   "  \"forecast\": {\"total_ms\": {\"expected\": 10}}},"
                   " {\"target\": \"slow\", \"errors\": 0, \"warnings\": 0,"
                   "  \"forecast\": {\"total_ms\": {\"expected\": 3000}}},"
                   " {\"target\": \"endless\", \"errors\": 0, \"warnings\": 0,"
                   "  \"forecast\": {\"total_ms\": {\"expected\": null}}},"
                   " {\"target\": \"fast\", \"errors\": 0, \"warnings\": 0,"
                   "  \"forecast\": {\"total_ms\": {\"expected\": 2000}}}]",
                   0, NULL);
    static const char *const order[] = {"fast", "slow", "endless", "unknown", "warning", "error"};

    (void)state;
    assert_non_null(reports);
    reports = lpm_validate_rank(reports);
    assert_int_equal(json_array_size(reports), G_N_ELEMENTS(order));
    for (gsize i = 0; i < G_N_ELEMENTS(order); i++)
        assert_string_equal(lpm_fact(json_array_get(reports, i), "target"), order[i]);
    json_decref(reports);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_elsewhere),
        cmocka_unit_test(test_fast_paths),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_firmware),
        cmocka_unit_test(test_all_errors_are_named),
        cmocka_unit_test(test_warnings_pass),
        cmocka_unit_test(test_side_that_failed),
        cmocka_unit_test(test_check_that_the_peer_does_not_know),
        cmocka_unit_test(test_unreached_host),
        cmocka_unit_test(test_facts_of_any_type),
        cmocka_unit_test(test_rank),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
