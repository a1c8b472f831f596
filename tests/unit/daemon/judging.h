/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Judging made-up facts of both hosts: what the tests of the checks share. */
#ifndef LPM_TEST_JUDGING_H
#define LPM_TEST_JUDGING_H

#include "daemon/validate/checks.h"
#include "daemon/validate/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

extern gboolean force; /* of the next reports */

/* The report on a model with the facts of some checks; checks that are not given have none. */
json_t *report_on(const char *model, const char *source, const char *target);

/* The line of one check; borrowed from `report`. */
const json_t *line_of(const json_t *report, const char *id);

/* One check with facts of both sides gives exactly that verdict and those codes, and a cause that
 * holds `word`. */
void expect(const char *id, const char *model, const char *source, const char *target,
            const char *verdict, const char *codes, const char *word);

/* The same for one disk, with its facts. */
void expect_disk(const char *source, const char *target, const char *verdict, const char *codes,
                 const char *word);

#define DISK "{\"disks\": [{\"target\": \"vda\", \"type\": \"block\"}]}"
#define BLOCK "\"kind\": \"block\", \"at\": \"/dev/x\", "

#endif
