/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* lpmd's command line. */
#ifndef LPM_DAEMON_OPTIONS_H
#define LPM_DAEMON_OPTIONS_H

#include <glib.h>

/* The string is the caller's once parsed. */
struct lpm_options {
    char *config;
    gboolean foreground, debug, check_config, version;
    gboolean list_fault_points; /* builds with fault points only */
};

/* Parses the command line. FALSE with USAGE if it is not understood. --help prints and exits. */
gboolean lpm_options_parse(struct lpm_options *options, int argc, char **argv, GError **error);

#endif
