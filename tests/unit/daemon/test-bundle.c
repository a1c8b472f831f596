/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* A definition and its files from one host's folders to another's; and manifests that no lpmd
 * sends. */
#include "daemon/bundle.h"

#include "base/error.h"

#include <glib/gstdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define UUID "8f2f5a56-64a5-4f5e-9a3b-0f0a4d5c6b7e"
#define DIGEST "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" /* of nothing */

/* Two hosts in one folder. */
struct fixture {
    char *root;
    LpmConfig source, target;
    char *folder; /* the target's bundle */
};

static void make_host(const char *root, const char *name, LpmConfig *config)
{
    config->name = g_strdup(name);
    config->state_dir = g_build_filename(root, name, "state", NULL);
    config->nvram_dir = g_build_filename(root, "nvram", NULL);
    config->tpm_dir = g_build_filename(root, name, "tpm", NULL);
    config->qemu_user = g_strdup("root");
    g_mkdir_with_parents(config->state_dir, 0700);
    g_mkdir_with_parents(config->nvram_dir, 0755);
}

static void forget_host(LpmConfig *config)
{
    g_free(config->name);
    g_free(config->state_dir);
    g_free(config->nvram_dir);
    g_free(config->tpm_dir);
    g_free(config->qemu_user);
}

static int setup(void **state)
{
    struct fixture *fixture = g_new0(struct fixture, 1);

    fixture->root = g_dir_make_tmp("lpm-bundle-XXXXXX", NULL);
    make_host(fixture->root, "alpha", &fixture->source);
    make_host(fixture->root, "beta", &fixture->target);
    fixture->folder = lpm_bundle_folder(&fixture->target, "0123456789ab");
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    g_autofree char *line = g_strdup_printf("rm -r '%s'", fixture->root);

    g_spawn_command_line_sync(line, NULL, NULL, NULL, NULL);
    forget_host(&fixture->source);
    forget_host(&fixture->target);
    g_free(fixture->root);
    g_free(fixture->folder);
    g_free(fixture);
    return 0;
}

static LpmDefinition *definition(struct fixture *fixture, const char *nvram_folder)
{
    g_autofree char *xml = g_strdup_printf(
        "<domain><name>web</name><uuid>" UUID "</uuid><os><nvram>%s/web_VARS.fd</nvram></os>"
        "<devices><tpm><backend type='emulator'/></tpm></devices></domain>",
        nvram_folder ? nvram_folder : fixture->source.nvram_dir);
    LpmDefinition *parsed = lpm_definition_parse(xml, NULL);

    assert_non_null(parsed);
    return parsed;
}

static void put(const char *path, const char *text, gssize length)
{
    g_autofree char *folder = g_path_get_dirname(path);

    g_mkdir_with_parents(folder, 0755);
    assert_true(g_file_set_contents(path, text, length, NULL));
    chmod(path, 0600);
}

static void carry(struct fixture *fixture, const char *from, const json_t *manifest)
{
    for (guint i = 0; i < json_array_size(manifest); i++) {
        guint64 offset = 0;

        for (;;) {
            g_autoptr(GBytes) bytes = lpm_bundle_read(from, i, offset, NULL);
            gsize length = 0;
            const guint8 *data = g_bytes_get_data(bytes, &length);

            if (!length)
                break;
            assert_true(lpm_bundle_write(fixture->folder, manifest, i, offset, data, length, NULL));
            offset += length;
        }
    }
}

static void test_from_host_to_host(void **state)
{
    struct fixture *fixture = *state;
    g_autoptr(LpmDefinition) parsed = definition(fixture, NULL);
    g_autofree char *from = lpm_bundle_folder(&fixture->source, "0123456789ab");
    g_autofree char *tpm =
        g_build_filename(fixture->source.tpm_dir, UUID, "tpm2", "tpm2-00.permall", NULL);
    g_autofree char *lock = g_build_filename(fixture->source.tpm_dir, UUID, "tpm2", ".lock", NULL);
    g_autofree char *there =
        g_build_filename(fixture->target.tpm_dir, UUID, "tpm2", "tpm2-00.permall", NULL);
    g_autofree char *large = g_strnfill(LPM_BUNDLE_CHUNK + 7, 'v');
    g_autofree char *found = NULL;
    gsize length;

    put(parsed->nvram, large, -1);
    put(tpm, "state", 5);
    put(lock, "", 0);
    json_t *manifest = lpm_bundle_fill(&fixture->source, parsed, from, NULL);
    assert_int_equal(json_array_size(manifest), 2);
    assert_int_equal(lpm_bundle_bytes(manifest), LPM_BUNDLE_CHUNK + 12);
    assert_true(lpm_bundle_begin(&fixture->target, parsed, manifest, fixture->folder, NULL));
    assert_false(lpm_bundle_check(fixture->folder, manifest, NULL));
    carry(fixture, from, manifest);
    assert_true(lpm_bundle_check(fixture->folder, manifest, NULL));
    assert_false(g_file_test(there, G_FILE_TEST_EXISTS));

    json_t *marks = lpm_bundle_marks(&fixture->source, parsed, manifest);
    for (int i = 0; i < 2; i++) /* may be repeated */
        assert_true(lpm_bundle_place(&fixture->target, parsed, manifest, fixture->folder, NULL));
    assert_true(g_file_get_contents(there, &found, &length, NULL));
    assert_string_equal(found, "state");
    /* nvram_dir is one folder on both hosts here, as on shared storage: what the source removes
     * afterwards is its own file, and not the one that was put in its place. */
    lpm_bundle_unplace(&fixture->source, parsed, manifest, marks);
    assert_true(g_file_test(parsed->nvram, G_FILE_TEST_EXISTS));
    assert_false(g_file_test(tpm, G_FILE_TEST_EXISTS));
    g_autoptr(LpmDefinition) again = lpm_bundle_definition(fixture->folder, NULL);
    assert_string_equal(again->xml, parsed->xml);
    lpm_bundle_remove(fixture->folder);
    assert_false(g_file_test(fixture->folder, G_FILE_TEST_EXISTS));
    json_decref(marks);
    json_decref(manifest);
}

static void expect_refused(struct fixture *fixture, const char *nvram_folder, const char *role,
                           const char *name, gint64 size, const char *digest, int code)
{
    g_autoptr(LpmDefinition) parsed = definition(fixture, nvram_folder);
    g_autoptr(GError) error = NULL;
    json_t *manifest =
        json_pack("[{s:s, s:s, s:I, s:s, s:i, s:s, s:s}]", "role", role, "name", name, "size",
                  (json_int_t)size, "sha256", digest, "mode", 0600, "owner", "root", "group", "");

    assert_false(lpm_bundle_begin(&fixture->target, parsed, manifest, fixture->folder, &error));
    assert_true(g_error_matches(error, LPM_ERROR, code));
    assert_false(g_file_test(fixture->folder, G_FILE_TEST_EXISTS));
    json_decref(manifest);
}

static void test_manifests_of_no_lpmd(void **state)
{
    static const char *const names[] = {"tpm2/../../../x", "tpm2/.hidden", "../tpm2/x", "tpm3/x",
                                        "tpm2/",           "/etc/passwd",  "tpm2/a b",  ""};
    struct fixture *fixture = *state;

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        expect_refused(fixture, NULL, "tpm", names[i], 0, DIGEST, LPM_E_BAD_REQUEST);
    expect_refused(fixture, NULL, "nvram", "../web_VARS.fd", 0, DIGEST, LPM_E_BAD_REQUEST);
    expect_refused(fixture, NULL, "kernel", "web_VARS.fd", 0, DIGEST, LPM_E_BAD_REQUEST);
    expect_refused(fixture, NULL, "nvram", "web_VARS.fd", 0, "12", LPM_E_BAD_REQUEST);
    expect_refused(fixture, NULL, "nvram", "web_VARS.fd", -1, DIGEST, LPM_E_BAD_REQUEST);
    expect_refused(fixture, NULL, "nvram", "web_VARS.fd", (gint64)LPM_BUNDLE_FILE_MAX + 1, DIGEST,
                   LPM_E_BAD_REQUEST);
    /* The file that the definition names, and another; and one that lies where lpmd never writes.
     */
    expect_refused(fixture, NULL, "nvram", "other_VARS.fd", 0, DIGEST, LPM_E_DEFINITION_FILES);
    expect_refused(fixture, "/etc", "nvram", "web_VARS.fd", 0, DIGEST, LPM_E_DEFINITION_FILES);
}

static void test_bytes_that_were_not_announced(void **state)
{
    struct fixture *fixture = *state;
    g_autoptr(LpmDefinition) parsed = definition(fixture, NULL);
    json_t *manifest =
        json_pack("[{s:s, s:s, s:i, s:s, s:i, s:s, s:s}]", "role", "nvram", "name", "web_VARS.fd",
                  "size", 4, "sha256", DIGEST, "mode", 0600, "owner", "root", "group", "");
    g_autoptr(GError) error = NULL;

    assert_true(lpm_bundle_begin(&fixture->target, parsed, manifest, fixture->folder, NULL));
    assert_false(lpm_bundle_write(fixture->folder, manifest, 0, 2, (const guint8 *)"abc", 3, NULL));
    assert_false(lpm_bundle_write(fixture->folder, manifest, 0, G_MAXUINT64, (const guint8 *)"abc",
                                  3, NULL));
    assert_false(lpm_bundle_write(fixture->folder, manifest, 1, 0, (const guint8 *)"a", 1, NULL));
    assert_true(lpm_bundle_write(fixture->folder, manifest, 0, 0, (const guint8 *)"abcd", 4, NULL));
    assert_false(lpm_bundle_check(fixture->folder, manifest, &error)); /* of another content */
    assert_true(g_error_matches(error, LPM_ERROR, LPM_E_DATA_DAMAGED));
    json_decref(manifest);
}

/* lpmd reads as root what QEMU's user may replace. */
static void test_link_in_the_place_of_a_file(void **state)
{
    struct fixture *fixture = *state;
    g_autoptr(LpmDefinition) parsed = definition(fixture, NULL);
    g_autoptr(GError) error = NULL;

    assert_int_equal(symlink("/etc/passwd", parsed->nvram), 0);
    assert_null(lpm_bundle_fill(&fixture->source, parsed, NULL, &error));
    assert_true(g_error_matches(error, LPM_ERROR, LPM_E_DEFINITION_FILES));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_from_host_to_host, setup, teardown),
        cmocka_unit_test_setup_teardown(test_manifests_of_no_lpmd, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes_that_were_not_announced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_link_in_the_place_of_a_file, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
