/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "base/config.h"
#include "base/error.h"

#include <glib/gstdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char *folder, *conf_d, *path;
};

static int set_up(void **state)
{
    struct fixture *fixture = g_new0(struct fixture, 1);

    fixture->folder = g_dir_make_tmp("lpm-config-XXXXXX", NULL);
    fixture->conf_d = g_build_filename(fixture->folder, "conf.d", NULL);
    fixture->path = g_build_filename(fixture->folder, "lpmd.conf", NULL);
    g_mkdir(fixture->conf_d, 0755);
    *state = fixture;
    return 0;
}

static void empty_folder(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        g_remove(child);
    }
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    empty_folder(fixture->conf_d);
    empty_folder(fixture->folder);
    g_rmdir(fixture->conf_d);
    g_rmdir(fixture->folder);
    g_free(fixture->folder);
    g_free(fixture->conf_d);
    g_free(fixture->path);
    g_free(fixture);
    return 0;
}

static LpmConfig *load(struct fixture *fixture, const char *text, GError **error)
{
    assert_true(g_file_set_contents(fixture->path, text, -1, NULL));
    return lpm_config_load(fixture->path, error);
}

static void add_file(struct fixture *fixture, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(fixture->conf_d, name, NULL);

    assert_true(g_file_set_contents(path, text, -1, NULL));
}

/* Asserts that `text` is refused with a cause that says each of the words. */
static void assert_refused(struct fixture *fixture, const char *text, const char *word,
                           const char *other)
{
    g_autoptr(GError) error = NULL;

    assert_null(load(fixture, text, &error));
    assert_int_equal(lpm_error_number(error), LPM_E_CONFIG);
    if (!strstr(error->message, word) || !strstr(error->message, other))
        fail_msg("'%s' does not say '%s' and '%s'", error->message, word, other);
}

static void test_defaults(void **state)
{
    g_autoptr(LpmConfig) config = load(*state, "", NULL);
    char host[256] = "";

    gethostname(host, sizeof(host) - 1);
    host[strcspn(host, ".")] = 0;
    assert_non_null(config);
    assert_string_equal(config->name, host);
    assert_string_equal(config->state_dir, "/var/lib/lpm");
    assert_string_equal(config->listen_address, "::");
    assert_int_equal(config->control_port, 16520);
    assert_int_equal(config->data_port, 16521);
    assert_int_equal(config->compression_level, -1);
    assert_int_equal(config->backlog_bytes, 4194304);
    gboolean grow = FALSE;
    assert_int_equal(lpm_config_links(config, &grow), 8);
    assert_true(grow);
    assert_int_equal(config->max_suspend_ms, 300);
}

static void test_values_are_read(void **state)
{
    g_autoptr(LpmConfig) config =
        load(*state,
             "# a comment\n[host]\nname=h1\n[network]\ncontrol_port=17000\n[mover]\n"
             "compression=none\ncompression_level=-7\nbacklog_bytes=1073741824\nlinks=3\n",
             NULL);

    assert_non_null(config);
    assert_string_equal(config->name, "h1");
    assert_int_equal(config->control_port, 17000);
    assert_string_equal(config->compression, "none");
    assert_int_equal(config->compression_level, -7);
    assert_int_equal(config->backlog_bytes, 1073741824);
    assert_int_equal(lpm_config_links(config, NULL), 3);
}

static void test_conf_d_overrides_in_order(void **state)
{
    struct fixture *fixture = *state;

    add_file(fixture, "20-b.conf", "[host]\nname=second\n[network]\ndata_port=2\n");
    add_file(fixture, "10-a.conf", "[host]\nname=first\n[network]\ncontrol_port=1\n");
    add_file(fixture, "30-c.txt", "[host]\nname=ignored\n");
    g_autoptr(LpmConfig) config = load(fixture, "[host]\nname=zero\n", NULL);
    assert_non_null(config);
    assert_string_equal(config->name, "second");
    assert_int_equal(config->control_port, 1);
    assert_int_equal(config->data_port, 2);
}

static void test_errors_name_the_place(void **state)
{
    struct fixture *fixture = *state;

    assert_refused(fixture, "[host]\nnmae=x\n", "nmae", "lpmd.conf");
    assert_refused(fixture, "[hosts]\nname=x\n", "hosts", "name");
    assert_refused(fixture, "name=x\n", "lpmd.conf", "");
    assert_refused(fixture, "[network]\ncontrol_port=0\n", "control_port", "'0'");
    assert_refused(fixture, "[network]\ncontrol_port=65536\n", "65536", "65535");
    assert_refused(fixture, "[network]\ndata_port=16521x\n", "16521x", "data_port");
    assert_refused(fixture, "[network]\ndata_port=\n", "data_port", "''");
    assert_refused(fixture, "[mover]\nbacklog_bytes=99999999999999999999999\n", "backlog_bytes",
                   "9999");
    assert_refused(fixture, "[mover]\nlinks=0\n", "links", "'0'");
    assert_refused(fixture, "[mover]\nlinks=9\n", "links", "1 to 8");
    assert_refused(fixture, "[mover]\nlinks=12\n", "links", "1 to 8");
    assert_refused(fixture, "[mover]\nlinks=\n", "links", "1 to 8");
    assert_refused(fixture, "[mover]\ncompression=gzip\n", "gzip", "zstd");
    assert_refused(fixture, "[mover]\ncompression_level=20\n", "20", "19");
    assert_refused(fixture, "[migration]\nmax_migrations=-1\n", "-1", "max_migrations");
    assert_refused(fixture, "[retain]\nretain=yes\n", "yes", "on or off");
    assert_refused(fixture, "[retain]\nhours=0\n", "0", "hours");
    assert_refused(fixture, "[mover]\ndirect_placement=yes\n", "yes", "on or off");
}

static void test_error_in_conf_d_names_that_file(void **state)
{
    add_file(*state, "50-x.conf", "[host]\nnmae=x\n");
    assert_refused(*state, "", "50-x.conf", "nmae");
}

static void test_named_file_must_exist(void **state)
{
    g_autoptr(GError) error = NULL;

    (void)state;
    assert_null(lpm_config_load("/nonexistent/lpmd.conf", &error));
    assert_int_equal(lpm_error_number(error), LPM_E_CONFIG);
}

static void test_roles(void **state)
{
    g_autoptr(GError) error = NULL;

    add_file(*state, "90.conf", "[networks]\nproduction=br9\n");
    g_autoptr(LpmConfig) config = load(
        *state, "[networks]\nproduction=br0\nbackup=br1\n[storage]\nsan=/dev/mapper/\n", &error);
    assert_non_null(config);
    assert_string_equal(g_hash_table_lookup(config->networks, "production"), "br9");
    assert_string_equal(g_hash_table_lookup(config->networks, "backup"), "br1");
    assert_string_equal(g_hash_table_lookup(config->storage, "san"), "/dev/mapper/");
    assert_refused(*state, "[storage]\nsan=\n", "san", "empty");
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_roles),
        TEST(test_values_are_read),
        TEST(test_conf_d_overrides_in_order),
        TEST(test_errors_name_the_place),
        TEST(test_error_in_conf_d_names_that_file),
        TEST(test_named_file_must_exist),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
