/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/validate/doubts.h"

#include <string.h>

struct block {
    guint64 number;
    char *here, *there; /* as last read; NULL: not known */
    guint still;        /* rounds in a row with the same difference */
};

struct lpm_doubts {
    GArray *open; /* of struct block */
    guint rounds, same;
};

static void clear_block(gpointer data)
{
    struct block *block = data;

    g_free(block->here);
    g_free(block->there);
}

static const char *answer(const json_t *answers, size_t i)
{
    return json_string_value(json_array_get(answers, i));
}

static void add(struct lpm_doubts *doubts, guint64 number, const char *here)
{
    const struct block block = {.number = number, .here = g_strdup(here)};

    g_array_append_val(doubts->open, block);
}

struct lpm_doubts *lpm_doubts_new(const guint8 nonce[LPM_CHALLENGE_NONCE_BYTES], guint64 size,
                                  const json_t *here, const json_t *there)
{
    guint64 blocks = size / LPM_CHALLENGE_BLOCK;
    size_t count = MIN(json_array_size(here), json_array_size(there));
    struct lpm_doubts *doubts = g_new0(struct lpm_doubts, 1);

    doubts->open = g_array_new(FALSE, FALSE, sizeof(struct block));
    g_array_set_clear_func(doubts->open, clear_block);
    for (guint n = 0; blocks && n < MIN(count, LPM_CHALLENGE_BLOCKS); n++) {
        if (g_strcmp0(answer(here, n), answer(there, n)) != 0 &&
            doubts->open->len < LPM_CHALLENGE_BLOCKS - LPM_DOUBTS_FRESH)
            add(doubts, lpm_challenge_block(nonce, n, blocks), answer(here, n));
    }
    if (doubts->open->len == 0) {
        lpm_doubts_free(doubts);
        return NULL;
    }
    for (guint n = 0; n < LPM_DOUBTS_FRESH; n++)
        add(doubts, lpm_challenge_block(nonce, LPM_CHALLENGE_BLOCKS + n, blocks), NULL);
    return doubts;
}

void lpm_doubts_free(struct lpm_doubts *doubts)
{
    if (!doubts)
        return;
    g_array_unref(doubts->open);
    g_free(doubts);
}

json_t *lpm_doubts_blocks(const struct lpm_doubts *doubts)
{
    json_t *list = json_array();

    for (guint i = 0; i < doubts->open->len; i++)
        json_array_append_new(
            list, json_integer((json_int_t)g_array_index(doubts->open, struct block, i).number));
    return list;
}

static void keep(char **place, const char *text)
{
    g_free(*place);
    *place = g_strdup(text);
}

/* What a round says of a block; TRUE: it is the same one on both hosts. */
static gboolean look_at(struct block *block, const char *there, const char *after)
{
    if (there && (g_strcmp0(there, block->here) == 0 || g_strcmp0(there, after) == 0))
        return TRUE;
    if (!there || !after || g_strcmp0(block->here, after) != 0)
        block->still = 0;
    else
        block->still = g_strcmp0(block->there, there) == 0 ? block->still + 1 : 1;
    keep(&block->here, after);
    keep(&block->there, there);
    return FALSE;
}

void lpm_doubts_round(struct lpm_doubts *doubts, const json_t *there, const json_t *here)
{
    guint kept = 0;

    doubts->rounds++;
    for (guint i = 0; i < doubts->open->len; i++) {
        struct block *block = &g_array_index(doubts->open, struct block, i);
        struct block *place = &g_array_index(doubts->open, struct block, kept);
        const char *theirs = answer(there, i);

        if (look_at(block, theirs, answer(here, i))) {
            doubts->same += *theirs ? 1 : 0;
            continue;
        }
        if (place != block) {
            struct block moved = *block;
            *block = *place;
            *place = moved;
        }
        kept++;
    }
    g_array_set_size(doubts->open, kept);
}

/* How many blocks are proof; *first: where the first of them is. */
static guint count_others(const struct lpm_doubts *doubts, guint64 *first)
{
    guint other = 0;

    *first = 0;
    for (guint i = 0; i < doubts->open->len; i++) {
        const struct block *block = &g_array_index(doubts->open, struct block, i);

        if (block->still < LPM_DOUBTS_STILL)
            continue;
        if (other++ == 0)
            *first = block->number * LPM_CHALLENGE_BLOCK;
    }
    return other;
}

gboolean lpm_doubts_open(const struct lpm_doubts *doubts)
{
    guint64 first;

    return doubts->open->len > 0 && count_others(doubts, &first) < LPM_DOUBTS_CERTAIN;
}

json_t *lpm_doubts_outcome(const struct lpm_doubts *doubts)
{
    guint64 first;
    guint other = count_others(doubts, &first);

    return json_pack("{s:i, s:i, s:i, s:I, s:i}", "rounds", (int)doubts->rounds, "same",
                     (int)doubts->same, "other", (int)other, "offset", (json_int_t)first, "open",
                     (int)(doubts->open->len - other));
}
