/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Reading again, on both hosts in turn, what was not alike on disks that do not say who they are:
 * doubts.h has the reasons. */
#include "daemon/peer-client.h"
#include "daemon/validate/checks.h"
#include "daemon/validate/doubts.h"
#include "host/disk-identity.h"

#include <string.h>

#define ROUNDS_MAX 4
#define LIMIT_US G_USEC_PER_SEC /* after which no round begins beyond those that a proof takes */
#define PEER_LIMIT_S 2

/* ---- one host's half ---- */

struct look {
    const struct lpm_validation *validation;
    const json_t *disk;
    struct lpm_challenge challenge;
    json_t *samples;
};

static void look_at(gpointer data, gpointer user G_GNUC_UNUSED)
{
    struct look *look = data;
    json_t *facts = lpm_disk_identity(look->validation->daemon->host, look->disk, &look->challenge);

    look->samples = json_incref(json_object_get(facts, "samples"));
    json_decref(facts);
}

json_t *lpm_disks_read_again(const struct lpm_validation *validation, const json_t *blocks)
{
    const json_t *disks = json_object_get(validation->model, "disks");
    gsize count = MIN(MIN(json_array_size(disks), json_array_size(blocks)), LPM_DEVICES_MAX);
    g_autofree struct look *looks = g_new0(struct look, count + 1);
    GThreadPool *pool = g_thread_pool_new(look_at, NULL, LPM_DEVICES_MAX, FALSE, NULL);
    json_t *list = json_array();

    for (gsize i = 0; i < count; i++) {
        looks[i] = (struct look){.validation = validation,
                                 .disk = json_array_get(disks, i),
                                 .challenge.blocks = json_array_get(blocks, i)};
        memcpy(looks[i].challenge.nonce, validation->nonce, LPM_CHALLENGE_NONCE_BYTES);
        if (json_array_size(looks[i].challenge.blocks) > 0)
            g_thread_pool_push(pool, &looks[i], NULL);
    }
    g_thread_pool_free(pool, FALSE, TRUE);
    for (gsize i = 0; i < count; i++)
        json_array_append_new(list, looks[i].samples ? looks[i].samples : json_null());
    return list;
}

/* ---- the source ---- */

struct rounds {
    struct lpm_validation *validation;
    struct lpm_doubts *doubts[LPM_DEVICES_MAX]; /* by disk; NULL: none about it */
    gsize count;
};

static gboolean is_open(const struct rounds *rounds)
{
    for (gsize i = 0; i < rounds->count; i++) {
        if (rounds->doubts[i] && lpm_doubts_open(rounds->doubts[i]))
            return TRUE;
    }
    return FALSE;
}

static json_t *open_blocks(const struct rounds *rounds)
{
    json_t *blocks = json_array();

    for (gsize i = 0; i < rounds->count; i++)
        json_array_append_new(blocks, rounds->doubts[i] ? lpm_doubts_blocks(rounds->doubts[i])
                                                        : json_null());
    return blocks;
}

/* Of disks that the answers to the first challenge are all there is to go by. */
static void begin(struct rounds *rounds, const json_t *source, const json_t *target)
{
    const json_t *disks = json_object_get(source, "disks"), *here;
    size_t i;

    json_array_foreach (disks, i, here) {
        const json_t *there = json_array_get(json_object_get(target, "disks"), i);
        gint64 size = lpm_fact_int(here, "size_bytes");

        if (i >= LPM_DEVICES_MAX)
            break;
        rounds->count = i + 1;
        if (size == lpm_fact_int(there, "size_bytes"))
            rounds->doubts[i] =
                lpm_doubts_new(rounds->validation->nonce, (guint64)size,
                               json_object_get(here, "samples"), json_object_get(there, "samples"));
    }
}

/* NULL when the target does not answer, or is of a version that cannot. */
static json_t *ask(const struct rounds *rounds, const json_t *blocks)
{
    struct lpm_validation *validation = rounds->validation;
    g_autoptr(GError) error = NULL;
    json_t *body = json_pack("{s:O, s:s, s:O}", "model", validation->model, "nonce",
                             validation->nonce_text, "blocks", blocks);
    json_t *answer = lpm_peer_call(validation->daemon->peers, validation->peer, "POST",
                                   "/v1/peer/validate/blocks", body, PEER_LIMIT_S, NULL, &error);
    json_t *samples = json_incref(json_object_get(answer, "samples"));

    json_decref(body);
    json_decref(answer);
    return samples;
}

static gboolean make_round(struct rounds *rounds)
{
    json_t *blocks = open_blocks(rounds);
    json_t *there = ask(rounds, blocks);
    json_t *here = there ? lpm_disks_read_again(rounds->validation, blocks) : NULL;

    for (gsize i = 0; there && i < rounds->count; i++) {
        if (rounds->doubts[i])
            lpm_doubts_round(rounds->doubts[i], json_array_get(there, i), json_array_get(here, i));
    }
    gboolean answered = there != NULL;
    json_decref(blocks);
    json_decref(there);
    json_decref(here);
    return answered;
}

void lpm_disks_settle(struct lpm_validation *validation, json_t *sources, const json_t *targets)
{
    const json_t *source = json_object_get(sources, "disks");
    const json_t *target = json_object_get(targets, "disks");
    struct rounds rounds = {.validation = validation};
    gint64 end = g_get_monotonic_time() + LIMIT_US;

    begin(&rounds, source, target);
    for (guint n = 0; n < ROUNDS_MAX && is_open(&rounds); n++) {
        if ((n >= LPM_DOUBTS_STILL && g_get_monotonic_time() > end) || !make_round(&rounds))
            break;
    }
    for (gsize i = 0; i < rounds.count; i++) {
        json_t *facts = json_array_get(json_object_get(source, "disks"), i);

        if (rounds.doubts[i])
            json_object_set_new(facts, "again", lpm_doubts_outcome(rounds.doubts[i]));
        lpm_doubts_free(rounds.doubts[i]);
    }
}
