/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Named instants at which a test can stop or kill lpmd. Compiled in with -Dfault_points=true only;
 * in every other build LPM_FAULT_POINT is nothing.
 *
 * A point looks for the file <run_dir>/fault-points/NAME. If there is one, the point makes
 * NAME.reached beside it (content: CLOCK_MONOTONIC in microseconds) and does what the file says:
 *
 *   kill   removes the file and kills lpmd with SIGKILL
 *   wait   stays for as long as the file exists
 *
 * Names are <side>.<instant>; `lpmd --list-fault-points` prints those of this build. Each state
 * and each decision has a point before and after its way to the disk.
 */
#ifndef LPM_BASE_FAULT_POINT_H
#define LPM_BASE_FAULT_POINT_H

#ifdef LPM_FAULT_POINTS

/* Where the points look; borrowed for the life of the process. Until then they are passed. */
void lpm_fault_points_init(const char *run_dir);

/* At a point; `side` is "source" or "target". Any thread; may not return. An instant that the list
 * does not know ends the program: a test would wait for it in vain. */
void lpm_fault_point(const char *side, const char *prefix, const char *instant);

/* One name a line on stdout. */
void lpm_fault_points_list(void);

#define LPM_FAULT_POINT(side, instant) lpm_fault_point(side, "", instant)
#define LPM_FAULT_POINT_BEFORE(side, what) lpm_fault_point(side, "before-", what)
#define LPM_FAULT_POINT_AFTER(side, what) lpm_fault_point(side, "after-", what)

#else

#define LPM_FAULT_POINT(side, instant) ((void)0)
#define LPM_FAULT_POINT_BEFORE(side, what) ((void)0)
#define LPM_FAULT_POINT_AFTER(side, what) ((void)0)

#endif
#endif
