/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/options.h"

#include "base/config.h"
#include "base/error.h"

gboolean lpm_options_parse(struct lpm_options *options, int argc, char **argv, GError **error)
{
    const GOptionEntry entries[] = {
        {"config", 'c', 0, G_OPTION_ARG_FILENAME, &options->config,
         "Read FILE and conf.d beside it instead of " LPM_CONFIG_DEFAULT_PATH, "FILE"},
        {"foreground", 'f', 0, G_OPTION_ARG_NONE, &options->foreground,
         "Log to standard error also when that is the journal of systemd", NULL},
        {"debug", 'd', 0, G_OPTION_ARG_NONE, &options->debug, "Log what is for developers too",
         NULL},
        {"check-config", 0, 0, G_OPTION_ARG_NONE, &options->check_config,
         "Check the configuration, say what is wrong with it, and exit", NULL},
        {"version", 0, 0, G_OPTION_ARG_NONE, &options->version, "Print the version and exit", NULL},
#ifdef LPM_FAULT_POINTS
        {"list-fault-points", 0, 0, G_OPTION_ARG_NONE, &options->list_fault_points,
         "Print the names of this build's fault points and exit", NULL},
#endif
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) reason = NULL;

    g_option_context_set_summary(context,
                                 "The manager of one managed system: serves the lpm command "
                                 "here and paired hosts,\nand moves partitions.");
    g_option_context_set_description(context, "See lpmd(8) and lpmd.conf(5).\n");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &reason))
        return lpm_fail(error, LPM_E_USAGE, "%s; see 'lpmd --help'", reason->message);
    if (argc > 1)
        return lpm_fail(error, LPM_E_USAGE, "'%s' is too much; see 'lpmd --help'", argv[1]);
    if (!options->config)
        options->config = g_strdup(LPM_CONFIG_DEFAULT_PATH);
    return TRUE;
}
