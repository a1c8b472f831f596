/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Lists of processors as the kernel writes them: "0-3,8". Any thread. */
#ifndef LPM_BASE_CPU_LIST_H
#define LPM_BASE_CPU_LIST_H

#include <glib.h>
#include <sched.h>

/* FALSE: `text` is not such a list of processors from 0 to CPU_SETSIZE - 1, or empty. */
gboolean lpm_cpu_list_parse(const char *text, cpu_set_t *set);

#endif
