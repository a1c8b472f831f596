/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* One validation: the source asks the target to gather, gathers itself meanwhile, and judges. */
#include "base/clock.h"
#include "base/fdio.h"
#include "daemon/migration.h"
#include "daemon/peer-client.h"
#include "daemon/retain.h"
#include "daemon/validate/checks.h"
#include "daemon/validate/mapping.h"
#include "daemon/validate/validate.h"
#include "host/inspect.h"

#include <gnutls/crypto.h>
#include <string.h>
#include <unistd.h>

#define PEER_LIMIT_S 15
#define THREADS_MAX 32
/* At once for other hosts; each takes a thread per check for a second. */
#define PEER_RUNS_MAX 8

/* ---- gathering ---- */

struct gathering {
    struct lpm_validation *validation;
    GMutex lock;
    json_t *facts; /* under lock */
};

static void gather_one(gpointer check_pointer, gpointer user)
{
    const struct lpm_check *check = check_pointer;
    struct gathering *gathering = user;
    g_autoptr(GError) error = NULL;
    gint64 begin = lpm_monotonic_us();
    json_t *facts = check->gather(gathering->validation, &error);

    if (!facts)
        facts = json_pack("{s:o}", "error", lpm_error_to_json(error, NULL));
    json_object_set_new(facts, "took_us", json_integer(lpm_monotonic_us() - begin));
    g_mutex_lock(&gathering->lock);
    json_object_set_new(gathering->facts, check->id, facts);
    g_mutex_unlock(&gathering->lock);
}

json_t *lpm_validation_gather(struct lpm_validation *validation)
{
    struct gathering gathering = {.validation = validation, .facts = json_object()};

    g_mutex_init(&gathering.lock);
    GThreadPool *pool = g_thread_pool_new(gather_one, &gathering, THREADS_MAX, FALSE, NULL);
    for (const struct lpm_check *check = lpm_checks; check->id; check++) {
        if (check->gather && (check->target || validation->side == LPM_SIDE_SOURCE))
            g_thread_pool_push(pool, (gpointer)check, NULL);
    }
    g_thread_pool_free(pool, FALSE, TRUE);
    g_mutex_clear(&gathering.lock);
    return gathering.facts;
}

static void set_nonce(struct lpm_validation *validation)
{
    g_autofree char *text = lpm_hex(validation->nonce, LPM_NONCE_BYTES);

    g_strlcpy(validation->nonce_text, text, sizeof(validation->nonce_text));
    g_mutex_init(&validation->lock);
    validation->marks = g_ptr_array_new_with_free_func(g_free);
}

static void clear(struct lpm_validation *validation)
{
    for (guint i = 0; i < validation->marks->len; i++)
        unlink(validation->marks->pdata[i]);
    g_ptr_array_unref(validation->marks);
    g_mutex_clear(&validation->lock);
    explicit_bzero(validation->psk, sizeof(validation->psk));
}

/* ---- the source ---- */

struct asking {
    struct lpm_validation *validation;
    json_t *answer;
    GError *error;
};

static gpointer ask_target(gpointer user)
{
    struct asking *asking = user;
    struct lpm_validation *validation = asking->validation;
    g_autofree char *session = lpm_hex(validation->session, LPM_SESSION_ID_BYTES);
    g_autofree char *psk = lpm_hex(validation->psk, LPM_SESSION_PSK_BYTES);
    json_t *body =
        json_pack("{s:O, s:s, s:s, s:s, s:b, s:b}", "model", validation->model, "nonce",
                  validation->nonce_text, "session", session, "psk", psk, "for_migration",
                  validation->for_migration, "sample_link", validation->sample_link);

    asking->answer = lpm_peer_call(validation->daemon->peers, validation->peer, "POST",
                                   "/v1/peer/validate", body, PEER_LIMIT_S, NULL, &asking->error);
    g_atomic_int_set(&validation->answered, 1);
    json_decref(body);
    explicit_bzero(psk, strlen(psk));
    return NULL;
}

static gboolean make_secrets(struct lpm_validation *validation, GError **error)
{
    if (gnutls_rnd(GNUTLS_RND_NONCE, validation->nonce, sizeof(validation->nonce)) < 0 ||
        gnutls_rnd(GNUTLS_RND_NONCE, validation->session, sizeof(validation->session)) < 0 ||
        gnutls_rnd(GNUTLS_RND_KEY, validation->psk, sizeof(validation->psk)) < 0)
        return lpm_fail(error, LPM_E_INTERNAL, "no random numbers");
    return TRUE;
}

static void settle(struct lpm_validation *validation, json_t *source, const json_t *target)
{
    for (const struct lpm_check *check = lpm_checks; check->id && target; check++) {
        json_t *here = json_object_get(source, check->id);

        if (!check->settle || !here)
            continue;
        gint64 begin = lpm_monotonic_us();
        check->settle(validation, source, target);
        gint64 took = lpm_fact_int(here, "took_us") + lpm_monotonic_us() - begin;
        json_object_set_new(here, "took_us", json_integer(took));
    }
}

/* Both sides at once; the report. */
static json_t *run_source(struct lpm_validation *validation)
{
    struct asking asking = {.validation = validation};
    GThread *thread = g_thread_new("validate-peer", ask_target, &asking);
    json_t *source = lpm_validation_gather(validation);

    g_thread_join(thread);
    settle(validation, source, json_object_get(asking.answer, "facts"));
    json_t *report = lpm_validation_report(validation, source,
                                           json_object_get(asking.answer, "facts"), asking.error);
    json_object_set_new(report, "retained_bytes",
                        json_integer(lpm_fact_int(asking.answer, "retained_bytes")));
    json_decref(source);
    json_decref(asking.answer);
    g_clear_error(&asking.error);
    return report;
}

/* What only the partition's own host can add for both sides to look at. */
static void complete_model(struct lpm_daemon *daemon, json_t *model)
{
    lpm_processor_note_host(daemon, model);
    lpm_networks_note(daemon, model);
}

json_t *lpm_validate(struct lpm_daemon *daemon, const char *partition, const char *peer,
                     const struct lpm_validate_options *options, GError **error)
{
    gint64 begin = lpm_monotonic_us();
    g_autoptr(LpmPeer) known = lpm_peers_get(daemon->peers, peer, error);
    json_t *model = known ? lpm_host_model(daemon->host, partition, error) : NULL;
    struct lpm_validation validation = {.daemon = daemon,
                                        .side = LPM_SIDE_SOURCE,
                                        .peer = peer,
                                        .model = model,
                                        .for_migration = options->for_migration,
                                        .sample_link = options->sample_link || options->forecast,
                                        .force = options->force};

    if (!model || !lpm_mapping_note(daemon->config, options->map, model, error) ||
        !make_secrets(&validation, error)) {
        json_decref(model);
        return NULL;
    }
    complete_model(daemon, model);
    set_nonce(&validation);
    gboolean sampled = lpm_expect_begin(daemon, model, options);
    json_t *report = run_source(&validation);
    clear(&validation);
    json_object_set_new(report, "forecast",
                        lpm_expect_end(daemon, model, options, sampled, begin, report));
    json_decref(model);
    json_object_set_new(report, "took_ms", json_integer((lpm_monotonic_us() - begin) / 1000));
    return report;
}

json_t *lpm_validate_findings(const json_t *report)
{
    static const char *const severities[] = {"error", "warning"};
    json_t *list = json_array(), *check, *finding;
    size_t i, k;

    for (gsize s = 0; s < G_N_ELEMENTS(severities); s++) {
        json_array_foreach (json_object_get(report, "checks"), i, check) {
            json_array_foreach (json_object_get(check, "findings"), k, finding) {
                if (strcmp(lpm_fact(finding, "severity"), severities[s]) == 0)
                    json_array_append(list, finding);
            }
        }
    }
    return list;
}

gboolean lpm_validate_passed(const json_t *report, GError **error)
{
    gint64 errors = lpm_fact_int(report, "errors");
    json_t *findings = lpm_validate_findings(report), *finding;
    g_autoptr(GString) causes = g_string_new(NULL);
    size_t i;

    json_array_foreach (findings, i, finding) {
        if ((gint64)i >= errors)
            break;
        if (errors > 1)
            g_string_append_printf(causes, "%s[%s] ", i ? "; " : "", lpm_fact(finding, "code"));
        g_string_append(causes, lpm_fact(finding, "cause"));
    }
    if (errors > 0) {
        GError *first = lpm_error_from_json(json_array_get(findings, 0));
        if (errors > 1)
            g_set_error(error, LPM_ERROR, first->code, "%" G_GINT64_FORMAT " errors: %s", errors,
                        causes->str);
        else
            g_set_error(error, LPM_ERROR, first->code, "%s", causes->str);
        g_error_free(first);
    }
    json_decref(findings);
    return errors == 0;
}

/* ---- the target ---- */

static gint peer_runs; /* atomic */

static gboolean enter(struct lpm_daemon *daemon, GError **error)
{
    if (g_atomic_int_add(&peer_runs, 1) < PEER_RUNS_MAX)
        return TRUE;
    g_atomic_int_add(&peer_runs, -1);
    return lpm_fail(error, LPM_E_TOO_MANY, "%s validates for %d others already",
                    daemon->config->name, PEER_RUNS_MAX);
}

static void leave(void)
{
    g_atomic_int_add(&peer_runs, -1);
}

json_t *lpm_validate_for_peer(struct lpm_daemon *daemon, const char *peer, const json_t *body,
                              GError **error)
{
    struct lpm_validation validation = {
        .daemon = daemon,
        .side = LPM_SIDE_TARGET,
        .peer = peer,
        .for_migration = json_is_true(json_object_get(body, "for_migration")),
        .sample_link = json_is_true(json_object_get(body, "sample_link"))};

    if (!lpm_unhex(lpm_fact(body, "nonce"), validation.nonce, LPM_NONCE_BYTES) ||
        !lpm_unhex(lpm_fact(body, "session"), validation.session, LPM_SESSION_ID_BYTES) ||
        !lpm_unhex(lpm_fact(body, "psk"), validation.psk, LPM_SESSION_PSK_BYTES)) {
        lpm_fail(error, LPM_E_BAD_REQUEST, "nonce, session or psk is not of the form lpmd sends");
        return NULL;
    }
    if (!enter(daemon, error))
        return NULL;
    json_t *model = json_deep_copy(json_object_get(body, "model"));
    json_t *mapping = lpm_mapping_resolve(daemon->config, model);
    validation.model = model;
    validation.mapping = mapping;
    set_nonce(&validation);
    json_t *facts = lpm_validation_gather(&validation);
    clear(&validation);
    guint64 kept = lpm_retain_kept(daemon, lpm_fact(model, "uuid"));
    json_decref(mapping);
    json_decref(model);
    leave();
    return json_pack("{s:s, s:i, s:I, s:o}", "host", daemon->config->name, "protocol",
                     LPM_API_PROTOCOL, "retained_bytes", (json_int_t)kept, "facts", facts);
}

json_t *lpm_validate_blocks_for_peer(struct lpm_daemon *daemon, const json_t *body, GError **error)
{
    struct lpm_validation validation = {.daemon = daemon, .side = LPM_SIDE_TARGET};

    if (!lpm_unhex(lpm_fact(body, "nonce"), validation.nonce, LPM_NONCE_BYTES)) {
        lpm_fail(error, LPM_E_BAD_REQUEST, "nonce is not of the form lpmd sends");
        return NULL;
    }
    if (!enter(daemon, error))
        return NULL;
    json_t *model = json_deep_copy(json_object_get(body, "model"));
    json_decref(lpm_mapping_resolve(daemon->config, model));
    validation.model = model;
    json_t *samples = lpm_disks_read_again(&validation, json_object_get(body, "blocks"));
    json_decref(model);
    leave();
    return json_pack("{s:o}", "samples", samples);
}
