/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* From the facts of both sides to a verdict. */
#include "daemon/validate/check.h"
#include "daemon/validate/mapping.h"

#include <stdarg.h>
#include <string.h>

/* ---- what checks use ---- */

const char *lpm_fact(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

gint64 lpm_fact_int(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

gboolean lpm_fact_true(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

gboolean lpm_is_off(const json_t *model)
{
    return strcmp(lpm_fact(model, "state"), "not activated") == 0;
}

char *lpm_mib(gint64 bytes)
{
    return g_strdup_printf("%" G_GINT64_FORMAT " MiB", bytes >> 20);
}

static json_t *add_finding(struct lpm_judgement *judgement, enum lpm_error_code code,
                           const char *raw)
{
    g_autofree char *cause = g_utf8_make_valid(raw, -1);
    g_autoptr(GError) error = g_error_new_literal(LPM_ERROR, (gint)code, cause);
    json_t *finding = lpm_error_to_json(error, NULL);

    json_array_append_new(judgement->findings, finding);
    return finding;
}

void lpm_find(struct lpm_judgement *judgement, enum lpm_error_code code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *cause = g_strdup_vprintf(format, args);
    va_end(args);
    add_finding(judgement, code, cause);
}

void lpm_find_loss(struct lpm_judgement *judgement, enum lpm_error_code code, const char *format,
                   ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *cause = g_strdup_vprintf(format, args);
    va_end(args);
    json_t *finding = add_finding(judgement, code, cause);
    if (judgement->validation->force) {
        json_object_set_new(finding, "severity", json_string("warning"));
        json_object_set_new(finding, "forced", json_true());
    }
}

void lpm_does_not_apply(struct lpm_judgement *judgement)
{
    judgement->not_applicable = TRUE;
}

/* ---- judging ---- */

/* A side that could not gather has its own error to tell; it is not judged beyond that. */
static gboolean take_error(struct lpm_judgement *judgement, const json_t *facts, const char *host)
{
    json_t *error = json_object_get(facts, "error");

    if (!error)
        return FALSE;
    g_autoptr(GError) reason = lpm_error_from_json(error);
    lpm_find(judgement, (enum lpm_error_code)reason->code, "%s: %s", host, reason->message);
    return TRUE;
}

static const char *verdict_of(const struct lpm_judgement *judgement)
{
    const char *verdict = judgement->not_applicable ? "not-applicable" : "pass";
    const json_t *finding;
    size_t i;

    json_array_foreach (judgement->findings, i, finding) {
        if (strcmp(lpm_fact(finding, "severity"), "error") == 0)
            return "error";
        verdict = "warning";
    }
    return verdict;
}

/* One line of the report. `reached`: the other host was. */
static json_t *judge(struct lpm_validation *validation, const struct lpm_check *check,
                     const json_t *source, const json_t *target, gboolean reached)
{
    json_t *none = json_object();
    const json_t *here = json_object_get(source, check->id);
    const json_t *there = json_object_get(target, check->id);
    struct lpm_judgement judgement = {.validation = validation,
                                      .model = validation->model,
                                      .source = here ? here : none,
                                      .target = there ? there : none,
                                      .source_name = validation->daemon->config->name,
                                      .target_name = validation->peer,
                                      .sources = source,
                                      .targets = target,
                                      .findings = json_array()};
    gboolean checked = reached || !check->target;

    if (checked) {
        gboolean failed = take_error(&judgement, here, judgement.source_name);
        failed = take_error(&judgement, there, judgement.target_name) || failed;
        if (!failed && check->target && check->gather && !there) {
            lpm_find(&judgement, LPM_E_PEER_ANSWER, "%s does not know the check '%s'",
                     judgement.target_name, check->id);
        } else if (!failed) {
            check->judge(&judgement);
        }
    }
    /* Both sides gathered at the same time. */
    gint64 elapsed =
        MAX(lpm_fact_int(judgement.source, "took_us"), lpm_fact_int(judgement.target, "took_us"));
    json_t *line = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:{s:O, s:O}}", "id", check->id, "title", check->title,
        "severity", check->severity == LPM_SEVERITY_ERROR ? "error" : "warning", "rule",
        check->rule, "verdict", checked ? verdict_of(&judgement) : "not-checked", "elapsed_us",
        (json_int_t)elapsed, "findings", judgement.findings, "facts", "source", judgement.source,
        "target", judgement.target);
    json_decref(none);
    return line;
}

/* Not being able to ask is itself the finding, and nothing is known of the rest. */
static json_t *judge_reach(const struct lpm_validation *validation, const GError *failure)
{
    json_t *findings = json_array();

    if (failure)
        json_array_append_new(findings, lpm_error_to_json(failure, NULL));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:{s:{s:s}, s:{}}}", "id", "trust", "title",
                     "The managers trust each other and speak one language", "severity", "error",
                     "rule", "R2.11", "verdict", failure ? "error" : "pass", "findings", findings,
                     "facts", "source", "peer", validation->peer, "target");
}

static void count(const json_t *checks, int *errors, int *warnings)
{
    const json_t *check, *finding;
    size_t i, k;

    json_array_foreach (checks, i, check) {
        json_array_foreach (json_object_get(check, "findings"), k, finding) {
            if (strcmp(lpm_fact(finding, "severity"), "error") == 0)
                (*errors)++;
            else
                (*warnings)++;
        }
    }
}

json_t *lpm_validation_report(struct lpm_validation *validation, const json_t *source,
                              const json_t *target, const GError *failure)
{
    g_autoptr(GError) reason = failure ? g_error_copy(failure) : NULL;
    json_t *checks = json_array();
    int errors = 0, warnings = 0;

    if (!reason && !json_is_object(target))
        lpm_fail(&reason, LPM_E_PEER_ANSWER, "%s told no facts", validation->peer);
    json_array_append_new(checks, judge_reach(validation, reason));
    for (const struct lpm_check *check = lpm_checks; check->id; check++)
        json_array_append_new(checks, judge(validation, check, source, target, !reason));
    count(checks, &errors, &warnings);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:o, s:o}", "partition",
                     lpm_fact(validation->model, "name"), "uuid",
                     lpm_fact(validation->model, "uuid"), "source",
                     validation->daemon->config->name, "target", validation->peer, "verdict",
                     errors ? "not-possible" : "may-be-possible", "errors", errors, "warnings",
                     warnings, "checks", checks, "adapters",
                     lpm_mapping_table(validation->model, json_object_get(target, "mapping")));
}
