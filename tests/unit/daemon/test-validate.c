/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Judging: from made-up facts of both hosts to findings, above all for what a lab does not have
 * (volumes, clustered file systems, batteries, clocks that differ, an older peer). */
#include "daemon/validate/checks.h"
#include "daemon/validate/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static gboolean force; /* of the next reports */

/* The report on a model with the facts of some checks; checks that are not given have none. */
static json_t *report_on(const char *model, const char *source, const char *target)
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

/* The line of one check; borrowed from `report`. */
static const json_t *line_of(const json_t *report, const char *id)
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

/* One check with facts of both sides gives exactly that verdict and those codes, and a cause that
 * holds `word`. */
static void expect(const char *id, const char *model, const char *source, const char *target,
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

/* ---- disks ---- */

#define DISK "{\"disks\": [{\"target\": \"vda\", \"type\": \"block\"}]}"

static void expect_disk(const char *source, const char *target, const char *verdict,
                        const char *codes, const char *word)
{
    g_autofree char *here = g_strdup_printf("{\"disks\": [%s]}", source);
    g_autofree char *there = g_strdup_printf("{\"disks\": [%s]}", target);

    expect("disks", DISK, here, there, verdict, codes, word);
}

#define BLOCK "\"kind\": \"block\", \"at\": \"/dev/x\", "

static void test_block_devices(void **state)
{
    (void)state;
    /* The mapper's UUID names volume group and volume; the same on both hosts is the same volume.
     */
    expect_disk("{" BLOCK "\"identity\": \"LVM-abc\", \"size_bytes\": 8}",
                "{" BLOCK "\"identity\": \"LVM-abc\", \"size_bytes\": 8}", "pass", "", "");
    expect_disk("{" BLOCK "\"identity\": \"LVM-abc\"}", "{" BLOCK "\"identity\": \"LVM-def\"}",
                "error", "LPM-6001", "LVM-def");
    expect_disk("{" BLOCK "\"serial\": \"S1\"}", "{" BLOCK "\"serial\": \"S1\"}", "pass", "", "");
    expect_disk("{" BLOCK "\"serial\": \"S1\"}", "{" BLOCK "\"serial\": \"S2\"}", "error",
                "LPM-6001", "S2");
    /* Equal names, and yet another size: a clone, or half of a resize. */
    expect_disk("{" BLOCK "\"serial\": \"S1\", \"size_bytes\": 8}",
                "{" BLOCK "\"serial\": \"S1\", \"size_bytes\": 9}", "error", "LPM-6001", "9");
    expect_disk("{" BLOCK "\"size_bytes\": 8}", "{" BLOCK "\"size_bytes\": 9}", "error", "LPM-6001",
                "");
    expect_disk("{" BLOCK "\"size_bytes\": 8}", "{" BLOCK "\"size_bytes\": 8}", "warning",
                "LPM-6004", "");
    /* Two partitions of one disk. */
    expect_disk("{" BLOCK "\"serial\": \"S\", \"partition\": 1}",
                "{" BLOCK "\"serial\": \"S\", \"partition\": 2}", "error", "LPM-6001", "");
    expect_disk("{" BLOCK "\"serial\": \"S\"}", "{" BLOCK "\"cause\": \"No such file\"}", "error",
                "LPM-6002", "No such file");
    /* What this program cannot look at says nothing of the disk. */
    expect_disk("{" BLOCK "\"serial\": \"S\"}",
                "{" BLOCK "\"cause\": \"no qemu-nbd\", \"unable\": true}", "warning", "LPM-6004",
                "beta cannot look at /dev/x: no qemu-nbd");
    expect_disk("{" BLOCK "\"local\": \"a loop\"}", "{" BLOCK "\"cause\": \"No such file\"}",
                "error", "LPM-6003", "a loop");
}

/* The designators agree and the serial number does not: storage that clones names. */
static void test_cloned_names(void **state)
{
    (void)state;
    expect_disk("{" BLOCK "\"designators\": [\"naa:1\"], \"serial\": \"A\"}",
                "{" BLOCK "\"designators\": [\"naa:1\"], \"serial\": \"B\"}", "error", "LPM-6001",
                "serial B");
    expect_disk("{" BLOCK "\"designators\": [\"naa:1\", \"t10:x\"]}",
                "{" BLOCK "\"designators\": [\"naa:1\", \"t10:y\"]}", "error", "LPM-6001", "");
    /* An empty list is no word of the disk's. */
    expect_disk("{" BLOCK "\"designators\": []}", "{" BLOCK "\"designators\": []}", "warning",
                "LPM-6004", "");
}

#define FILE_ON(more) "{\"kind\": \"file\", \"at\": \"/images/a\", \"shared\": true, " more "}"

static void test_files_on_shared_storage(void **state)
{
    (void)state;
    expect_disk(FILE_ON("\"marked\": true, \"inode\": 5"), FILE_ON("\"mark_seen\": true"), "pass",
                "", "");
    /* Same path, same inode number even: what was written beside it is not there. */
    expect_disk(FILE_ON("\"marked\": true, \"inode\": 5"),
                FILE_ON("\"mark_seen\": false, \"inode\": 5"), "error", "LPM-6001", "beside");
    expect_disk(FILE_ON("\"marked\": false, \"inode\": 5"),
                FILE_ON("\"mark_seen\": false, \"inode\": 5"), "warning", "LPM-6004", "");
    expect_disk(FILE_ON("\"marked\": false, \"inode\": 5"),
                FILE_ON("\"mark_seen\": false, \"inode\": 6"), "error", "LPM-6001", "another file");
}

static void test_disks_that_were_not_looked_at(void **state)
{
    (void)state;
    expect_disk("{\"kind\": \"other\", \"cause\": \"rbd\"}", "{\"kind\": \"other\"}", "warning",
                "LPM-6004", "rbd");
    expect("disks", DISK, "{\"disks\": []}", "{\"disks\": []}", "warning", "LPM-6004", "vda");
    expect("disks", "{\"disks\": []}", "{\"disks\": []}", "{\"disks\": []}", "not-applicable", "",
           "");
    expect_disk("{\"kind\": \"empty\"}", "{\"kind\": \"empty\"}", "pass", "", "");
}

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

#define ANEW(result) "{\"result\": \"superset\", \"anew\": \"" result "\"}"
#define MODEL(name, features)                                                                      \
    "{\"known\": true, \"host_model\": {\"model\": \"" name "\", \"features\": [" features "]}}"
#define FEATURE(name, policy) "{\"name\": \"" name "\", \"policy\": \"" policy "\"}"

static void expect_way_back(const char *mode, const char *here_anew, const char *there_anew,
                            const char *here, const char *there, const char *word)
{
    g_autofree char *model = g_strdup_printf("{\"next_cpu_mode\": \"%s\"}", mode);
    g_autofree char *source =
        g_strdup_printf("{\"processor\": %s, \"machine\": %s}", here_anew, here);
    g_autofree char *target =
        g_strdup_printf("{\"processor\": %s, \"machine\": %s}", there_anew, there);
    json_t *report = report_on(model, source, target);
    const json_t *finding =
        json_array_get(json_object_get(line_of(report, "processor"), "findings"), 0);

    assert_string_equal(lpm_fact(finding, "code"), *word ? "LPM-6023" : "");
    assert_non_null(strstr(lpm_fact(finding, "cause"), word));
    json_decref(report);
}

static void test_way_back(void **state)
{
    static const char *const old = MODEL("A", FEATURE("cx16", "disable"));
    static const char *const new = MODEL("A", FEATURE("ss", "require"));

    (void)state;
    expect_way_back("host-model", ANEW("identical"), ANEW("superset"), "{}", "{}", "started anew");
    expect_way_back("host-model", ANEW("identical"), ANEW("identical"), "{}", "{}", "");
    /* It says so of the source itself: nothing is known. */
    expect_way_back("host-model", ANEW("superset"), ANEW("superset"), "{}", "{}", "");
    expect_way_back("custom", ANEW("identical"), ANEW("superset"), old, new, "");
    /* What libvirt's comparison passes over. */
    expect_way_back("host-model", ANEW("identical"), ANEW("identical"), old, new, "so cx16");
    expect_way_back("host-model", ANEW("identical"), ANEW("identical"), MODEL("A", ""), new,
                    "so ss");
    expect_way_back("host-model", ANEW("identical"), ANEW("identical"), new, new, "");
    expect_way_back("host-model", ANEW("identical"), ANEW("identical"), new, MODEL("B", ""), "");
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

static void test_reservations(void **state)
{
    static const char *const exclusive =
        "{\"disks\": {\"disks\": [{\"target\": \"vda\", \"keys\": 1, \"reservation\": "
        "{\"number\": 3, \"type\": \"exclusive access\", \"key\": \"aa\"}}]}}";
    json_t *report = report_on(DISK, exclusive, exclusive);

    (void)state;
    assert_string_equal(lpm_fact(line_of(report, "reservations"), "verdict"), "error");
    json_decref(report);
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

/* ---- redundancy ---- */

#define PATHS(more) "{\"disks\": {\"disks\": [{\"target\": \"vda\", \"at\": \"/dev/x\" " more "}]}}"
#define USABLE(usable, all) ", \"paths\": {\"usable\": " #usable ", \"all\": " #all "}"

static void expect_paths(const char *source, const char *target, const char *verdict,
                         const char *word)
{
    json_t *report = report_on(DISK, source, target);
    const json_t *line = line_of(report, "paths");
    const json_t *finding = json_array_get(json_object_get(line, "findings"), 0);

    assert_string_equal(lpm_fact(line, "verdict"), verdict);
    assert_string_equal(lpm_fact(finding, "code"), *word ? "LPM-6110" : "");
    assert_non_null(strstr(lpm_fact(finding, "cause"), word));
    assert_int_equal(lpm_fact_true(finding, "forced"), *word && force);
    json_decref(report);
}

static void test_paths(void **state)
{
    (void)state;
    expect_paths(PATHS(USABLE(4, 4)), PATHS(USABLE(4, 4)), "pass", "");
    expect_paths(PATHS(USABLE(2, 4)), PATHS(USABLE(4, 4)), "pass", "");
    expect_paths(PATHS(USABLE(4, 4)), PATHS(USABLE(1, 4)), "error", "1 of 4 on beta");
    expect_paths(PATHS(USABLE(2, 2)), PATHS(""), "error", "1 of 1 on beta");
    expect_paths(PATHS(USABLE(1, 2)), PATHS(""), "pass", "");
    expect_paths(PATHS(USABLE(2, 2)), PATHS(", \"cause\": \"gone\""), "pass", "");
    expect_paths(PATHS(""), PATHS(""), "not-applicable", "");
}

static void test_locks(void **state)
{
    static const char *const model = "{}", *const none = "{\"manager\": \"nop\"}";
    static const char *const lockd = "{\"manager\": \"lockd\", \"auto_disk_leases\": \"1\", "
                                     "\"file_lockspace_dir\": \"/shared/locks\"}";
    static const char *const elsewhere = "{\"manager\": \"lockd\", \"auto_disk_leases\": \"1\"}";

    (void)state;
    expect("locks", model, none, none, "not-applicable", "", "");
    expect("locks", model, none, lockd, "not-applicable", "", "");
    expect("locks", model, lockd, lockd, "pass", "", "");
    expect("locks", model, lockd, none, "error", "LPM-6130", "on beta it locks none");
    expect("locks", model, lockd, "{\"manager\": \"sanlock\"}", "error", "LPM-6130",
           "on beta with sanlock");
    expect("locks", model, lockd, elsewhere, "error", "LPM-6130",
           "'/shared/locks' on alpha and '' on beta");
    force = TRUE;
    expect("locks", model, lockd, none, "warning", "LPM-6130", "");
    expect("locks", model, lockd, elsewhere, "error", "LPM-6130", "");
    force = FALSE;
}

/* Of all errors there are, force turns that of redundancy into a warning and no other. */
static void test_force(void **state)
{
    (void)state;
    force = TRUE;
    expect_paths(PATHS(USABLE(4, 4)), PATHS(USABLE(1, 4)), "warning", "1 of 4 on beta");
    expect_disk("{" BLOCK "\"serial\": \"S1\"}", "{" BLOCK "\"serial\": \"S2\"}", "error",
                "LPM-6001", "S2");
    force = FALSE;
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
        cmocka_unit_test(test_rank),
        cmocka_unit_test(test_block_devices),
        cmocka_unit_test(test_cloned_names),
        cmocka_unit_test(test_files_on_shared_storage),
        cmocka_unit_test(test_disks_that_were_not_looked_at),
        cmocka_unit_test(test_clocks),
        cmocka_unit_test(test_way_back),
        cmocka_unit_test(test_power_modes),
        cmocka_unit_test(test_processors),
        cmocka_unit_test(test_placement),
        cmocka_unit_test(test_addresses_elsewhere),
        cmocka_unit_test(test_firmware),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_fast_paths),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_locks),
        cmocka_unit_test(test_force),
        cmocka_unit_test(test_all_errors_are_named),
        cmocka_unit_test(test_warnings_pass),
        cmocka_unit_test(test_power_and_limits),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_processor),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_reservations),
        cmocka_unit_test(test_side_that_failed),
        cmocka_unit_test(test_check_that_the_peer_does_not_know),
        cmocka_unit_test(test_unreached_host),
        cmocka_unit_test(test_facts_of_any_type),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
