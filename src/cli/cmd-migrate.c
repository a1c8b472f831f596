/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/map.h"
#include "cli/migrate-limits.h"
#include "cli/migration.h"
#include "cli/text.h"
#include "cli/watch.h"

#include "base/error.h"

#include <string.h>

#define PRIORITY_MAX 100 /* and its negative: lpmd's bounds */

static gboolean add_persistence(struct cli *cli, json_t *body, GError **error)
{
    gboolean yes = cli_flag(cli, "persistent"), no = cli_flag(cli, "transient");

    if (yes && no)
        return cli_usage(cli, error, "--persistent and --transient exclude each other");
    if (yes || no)
        json_object_set_new(body, "persistent", json_boolean(yes));
    return TRUE;
}

static gboolean add_queue(struct cli *cli, json_t *body, GError **error)
{
    const char *priority = cli_option(cli, "priority");
    gint64 number;

    if (cli_flag(cli, "no-queue"))
        json_object_set_new(body, "queue", json_false());
    if (!priority)
        return TRUE;
    if (!g_ascii_string_to_signed(priority, 10, -PRIORITY_MAX, PRIORITY_MAX, &number, NULL))
        return cli_usage(cli, error, "--priority '%s' is no whole number from -%d to %d", priority,
                         PRIORITY_MAX, PRIORITY_MAX);
    json_object_set_new(body, "priority", json_integer((json_int_t)number));
    return TRUE;
}

static json_t *make_body(struct cli *cli, GError **error)
{
    const char *partition = cli_argument(cli, 0), *to = cli_option(cli, "to");
    json_t *body = json_pack("{s:s, s:s}", "partition", partition, "to", to);

    if (!*to)
        cli_usage(cli, error, "--to is empty; name a host of 'lpm host list'");
    else if (!body)
        cli_usage(cli, error, "the name of the partition or of the host is not UTF-8");
    else if (limits_add(cli, body, error) && map_add(cli, body, error) &&
             add_persistence(cli, body, error) && add_queue(cli, body, error)) {
        if (cli_flag(cli, "force"))
            json_object_set_new(body, "force", json_true());
        return body;
    }
    json_decref(body);
    return NULL;
}

/* To stderr, since a script may read the document on stdout. */
static void say_detached(const struct cli *cli, const char *id, const char *partition)
{
    if (!cli->quiet)
        fprintf(cli->err,
                "lpm: no longer waiting; migration %s goes on in the background\n"
                "  watch it with: lpm status %s --watch\n"
                "  stop it with:  lpm stop %s\n",
                id, partition, partition);
}

static enum cli_exit wait_for_end(struct cli *cli, const char *id, const char *partition,
                                  GError **error)
{
    g_autoptr(GError) failure = NULL;
    gboolean detached;
    json_t *migration = watch_migration(cli, id, FALSE, &detached, &failure);
    enum cli_exit code = CLI_DETACHED;

    if (failure) {
        g_propagate_prefixed_error(error, g_steal_pointer(&failure),
                                   "how migration %s goes on is not known: ", id);
        return CLI_INTERNAL;
    }
    if (!detached) {
        code = migration_conclude(cli, migration);
    } else {
        if (cli->json && migration)
            cli_json(cli, migration, FALSE);
        say_detached(cli, id, partition);
    }
    json_decref(migration);
    return code;
}

/* The request itself was interrupted: whether lpmd got it is open. */
static gboolean fail_interrupted(const char *partition, GError **error)
{
    g_clear_error(error);
    return lpm_fail(
        error, LPM_E_DAEMON_UNREACHABLE,
        "interrupted before lpmd answered; whether the migration of '%s' began is shown by "
        "'lpm status'",
        partition);
}

static enum cli_exit run(struct cli *cli, GError **error)
{
    json_t *body = make_body(cli, error);

    if (!body)
        return CLI_USAGE;
    if (!cli_client(cli, error)) {
        json_decref(body);
        return CLI_USAGE;
    }
    watch_catch_interrupt(cli);
    json_t *migration = cli_call(cli, "POST", "/v1/migrations", body, error);
    g_autofree char *id = field_text(migration, "id");
    g_autofree char *partition = text_clean(cli_argument(cli, 0));
    enum cli_exit code = CLI_OK;
    if (!migration) {
        if (watch_interrupted())
            fail_interrupted(partition, error);
    } else if (!cli_flag(cli, "no-wait")) {
        code = wait_for_end(cli, id, partition, error);
    } else if (cli->json) {
        cli_json(cli, migration, FALSE);
    } else {
        cli_say(cli, "Migration %s of %s %s. Watch it with 'lpm status %s --watch'.\n", id,
                partition,
                strcmp(field_raw(migration, "state"), "queued") == 0 ? "waits in the queue"
                                                                     : "has begun",
                partition);
    }
    json_decref(migration);
    return code;
}

const struct cli_command cmd_migrate = {
    .name = "migrate",
    .summary = "Move a partition to another host",
    .description =
        "Moves a running partition of this host to a paired one, while it runs and its users stay "
        "connected, and waits for the end. On a terminal one line shows the phase, the percentage, "
        "the "
        "rate, the rate at which the guest dirties memory, the bytes left, the time left and how "
        "long "
        "the suspension will be; elsewhere each phase is a line on stderr. The report of the "
        "migration "
        "goes to stdout.\n\n"
        "It begins with the checks of 'lpm validate'. Errors end it there, and all are shown; "
        "warnings are shown and logged. What --force accepts becomes a warning, one by one.\n\n"
        "Of a partition that is powered off the definition is moved, with firmware variables, TPM "
        "state and the autostart flag. One that somebody starts meanwhile stays where it is.\n\n"
        "While as many are under way as lpmd.conf allows, here or on the target, the migration "
        "waits in the queue ('lpm queue') and begins by itself.\n\n"
        "Ctrl-C ends the waiting, never the migration: that goes on in lpmd, and 'lpm stop' stops "
        "it. "
        "The exit code is then 130. A restart of lpmd during the wait is bridged for 30 seconds. A "
        "migration in doubt is waited for 10 seconds more.\n\n"
        "In post-copy a lost network is waited for, however long, and a lost mover is replaced. "
        "Only the end of one of the two hypervisors ends the partition then, since its memory is "
        "in both: lpm says so, with exit code 10, and the partition is started anew from its "
        "disks.\n\n"
        "The exit code is 6 if the migration failed after it had begun to copy; before, it is that "
        "of "
        "the cause: 3, 4 or 5. In each of these cases the partition goes on running here.",
    .arguments =
        (const struct cli_argument[]){
            {"PARTITION", "the name of a partition of this host, running or powered off", FALSE,
             CLI_WORDS_PARTITIONS},
            {.name = NULL},
        },
    .options =
        (const struct cli_option[]){
            {.name = "to",
             .argument = "HOST",
             .help = "where to: the name of a paired host, as 'lpm host list' shows it",
             .required = TRUE,
             .words = CLI_WORDS_HOSTS},
            LIMITS_OPTIONS,
            CLI_MAP_OPTIONS,
            {.name = "force",
             .help =
                 "accept a loss of redundancy, such as fewer paths to a disk, and nothing else"},
            {.name = "persistent",
             .help = "the target keeps a definition of it, also of a transient partition; the "
                     "source has none afterwards. That is so anyway for one that has a definition"},
            {.name = "transient",
             .help = "the target runs it without a definition; the source keeps its own, powered "
                     "off and not started at boot, and it must not be started meanwhile"},
            {.name = "no-queue",
             .help = "be refused, rather than wait, when as many are under way as may be"},
            {.name = "priority",
             .argument = "N",
             .help = "in the queue, from -100 to 100: the greatest goes first. Otherwise 0"},
            {.name = "no-wait", .help = "return as soon as the migration has begun"},
            {.name = NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"move web to host b", "lpm migrate web --to b"},
            {"leave some of the link to others", "lpm migrate web --to b --bandwidth 50M"},
            {"how long it was suspended, in microseconds",
             "lpm migrate web --to b --json | jq .report.suspended_us"},
            {"a guest that writes faster than the link carries",
             "lpm migrate web --to b --post-copy auto"},
            {"a disk and a network with other names there",
             "lpm migrate web --to b --map disk:vda=/dev/mapper/san-7 --map "
             "net:52:54:00:12:34:56=br7"},
            {"start, and look later", "lpm migrate web --to b --no-wait; lpm status web"},
            {.line = NULL},
        },
    .run = run,
};
