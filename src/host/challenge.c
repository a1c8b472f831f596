/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/challenge.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BLOCKS 64
/* Over a slow path fewer blocks must do. What is read again is read several times. */
#define LIMIT_US (3 * G_USEC_PER_SEC / 2)
#define AGAIN_LIMIT_US (G_USEC_PER_SEC / 4)
#define HASH_CHARACTERS 24 /* 96 bits: enough against chance */

/* The first ones in order, then by the nonce. */
guint64 lpm_challenge_block(const guint8 nonce[LPM_CHALLENGE_NONCE_BYTES], guint n, guint64 blocks)
{
    guint8 digest[32];
    gsize length = sizeof(digest);
    guint64 number = 0;

    if (n < FIRST_BLOCKS)
        return MIN(n, blocks - 1);
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
    guint32 index = GUINT32_TO_BE(n);
    g_checksum_update(checksum, nonce, LPM_CHALLENGE_NONCE_BYTES);
    g_checksum_update(checksum, (const guint8 *)&index, sizeof(index));
    g_checksum_get_digest(checksum, digest, &length);
    memcpy(&number, digest, sizeof(number));
    return GUINT64_FROM_BE(number) % blocks;
}

static json_t *hash(const guint8 *nonce, const guint8 *block)
{
    char text[HASH_CHARACTERS + 1];

    if (block[0] == 0 && memcmp(block, block + 1, LPM_CHALLENGE_BLOCK - 1) == 0)
        return json_string("");
    g_autoptr(GHmac) hmac = g_hmac_new(G_CHECKSUM_SHA256, nonce, LPM_CHALLENGE_NONCE_BYTES);
    g_hmac_update(hmac, block, LPM_CHALLENGE_BLOCK);
    g_strlcpy(text, g_hmac_get_string(hmac), sizeof(text));
    return json_string(text);
}

/* The n-th block that is asked for; FALSE if the disk has no such. */
static gboolean choose(const struct lpm_challenge *challenge, guint n, guint64 blocks,
                       guint64 *number)
{
    if (!challenge->blocks) {
        *number = lpm_challenge_block(challenge->nonce, n, blocks);
        return TRUE;
    }
    json_int_t asked = json_integer_value(json_array_get(challenge->blocks, n));
    *number = (guint64)asked;
    return asked >= 0 && *number < blocks;
}

json_t *lpm_challenge_answer(const struct lpm_challenge *challenge, guint64 size,
                             lpm_challenge_read_fn read, void *user)
{
    guint64 blocks = size / LPM_CHALLENGE_BLOCK, number;
    size_t count = challenge->blocks ? json_array_size(challenge->blocks) : LPM_CHALLENGE_BLOCKS;
    guint8 *block = aligned_alloc(LPM_CHALLENGE_BLOCK, LPM_CHALLENGE_BLOCK);
    json_t *answers = json_array();
    gint64 end = g_get_monotonic_time() + (challenge->blocks ? AGAIN_LIMIT_US : LIMIT_US);

    for (guint n = 0; block && blocks && n < MIN(count, LPM_CHALLENGE_BLOCKS); n++) {
        gboolean there = choose(challenge, n, blocks, &number);

        if (there && !read(user, number * LPM_CHALLENGE_BLOCK, block, LPM_CHALLENGE_BLOCK))
            break;
        json_array_append_new(answers, there ? hash(challenge->nonce, block) : json_null());
        if (g_get_monotonic_time() > end)
            break;
    }
    free(block);
    return answers;
}

void lpm_challenge_compare(const json_t *a, const json_t *b, guint *equal, guint *differ)
{
    size_t count = MIN(json_array_size(a), json_array_size(b));

    *equal = *differ = 0;
    for (size_t i = 0; i < count; i++) {
        const char *left = json_string_value(json_array_get(a, i));
        const char *right = json_string_value(json_array_get(b, i));

        if (!left || !right || strcmp(left, right) != 0)
            (*differ)++;
        else if (*left)
            (*equal)++;
    }
}
