/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The disk that the target would open is the disk that the partition uses (R2.2, R2.3): compared by
 * what the disk says of itself on each host, never by name. An image file is proved by a file of
 * our own beside it, which the other host must see.
 */
#include "daemon/validate/checks.h"
#include "host/challenge.h"
#include "host/disk-identity.h"

#include <string.h>

#define MARK_LIMIT_MS 700
#define SAMPLES_MIN 8 /* equal blocks that are not empty, to call two disks the same */

struct look {
    struct lpm_validation *validation;
    const json_t *disk;
    json_t *facts;
};

/* A file is only marked by the source; the target waits for the mark, which may come a little
 * later than the question. */
static void prove_file(struct look *look)
{
    struct lpm_validation *validation = look->validation;
    const char *path = lpm_fact(look->facts, "at");

    if (validation->side == LPM_SIDE_TARGET) {
        gboolean seen = lpm_disk_mark_seen(path, validation->nonce_text, MARK_LIMIT_MS);
        json_object_set_new(look->facts, "mark_seen", json_boolean(seen));
        return;
    }
    char *mark = lpm_disk_mark(path, validation->nonce_text);
    json_object_set_new(look->facts, "marked", json_boolean(mark != NULL));
    if (!mark)
        return;
    g_mutex_lock(&validation->lock);
    g_ptr_array_add(validation->marks, mark);
    g_mutex_unlock(&validation->lock);
}

static void look_at(gpointer data, gpointer user G_GNUC_UNUSED)
{
    struct look *look = data;

    struct lpm_challenge challenge = {.blocks = NULL};

    memcpy(challenge.nonce, look->validation->nonce, sizeof(challenge.nonce));
    look->facts = lpm_disk_identity(look->validation->daemon->host, look->disk, &challenge);
    json_object_set(look->facts, "target", json_object_get(look->disk, "target"));
    if (strcmp(lpm_fact(look->facts, "kind"), "file") == 0 &&
        !lpm_fact_true(look->disk, "readonly"))
        prove_file(look);
}

/* {disks: [identity]} in the order of the model's. At once, since a path that is down takes its
 * time. */
json_t *lpm_gather_disks(struct lpm_validation *validation, GError **error G_GNUC_UNUSED)
{
    const json_t *disks = json_object_get(validation->model, "disks"), *disk;
    json_t *list = json_array();
    gsize count = MIN(json_array_size(disks), LPM_DEVICES_MAX);
    g_autofree struct look *looks = g_new0(struct look, count + 1);
    GThreadPool *pool = g_thread_pool_new(look_at, NULL, LPM_DEVICES_MAX, FALSE, NULL);
    size_t i;

    json_array_foreach (disks, i, disk) {
        if (i >= count)
            break;
        looks[i] = (struct look){.validation = validation, .disk = disk};
        g_thread_pool_push(pool, &looks[i], NULL);
    }
    g_thread_pool_free(pool, FALSE, TRUE);
    for (i = 0; i < count; i++)
        json_array_append_new(list, looks[i].facts);
    return json_pack("{s:o}", "disks", list);
}

/* ---- judging one disk ---- */

struct pair {
    struct lpm_judgement *judgement;
    const json_t *disk, *here, *there;
    const char *target; /* vda */
};

/* What a disk says of itself, the strongest that both know; NULL when they share no such word. */
static const char *common_word(const struct pair *pair)
{
    static const char *const words[] = {"designators", "identity", "serial"};

    for (gsize i = 0; i < G_N_ELEMENTS(words); i++) {
        const json_t *a = json_object_get(pair->here, words[i]);
        const json_t *b = json_object_get(pair->there, words[i]);
        gboolean some = json_is_array(a) ? json_array_size(a) > 0 && json_array_size(b) > 0
                                         : json_is_string(a) && json_is_string(b);

        if (some)
            return words[i];
    }
    return NULL;
}

/* What to show of an identity: the first designator, or the text. */
static const char *shown(const json_t *facts, const char *word)
{
    const json_t *value = json_object_get(facts, word);
    const char *text = json_string_value(json_is_array(value) ? json_array_get(value, 0) : value);

    return text ? text : "nothing";
}

static gboolean sizes_differ(const struct pair *pair)
{
    gint64 a = lpm_fact_int(pair->here, "size_bytes"), b = lpm_fact_int(pair->there, "size_bytes");

    return a && b && a != b;
}

static void judge_size(const struct pair *pair)
{
    lpm_find(pair->judgement, LPM_E_DISK_DIFFERS,
             "%s: %s has %" G_GINT64_FORMAT " bytes on %s and %" G_GINT64_FORMAT " on %s",
             pair->target, lpm_fact(pair->there, "at"), lpm_fact_int(pair->here, "size_bytes"),
             pair->judgement->source_name, lpm_fact_int(pair->there, "size_bytes"),
             pair->judgement->target_name);
}

/* Serials are looked at even where stronger words agree: storage that clones a LUN's name gives
 * itself away there. */
static void judge_words(const struct pair *pair, const char *word)
{
    struct lpm_judgement *judgement = pair->judgement;
    const json_t *a = json_object_get(pair->here, word), *b = json_object_get(pair->there, word);
    const char *serial_a = lpm_fact(pair->here, "serial");
    const char *serial_b = lpm_fact(pair->there, "serial");

    if (!json_equal(a, b) || strcmp(serial_a, serial_b) != 0 ||
        lpm_fact_int(pair->here, "partition") != lpm_fact_int(pair->there, "partition")) {
        lpm_find(judgement, LPM_E_DISK_DIFFERS,
                 "%s: %s is %s (serial %s) on %s and %s (serial %s) on %s", pair->target,
                 lpm_fact(pair->there, "at"), shown(pair->here, word), serial_a,
                 judgement->source_name, shown(pair->there, word), serial_b,
                 judgement->target_name);
    } else if (sizes_differ(pair)) {
        judge_size(pair);
    }
}

static void judge_file(const struct pair *pair)
{
    struct lpm_judgement *judgement = pair->judgement;
    const char *at = lpm_fact(pair->here, "at");

    if (lpm_fact_true(pair->there, "mark_seen"))
        return;
    if (lpm_fact_true(pair->here, "marked"))
        lpm_find(judgement, LPM_E_DISK_DIFFERS,
                 "%s: a file that %s wrote beside %s is not there on %s", pair->target,
                 judgement->source_name, at, judgement->target_name);
    else if (lpm_fact_int(pair->here, "inode") != lpm_fact_int(pair->there, "inode") ||
             sizes_differ(pair))
        lpm_find(judgement, LPM_E_DISK_DIFFERS, "%s: %s is another file on %s", pair->target, at,
                 judgement->target_name);
    else
        lpm_find(judgement, LPM_E_DISK_UNPROVED,
                 "%s: the folder of %s cannot be written, so it was not proved that both hosts see "
                 "the same one",
                 pair->target, at);
}

static void judge_samples(const struct pair *pair)
{
    struct lpm_judgement *judgement = pair->judgement;
    const char *at = lpm_fact(pair->here, "at");
    const json_t *again = json_object_get(pair->here, "again");
    gboolean settled = lpm_fact_int(again, "rounds") > 0;
    gint64 other = lpm_fact_int(again, "other");
    guint equal, differ;

    lpm_challenge_compare(json_object_get(pair->here, "samples"),
                          json_object_get(pair->there, "samples"), &equal, &differ);
    if (settled) {
        equal += (guint)lpm_fact_int(again, "same");
        differ = (guint)lpm_fact_int(again, "open");
    }
    if (other > 0)
        lpm_find(judgement, LPM_E_DISK_DIFFERS,
                 "%s: %" G_GINT64_FORMAT " blocks of %s stay what they are on %s while %s reads "
                 "others there, the first at offset %" G_GINT64_FORMAT,
                 pair->target, other, at, judgement->source_name, judgement->target_name,
                 lpm_fact_int(again, "offset"));
    else if (equal >= SAMPLES_MIN && differ <= (settled ? equal / 4 : 0))
        return;
    else if (!settled && differ > equal)
        lpm_find(judgement, LPM_E_DISK_DIFFERS,
                 "%s: of the blocks of %s that were read on both hosts %u are equal and %u are not",
                 pair->target, at, equal, differ);
    else
        lpm_find(judgement, LPM_E_DISK_UNPROVED,
                 "%s: %s tells neither host who it is, and of the blocks that were read on both "
                 "only %u are alike and not empty (%u differ)",
                 pair->target, at, equal, differ);
}

static gboolean is_local(const struct pair *pair)
{
    struct lpm_judgement *judgement = pair->judgement;
    const char *at = lpm_fact(pair->here, "at"), *why = lpm_fact(pair->here, "local");

    if (*why) {
        lpm_find(judgement, LPM_E_DISK_LOCAL, "%s: %s: %s", pair->target, at, why);
        return TRUE;
    }
    if (strcmp(lpm_fact(pair->here, "kind"), "file") == 0 && !lpm_fact_true(pair->here, "shared")) {
        lpm_find(judgement, LPM_E_DISK_LOCAL, "%s: %s lies on a file system of %s alone (type %s)",
                 pair->target, at, judgement->source_name, lpm_fact(pair->here, "file_system"));
        return TRUE;
    }
    return FALSE;
}

static void judge_unable(const struct pair *pair, const char *host, const json_t *facts)
{
    lpm_find(pair->judgement, LPM_E_DISK_UNPROVED, "%s: %s cannot look at %s: %s", pair->target,
             host, lpm_fact(facts, "at"), lpm_fact(facts, "cause"));
}

static void judge_disk(const struct pair *pair)
{
    struct lpm_judgement *judgement = pair->judgement;
    const char *kind = lpm_fact(pair->here, "kind");
    const char *cause = lpm_fact(pair->here, "cause"), *theirs = lpm_fact(pair->there, "cause");

    if (strcmp(kind, "empty") == 0)
        return;
    if (*cause) {
        judge_unable(pair, judgement->source_name, pair->here);
        return;
    }
    if (is_local(pair))
        return;
    if (*theirs && lpm_fact_true(pair->there, "unable")) {
        judge_unable(pair, judgement->target_name, pair->there);
        return;
    }
    if (*theirs) {
        lpm_find(judgement, LPM_E_DISK_MISSING, "%s: %s does not see %s: %s", pair->target,
                 judgement->target_name, lpm_fact(pair->there, "at"), theirs);
        return;
    }
    const char *word = common_word(pair);
    if (strcmp(kind, "file") == 0)
        judge_file(pair);
    else if (word)
        judge_words(pair, word);
    else if (sizes_differ(pair))
        judge_size(pair);
    else
        judge_samples(pair);
}

/* A read-only file is a copy on each host as often as not: check-files.c looks at its content. */
static gboolean is_a_copy(const struct pair *pair)
{
    const char *kind = lpm_fact(pair->here, "kind");

    return lpm_fact_true(pair->disk, "readonly") && *lpm_fact(pair->disk, "path") &&
           strcmp(kind, "block") != 0;
}

const json_t *lpm_disks_seen(const json_t *facts)
{
    return json_object_get(json_object_get(facts, "disks"), "disks");
}

void lpm_judge_disks(struct lpm_judgement *judgement)
{
    const json_t *disks = json_object_get(judgement->model, "disks"), *disk;
    const json_t *here = json_object_get(judgement->source, "disks");
    const json_t *there = json_object_get(judgement->target, "disks");
    gboolean any = FALSE;
    size_t i;

    json_array_foreach (disks, i, disk) {
        struct pair pair = {.judgement = judgement,
                            .disk = disk,
                            .here = json_array_get(here, i),
                            .there = json_array_get(there, i),
                            .target = lpm_fact(disk, "target")};

        if (is_a_copy(&pair))
            continue;
        any = TRUE;
        if (!pair.here || !pair.there)
            lpm_find(judgement, LPM_E_DISK_UNPROVED, "%s was not looked at", pair.target);
        else
            judge_disk(&pair);
    }
    if (!any)
        lpm_does_not_apply(judgement);
}
