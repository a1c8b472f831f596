/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The one error contract of the project.
 *
 * Every error that can reach an operator is a GError of the domain LPM_ERROR whose code is a number
 * of the catalogue below (shown as LPM-nnnn) and whose message is the cause, with the offending
 * value quoted. The remedy, the severity and the aliases of other systems belong to the number and
 * live in one table (error-table.h), from which docs/errors.md is generated.
 *
 * Functions that can fail take `GError **error` last and leave it untouched on success. Context is
 * prefixed on the way up (g_prefix_error); an error is logged once, at the top.
 */
#ifndef LPM_BASE_ERROR_H
#define LPM_BASE_ERROR_H

#include <glib.h>
#include <jansson.h>

#define LPM_ERROR (lpm_error_quark())
GQuark lpm_error_quark(void);

enum lpm_severity { LPM_SEVERITY_ERROR, LPM_SEVERITY_WARNING };

enum lpm_error_code {
#define LPM_E(number, symbol, severity, http, title, remedy, aliases) LPM_E_##symbol = number,
#include "base/error-table.h"
#undef LPM_E
};

/* One line of the catalogue. All strings are static. */
struct lpm_error_info {
    int number;         /* the nnnn of LPM-nnnn */
    const char *symbol; /* PARTITION_NOT_FOUND */
    enum lpm_severity severity;
    unsigned http_status; /* what the API answers with */
    const char *title;    /* a short sentence */
    const char *remedy;   /* what the operator does about it */
    const char *aliases;  /* identifiers of the models, comma separated, "" if none */
};

/* All lines in order of number; `*count` is set. Any thread. */
const struct lpm_error_info *lpm_error_catalogue(gsize *count);

/* The line of `number`, or of INTERNAL when the number is unknown. Never NULL. Any thread. */
const struct lpm_error_info *lpm_error_info(int number);

/* The catalogue's number of any GError: its own code in our domain, INTERNAL otherwise. */
int lpm_error_number(const GError *error);

/* Sets `*error` (if given) to the code with a printf-formatted cause. Always returns FALSE, so that
 * a function can end in `return lpm_fail(...)`. */
gboolean lpm_fail(GError **error, enum lpm_error_code code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* {"code": "LPM-1003", "severity": "error", "cause": ..., "remedy": ..., "details": {...},
 * "aliases": [...]}; a new reference that the caller owns. `details` is stolen and may be NULL. */
json_t *lpm_error_to_json(const GError *error, json_t *details);

/* The reverse, for an answer of lpmd: a new GError with the code and cause found in `object`.
 * Tolerates anything: a malformed object becomes INTERNAL with its text. Never NULL. */
GError *lpm_error_from_json(const json_t *object);

#endif
