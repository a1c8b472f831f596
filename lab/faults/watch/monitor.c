/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/* A copy's own words: QMP, as far as an observer needs it. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "copy.h"

#define LINE_MAX_BYTES (1024 * 1024)
#define STEP_US 1000 /* a difference of the clocks that no slewing makes in one look */
#define LATE_US (60 * G_USEC_PER_SEC) /* an event older than this was stamped by another clock */

static const char CAPABILITIES[] = "{\"execute\": \"qmp_capabilities\"}\n"
                                   "{\"execute\": \"query-status\", \"id\": \"first\"}\n";

gboolean monitor_connect(struct copy *copy, struct journal *journal)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (g_strlcpy(to.sun_path, copy->monitor_path, sizeof to.sun_path) >= sizeof to.sun_path) {
        journal_line(journal, "\"what\": \"error\", \"pid\": %d, \"text\": \"path too long\"",
                     copy->pid);
        copy->monitor = MONITOR_CLOSED;
        return FALSE;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return FALSE;
    struct ucred peer = {0};
    socklen_t size = sizeof peer;
    /* The socket may still be that of a copy that was killed: only its own process is asked. */
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.pid != copy->pid) {
        close(fd);
        return FALSE;
    }
    copy->monitor_fd = fd;
    copy->monitor = MONITOR_GREETING;
    return TRUE;
}

/*
 * The instant of an event on CLOCK_MONOTONIC. QEMU stamps with CLOCK_REALTIME; when that was set
 * since the last look, the stamp fits with the offset before or after. *EXACT is FALSE when
 * neither fits, and then the instant is now: the event came before it.
 */
static gint64 instant_of(struct journal *journal, const json_t *stamp, gboolean *exact)
{
    gint64 now = now_us(), offset = g_get_real_time() - now;
    gint64 wall = json_integer_value(json_object_get(stamp, "seconds")) * G_USEC_PER_SEC +
                  json_integer_value(json_object_get(stamp, "microseconds"));
    gint64 candidates[] = {wall - offset, wall - journal->wall_offset_us};
    *exact = TRUE;
    if (ABS(offset - journal->wall_offset_us) < STEP_US) {
        journal->wall_offset_us = offset;
        if (candidates[0] <= now + STEP_US && candidates[0] > now - LATE_US)
            return MIN(candidates[0], now);
    } else {
        for (guint i = 0; i < G_N_ELEMENTS(candidates); i++) {
            if (candidates[i] <= now && candidates[i] > now - G_USEC_PER_SEC)
                return candidates[i];
        }
    }
    *exact = FALSE;
    return now;
}

static void take_event(struct copy *copy, const json_t *message, const char *name,
                       struct journal *journal)
{
    gboolean exact, was = copy->running;
    gint64 at = instant_of(journal, json_object_get(message, "timestamp"), &exact);
    if (strcmp(name, "RESUME") == 0)
        copy->running = TRUE;
    else if (strcmp(name, "STOP") == 0)
        copy->running = FALSE;
    else if (strcmp(name, "RTC_CHANGE") == 0 || strcmp(name, "NIC_RX_FILTER_CHANGED") == 0)
        return; /* the guest's doing, as often as it likes */
    json_t *data = json_object_get(message, "data");
    g_autofree char *text = data ? json_dumps(data, JSON_COMPACT) : NULL;
    journal_line(journal,
                 "\"what\": \"event\", \"pid\": %d, \"event\": \"%s\", \"at_us\": %" PRId64
                 ", \"exact\": %s, \"data\": %s",
                 copy->pid, name, at, exact ? "true" : "false", text ? text : "null");
    if (was != copy->running)
        copy_write_spent(copy, journal);
}

static void take_status(struct copy *copy, const json_t *status, struct journal *journal)
{
    copy->running = json_is_true(json_object_get(status, "running"));
    copy->monitor = MONITOR_READY;
    /* QEMU answers only when it has made all threads of its processors. */
    copy->relist = TRUE;
    journal_line(journal,
                 "\"what\": \"attached\", \"pid\": %d, \"running\": %s, \"status\": \"%s\"",
                 copy->pid, copy->running ? "true" : "false",
                 json_string_value(json_object_get(status, "status")));
    copy_write_spent(copy, journal);
}

static void take_line(struct copy *copy, const char *line, struct journal *journal)
{
    json_t *message = json_loads(line, 0, NULL);
    const char *event = json_string_value(json_object_get(message, "event"));
    if (event) {
        take_event(copy, message, event, journal);
    } else if (json_object_get(message, "QMP") && copy->monitor == MONITOR_GREETING) {
        if (send(copy->monitor_fd, CAPABILITIES, strlen(CAPABILITIES), MSG_NOSIGNAL) > 0)
            copy->monitor = MONITOR_ASKING;
    } else if (json_object_get(message, "id")) {
        take_status(copy, json_object_get(message, "return"), journal);
    }
    json_decref(message);
}

void monitor_read(struct copy *copy, struct journal *journal)
{
    char chunk[4096];
    ssize_t n;
    while ((n = read(copy->monitor_fd, chunk, sizeof chunk)) > 0) {
        g_string_append_len(copy->input, chunk, n);
        char *end;
        while ((end = strchr(copy->input->str, '\n'))) {
            *end = 0;
            take_line(copy, copy->input->str, journal);
            g_string_erase(copy->input, 0, end + 1 - copy->input->str);
        }
        if (copy->input->len > LINE_MAX_BYTES)
            g_string_truncate(copy->input, 0);
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        close(copy->monitor_fd);
        copy->monitor_fd = -1;
        copy->monitor = MONITOR_CLOSED;
        journal_line(journal, "\"what\": \"monitor-closed\", \"pid\": %d", copy->pid);
    }
}
