/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The way back from a post-copy whose copy never ran. libvirt knows none ("cannot abort migration
 * in post-copy mode"), and QEMU's own migrate_cancel either works or hangs for ever (seen with 7.2:
 * its thread for the return path takes the shutdown for a fault of the network and waits for a
 * recovery).
 *
 * But the source still has all of its memory, and what it sends may as well be thrown away. So this
 * plays a target that could not load it: it says so (SHUT with an error, docs/stream-format.md) and
 * reads to the end, where QEMU finds the error and fails its migration in good order, with its
 * processors stopped in run state `postmigrate`, from which `cont` takes the disks back and goes
 * on. That takes as long as QEMU needs to write what is left to a local socket. (With SHUT and no
 * error the migration completes, and libvirt, which then takes any failure of Finish for a success,
 * ends the source.)
 */
#include "host/host-internal.h"

#include "base/error.h"

#include <errno.h>
#include <jansson.h>
#include <libvirt/libvirt-qemu.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define QUIET_MS 200            /* without a byte: QEMU has nothing to write at the moment */
#define STALL_US 20000000       /* without a byte and without an end: something is wrong */
#define SWITCH_LIMIT_US 3000000 /* QEMU goes over as soon as what it has written is read */
#define COMPLETE_LIMIT_US 5000000
#define RUN_LIMIT_US 5000000
#define POLL_US 10000

/* One command of QEMU's monitor: what it returns, a new reference, or NULL. libvirt allows it
 * during its own job, unlike everything else that is needed here. */
static json_t *ask(virDomainPtr domain, const char *command, json_t *arguments, GError **error)
{
    json_auto_t *request = json_pack("{s:s, s:o*}", "execute", command, "arguments", arguments);
    g_autofree char *text = json_dumps(request, JSON_COMPACT);
    char *answer = NULL;

    if (virDomainQemuMonitorCommand(domain, text, &answer, 0) < 0) {
        lpm_host_fail(error, command);
        return NULL;
    }
    json_auto_t *document = json_loads(answer, 0, NULL);
    free(answer);
    json_t *result = json_object_get(document, "return");
    if (!result) {
        lpm_fail(error, LPM_E_LIBVIRT, "QEMU refuses %s: %s", command,
                 json_string_value(json_object_get(json_object_get(document, "error"), "desc")));
        return NULL;
    }
    return json_incref(result);
}

static gboolean tell(virDomainPtr domain, const char *command, json_t *arguments, GError **error)
{
    json_auto_t *result = ask(domain, command, arguments, error);

    return result != NULL;
}

/* The `status` of query-migrate or query-status, "" if it tells none; NULL with an error. */
static char *status_of(virDomainPtr domain, const char *question, GError **error)
{
    json_auto_t *result = ask(domain, question, NULL, error);
    const char *status = json_string_value(json_object_get(result, "status"));

    return result ? g_strdup(status ? status : "") : NULL;
}

/* Until one of the names (NULL-terminated) is the status, at most `limit_us`. */
static gboolean await(virDomainPtr domain, const char *question, const char *const *names,
                      gint64 limit_us, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + limit_us;

    for (;;) {
        g_autofree char *status = status_of(domain, question, error);

        if (!status)
            return FALSE;
        if (g_strv_contains(names, status))
            return TRUE;
        if (g_get_monotonic_time() > deadline)
            return lpm_fail(error, LPM_E_LIBVIRT, "QEMU's %s stays '%s'", question, status);
        g_usleep(POLL_US);
    }
}

enum flow { FLOW_QUIET, FLOW_END };

/* Reads away what comes, until nothing has come for a moment or nothing more will. */
static enum flow drain(int fd)
{
    g_autofree char *away = g_malloc(256 << 10);
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    while (poll(&poll_fd, 1, QUIET_MS) > 0) {
        ssize_t n = recv(fd, away, 256 << 10, MSG_DONTWAIT);

        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return FLOW_END;
    }
    return FLOW_QUIET;
}

static gboolean is(const char *status, const char *const *names)
{
    return g_strv_contains(names, status);
}

static const char *const before_switch[] = {"setup", "active", "device", "pre-switchover", NULL};
static const char *const ended[] = {"completed", "cancelled", "failed", NULL};

/* What sleeps in the instant that host.h tells of waits for exactly this word. QEMU forgets it if
 * nothing waited, and refuses it in every other state. */
static gboolean wake(virDomainPtr domain, GError **error)
{
    return tell(domain, "migrate-continue", json_pack("{s:s}", "state", "cancelling"), error);
}

/* After a cancellation one word is enough: who has not seen that one by now cannot fall asleep. */
static gboolean await_cancelled(virDomainPtr domain, GError **error)
{
    wake(domain, NULL);
    return await(domain, "query-migrate", ended, COMPLETE_LIMIT_US, error);
}

/* A QEMU that was asked to go over does so as soon as it is read; one that was not is cancelled,
 * which before post-copy does no harm. */
static gboolean leave_pre_copy(virDomainPtr domain, int fd, char **status, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + SWITCH_LIMIT_US;

    while (is(*status, before_switch)) {
        if (g_get_monotonic_time() > deadline)
            return tell(domain, "migrate_cancel", NULL, error) && await_cancelled(domain, error);
        drain(fd);
        g_free(*status);
        *status = status_of(domain, "query-migrate", error);
        if (!*status)
            return FALSE;
    }
    return TRUE;
}

/* The part of a target that gives up. */
static gboolean play_target(virDomainPtr domain, int fd, GError **error)
{
    static const guint8 failed[] = {0, 1, 0, 4, 0, 0, 0, 1}; /* SHUT, 4 bytes: an error */
    gint64 deadline = g_get_monotonic_time() + STALL_US;

    if (!tell(domain, "migrate-set-parameters", json_pack("{s:i}", "max-postcopy-bandwidth", 0),
              error))
        return FALSE;
    if (send(fd, failed, sizeof(failed), MSG_NOSIGNAL) != (ssize_t)sizeof(failed))
        return lpm_fail(error, LPM_E_LIBVIRT, "QEMU's connection: %s", g_strerror(errno));
    while (drain(fd) != FLOW_END) {
        g_autofree char *status = status_of(domain, "query-migrate", error);

        if (!status)
            return FALSE;
        if (is(status, ended))
            return TRUE;
        if (g_get_monotonic_time() > deadline)
            return lpm_fail(error, LPM_E_LIBVIRT, "QEMU's migration stays %s", status);
    }
    return await(domain, "query-migrate", ended, COMPLETE_LIMIT_US, error);
}

gboolean lpm_host_take_back(struct lpm_host *host, const char *uuid, int fd, gboolean *possible,
                            GError **error)
{
    static const char *const running[] = {"running", NULL};
    lpm_auto_connect connection = NULL;
    lpm_auto_domain domain = NULL;

    *possible = TRUE;
    if (!lpm_host_find(host, uuid, &connection, &domain, error))
        return FALSE;
    *possible = domain != NULL;
    if (!domain)
        return lpm_fail(error, LPM_E_PARTITION_NOT_FOUND, "no partition %s on %s", uuid,
                        host->config->name);
    if (fd >= 0) /* a QEMU that waits for a reader with its lock held does not answer */
        drain(fd);
    g_autofree char *status = status_of(domain, "query-migrate", error);
    if (!status || (fd >= 0 && !leave_pre_copy(domain, fd, &status, error)))
        return FALSE;
    if (strcmp(status, "cancelling") == 0) {
        if (!await_cancelled(domain, error))
            return FALSE;
    } else if (strcmp(status, "postcopy-active") == 0 && fd >= 0) {
        if (!play_target(domain, fd, error))
            return FALSE;
    } else if (g_str_has_prefix(status, "postcopy")) {
        *possible = FALSE;
        return lpm_fail(
            error, LPM_E_LIBVIRT,
            "QEMU's migration is in %s and its connection broke: it does not give it up", status);
    }
    g_autofree char *runs = status_of(domain, "query-status", error);
    /* It may have come so far already, by itself or with an lpmd that was restarted since. */
    return runs && (strcmp(runs, "running") == 0 ||
                    (tell(domain, "cont", NULL, error) &&
                     await(domain, "query-status", running, RUN_LIMIT_US, error)));
}

gboolean lpm_host_relabel(struct lpm_host *host, const char *uuid, GError **error)
{
    lpm_auto_connect connection = NULL;
    lpm_auto_domain domain = NULL;

    if (!lpm_host_find(host, uuid, &connection, &domain, error))
        return FALSE;
    if (!domain)
        return TRUE;
    if (virDomainSuspend(domain) < 0 || virDomainResume(domain) < 0)
        return lpm_host_fail(error, "making libvirt see that the partition runs as before");
    return TRUE;
}

gboolean lpm_host_wake_cancelled(struct lpm_host *host, const char *uuid, GError **error)
{
    lpm_auto_connect connection = NULL;
    lpm_auto_domain domain = NULL;

    if (!lpm_host_find(host, uuid, &connection, &domain, error))
        return FALSE;
    return domain ? wake(domain, error)
                  : lpm_fail(error, LPM_E_PARTITION_NOT_FOUND, "no partition %s on %s", uuid,
                             host->config->name);
}
