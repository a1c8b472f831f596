/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * lpm-mover: carries one migration on one host. Launched by lpmd as root with the listening control
 * socket as descriptor 3; from then on it is nobody, nowhere, and obeys what comes over that
 * socket (src/transport/mover-control.h). No secret is on its command line. `lpm-mover relay` is
 * the same mover for who has no lpmd (relay.h).
 */
#include "base/cpu-list.h"
#include "base/error.h"
#include "mover/mover.h"
#include "mover/relay.h"
#include "mover/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONTROL_FD 3

struct arguments {
    char *user, *root, *id, *side_name, *cpus;
    int nice;
    enum lpm_side side;
};

static gboolean parse(int argc, char **argv, struct arguments *arguments, GError **error)
{
    const GOptionEntry entries[] = {
        {"user", 0, 0, G_OPTION_ARG_STRING, &arguments->user, "whom to become", "USER"},
        {"root", 0, 0, G_OPTION_ARG_FILENAME, &arguments->root, "empty folder to enter", "DIR"},
        {"id", 0, 0, G_OPTION_ARG_STRING, &arguments->id, "migration, for the log", "ID"},
        {"side", 0, 0, G_OPTION_ARG_STRING, &arguments->side_name, "source or target", "SIDE"},
        {"nice", 0, 0, G_OPTION_ARG_INT, &arguments->nice, "scheduling priority, 0 to 19", "N"},
        {"cpus", 0, 0, G_OPTION_ARG_STRING, &arguments->cpus, "processors to use, 0-3,8", "LIST"},
        G_OPTION_ENTRY_NULL};
    g_autoptr(GOptionContext) context = g_option_context_new("- launched by lpmd, not by hand");

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, error))
        return FALSE;
    if (argc > 1)
        return lpm_fail(error, LPM_E_USAGE, "'%s' is not understood", argv[1]);
    if (!arguments->user || !arguments->root || !arguments->id)
        return lpm_fail(error, LPM_E_USAGE, "--user, --root, --id and --side are needed");
    if (!lpm_side_from_name(arguments->side_name, &arguments->side))
        return lpm_fail(error, LPM_E_USAGE, "--side must be source or target");
    return TRUE;
}

static gboolean check_control(GError **error)
{
    int type = 0, listening = 0;
    socklen_t length = sizeof(type);

    if (getsockopt(CONTROL_FD, SOL_SOCKET, SO_TYPE, &type, &length) < 0 ||
        getsockopt(CONTROL_FD, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) < 0 ||
        type != SOCK_SEQPACKET || !listening)
        return lpm_fail(error, LPM_E_USAGE,
                        "descriptor %d is not a listening control socket: lpm-mover is launched by "
                        "lpmd",
                        CONTROL_FD);
    return TRUE;
}

/* For all threads to come. */
static gboolean set_priority(const struct arguments *arguments, GError **error)
{
    cpu_set_t cpus;

    if (arguments->nice && setpriority(PRIO_PROCESS, 0, arguments->nice) < 0)
        return lpm_fail(error, LPM_E_MOVER_START, "--nice %d: %s", arguments->nice,
                        g_strerror(errno));
    if (!arguments->cpus)
        return TRUE;
    if (!lpm_cpu_list_parse(arguments->cpus, &cpus))
        return lpm_fail(error, LPM_E_USAGE, "--cpus '%s' is no list of processors",
                        arguments->cpus);
    if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
        return lpm_fail(error, LPM_E_MOVER_START, "--cpus '%s': %s", arguments->cpus,
                        g_strerror(errno));
    return TRUE;
}

/* `*stat_fd`: of /proc/stat, -1 if there is none; the process's for good. */
static gboolean prepare(const struct arguments *arguments, int *stat_fd, GError **error)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    setsid(); /* fails if it is a leader already, which is as good */
    close_range(CONTROL_FD + 1, ~0U, 0);
    *stat_fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
    /* The journal's socket is out of reach after chroot; stderr is inherited from lpmd. */
    unsetenv("JOURNAL_STREAM");
    tzset();
    lpm_log_init("lpm-mover", LPM_LOG_INFO);
    return set_priority(arguments, error) &&
           lpm_sandbox_enter(arguments->root, arguments->user, error) && lpm_sandbox_filter(error);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    g_autoptr(GError) error = NULL;
    int stat_fd = -1;

    if (argc > 1 && strcmp(argv[1], "relay") == 0)
        return relay_main(argc - 1, argv + 1);
    gboolean ok = parse(argc, argv, &arguments, &error) && check_control(&error) &&
                  prepare(&arguments, &stat_fd, &error);

    if (ok) {
        LpmMover *mover = lpm_mover_new(CONTROL_FD, stat_fd, arguments.side);

        lpm_mover_run(mover);
        lpm_mover_free(mover);
    } else {
        fprintf(stderr, "lpm-mover: %s\n", error->message);
    }
    g_free(arguments.user);
    g_free(arguments.root);
    g_free(arguments.id);
    g_free(arguments.side_name);
    g_free(arguments.cpus);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
