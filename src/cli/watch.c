/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/watch.h"

#include "base/clock.h"
#include "base/error.h"
#include "cli/migration.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "cli/text.h"

#include <poll.h>
#include <signal.h>
#include <string.h>

/* Often while things change within a fraction of a second, which is at the beginning and around the
 * suspension; an answer costs lpmd some ten microseconds. */
#define FAST_MS 100
#define SLOW_MS 250
#define FAST_FOR_US (3 * G_USEC_PER_SEC)

/* One call while watching: an lpmd that hangs counts as away, and patience is counted in calls. */
#define POLL_TIMEOUT_S 5

static volatile int interrupted;

static void on_interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

void watch_catch_interrupt(struct cli *cli)
{
    /* No SA_RESTART: poll() is to return. */
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};

    sigaction(SIGINT, &action, NULL);
    if (cli->client)
        client_set_interrupt(cli->client, &interrupted);
}

gboolean watch_interrupted(void)
{
    return interrupted != 0;
}

void watch_sleep_ms(guint ms)
{
    if (!interrupted)
        poll(NULL, 0, (int)ms);
}

static void show_waiting(const struct cli *cli)
{
    if (terminal_is(cli->err) && !cli->json && !cli->quiet) {
        fputs("\r\033[Kwaiting for lpmd to come back", cli->err);
        fflush(cli->err);
    }
}

json_t *watch_get(struct cli *cli, const char *path, GError **error)
{
    int64_t begin = lpm_monotonic_us();
    CliClient *client = cli_client(cli, error);

    if (!client)
        return NULL;
    client_set_timeout(client, POLL_TIMEOUT_S);
    for (;;) {
        g_autoptr(GError) failure = NULL;
        json_t *answer = client_call(client, "GET", path, NULL, &failure);
        if (answer)
            return answer;
        if (watch_interrupted())
            return NULL;
        if (!g_error_matches(failure, LPM_ERROR, LPM_E_DAEMON_UNREACHABLE)) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return NULL;
        }
        if (lpm_monotonic_us() - begin > WATCH_PATIENCE_S * G_USEC_PER_SEC) {
            g_propagate_prefixed_error(error, g_steal_pointer(&failure),
                                       "given up after %d s: ", WATCH_PATIENCE_S);
            return NULL;
        }
        show_waiting(cli);
        watch_sleep_ms(SLOW_MS);
    }
}

/* What was shown last, to show only changes. */
struct follower {
    struct cli *cli;
    gboolean documents;
    gboolean draws;         /* a line on the terminal is to be cleared at the end */
    char *state;            /* owned */
    char *document;         /* owned */
    int64_t doubt_since_us; /* monotonic; 0: not in doubt */
};

static void show_document(struct follower *follower, const json_t *migration)
{
    char *text = json_dumps(migration, JSON_COMPACT);

    if (g_strcmp0(text, follower->document) != 0)
        cli_json(follower->cli, migration, TRUE);
    g_free(follower->document);
    follower->document = g_strdup(text);
    free(text);
}

static void show_line(struct follower *follower, const json_t *migration)
{
    FILE *err = follower->cli->err;

    if (follower->draws) {
        /* The last column stays free: some terminals wrap when it is written. */
        g_autofree char *line = progress_line(migration, terminal_width(err) - 1);
        fprintf(err, "\r%s\033[K", line);
    } else if (g_strcmp0(field_raw(migration, "state"), follower->state) != 0) {
        g_autofree char *line = progress_text(migration);
        fprintf(err, "%s\n", line);
    }
    fflush(err);
}

static void show(struct follower *follower, const json_t *migration)
{
    const struct cli *cli = follower->cli;

    if (cli->json) {
        if (follower->documents)
            show_document(follower, migration);
    } else if (!cli->quiet) {
        show_line(follower, migration);
    }
    g_free(follower->state);
    follower->state = g_strdup(field_raw(migration, "state"));
}

static gboolean at_end(struct follower *follower, const json_t *migration)
{
    if (!migration_is_active(migration))
        return TRUE;
    if (strcmp(field_raw(migration, "state"), "in-doubt") != 0) {
        follower->doubt_since_us = 0;
        return FALSE;
    }
    if (!follower->doubt_since_us)
        follower->doubt_since_us = lpm_monotonic_us();
    return lpm_monotonic_us() - follower->doubt_since_us > WATCH_IN_DOUBT_S * G_USEC_PER_SEC;
}

static guint pause_ms(const json_t *migration, int64_t begin_us)
{
    const char *state = field_raw(migration, "state");

    if (strcmp(state, "suspending") == 0 || strcmp(state, "committing") == 0 ||
        lpm_monotonic_us() - begin_us < FAST_FOR_US)
        return FAST_MS;
    return SLOW_MS;
}

static json_t *follow(struct follower *follower, const char *path, gboolean *detached,
                      GError **error)
{
    int64_t begin = lpm_monotonic_us();
    json_t *migration = NULL;

    while (!*detached) {
        g_autoptr(GError) failure = NULL;
        json_t *next = watch_get(follower->cli, path, &failure);
        if (failure) {
            g_propagate_error(error, g_steal_pointer(&failure));
            json_decref(migration);
            return NULL;
        }
        if (next) {
            json_decref(migration);
            migration = next;
            show(follower, migration);
            if (at_end(follower, migration))
                return migration;
            watch_sleep_ms(pause_ms(migration, begin));
        }
        *detached = watch_interrupted();
    }
    return migration;
}

json_t *watch_migration(struct cli *cli, const char *id, gboolean documents, gboolean *detached,
                        GError **error)
{
    g_autofree char *path = cli_path("/v1/migrations/", id, NULL);
    struct follower follower = {
        .cli = cli,
        .documents = documents,
        .draws = terminal_is(cli->err) && !cli->json && !cli->quiet,
    };

    *detached = FALSE;
    if (!cli_client(cli, error))
        return NULL;
    watch_catch_interrupt(cli);
    json_t *migration = follow(&follower, path, detached, error);
    if (follower.draws) {
        fputs("\r\033[K", cli->err);
        fflush(cli->err);
    }
    g_free(follower.state);
    g_free(follower.document);
    return migration;
}

void watch_redraw(FILE *out, const char *text)
{
    static gsize drawn; /* lines on the screen; one terminal, one thread */
    gsize width = terminal_width(out) - 1, height = MAX(terminal_height(out), 3) - 1;
    g_autofree char *body = g_strchomp(g_strdup(text));
    g_auto(GStrv) lines = g_strsplit(body, "\n", -1);
    gsize count = g_strv_length(lines), shown = MIN(count, height);

    if (drawn > 0)
        fprintf(out, "\033[%zuA", MIN(drawn, height));
    for (gsize i = 0; i < shown; i++) {
        gboolean more = i + 1 == shown && count > shown;
        g_autofree char *line = more ? g_strdup_printf("... and %zu lines more", count - i)
                                     : text_truncate(lines[i], width);
        fprintf(out, "\r%s\033[K\n", line);
    }
    fputs("\033[J", out);
    fflush(out);
    drawn = shown;
}
