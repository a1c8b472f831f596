/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Pages in which a disk says who it is, whole and damaged; files, and the marks beside them. */
#include "host/bridge.h"
#include "host/disk-identity.h"
#include "host/multipath.h"
#include "host/ovs.h"
#include "host/pci.h"
#include "host/probe.h"
#include "host/xml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void expect_designators(const guint8 *page, gsize length, const char *expected)
{
    json_t *found = lpm_vpd_designators(page, length);
    g_autofree char *text = json_dumps(found, JSON_COMPACT);

    assert_string_equal(text, expected);
    json_decref(found);
}

static void test_designators(void **state)
{
    const guint8 page[] = {0,   0x83, 0,   30,  2,   1,   0,   10,  'A',
                           'B', 'C',  ' ', ' ', ' ', ' ', ' ', 'x', ' ', /* T10, text */
                           1,   3,    0,   4,   1,   2,   3,   4,        /* NAA, binary */
                           1,   0x14, 0,   4,   0,   0,   0,   1};       /* of the port */

    (void)state;
    expect_designators(page, sizeof(page), "[\"naa:01020304\",\"t10:ABC     x\"]");
    /* Cut in the middle of a designator: what is whole counts. */
    expect_designators(page, 24, "[\"t10:ABC     x\"]");
    expect_designators(page, 3, "[]");
    expect_designators(page, 0, "[]");
}

/* What a disk may share with another one is no name of it. */
static void test_designators_that_name_nothing(void **state)
{
    const guint8 local[] = {0, 0x83, 0, 12, 1, 3, 0, 8, 0x30, 0, 0, 1, 0, 0, 0, 1};
    const guint8 made_up[] = {0, 0x83, 0, 12, 1, 3, 0, 8, 0x60, 0, 0, 0, 0xe, 1, 0, 1};
    const guint8 of_a_maker[] = {0, 0x83, 0, 12, 1, 3, 0, 8, 0x60, 0, 0, 0x10, 0, 0, 0, 1};
    const guint8 vendor[] = {0, 0x83, 0, 12, 2, 1, 0, 8, 'O', 'P', 'E', 'N', 'L', 'P', 'M', ' '};
    const guint8 blank[] = {0, 0x83, 0, 20, 1, 1, 0, 8, 0,   0,   0, 0,
                            0, 0,    0, 0,  2, 8, 0, 4, ' ', ' ', 0, 0};
    const guint8 place[] = {0, 0x83, 0, 10, 2, 0, 0, 6, 'd', 'r', 'i', 'v', 'e', '0'};

    (void)state;
    expect_designators(local, sizeof(local), "[]");
    expect_designators(made_up, sizeof(made_up), "[]");
    expect_designators(of_a_maker, sizeof(of_a_maker), "[\"naa:6000001000000001\"]");
    expect_designators(vendor, sizeof(vendor), "[]");
    expect_designators(blank, sizeof(blank), "[]");
    expect_designators(place, sizeof(place), "[]");
}

/* Lengths that lead beyond the page, and another page's number. */
static void test_damaged_designators(void **state)
{
    const guint8 beyond[] = {0, 0x83, 0xff, 0xff, 1, 3, 0, 255, 1, 2, 3, 4};
    const guint8 other[] = {0, 0x80, 0, 8, 1, 3, 0, 4, 1, 2, 3, 4};
    const guint8 endless[] = {0, 0x83, 0, 8, 1, 3, 0, 0, 1, 3, 0, 0};

    (void)state;
    expect_designators(beyond, sizeof(beyond), "[]");
    expect_designators(other, sizeof(other), "[]");
    expect_designators(endless, sizeof(endless), "[]");
}

static void test_serial(void **state)
{
    const guint8 page[] = {0, 0x80, 0, 6, ' ', 'S', '1', 0xff, ' ', ' '};
    g_autofree char *whole = lpm_vpd_serial(page, sizeof(page));
    g_autofree char *cut = lpm_vpd_serial(page, 6), *none = lpm_vpd_serial(page, 3);

    (void)state;
    assert_true(g_str_has_prefix(whole, "S1"));
    assert_true(g_utf8_validate(whole, -1, NULL));
    assert_string_equal(cut, "S");
    assert_string_equal(none, "");
}

/* A disk in memory; `odd` is a block that another reader sees otherwise. */
struct disk {
    guint64 size, odd;
    guint8 seed;
    gboolean empty, fails;
};

static gboolean read_disk(void *user, guint64 offset, void *data, gsize length)
{
    const struct disk *disk = user;
    guint8 *bytes = data;

    assert_true(offset % LPM_CHALLENGE_BLOCK == 0 && offset + length <= disk->size);
    memset(bytes, disk->empty ? 0 : (int)(disk->seed + offset / LPM_CHALLENGE_BLOCK), length);
    bytes[1] = disk->empty ? 0 : 1; /* no block of a disk that is not empty is all zeros */
    if (disk->odd && offset / LPM_CHALLENGE_BLOCK == disk->odd)
        bytes[7] ^= 1;
    return !disk->fails;
}

static void compare_disks(const struct disk *a, const struct disk *b, guint *equal, guint *differ)
{
    const struct lpm_challenge challenge = {.nonce = {1, 2, 3}};
    json_t *left = lpm_challenge_answer(&challenge, a->size, read_disk, (void *)a);
    json_t *right = lpm_challenge_answer(&challenge, b->size, read_disk, (void *)b);

    lpm_challenge_compare(left, right, equal, differ);
    json_decref(left);
    json_decref(right);
}

static void test_challenge(void **state)
{
    const struct disk disk = {.size = 64 << 20}, other = {.size = 64 << 20, .seed = 77};
    const struct disk written = {.size = 64 << 20, .odd = 5};
    const struct disk empty = {.size = 64 << 20, .empty = TRUE};
    const struct disk broken = {.size = 64 << 20, .fails = TRUE}, tiny = {.size = 512};
    guint equal, differ;

    (void)state;
    compare_disks(&disk, &disk, &equal, &differ);
    assert_true(equal == LPM_CHALLENGE_BLOCKS && differ == 0);
    compare_disks(&disk, &written, &equal, &differ);
    assert_true(differ >= 1 && differ <= 4 && equal + differ == LPM_CHALLENGE_BLOCKS);
    compare_disks(&disk, &other, &equal, &differ);
    assert_int_equal(equal, 0);
    compare_disks(&empty, &empty, &equal, &differ);
    assert_true(equal == 0 && differ == 0);
    compare_disks(&broken, &disk, &equal, &differ);
    assert_true(equal == 0 && differ == 0);
    compare_disks(&tiny, &tiny, &equal, &differ);
    assert_true(equal == 0 && differ == 0);
}

/* Another run asks for other blocks and other hashes: an answer cannot be kept for later. */
static void test_challenge_is_new_each_time(void **state)
{
    const struct lpm_challenge one = {.nonce = {1}}, two = {.nonce = {2}};
    const struct disk disk = {.size = 64 << 20};
    json_t *left = lpm_challenge_answer(&one, disk.size, read_disk, (void *)&disk);
    json_t *right = lpm_challenge_answer(&two, disk.size, read_disk, (void *)&disk);
    guint equal, differ;

    (void)state;
    lpm_challenge_compare(left, right, &equal, &differ);
    assert_int_equal(equal, 0);
    json_decref(left);
    json_decref(right);
}

/* By number, as a peer asks: numbers that the disk does not have, and no numbers at all. */
static void test_challenge_by_number(void **state)
{
    const struct disk disk = {.size = 64 << 20}, tiny = {.size = 512};
    json_t *blocks =
        json_pack("[i, I, I, s, i]", 5, (json_int_t)(64 << 20), (json_int_t)-1, "x", 5);
    const struct lpm_challenge challenge = {.nonce = {1}, .blocks = blocks};
    json_t *answer = lpm_challenge_answer(&challenge, disk.size, read_disk, (void *)&disk);
    json_t *none = lpm_challenge_answer(&challenge, tiny.size, read_disk, (void *)&tiny);

    (void)state;
    assert_int_equal(json_array_size(answer), 5);
    assert_true(json_is_null(json_array_get(answer, 1)) && json_is_null(json_array_get(answer, 2)));
    assert_true(json_equal(json_array_get(answer, 0), json_array_get(answer, 4)));
    assert_true(json_is_string(json_array_get(answer, 0)));
    assert_int_equal(json_array_size(none), 0);
    json_decref(answer);
    json_decref(none);
    for (int i = 0; i < 1000; i++)
        json_array_append_new(blocks, json_integer(1));
    answer = lpm_challenge_answer(&challenge, disk.size, read_disk, (void *)&disk);
    assert_int_equal(json_array_size(answer), LPM_CHALLENGE_BLOCKS);
    json_decref(answer);
    json_decref(blocks);
}

static void test_marks(void **state)
{
    g_autofree char *folder = g_dir_make_tmp("lpm-test-XXXXXX", NULL);
    g_autofree char *image = g_build_filename(folder, "image", NULL);
    g_autofree char *missing = g_build_filename(folder, "no", "image", NULL);
    char *mark = lpm_disk_mark(image, "0123");

    (void)state;
    assert_non_null(mark);
    assert_true(lpm_disk_mark_seen(image, "0123", 0));
    assert_false(lpm_disk_mark_seen(image, "0124", 0));
    /* Of another run, under our name: its content tells. */
    assert_true(g_file_set_contents(mark, "other", -1, NULL));
    assert_false(lpm_disk_mark_seen(image, "0123", 0));
    assert_null(lpm_disk_mark(missing, "0123"));
    unlink(mark);
    g_free(mark);
    rmdir(folder);
}

static void test_files(void **state)
{
    g_autofree char *folder = g_dir_make_tmp("lpm-test-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "image", NULL);
    json_t *absent = lpm_file_identity(NULL, path);

    (void)state;
    assert_true(json_is_true(json_object_get(absent, "missing")));
    assert_true(json_is_string(json_object_get(absent, "cause")));
    assert_true(g_file_set_contents(path, "hello", -1, NULL));
    json_t *present = lpm_file_identity(NULL, path);
    assert_string_equal(json_string_value(json_object_get(present, "digest")),
                        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    assert_int_equal(json_integer_value(json_object_get(present, "size_bytes")), 5);
    json_t *odd = lpm_file_identity(NULL, folder);
    assert_true(json_is_string(json_object_get(odd, "cause")));
    json_decref(absent);
    json_decref(present);
    json_decref(odd);
    unlink(path);
    rmdir(folder);
}

static void test_probe_without_interface(void **state)
{
    const struct lpm_probe probe = {.interface = "nosuchlpm0", .mtu = 1500, .limit_ms = 100};
    json_t *facts = lpm_probe_run(&probe);

    (void)state;
    assert_true(json_is_false(json_object_get(facts, "found")));
    assert_int_equal(lpm_interface_mtu("a-name-that-is-far-too-long-for-an-interface"), 0);
    json_decref(facts);
}

static void test_xml(void **state)
{
    static const struct lpm_xml_member members[] = {{"name", "a/@no|a/@b", LPM_XML_TEXT},
                                                    {"size", "a", LPM_XML_INT},
                                                    {"flag", "c", LPM_XML_FLAG},
                                                    {"absent", "d", LPM_XML_TEXT},
                                                    {NULL, NULL, LPM_XML_TEXT}};
    g_autoptr(GError) error = NULL;
    g_autoptr(LpmXml) xml = lpm_xml_parse("<r><a b='x'>12</a><c/></r>", &error);
    json_t *object = lpm_xml_object(xml, NULL, members);
    g_autofree char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);

    (void)state;
    assert_string_equal(text, "{\"flag\":true,\"name\":\"x\",\"size\":12}");
    assert_null(lpm_xml_parse("<r>", &error));
    assert_non_null(error);
    json_decref(object);
}

/* ---- paths, in a made-up sysfs ---- */

static void put(const char *root, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(root, name, NULL);
    g_autofree char *folder = g_path_get_dirname(path);

    assert_int_equal(g_mkdir_with_parents(folder, 0700), 0);
    assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void expect_paths(const char *root, const char *device, const char *expected)
{
    g_autofree char *folder = g_build_filename(root, device, NULL);
    json_t *paths = lpm_multipath_paths(folder);
    g_autofree char *text = paths ? json_dumps(paths, JSON_COMPACT) : g_strdup("none");

    assert_string_equal(text, expected);
    if (paths)
        json_decref(paths);
}

static void test_paths(void **state)
{
    g_autofree char *root = g_dir_make_tmp("lpm-paths-XXXXXX", NULL);

    (void)state;
    put(root, "map/dm/uuid", "mpath-3600140\n");
    put(root, "map/slaves/sda/device/state", "running\n");
    put(root, "map/slaves/sdb/device/state", "offline\n");
    put(root, "map/slaves/nvme0c0n1/device/state", "live\n");
    expect_paths(root, "map", "{\"usable\":2,\"all\":3}");
    /* A volume over that and over one with a single path is as safe as that one. */
    put(root, "volume/dm/uuid", "LVM-abc\n");
    put(root, "volume/slaves/dm-1/dm/uuid", "mpath-1\n");
    put(root, "volume/slaves/dm-1/slaves/sdc/device/state", "running\n");
    put(root, "volume/slaves/dm-2/dm/uuid", "mpath-2\n");
    put(root, "volume/slaves/dm-2/slaves/sdd/device/state", "running\n");
    put(root, "volume/slaves/dm-2/slaves/sde/device/state", "running\n");
    expect_paths(root, "volume", "{\"usable\":1,\"all\":1}");
    put(root, "plain/size", "8\n");
    expect_paths(root, "plain", "none");
    expect_paths(root, "absent", "none");
    g_autofree char *command = g_strdup_printf("rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

/* ---- a bridge's table ---- */

static void test_bridge_table(void **state)
{
    /* The third was seen 10.01 s ago; the fourth is cut. */
    const guint8 table[] = {1, 2, 3, 4, 5, 6, 7,    0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
                            2, 3, 4, 5, 9, 2, 1,    0, 0, 0, 0, 1, 0, 0, 0, 1, 2,
                            3, 4, 5, 8, 5, 0, 0xe9, 3, 0, 0, 0, 0, 0, 0, 1, 2, 3};
    gboolean own = TRUE;

    (void)state;
    assert_int_equal(
        lpm_bridge_find(table, sizeof(table), (const guint8[]){1, 2, 3, 4, 5, 6}, &own), 7);
    assert_false(own);
    assert_int_equal(
        lpm_bridge_find(table, sizeof(table), (const guint8[]){1, 2, 3, 4, 5, 9}, &own), 258);
    assert_true(own);
    assert_int_equal(
        lpm_bridge_find(table, sizeof(table), (const guint8[]){1, 2, 3, 4, 5, 8}, &own), 0);
    assert_int_equal(
        lpm_bridge_find(table, sizeof(table), (const guint8[]){1, 2, 3, 0, 0, 0}, &own), 0);
    assert_null(lpm_bridge_port_of("../x", "01:02:03:04:05:06"));
    assert_null(lpm_bridge_port_of("lo", "01:02:03:04:05:06"));
    assert_null(lpm_bridge_port_of("lo", "no address"));
}

/* A folder that looks like sysfs: this machine need not have a virtual function. */
static void test_pci(void **state)
{
    g_autofree char *root = g_dir_make_tmp("lpm-pci-XXXXXX", NULL);
    g_autofree char *address = lpm_pci_address(0, 0x65, 0, 1);
    g_autofree char *device = g_build_filename(root, address, NULL);
    g_autofree char *physical = g_build_filename(device, "physfn", NULL);
    static const char *const wrong[] = {"", "0000:65:00.2", "..", "0000:65:00.1/physfn"};

    (void)state;
    assert_string_equal(address, "0000:65:00.1");
    assert_int_equal(g_mkdir_with_parents(physical, 0700), 0);
    json_t *facts = lpm_pci_look(root, address);
    assert_true(json_is_true(json_object_get(facts, "found")));
    assert_true(json_is_true(json_object_get(facts, "virtual_function")));
    assert_false(json_is_true(json_object_get(facts, "iommu")));
    json_decref(facts);
    for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++) {
        facts = lpm_pci_look(root, wrong[i]);
        assert_false(json_is_true(json_object_get(facts, "found")));
        json_decref(facts);
    }
    assert_int_equal(rmdir(physical) | rmdir(device) | rmdir(root), 0);
}

/* As Open vSwitch 3.1 tells it. */
static void test_ovs_table(void **state)
{
    static const char fdb[] = " port  VLAN  MAC                Age\n"
                              "    1     0  ea:28:e5:da:84:a9   10\n"
                              "    1     0  76:fb:b9:36:d9:74   11\n"
                              "LOCAL    0  5a:03:3c:f3:44:46    0\n"
                              "    2    42  52:54:00:aa:00:01    0\n"
                              "    7    43  52:54:00:aa:00:01";
    static const char ports[] = "netdev@ovs-netdev: hit:15 missed:9\n"
                                "  ovs0:\n"
                                "    ovs-up 1/2: (system)\n"
                                "    ovs0 65534/1: (tap)\n"
                                "  ovs00:\n"
                                "    vnet1 2/3: (system)\n";

    (void)state;
    assert_int_equal(lpm_ovs_find(fdb, 0, "EA:28:e5:da:84:a9"), 1);
    assert_int_equal(lpm_ovs_find(fdb, 0, "76:fb:b9:36:d9:74"), -1);
    assert_int_equal(lpm_ovs_find(fdb, 0, "5a:03:3c:f3:44:46"), 65534);
    assert_int_equal(lpm_ovs_find(fdb, 42, "52:54:00:aa:00:01"), 2);
    assert_int_equal(lpm_ovs_find(fdb, 43, "52:54:00:aa:00:01"), -1);
    assert_int_equal(lpm_ovs_find("", 0, ""), -1);
    g_autofree char *own = lpm_ovs_port_name(ports, "ovs0", 65534);
    g_autofree char *other = lpm_ovs_port_name(ports, "ovs00", 2);
    assert_string_equal(own, "ovs0");
    assert_string_equal(other, "vnet1");
    assert_null(lpm_ovs_port_name(ports, "ovs0", 2));
    assert_null(lpm_ovs_port_name("", "ovs0", 2));
}

static void test_ovs_names(void **state)
{
    static const char *const names[] = {"", "--", "-x", "a b", "a;b", "0123456789abcdef"};
    struct lpm_ovs_bridge seen;
    g_autoptr(GError) error = NULL;

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        lpm_ovs_look(names[i], &seen);
        assert_false(seen.found);
        assert_string_equal(seen.cause, ""); /* nothing was run */
        assert_null(lpm_ovs_add_port(names[i], 1, 1500, &error));
        g_clear_error(&error);
    }
}

/* ---- what QEMU's drivers are told ---- */

/* "" refuses, with `word` in the reason. */
static void expect_source(const char *disk, const char *expected, const char *word)
{
    json_t *entry = json_loads(disk, 0, NULL);
    const char *why = "";

    assert_non_null(entry);
    json_t *source = lpm_qemu_source(entry, &why);
    g_autofree char *text =
        source ? json_dumps(source, JSON_COMPACT | JSON_SORT_KEYS) : g_strdup("");
    assert_string_equal(text, expected);
    assert_true(source || strstr(why, word));
    json_decref(source);
    json_decref(entry);
}

static void test_sources_for_qemu(void **state)
{
    (void)state;
    expect_source("{\"protocol\":\"rbd\",\"name\":\"p/i\"}",
                  "{\"driver\":\"rbd\",\"image\":\"i\",\"pool\":\"p\"}", "");
    /* All monitors, for one may be down; of the key only the name under which it is passed. */
    expect_source(
        "{\"protocol\":\"rbd\",\"name\":\"p/i\",\"auth\":true,\"user\":\"u\",\"hosts\":[{"
        "\"name\":\"m1\",\"port\":\"3300\"},{\"name\":\"m2\"}],\"snapshot\":\"s\"}",
        "{\"auth-client-required\":[\"cephx\",\"none\"],\"driver\":\"rbd\",\"image\":\"i\","
        "\"key-secret\":\"key\",\"pool\":\"p\",\"server\":[{\"host\":\"m1\",\"port\":\"3300\"},"
        "{\"host\":\"m2\",\"port\":\"0\"}],\"snapshot\":\"s\",\"user\":\"u\"}",
        "");
    expect_source("{\"protocol\":\"rbd\",\"name\":\"image\"}", "", "no name");
    expect_source(
        "{\"protocol\":\"https\",\"name\":\"a/b.img\",\"address\":\"fd00::1\",\"port\":\"8443\","
        "\"query\":\"x=1\",\"verify\":\"no\"}",
        "{\"driver\":\"https\",\"readahead\":16384,\"sslverify\":false,\"url\":\"https://"
        "[fd00::1]:8443/"
        "a/b.img?x=1\"}",
        "");
    expect_source("{\"protocol\":\"http\",\"name\":\"a\",\"address\":\"h\",\"auth\":true}", "",
                  "password");
    expect_source("{\"protocol\":\"http\",\"name\":\"a\",\"address\":\"h\",\"cookies\":true}", "",
                  "cookie");
    expect_source(
        "{\"protocol\":\"ssh\",\"name\":\"/d.img\",\"hosts\":[{\"name\":\"h\"}]}",
        "{\"driver\":\"ssh\",\"path\":\"/d.img\",\"server\":{\"host\":\"h\",\"port\":\"22\"}}", "");
    expect_source("{\"protocol\":\"nfs\",\"name\":\"/e/d.img\",\"hosts\":[{\"name\":\"h\"}]}",
                  "{\"driver\":\"nfs\",\"path\":\"/e/d.img\",\"server\":{\"host\":\"h\",\"type\":"
                  "\"inet\"}}",
                  "");
    expect_source("{\"protocol\":\"gluster\",\"name\":\"v/d/i\",\"hosts\":[{\"name\":\"h\"}]}",
                  "{\"driver\":\"gluster\",\"path\":\"d/i\",\"server\":[{\"host\":\"h\",\"port\":"
                  "\"24007\",\"type\":\"inet\"}],\"volume\":\"v\"}",
                  "");
    expect_source("{\"protocol\":\"ssh\",\"name\":\"/d\"}", "", "no address");
    expect_source("{\"protocol\":\"file\",\"name\":\"/etc/shadow\",\"address\":\"h\"}", "",
                  "not looked at");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pci),
        cmocka_unit_test(test_ovs_table),
        cmocka_unit_test(test_ovs_names),
        cmocka_unit_test(test_designators),
        cmocka_unit_test(test_designators_that_name_nothing),
        cmocka_unit_test(test_damaged_designators),
        cmocka_unit_test(test_serial),
        cmocka_unit_test(test_challenge),
        cmocka_unit_test(test_challenge_is_new_each_time),
        cmocka_unit_test(test_challenge_by_number),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_probe_without_interface),
        cmocka_unit_test(test_xml),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_bridge_table),
        cmocka_unit_test(test_sources_for_qemu),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
