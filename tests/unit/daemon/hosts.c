/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "hosts.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/routes.h"

#include <glib/gstdio.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

char *test_folder(void)
{
    char *folder = g_dir_make_tmp("lpm-test-XXXXXX", NULL);

    assert_non_null(folder);
    return folder;
}

static void remove_all(const char *path)
{
    struct stat status;

    assert_int_equal(lstat(path, &status), 0);
    if (S_ISDIR(status.st_mode)) {
        g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
        const char *name;

        while (dir && (name = g_dir_read_name(dir))) {
            g_autofree char *child = g_build_filename(path, name, NULL);
            remove_all(child);
        }
    }
    remove(path);
}

void test_remove_folder(char *folder)
{
    remove_all(folder);
    g_free(folder);
}

void test_assert_error(const GError *error, enum lpm_error_code code)
{
    assert_non_null(error);
    if (lpm_error_number(error) != (int)code)
        fail_msg("expected LPM-%04d, got LPM-%04d: %s", (int)code, lpm_error_number(error),
                 error->message);
}

gboolean test_wait(gboolean (*condition)(void *), void *user)
{
    int64_t end = lpm_monotonic_us() + 5000000;

    while (lpm_monotonic_us() < end) {
        if (condition(user))
            return TRUE;
        g_usleep(2000);
    }
    return FALSE;
}

/* A port that nobody uses now, and that the kernel gives to nobody who does not ask for it by its
 * number: it is bound only later. */
static guint free_port(void)
{
    static guint next;

    for (;; next++) {
        guint port = 20000 + ((guint)getpid() * 16 + next) % 12000;
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((guint16)port)};
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        gboolean is_free = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

        close(fd);
        if (is_free) {
            next++;
            return port;
        }
    }
}

static LpmConfig *make_config(const char *folder, const char *name, const char *address)
{
    g_autofree char *path = g_build_filename(folder, "lpmd.conf", NULL);
    g_autofree char *text = g_strdup_printf("[host]\nname=%s\nstate_dir=%s\nrun_dir=%s\n"
                                            "[network]\nlisten_address=%s\ncontrol_port=%u\n",
                                            name, folder, folder, address, free_port());
    g_autoptr(GError) error = NULL;

    assert_true(g_file_set_contents(path, text, -1, NULL));
    LpmConfig *config = lpm_config_load(path, &error);
    assert_null(error);
    return config;
}

struct test_host *test_host_new(const char *name, const char *address,
                                const struct lpm_route *routes)
{
    struct test_host *host = g_new0(struct test_host, 1);
    struct lpm_daemon *daemon = &host->daemon;
    g_autoptr(GError) error = NULL;

    lpm_log_init("test", LPM_LOG_ERROR);
    host->folder = test_folder();
    g_autofree char *database = g_build_filename(host->folder, "lpmd.db", NULL);
    daemon->config = make_config(host->folder, name, address);
    daemon->started_us = lpm_monotonic_us();
    daemon->identity = lpm_identity_load(host->folder, name, &error);
    assert_null(error);
    daemon->journal = lpm_journal_open(database, &error);
    assert_null(error);
    daemon->peers = lpm_peers_new(daemon->journal, daemon->identity, &error);
    assert_null(error);
    daemon->data_port = lpm_data_port_new(address, 0, &error);
    assert_null(error);
    daemon->config->data_port = lpm_data_port_number(daemon->data_port);
    daemon->pairing = lpm_pairing_new(daemon);
    daemon->http = lpm_http_new(daemon);
    lpm_http_add_routes(daemon->http, lpm_routes_host);
    lpm_http_add_routes(daemon->http, lpm_routes_peers);
    if (routes)
        lpm_http_add_routes(daemon->http, routes);
    assert_true(lpm_http_start(daemon->http, &error));
    return host;
}

void test_host_free(struct test_host *host)
{
    struct lpm_daemon *daemon = &host->daemon;

    lpm_http_stop(daemon->http);
    lpm_pairing_free(daemon->pairing);
    lpm_data_port_free(daemon->data_port);
    lpm_http_free(daemon->http);
    lpm_peers_free(daemon->peers);
    lpm_journal_close(daemon->journal);
    lpm_identity_free(daemon->identity);
    lpm_config_free(daemon->config);
    test_remove_folder(host->folder);
    g_free(host);
}

void test_pair(struct test_host *a, struct test_host *b)
{
    g_autoptr(GError) error = NULL;
    int64_t expires_ms;
    g_autofree char *code = lpm_pairing_invite(b->daemon.pairing, &expires_ms, &error);

    assert_null(error);
    g_autoptr(LpmPeer) peer =
        lpm_pairing_join(a->daemon.pairing, NULL, b->daemon.config->listen_address,
                         b->daemon.config->data_port, code, &error);
    if (error)
        fail_msg("pairing failed: %s", error->message);
    assert_string_equal(peer->name, b->daemon.config->name);
}
