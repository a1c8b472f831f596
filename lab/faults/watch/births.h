/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/* How the observer learns of new processes: the kernel's process connector. */
#ifndef WATCH_BIRTHS_H
#define WATCH_BIRTHS_H

#include <glib.h>
#include <sys/types.h>

/* A netlink socket on which the kernel tells of each program that is started; -1 with errno where
 * it does not (no CONFIG_PROC_EVENTS, another network or pid namespace). Non-blocking. */
int births_open(void);

/* The next program that was started: its pid; 0 when there is none now; -1 when some were missed,
 * and the caller has to look for itself. */
pid_t births_next(int fd);

/* Calls EACH for every process there is. */
void births_scan(void (*each)(void *user, pid_t pid), void *user);

#endif
