/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Other names on the target: of each kind of disk and adapter, in the model and in libvirt's
 * description, where nothing but the source may change. */
#include "host/mapping.h"

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* ---- the model ---- */

/* A disk with another source has exactly these members; "" refuses it. */
static void expect_disk(const char *disk, const char *source, const char *expected)
{
    json_t *entry = json_loads(disk, 0, NULL);
    g_autoptr(GError) error = NULL;

    assert_non_null(entry);
    if (lpm_disk_set_source(entry, source, &error)) {
        g_autofree char *text = json_dumps(entry, JSON_COMPACT | JSON_SORT_KEYS);
        assert_string_equal(text, expected);
    } else {
        assert_string_equal(expected, "");
        assert_int_equal(lpm_error_number(error), LPM_E_MAP_WRONG);
    }
    json_decref(entry);
}

#define ISCSI                                                                                      \
    "{\"type\":\"network\",\"protocol\":\"iscsi\",\"name\":\"iqn.a:x/1\",\"address\":\"h\"}"

static void test_disks(void **state)
{
    (void)state;
    expect_disk("{\"type\":\"block\",\"path\":\"/dev/a\"}", "/dev/b",
                "{\"path\":\"/dev/b\",\"type\":\"block\"}");
    expect_disk("{\"type\":\"block\",\"path\":\"/dev/a\"}", "dev/b", "");
    expect_disk("{\"type\":\"file\"}", "/images/b", "");
    expect_disk("{\"type\":\"volume\",\"pool\":\"p\",\"volume\":\"v\"}", "q/w/x",
                "{\"pool\":\"q\",\"type\":\"volume\",\"volume\":\"w/x\"}");
    expect_disk("{\"type\":\"volume\",\"pool\":\"p\",\"volume\":\"v\"}", "w", "");
    expect_disk("{\"type\":\"volume\",\"pool\":\"p\",\"volume\":\"v\"}", "/dev/w", "");
    expect_disk(ISCSI, "iqn.b:y/2",
                "{\"address\":\"h\",\"name\":\"iqn.b:y/2\",\"protocol\":\"iscsi\",\"type\":"
                "\"network\"}");
    /* Another server replaces all that it had. */
    expect_disk(ISCSI, "//10.0.0.1/iqn.b:y/2",
                "{\"address\":\"10.0.0.1\",\"hosts\":[{\"name\":\"10.0.0.1\"}],\"name\":\"iqn.b:y/"
                "2\",\"protocol\":\"iscsi\",\"type\":"
                "\"network\"}");
    expect_disk(ISCSI, "//[fd00::1]:3261/iqn.b:y/2",
                "{\"address\":\"fd00::1\",\"hosts\":[{\"name\":\"fd00::1\",\"port\":\"3261\"}],"
                "\"name\":\"iqn.b:y/2\",\"port\":\"3261\",\"protocol\":"
                "\"iscsi\",\"type\":\"network\"}");
    expect_disk(ISCSI, "//10.0.0.1:x/n", "");
    expect_disk(ISCSI, "//10.0.0.1", "");
    expect_disk(ISCSI, "///n", "");
    expect_disk(ISCSI, "//h:1/", "");
    expect_disk(ISCSI, "", "");
}

static void expect_adapter(const char *adapter, const char *source, const char *expected)
{
    json_t *entry = json_loads(adapter, 0, NULL);
    gboolean ok = lpm_adapter_set_source(entry, source, NULL);
    g_autofree char *text = json_dumps(entry, JSON_COMPACT | JSON_SORT_KEYS);

    assert_string_equal(ok ? text : "", expected);
    json_decref(entry);
}

static void test_adapters(void **state)
{
    (void)state;
    expect_adapter("{\"bridge\":\"br0\"}", "br7", "{\"bridge\":\"br7\"}");
    expect_adapter("{\"device\":\"eth0\"}", "eth1", "{\"device\":\"eth1\"}");
    expect_adapter("{\"bridge\":\"br0\",\"network\":\"a\"}", "b", "{\"network\":\"b\"}");
    expect_adapter("{\"bridge\":\"br0\"}", "../x", "");
    expect_adapter("{\"bridge\":\"br0\"}", "", "");
    expect_adapter("{\"type\":\"user\"}", "br7", "");
}

/* ---- the description ---- */

static const char description[] =
    "<domain type='kvm'>\n"
    "  <name>web</name>\n"
    "  <devices>\n"
    "    <disk type='block' device='disk'>\n"
    "      <source dev='/dev/a' index='1'><seclabel model='dac' relabel='no'/></source>\n"
    "      <target dev='vda' bus='virtio'/>\n"
    "      <serial>S1</serial>\n"
    "      <alias name='ua-root'/>\n"
    "    </disk>\n"
    "    <disk type='network' device='disk'>\n"
    "      <source protocol='iscsi' name='iqn.a:x/1'><host name='10.0.0.1' port='3260'/></source>\n"
    "      <target dev='vdb' bus='virtio'/>\n"
    "    </disk>\n"
    "    <disk type='network' device='disk'>\n"
    "      <source protocol='rbd' name='p/i'><host name='m1'/><host name='m2' "
    "port='6789'/></source>\n"
    "      <target dev='vdd' bus='virtio'/>\n"
    "    </disk>\n"
    "    <disk type='volume' device='disk'>\n"
    "      <source pool='p' volume='v'/>\n"
    "      <target dev='vdc' bus='virtio'/>\n"
    "    </disk>\n"
    "    <disk type='file' device='cdrom'>\n"
    "      <target dev='sda' bus='sata'/>\n"
    "    </disk>\n"
    "    <interface type='bridge'>\n"
    "      <mac address='52:54:00:00:00:01'/>\n"
    "      <source bridge='br0'/>\n"
    "      <alias name='ua-front'/>\n"
    "    </interface>\n"
    "    <interface type='bridge'>\n"
    "      <mac address='52:54:00:00:00:02'/>\n"
    "      <source network='office' portid='7' bridge='virbr0'/>\n"
    "    </interface>\n"
    "  </devices>\n"
    "</domain>\n";

/* Exactly one part of the description becomes another. */
static void expect_change(const char *kind, const char *adapter, const char *to, const char *old,
                          const char *new)
{
    json_t *map = json_pack("[{s:s, s:s, s:s, s:s}]", "kind", kind, "adapter", adapter, "source",
                            "-", "target", to);
    g_autoptr(GError) error = NULL;
    g_autofree char *mapped = lpm_map_description(description, map, &error);
    g_auto(GStrv) parts = g_strsplit(description, old, -1);
    g_autofree char *expected = g_strdup_printf("%s%s%s", parts[0], new, parts[1]);

    assert_int_equal(g_strv_length(parts), 2);
    assert_non_null(mapped);
    const char *body = strstr(mapped, "<domain");
    g_autofree char *quoted = g_strdelimit(g_strdup(body), "\"", '\'');
    assert_string_equal(quoted, expected);
    json_decref(map);
}

static void test_description(void **state)
{
    (void)state;
    expect_change("disk", "vda", "/dev/b", "dev='/dev/a'", "dev='/dev/b'");
    expect_change("disk", "vdb", "iqn.b:y/2", "name='iqn.a:x/1'", "name='iqn.b:y/2'");
    expect_change("disk", "vdb", "//fd00--1:3261/n",
                  "name='iqn.a:x/1'><host name='10.0.0.1' port='3260'/>",
                  "name='n'><host name='fd00--1' port='3261'/>");
    expect_change("disk", "vdc", "q/w", "pool='p' volume='v'", "pool='q' volume='w'");
    expect_change("disk", "vdd", "//m3/p/j",
                  "name='p/i'><host name='m1'/><host name='m2' port='6789'/>",
                  "name='p/j'><host name='m3'/>");
    expect_change("disk", "vdd", "p/j", "name='p/i'", "name='p/j'");
    expect_change("network", "52:54:00:00:00:01", "br7", "bridge='br0'", "bridge='br7'");
    /* The bridge behind a network is the source's; the target's libvirt finds its own. */
    expect_change("network", "52:54:00:00:00:02", "lab",
                  "<interface type='bridge'>\n      <mac address='52:54:00:00:00:02'/>\n      "
                  "<source network='office' portid='7' bridge='virbr0'/>",
                  "<interface type='network'>\n      <mac address='52:54:00:00:00:02'/>\n      "
                  "<source network='lab'/>");
    /* What the description does not have, and what keeps its name. */
    expect_change("disk", "vdq", "/dev/b", "<name>web</name>", "<name>web</name>");
    expect_change("disk", "vda", "-", "<name>web</name>", "<name>web</name>");
    expect_change("network", "vda", "/dev/b", "<name>web</name>", "<name>web</name>");
}

static void test_description_refused(void **state)
{
    json_t *map = json_pack("[{s:s, s:s, s:s, s:s}]", "kind", "disk", "adapter", "sda", "source",
                            "-", "target", "/x");
    g_autoptr(GError) error = NULL;

    (void)state;
    assert_null(lpm_map_description(description, map, &error));
    assert_int_equal(lpm_error_number(error), LPM_E_MAP_WRONG);
    g_clear_error(&error);
    assert_null(lpm_map_description("<domain>", map, &error));
    assert_int_equal(lpm_error_number(error), LPM_E_LIBVIRT);
    json_decref(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disks),
        cmocka_unit_test(test_adapters),
        cmocka_unit_test(test_description),
        cmocka_unit_test(test_description_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
