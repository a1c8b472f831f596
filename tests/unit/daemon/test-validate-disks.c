/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Judging disks, above all what a lab does not have: volumes, clustered file systems, multipath. */
#include "judging.h"

/* ---- the same disk ---- */

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

#define SAMPLES "\"samples\": [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\"]"
#define WRITTEN "\"samples\": [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"X\"]"
#define OTHERS "\"samples\": [\"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]"
#define AGAIN(rounds, same, other, open)                                                           \
    ", \"again\": {\"rounds\": " #rounds ", \"same\": " #same ", \"other\": " #other               \
    ", \"offset\": 4096, \"open\": " #open "}"

/* Disks that do not say who they are, by what was read of them. */
static void test_samples(void **state)
{
    (void)state;
    expect_disk("{" BLOCK SAMPLES "}", "{" BLOCK SAMPLES "}", "pass", "", "");
    expect_disk("{" BLOCK SAMPLES AGAIN(1, 1, 0, 0) "}", "{" BLOCK WRITTEN "}", "pass", "", "");
    /* One block is enough, however many are alike. */
    expect_disk("{" BLOCK SAMPLES AGAIN(4, 64, 1, 0) "}", "{" BLOCK WRITTEN "}", "error",
                "LPM-6001", "the first at offset 4096");
    /* Written all the time: the others must outweigh them. */
    expect_disk("{" BLOCK SAMPLES AGAIN(4, 64, 0, 18) "}", "{" BLOCK WRITTEN "}", "pass", "", "");
    expect_disk("{" BLOCK SAMPLES AGAIN(4, 64, 0, 19) "}", "{" BLOCK WRITTEN "}", "warning",
                "LPM-6004", "");
    expect_disk("{" BLOCK OTHERS AGAIN(4, 0, 0, 73) "}", "{" BLOCK WRITTEN "}", "warning",
                "LPM-6004", "");
    /* The target could not be asked again. */
    expect_disk("{" BLOCK SAMPLES AGAIN(0, 0, 0, 65) "}", "{" BLOCK WRITTEN "}", "warning",
                "LPM-6004", "1 differ");
    expect_disk("{" BLOCK OTHERS "}", "{" BLOCK WRITTEN "}", "error", "LPM-6001", "9 are not");
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

/* ---- reservations ---- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block_devices),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_cloned_names),
        cmocka_unit_test(test_files_on_shared_storage),
        cmocka_unit_test(test_disks_that_were_not_looked_at),
        cmocka_unit_test(test_reservations),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_locks),
        cmocka_unit_test(test_force),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
