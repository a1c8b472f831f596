/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * HTTP and JSON over lpmd's unix socket. Answers are bounded (CLIENT_MAX_ANSWER) and parsed
 * strictly. One thread; the connection is kept between calls.
 */
#ifndef LPM_CLI_CLIENT_H
#define LPM_CLI_CLIENT_H

#include <glib.h>
#include <jansson.h>

#define CLIENT_DEFAULT_SOCKET "/run/lpm/lpmd.sock"

/* A host has some thousand partitions at most, of some hundred bytes each. */
#define CLIENT_MAX_ANSWER ((gsize)64 << 20)

typedef struct cli_client CliClient;

/* Does not connect yet. LPM_E_USAGE if `socket` is no usable path. */
CliClient *client_new(const char *socket, GError **error);
void client_free(CliClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CliClient, client_free)

/* The longest that a call may take as a whole; at first 60 s. */
void client_set_timeout(CliClient *client, guint seconds);

/* A call ends early, with LPM_E_DAEMON_UNREACHABLE, when `*flag` becomes non-zero. NULL: never. */
void client_set_interrupt(CliClient *client, const volatile int *flag);

/* `method` `path` with `body` (consumed; NULL: none). The answer is an object that the caller owns.
 * NULL on error: LPM_E_DAEMON_UNREACHABLE if lpmd cannot be reached or ends the connection,
 * LPM_E_NOT_PERMITTED if the socket is closed to this user, LPM_E_INTERNAL if the answer is not
 * understood, otherwise the error that lpmd answered with. */
json_t *client_call(CliClient *client, const char *method, const char *path, json_t *body,
                    GError **error);

/* The error object that lpmd answered the last call with, or NULL if it did not. It may hold
 * details, and a code newer than this program's catalogue. Borrowed until the next call. */
const json_t *client_last_error(const CliClient *client);

#endif
