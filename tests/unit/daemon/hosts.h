/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Whole hosts without a hypervisor, several in one process, on loopback: what the tests of the API,
 * of pairing and of trust talk to. Any failure to make one ends the test. */
#ifndef LPM_TEST_HOSTS_H
#define LPM_TEST_HOSTS_H

#include "base/config.h"
#include "base/error.h"
#include "daemon/daemon.h"
#include "daemon/data-port.h"
#include "daemon/http.h"
#include "daemon/identity.h"
#include "daemon/journal.h"
#include "daemon/pairing.h"
#include "daemon/peer-client.h"
#include "daemon/peers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct test_host {
    struct lpm_daemon daemon;
    char *folder;
};

/* Starts one named `name` on `address` with free ports; `routes` (may be NULL) are served besides
 * the host's own. Free with test_host_free, which removes its folder. */
struct test_host *test_host_new(const char *name, const char *address,
                                const struct lpm_route *routes);
void test_host_free(struct test_host *host);

/* `a` joins `b` by an invite of b's. */
void test_pair(struct test_host *a, struct test_host *b);

/* Asserts that `error` is this one of the catalogue. */
void test_assert_error(const GError *error, enum lpm_error_code code);

/* A new folder, and its removal with everything in it. */
char *test_folder(void);
void test_remove_folder(char *folder);

/* Waits until `condition` returns TRUE, at most 5 s. */
gboolean test_wait(gboolean (*condition)(void *), void *user);

#endif
