/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * lpmd's parts, tied together. Made by main.c in the order of the members and freed in reverse;
 * each member is set once before the servers start and immutable afterwards, so any thread may read
 * it.
 */
#ifndef LPM_DAEMON_DAEMON_H
#define LPM_DAEMON_DAEMON_H

#include "base/config.h"
#include "base/log.h"

#include <glib.h>
#include <jansson.h>
#include <stdint.h>

struct lpm_identity;
struct lpm_journal;
struct lpm_peers;
struct lpm_http;
struct lpm_data_port;
struct lpm_pairing;
struct lpm_host;
struct lpm_migrations;

/* The version of the control API between hosts; both sides show it in /v1/host. */
#define LPM_API_PROTOCOL 1

struct lpm_daemon {
    LpmConfig *config;
    int64_t started_us; /* monotonic */
    struct lpm_identity *identity;
    struct lpm_journal *journal;
    struct lpm_peers *peers;
    struct lpm_data_port *data_port;
    struct lpm_pairing *pairing;
    struct lpm_host *host;
    struct lpm_migrations *migrations;
    struct lpm_http *http;
};

/* Tells an event to both logs: the program's (base/log.h) and the journal's, which `lpm log` shows.
 * `migration` and `partition` may be NULL; `event` is a short word ("paired"). A journal that
 * cannot be written is logged and otherwise ignored. Any thread. */
void lpm_event_log(struct lpm_daemon *daemon, enum lpm_log_level level, const char *migration,
                   const char *partition, const char *event, const char *format, ...)
    G_GNUC_PRINTF(6, 7);

#endif
