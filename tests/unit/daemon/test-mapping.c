/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Maps and roles: what the source notes and the target makes of it. */
#include "daemon/validate/mapping.h"

#include "base/error.h"
#include "daemon/validate/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* "production=br0 backup=br1" */
static GHashTable *roles(const char *text)
{
    GHashTable *table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_auto(GStrv) words = g_strsplit(text, " ", -1);

    for (char **word = words; *word && **word; word++) {
        g_auto(GStrv) parts = g_strsplit(*word, "=", 2);
        g_hash_table_insert(table, g_strdup(parts[0]), g_strdup(parts[1]));
    }
    return table;
}

struct host {
    const char *networks, *storage;
};

static void fill(LpmConfig *config, const struct host *host)
{
    config->networks = roles(host->networks);
    config->storage = roles(host->storage);
}

static void empty(LpmConfig *config)
{
    g_hash_table_unref(config->networks);
    g_hash_table_unref(config->storage);
}

#define MAC "52:54:00:00:00:01"

/* What the one disk and the one adapter are on the target, "TARGET (BY)", or the code of the
 * error. */
static void expect(const char *model, const char *map, const struct host *source,
                   const struct host *target, const char *disk, const char *adapter)
{
    LpmConfig here = {0}, there = {0};
    json_t *described = json_loads(model, 0, NULL), *wanted = json_loads(map, 0, NULL);
    g_autoptr(GError) error = NULL;

    assert_non_null(described);
    fill(&here, source);
    fill(&there, target);
    assert_true(lpm_mapping_note(&here, wanted, described, &error));
    json_t *told = lpm_mapping_resolve(&there, described);
    for (int i = 0; i < 2; i++) {
        const json_t *line = json_array_get(json_object_get(told, "adapters"), (size_t)i);
        const char *code = lpm_fact(json_object_get(line, "error"), "code");
        g_autofree char *found =
            *code ? g_strdup(code)
                  : g_strdup_printf("%s (%s)", lpm_fact(line, "target"), lpm_fact(line, "by"));
        assert_string_equal(found, i == 0 ? disk : adapter);
    }
    json_decref(told);
    json_decref(described);
    json_decref(wanted);
    empty(&here);
    empty(&there);
}

#define MODEL(disk)                                                                                \
    "{\"name\": \"web\", \"disks\": [{\"target\": \"vda\", " disk "}], \"adapters\": [{\"mac\": "  \
    "\"" MAC "\", \"type\": \"bridge\", \"bridge\": \"br0\"}]}"
#define BLOCK MODEL("\"type\": \"block\", \"path\": \"/dev/mapper/san-7\"")

static const struct host none = {"", ""};

static void test_names_and_maps(void **state)
{
    const struct host other = {"production=br9", "san=/dev/disk/"};
    const struct host own = {"production=br0", "san=/dev/mapper/"};

    (void)state;
    expect(BLOCK, "{}", &none, &none, "/dev/mapper/san-7 (name)", "br0 (name)");
    expect(BLOCK, "{}", &own, &none, "/dev/mapper/san-7 (name)", "br0 (name)");
    expect(BLOCK, "{}", &none, &other, "/dev/mapper/san-7 (name)", "br0 (name)");
    /* A map is stronger than a role. */
    expect(BLOCK, "{\"disks\": {\"vda\": \"/dev/x\"}, \"networks\": {\"" MAC "\": \"br5\"}}", &own,
           &other, "/dev/x (map)", "br5 (map)");
}

static void test_roles(void **state)
{
    const struct host own = {"production=br0", "san=/dev/mapper/san- all=/dev/ boot=/dev/map"};
    const struct host other = {"production=br9", "san=/dev/disk/by-id/scsi- all=/x/ boot=/y"};
    const struct host pools = {"", "fast=p slow=p2"}, theirs = {"", "fast=q slow=q2"};
    const struct host prefix = {"", "i=/images"}, moved = {"", "i=/srv/images"};

    (void)state;
    /* The longest prefix, and what follows it. */
    expect(BLOCK, "{}", &own, &other, "/dev/disk/by-id/scsi-7 (role san)", "br9 (role production)");
    expect(BLOCK, "{}", &other, &own, "/dev/mapper/san-7 (name)", "br0 (name)");
    expect(MODEL("\"type\": \"volume\", \"pool\": \"p\", \"volume\": \"v\""), "{}", &pools, &theirs,
           "q/v (role fast)", "br0 (name)");
    expect(MODEL("\"type\": \"network\", \"protocol\": \"iscsi\", \"name\": \"iqn.a:san/1\""), "{}",
           &(struct host){"", "s=iqn.a:san"}, &(struct host){"", "s=//h2/iqn.b:san"},
           "//h2/iqn.b:san/1 (role s)", "br0 (name)");
    expect(MODEL("\"type\": \"network\", \"name\": \"iqn.a:san/1\", \"address\": \"fd00::1\", "
                 "\"port\": \"3260\""),
           "{}", &(struct host){"", "s=//[fd00::1]:3260/iqn.a: t=//h/iqn.a:"},
           &(struct host){"", "s=//h2:3261/iqn.b: t=x"}, "//h2:3261/iqn.b:san/1 (role s)",
           "br0 (name)");
    /* A prefix ends where a name does. */
    expect(MODEL("\"type\": \"file\", \"path\": \"/images/a\""), "{}", &prefix, &moved,
           "/srv/images/a (role i)", "br0 (name)");
    expect(MODEL("\"type\": \"file\", \"path\": \"/images2/a\""), "{}", &prefix, &moved,
           "/images2/a (name)", "br0 (name)");
}

/* Two roles on one bridge here and on two there. */
static void test_ambiguous_roles(void **state)
{
    const struct host own = {"production=br0 backup=br0", ""};

    (void)state;
    expect(BLOCK, "{}", &own, &(struct host){"production=br1 backup=br2", ""},
           "/dev/mapper/san-7 (name)", "LPM-6112");
    expect(BLOCK, "{}", &own, &(struct host){"production=br1 backup=br1", ""},
           "/dev/mapper/san-7 (name)", "br1 (role backup)");
    expect(BLOCK, "{}", &own, &(struct host){"production=br1", ""}, "/dev/mapper/san-7 (name)",
           "br1 (role production)");
}

/* What a role's value makes of a disk is not of its kind. */
static void test_role_of_another_kind(void **state)
{
    (void)state;
    expect(BLOCK, "{}", &(struct host){"", "san=/dev/mapper/"}, &(struct host){"", "san=pool"},
           "LPM-6111", "br0 (name)");
}

static void refused(const char *map, const char *word)
{
    LpmConfig config = {0};
    json_t *model = json_loads(BLOCK, 0, NULL), *wanted = json_loads(map, 0, NULL);
    g_autoptr(GError) error = NULL;

    assert_false(lpm_mapping_note(&config, wanted, model, &error));
    assert_int_equal(lpm_error_number(error), LPM_E_MAP_WRONG);
    if (!strstr(error->message, word))
        fail_msg("'%s' does not say '%s'", error->message, word);
    json_decref(model);
    json_decref(wanted);
}

static void test_wrong_maps(void **state)
{
    (void)state;
    refused("{\"disks\": {\"vdb\": \"/dev/x\"}}", "'web' has no disk 'vdb'");
    refused("{\"networks\": {\"52:54:00:00:00:09\": \"br1\"}}", "00:09");
    refused("{\"disks\": {\"vda\": \"x\"}}", "vda: 'x' is not a path");
    refused("{\"disks\": {\"vda\": 7}}", "vda");
    refused("{\"disks\": {\"vda\": \"/x\", \"VDA\": \"/y\"}}", "twice");
    refused("{\"networks\": {\"" MAC "\": \"a b\"}}", "a b");
    refused("{\"disks\": []}", "disks");
    refused("{\"nets\": {}}", "nets");
}

/* A peer's model of any form. */
static void test_models_of_any_type(void **state)
{
    static const char *const odd[] = {"{}", "{\"disks\": 7}", "{\"disks\": [1, [], {\"map\": 3}]}",
                                      "{\"adapters\": [{\"map\": {\"roles\": [7, null]}}]}",
                                      "{\"disks\": [{\"map\": {\"to\": \"//\"}}]}"};

    (void)state;
    for (gsize i = 0; i < G_N_ELEMENTS(odd); i++) {
        LpmConfig config = {.networks = roles("a=b"), .storage = roles("a=b")};
        json_t *model = json_loads(odd[i], 0, NULL);
        json_t *told = lpm_mapping_resolve(&config, model);

        assert_true(json_is_array(json_object_get(told, "adapters")));
        json_decref(told);
        json_decref(model);
        empty(&config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_maps),  cmocka_unit_test(test_roles),
        cmocka_unit_test(test_ambiguous_roles), cmocka_unit_test(test_role_of_another_kind),
        cmocka_unit_test(test_wrong_maps),      cmocka_unit_test(test_models_of_any_type),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
