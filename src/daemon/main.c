/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "base/clock.h"
#include "base/error.h"
#include "base/fault-point.h"
#include "base/fdio.h"
#include "daemon/daemon.h"
#include "daemon/data-port.h"
#include "daemon/folders.h"
#include "daemon/http.h"
#include "daemon/identity.h"
#include "daemon/journal.h"
#include "daemon/migration.h"
#include "daemon/options.h"
#include "daemon/pairing.h"
#include "daemon/peers.h"
#include "daemon/retain-watch.h"
#include "daemon/routes.h"
#include "host/ovs.h"

#include "lpm-version.h"

#include <glib-unix.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

/* 0: stopped as told; 1: could not start; 2: the command line. */
enum { EXIT_COMMAND_LINE = 2 };

static void report(const GError *error)
{
    const struct lpm_error_info *info = lpm_error_info(lpm_error_number(error));

    lpm_log(LPM_LOG_ERROR, NULL, "LPM-%04d: %s. Remedy: %s", info->number, error->message,
            info->remedy);
}

/* What can fail and answers nobody yet. In the order of struct lpm_daemon. */
static gboolean make_parts(struct lpm_daemon *daemon, GError **error)
{
    const LpmConfig *config = daemon->config;
    g_autofree char *database = g_build_filename(config->state_dir, "lpmd.db", NULL);

    daemon->identity = lpm_identity_load(config->state_dir, config->name, error);
    if (!daemon->identity)
        return FALSE;
    daemon->journal = lpm_journal_open(database, error);
    if (!daemon->journal)
        return FALSE;
    daemon->peers = lpm_peers_new(daemon->journal, daemon->identity, error);
    if (!daemon->peers)
        return FALSE;
    daemon->data_port = lpm_data_port_new(config->listen_address, config->data_port, error);
    if (!daemon->data_port)
        return FALSE;
    daemon->pairing = lpm_pairing_new(daemon);
    daemon->http = lpm_http_new(daemon);
    return TRUE;
}

/* Before anything is probed: one of these is nobody's. */
static void remove_left_ports(struct lpm_daemon *daemon)
{
    guint count = lpm_ovs_clean();

    if (count)
        lpm_event_log(daemon, LPM_LOG_INFO, NULL, NULL, "cleaned",
                      "removed %u ports of Open vSwitch that a probe has left", count);
}

static gboolean start(struct lpm_daemon *daemon, GError **error)
{
    daemon->started_us = lpm_monotonic_us();
    if (!make_parts(daemon, error))
        return FALSE;
    daemon->migrations = lpm_migrations_new(daemon, error);
    if (!daemon->migrations)
        return FALSE;
    remove_left_ports(daemon);
    lpm_http_add_routes(daemon->http, lpm_routes_host);
    lpm_http_add_routes(daemon->http, lpm_routes_peers);
    lpm_http_add_routes(daemon->http, lpm_migrations_routes());
    lpm_http_add_routes(daemon->http, lpm_routes_validate);
    lpm_http_add_routes(daemon->http, lpm_routes_queue);
    lpm_http_add_routes(daemon->http, lpm_routes_forecasts);
    lpm_http_add_routes(daemon->http, lpm_routes_retain);
    return lpm_http_start(daemon->http, error);
}

/* Nobody is served any more before the parts that serve them go. */
static void stop(struct lpm_daemon *daemon)
{
    if (daemon->http)
        lpm_http_stop(daemon->http);
    lpm_migrations_free(daemon->migrations);
    lpm_pairing_free(daemon->pairing);
    lpm_data_port_free(daemon->data_port);
    lpm_http_free(daemon->http);
    lpm_peers_free(daemon->peers);
    lpm_journal_close(daemon->journal);
    lpm_identity_free(daemon->identity);
}

static gboolean on_signal(gpointer loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_CONTINUE;
}

static int run(struct lpm_daemon *daemon)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    struct lpm_retain_watch *watch = NULL;

    signal(SIGPIPE, SIG_IGN);
    g_unix_signal_add(SIGTERM, on_signal, loop);
    g_unix_signal_add(SIGINT, on_signal, loop);
    gboolean started = start(daemon, &error);
    if (started) {
        watch = lpm_retain_watch_new(daemon);
        lpm_event_log(daemon, LPM_LOG_INFO, NULL, NULL, "started",
                      "lpmd %s manages %s, control port %u, data port %u", LPM_VERSION,
                      daemon->config->name, daemon->config->control_port,
                      daemon->config->data_port);
        sd_notify(0, "READY=1");
        g_main_loop_run(loop);
        sd_notify(0, "STOPPING=1");
        lpm_event_log(daemon, LPM_LOG_INFO, NULL, NULL, "stopping", "lpmd stops");
    } else {
        report(error);
    }
    lpm_retain_watch_free(watch);
    stop(daemon);
    return started ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct lpm_options options = {0};
    struct lpm_daemon daemon = {0};
    g_autoptr(GError) error = NULL;

    setlocale(LC_CTYPE, "C.UTF-8");
    if (!lpm_options_parse(&options, argc, argv, &error)) {
        fprintf(stderr, "lpmd: LPM-%04d: %s\n", lpm_error_number(error), error->message);
        return EXIT_COMMAND_LINE;
    }
    g_autofree char *path = options.config;
    if (options.version) {
        printf("lpmd %s\n", LPM_VERSION);
        return EXIT_SUCCESS;
    }
#ifdef LPM_FAULT_POINTS
    if (options.list_fault_points) {
        lpm_fault_points_list();
        return EXIT_SUCCESS;
    }
#endif
    if (options.foreground || options.check_config)
        unsetenv("JOURNAL_STREAM");
    lpm_log_init("lpmd", options.debug ? LPM_LOG_DEBUG : LPM_LOG_INFO);
    umask(022);
    g_autoptr(LpmConfig) config = lpm_config_load(path, &error);
    if (options.check_config && config) {
        printf("%s: no errors\n", path);
        return EXIT_SUCCESS;
    }
    lpm_autofd state_lock = -1, run_lock = -1;
    gboolean ok = config && lpm_folders_make(config, &error) &&
                  (state_lock = lpm_folder_lock(config->state_dir, &error)) >= 0 &&
                  (run_lock = lpm_folder_lock(config->run_dir, &error)) >= 0;
    if (!ok) {
        report(error);
        return EXIT_FAILURE;
    }
    daemon.config = config;
#ifdef LPM_FAULT_POINTS
    lpm_fault_points_init(config->run_dir);
#endif
    return run(&daemon);
}
