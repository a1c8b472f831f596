/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Judging what hosts are and have room for, above all what a lab does not have: batteries, clocks
 * that differ, other processors, nodes. */
#include "daemon/node-demands.h"
#include "judging.h"

/* ---- hosts ---- */

static void test_clocks(void **state)
{
    (void)state;
    expect("clocks", "{}", "{\"offset_us\": 400000, \"error_us\": 100}", "{}", "pass", "", "");
    expect("clocks", "{}", "{\"offset_us\": -2000000, \"error_us\": 100}", "{}", "warning",
           "LPM-6060", "2000 ms behind");
    /* A slow line: not known well enough to say that they differ. */
    expect("clocks", "{}", "{\"offset_us\": 900000, \"error_us\": 600000}", "{}", "pass", "", "");
}

#define LIMITS(active, limit)                                                                      \
    "{\"limits\": [{\"limit\": \"max_migrations\", \"active\": " active                            \
    ", \"most\": 8}, {\"limit\": \"" limit "\", \"active\": " active ", \"most\": 4}]}"

static void test_power_and_limits(void **state)
{
    (void)state;
    expect("power", "{}", "{\"on_battery\": true}", "{\"on_battery\": false}", "pass", "", "");
    expect("power", "{}", "{\"on_battery\": false}", "{\"on_battery\": true}", "error", "LPM-6070",
           "beta");
    expect("limits", "{}", LIMITS("1", "max_outgoing"), LIMITS("3", "max_incoming"), "pass", "",
           "");
    expect("limits", "{}", LIMITS("1", "max_outgoing"), LIMITS("4", "max_per_peer"), "error",
           "LPM-1008", "beta carries 4 migrations of at most 4 (max_per_peer)");
}

#define VERSIONS(qemu, libvirt, protocol)                                                          \
    "{\"qemu\": \"" qemu "\", \"libvirt\": \"" libvirt "\", \"protocol\": " protocol               \
    ", \"socket_dir\": \"/run\"}"

static void test_versions(void **state)
{
    (void)state;
    expect("versions", "{}", VERSIONS("7.2.22", "9.0.0", "1"), VERSIONS("10.0.0", "11.3.0", "1"),
           "pass", "", "");
    expect("versions", "{}", VERSIONS("10.0.0", "9.0.0", "1"), VERSIONS("9.2.1", "9.0.0", "1"),
           "warning", "LPM-6050", "qemu");
    expect("versions", "{}", VERSIONS("7.2.22", "9.0.0", "1"), VERSIONS("7.2.22", "9.0.0", "2"),
           "error", "LPM-2006", "protocol 2");
    expect("versions", "{}", VERSIONS("7.2.22", "9.0.0", "1"), VERSIONS("nonsense", "", "1"),
           "pass", "", "");
}

/* ---- processor ---- */

#define PASSTHROUGH "{\"cpu_mode\": \"host-passthrough\"}"
#define RESULT(result) "{\"result\": \"" result "\", \"cause\": \"lacks avx\"}"

static void test_processor(void **state)
{
    (void)state;
    expect("processor", "{}", RESULT("superset"), RESULT("superset"), "pass", "", "");
    expect("processor", "{}", RESULT("superset"), RESULT("incompatible"), "error", "LPM-6020",
           "avx");
    /* The source lacks it too, and the partition runs there: no reason against the target. */
    expect("processor", "{}", RESULT("incompatible"), RESULT("incompatible"), "pass", "", "");
    expect("processor", PASSTHROUGH, RESULT("identical"), RESULT("incompatible"), "error",
           "LPM-6020", "own processor");
    expect("processor", PASSTHROUGH, RESULT("identical"), RESULT("superset"), "warning", "LPM-6023",
           "beta's has more than alpha's");
    expect("processor", PASSTHROUGH, RESULT("identical"), RESULT("identical"), "pass", "", "");
    expect("processor", "{}", "{\"result\": \"none\"}", "{\"result\": \"none\"}", "not-applicable",
           "", "");
}

static void expect_way_back(const char *mode, const char *source, const char *word)
{
    g_autofree char *model = g_strdup_printf("{\"next_cpu_mode\": \"%s\"}", mode);

    expect("processor", model, source, "{\"result\": \"superset\"}", *word ? "warning" : "pass",
           *word ? "LPM-6023" : "", word);
}

#define BACK(result) "{\"result\": \"superset\", \"way_back\": " RESULT(result) "}"

static void test_way_back(void **state)
{
    (void)state;
    expect_way_back("host-model", BACK("incompatible"), "not come back to alpha: lacks avx");
    expect_way_back("host-model", BACK("identical"), "");
    expect_way_back("host-model", BACK("superset"), "");
    /* A feature that libvirt here has no name for: nothing is known. */
    expect_way_back("host-model", BACK("unknown"), "");
    expect_way_back("host-model", "{\"result\": \"superset\"}", "");
    expect_way_back("custom", BACK("incompatible"), "");
}

static void expect_microcode(const char *model, const char *here, const char *there,
                             const char *code)
{
    g_autofree char *source = g_strdup_printf(
        "{\"processor\": " RESULT("identical") ", \"machine\": {\"microcode\": \"%s\"}}", here);
    g_autofree char *target =
        g_strdup_printf("{\"processor\": " RESULT(
                            "identical") ", \"machine\": {\"known\": true, \"microcode\": \"%s\"}}",
                        there);
    json_t *report = report_on(model, source, target);
    const json_t *findings = json_object_get(line_of(report, "processor"), "findings");

    assert_string_equal(lpm_fact(json_array_get(findings, 0), "code"), code);
    json_decref(report);
}

static void test_microcode(void **state)
{
    (void)state;
    expect_microcode(PASSTHROUGH, "17", "17", "");
    expect_microcode(PASSTHROUGH, "17", "18", "LPM-6021");
    expect_microcode(PASSTHROUGH, "17", "", ""); /* one does not tell */
    expect_microcode("{\"cpu_mode\": \"custom\"}", "17", "18", "");
}

static void expect_power(const char *model, const char *source, const char *target,
                         const char *code, const char *word)
{
    g_autofree char *here =
        g_strdup_printf("{\"processor\": {}, \"machine\": {\"known\": true, %s}}", source);
    g_autofree char *there =
        g_strdup_printf("{\"processor\": {}, \"machine\": {\"known\": true, %s}}", target);
    json_t *report = report_on(model, here, there);
    const json_t *finding =
        json_array_get(json_object_get(line_of(report, "processor"), "findings"), 0);

    assert_string_equal(lpm_fact(finding, "code"), code);
    assert_non_null(strstr(lpm_fact(finding, "cause"), word));
    json_decref(report);
}

#define POWER(kind, mode) "{\"arch\": \"ppc64le\", \"hypervisor\": \"" kind "\"" mode "}"
#define COMPAT(name) ", \"cpu_model\": \"" name "\""
#define IS(name) "\"cpu_model\": \"" name "\""
#define CAN(name) "\"cpu_models\": [{\"name\": \"POWER7\"}, {\"name\": \"" name "\"}]"

static void test_power_modes(void **state)
{
    (void)state;
    expect_power(POWER("kvm", COMPAT("power9")), IS("POWER9"), IS("POWER10"), "", "");
    expect_power(POWER("kvm", COMPAT("power9")), IS("POWER9"), IS("POWER8"), "LPM-6020",
                 "runs as POWER9, and beta is a POWER8");
    expect_power(POWER("kvm", ""), IS("POWER10"), IS("POWER9_v2.0"), "LPM-6020", "as POWER10");
    expect_power(POWER("kvm", ""), IS("POWER9"), IS("POWER9"), "", "");
    expect_power(POWER("kvm", ""), IS("POWER9"), IS("POWER10"), "LPM-6023", "POWER10");
    expect_power(POWER("qemu", COMPAT("POWER8")), CAN("POWER8"), CAN("POWER8"), "", "");
    expect_power(POWER("qemu", COMPAT("POWER8")), CAN("POWER8"), CAN("POWER9"), "LPM-6020",
                 "cannot be a POWER8");
}

/* ---- room ---- */

static void test_memory(void **state)
{
    const char *model = "{\"memory_bytes\": 1073741824}";

    (void)state;
    expect("memory", model, "{}", "{\"available_bytes\": 2147483648, \"promised_bytes\": 0}",
           "pass", "", "");
    /* Promised to partitions that are on their way there. */
    expect("memory", model, "{}",
           "{\"available_bytes\": 2147483648, \"promised_bytes\": 1073741824}", "error", "LPM-6030",
           "1024 MiB, required are 1088 MiB");
    /* The same with the name of the one that it is promised to. */
    expect("memory", model, "{}",
           "{\"available_bytes\": 2147483648, \"promised_bytes\": 1140850688, \"promised\": "
           "[{\"partition\": \"web\", \"migration\": \"00aa\", \"memory_bytes\": 1073741824}]}",
           "error", "LPM-6030", "2048 MiB that are available, 1088 MiB are promised to web");
    /* Given to partitions that run there, which have not touched it yet. */
    expect("memory", model, "{}",
           "{\"available_bytes\": 2147483648, \"untouched_bytes\": 1073741824}", "error",
           "LPM-6030", "1024 MiB belong to partitions that run");
    expect("memory", "{\"memory_bytes\": 1073741824, \"hugepages\": [{\"size\": 2097152}]}", "{}",
           "{\"available_bytes\": 134217728}", "pass", "", "");
}

/* ---- processors ---- */

static void expect_processors(int vcpus, const char *target, const char *machine,
                              const char *verdict, const char *codes)
{
    g_autofree char *model = g_strdup_printf("{\"vcpus\": %d}", vcpus);
    g_autofree char *there =
        g_strdup_printf("{\"memory\": {%s}, \"machine\": {%s}}", target, machine);
    json_t *report = report_on(model, "{\"memory\": {\"cpus\": 16}}", there);
    const json_t *line = line_of(report, "processors");

    assert_string_equal(lpm_fact(line, "verdict"), verdict);
    assert_string_equal(lpm_fact(json_array_get(json_object_get(line, "findings"), 0), "code"),
                        codes);
    json_decref(report);
}

static void test_processors(void **state)
{
    (void)state;
    expect_processors(8, "\"cpus\": 8", "\"vcpus_max\": 8", "pass", "");
    expect_processors(9, "\"cpus\": 16", "\"vcpus_max\": 8", "error", "LPM-6032");
    expect_processors(9, "\"cpus\": 8", "\"vcpus_max\": 255", "warning", "LPM-6033");
    /* More than the source has either: nothing gets worse. */
    expect_processors(32, "\"cpus\": 8, \"promised_vcpus\": 0", "", "warning", "LPM-6033");
    expect_processors(32, "\"cpus\": 16", "", "pass", "");
    expect_processors(8, "\"cpus\": 16, \"promised_vcpus\": 9", "", "warning", "LPM-6033");
}

/* ---- bindings ---- */

#define NODES                                                                                      \
    "{\"cpus\": \"0-3\", \"nodes\": [{\"node\": 0, \"total_bytes\": 4294967296, "                  \
    "\"available_bytes\": "                                                                        \
    "1073741824, \"hugepages\": [{\"size\": 2097152, \"free\": 256}]}, {\"node\": 1, "             \
    "\"total_bytes\": 4294967296, \"available_bytes\": 536870912, \"hugepages\": []}]}"
#define PIN(cpus) "{\"pins\": [{\"kind\": \"processor\", \"number\": 2, \"cpus\": \"" cpus "\"}]}"
#define BOUND(mode, nodes, more)                                                                   \
    "{\"memory_bytes\": 1073741824, \"memory_binding\": {\"mode\": \"" mode                        \
    "\", \"nodeset\": \"" nodes "\"}" more "}"
#define CELLS(first, second)                                                                       \
    ", \"cells\": [{\"id\": 0, \"bytes\": 536870912, \"nodeset\": \"" first                        \
    "\"}, {\"id\": 1, \"bytes\": 805306368, \"nodeset\": \"" second "\"}]"

static void test_placement(void **state)
{
    (void)state;
    expect("placement", "{}", "{}", NODES, "not-applicable", "", "");
    expect("placement", PIN("0-3"), "{}", NODES, "pass", "", "");
    expect("placement", PIN("4-5"), "{}", NODES, "error", "LPM-6034",
           "processor 2 is pinned to processors 4-5");
    expect("placement", PIN("3-4"), "{}", NODES, "warning", "LPM-6036", "only some");
    expect("placement", BOUND("strict", "0", ""), "{}", NODES, "pass", "", "");
    expect("placement", BOUND("strict", "1", ""), "{}", NODES, "error", "LPM-6035",
           "nodes 1 of beta have 512 MiB that are available, required are 1024 MiB");
    expect("placement", BOUND("preferred", "1", ""), "{}", NODES, "pass", "", "");
    /* A node that is not there helps no mode. */
    expect("placement", BOUND("preferred", "2", ""), "{}", NODES, "error", "LPM-6034", "no 2");
    expect("placement", BOUND("strict", "0-1", CELLS("0", "1")), "{}", NODES, "error", "LPM-6035",
           "768 MiB");
    /* Bound alike they count together; what has no binding of its own has the partition's. */
    expect("placement", BOUND("strict", "0", CELLS("0", "")), "{}", NODES, "error", "LPM-6035",
           "1280 MiB");
    expect("placement", BOUND("strict", "0-1", CELLS("", "")), "{}", NODES, "pass", "", "");
    expect("placement", BOUND("strict", "0", ", \"hugepages\": [{\"size\": 2097152}]"), "{}", NODES,
           "error", "LPM-6035", "512 MiB free in huge pages");
}

/* Beside what the nodes must give to partitions on their way there. */
static void expect_beside(const char *model, const char *promised, const char *codes,
                          const char *word)
{
    g_autofree char *there = g_strdup_printf(
        "{\"placement\": " NODES ", \"memory\": {\"promised\": [{\"memory_nodes\": [%s]}]}}",
        promised);
    json_t *report = report_on(model, "{\"placement\": {}}", there);
    const json_t *finding =
        json_array_get(json_object_get(line_of(report, "placement"), "findings"), 0);

    assert_string_equal(lpm_fact(finding, "code"), codes);
    assert_non_null(strstr(lpm_fact(finding, "cause"), word));
    json_decref(report);
}

#define PROMISE(nodes, page, bytes)                                                                \
    "{\"nodes\": \"" nodes "\", \"page_size\": " page ", \"bytes\": " bytes "}"

static void test_promised_nodes(void **state)
{
    const char *all = BOUND("strict", "0", ""), *both = BOUND("strict", "0-1", "");
    const char *huge = "{\"memory_bytes\": 536870912, \"hugepages\": [{\"size\": 2097152}], "
                       "\"memory_binding\": {\"mode\": \"strict\", \"nodeset\": \"0\"}}";

    (void)state;
    expect_beside(all, PROMISE("1", "0", "1048576"), "", "");
    expect_beside(
        all, PROMISE("0", "0", "1048576"), "LPM-6035",
        "have 1023 MiB that are available, required are 1024 MiB: 1 MiB more are promised");
    expect_beside(all, PROMISE("0", "2097152", "1048576"), "", ""); /* of other memory */
    /* Half a node's is to be had elsewhere; what is not must come from here. */
    expect_beside(all, "{\"nodes\": \"0-1\", \"page_size\": 0, \"bytes\": 536870912}", "", "");
    expect_beside(all, "{\"nodes\": \"0-1\", \"page_size\": 0, \"bytes\": 537919488}", "LPM-6035",
                  "1 MiB more");
    /* Two that are bound alike have that half only once. */
    expect_beside(all,
                  "{\"nodes\": \"0-1\", \"page_size\": 0, \"bytes\": 536870912}, "
                  "{\"nodes\": \"0-1\", \"page_size\": 0, \"bytes\": 1048576}",
                  "LPM-6035", "1 MiB more");
    expect_beside(both, "{\"nodes\": \"0\", \"page_size\": 0, \"bytes\": 536870912}", "", "");
    expect_beside(both, "{\"nodes\": \"0\", \"page_size\": 0, \"bytes\": 537919488}", "LPM-6035",
                  "have 1023 MiB");
    expect_beside(huge, PROMISE("0", "0", "1048576"), "", "");
    expect_beside(huge, PROMISE("0", "2097152", "1048576"), "LPM-6035",
                  "511 MiB free in huge pages");
    expect_beside(huge, PROMISE("0", "1", "1048576"), "LPM-6035", "511 MiB free in huge pages");
    /* What a peer may send. */
    expect_beside(all, "7, {\"nodes\": 3}, {\"nodes\": \"0\", \"bytes\": -5}", "", "");
    expect_beside(all, "{\"nodes\": \"0\", \"bytes\": 9223372036854775807}", "LPM-6035", "0 MiB");
}

/* What has arrived is in the nodes' own figures. */
static void test_demands_left(void **state)
{
    json_t *demands = json_loads("[{\"nodes\": \"0\", \"page_size\": 0, \"bytes\": 1000}, "
                                 "{\"nodes\": \"1\", \"page_size\": 1, \"bytes\": 1000}]",
                                 0, NULL);
    static const struct {
        gint64 taken;
        gboolean started;
        gint64 ordinary, huge;
    } cases[] = {
        {0, FALSE, 1000, 1000}, {0, TRUE, 1000, 0}, {1000, TRUE, 500, 0}, {3000, TRUE, 0, 0}};

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        json_t *left = lpm_node_demands_left(demands, 2000, cases[i].taken, cases[i].started);

        assert_int_equal(lpm_fact_int(json_array_get(left, 0), "bytes"), cases[i].ordinary);
        assert_int_equal(lpm_fact_int(json_array_get(left, 1), "bytes"), cases[i].huge);
        json_decref(left);
    }
    json_decref(demands);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clocks),         cmocka_unit_test(test_power_and_limits),
        cmocka_unit_test(test_versions),       cmocka_unit_test(test_processor),
        cmocka_unit_test(test_way_back),       cmocka_unit_test(test_microcode),
        cmocka_unit_test(test_power_modes),    cmocka_unit_test(test_memory),
        cmocka_unit_test(test_processors),     cmocka_unit_test(test_placement),
        cmocka_unit_test(test_promised_nodes), cmocka_unit_test(test_demands_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
