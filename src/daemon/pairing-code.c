/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/pairing-code.h"

#include "base/error.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#define SYMBOLS 28 /* of 5 bits: 128 of secret, 12 of check */
#define PACKED 18  /* bytes that hold them; the last 4 bits are 0 */
#define GROUP 4

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"; /* Crockford's */

/* The secret followed by the first 12 bits of a hash of it. */
static gboolean pack(const uint8_t *secret, uint8_t packed[PACKED], GError **error)
{
    static const char label[] = "OpenLPM code";
    uint8_t text[sizeof(label) + LPM_CODE_SECRET_BYTES];
    uint8_t hash[32];

    memcpy(text, label, sizeof(label));
    memcpy(text + sizeof(label), secret, LPM_CODE_SECRET_BYTES);
    int rc = gnutls_hash_fast(GNUTLS_DIG_SHA256, text, sizeof(text), hash);
    gnutls_memset(text, 0, sizeof(text));
    if (rc < 0)
        return lpm_fail(error, LPM_E_INTERNAL, "hashing failed: %s", gnutls_strerror(rc));
    memcpy(packed, secret, LPM_CODE_SECRET_BYTES);
    packed[16] = hash[0];
    packed[17] = hash[1] & 0xf0;
    return TRUE;
}

/* Symbol `i` of the packed bits. */
static unsigned symbol_at(const uint8_t packed[PACKED], unsigned i)
{
    unsigned bit = i * 5, byte = bit / 8;
    unsigned pair = (unsigned)packed[byte] << 8 | (byte + 1 < PACKED ? packed[byte + 1] : 0U);

    return pair >> (11 - bit % 8) & 31;
}

char *lpm_code_make(uint8_t secret[LPM_CODE_SECRET_BYTES], GError **error)
{
    uint8_t packed[PACKED];
    int rc = gnutls_rnd(GNUTLS_RND_KEY, secret, LPM_CODE_SECRET_BYTES);

    if (rc < 0) {
        lpm_fail(error, LPM_E_INTERNAL, "no random numbers: %s", gnutls_strerror(rc));
        return NULL;
    }
    if (!pack(secret, packed, error))
        return NULL;
    GString *text = g_string_sized_new(SYMBOLS + SYMBOLS / GROUP);
    for (unsigned i = 0; i < SYMBOLS; i++) {
        if (i > 0 && i % GROUP == 0)
            g_string_append_c(text, '-');
        g_string_append_c(text, alphabet[symbol_at(packed, i)]);
    }
    gnutls_memset(packed, 0, sizeof(packed));
    return g_string_free(text, FALSE);
}

/* The value of a typed symbol; -1: it is none. */
static int value_of(char typed)
{
    char upper = g_ascii_toupper(typed);

    if (upper == 'O')
        upper = '0';
    if (upper == 'I' || upper == 'L')
        upper = '1';
    const char *at = upper ? strchr(alphabet, upper) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

gboolean lpm_code_parse(const char *code, uint8_t secret[LPM_CODE_SECRET_BYTES], GError **error)
{
    uint8_t packed[PACKED] = {0}, again[PACKED];
    unsigned count = 0;

    for (const char *c = code; *c; c++) {
        if (*c == '-' || *c == ' ')
            continue;
        int value = value_of(*c);
        if (value < 0 || count == SYMBOLS)
            return lpm_fail(error, LPM_E_BAD_REQUEST,
                            "the code is mistyped: it has %d letters and digits, without U",
                            SYMBOLS);
        for (unsigned i = 0; i < 5; i++) {
            unsigned bit = count * 5 + i;

            if (value & 16 >> i)
                packed[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
        }
        count++;
    }
    memcpy(secret, packed, LPM_CODE_SECRET_BYTES);
    if (!pack(secret, again, error))
        return FALSE;
    gboolean same = count == SYMBOLS && memcmp(packed, again, PACKED) == 0;
    gnutls_memset(packed, 0, sizeof(packed));
    gnutls_memset(again, 0, sizeof(again));
    return same ? TRUE
                : lpm_fail(error, LPM_E_BAD_REQUEST,
                           "the code is mistyped: letters are missing, wrong or swapped");
}

static int expand(const gnutls_datum_t *extracted, const char *label, uint8_t *out, gsize size)
{
    gnutls_datum_t info = {(unsigned char *)label, (unsigned)strlen(label)};

    return gnutls_hkdf_expand(GNUTLS_MAC_SHA256, extracted, &info, out, size);
}

gboolean lpm_code_derive(const uint8_t secret[LPM_CODE_SECRET_BYTES], uint8_t id[LPM_DATA_ID_BYTES],
                         uint8_t key[LPM_CODE_KEY_BYTES], GError **error)
{
    static const char salt_text[] = "OpenLPM pairing 1";
    uint8_t extracted[32];
    gnutls_datum_t input = {(unsigned char *)secret, LPM_CODE_SECRET_BYTES};
    gnutls_datum_t salt = {(unsigned char *)salt_text, sizeof(salt_text) - 1};
    gnutls_datum_t middle = {extracted, sizeof(extracted)};
    int rc = gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &input, &salt, extracted);

    if (rc >= 0)
        rc = expand(&middle, "id", id, LPM_DATA_ID_BYTES);
    if (rc >= 0)
        rc = expand(&middle, "key", key, LPM_CODE_KEY_BYTES);
    gnutls_memset(extracted, 0, sizeof(extracted));
    return rc >= 0 ? TRUE : lpm_fail(error, LPM_E_INTERNAL, "HKDF failed: %s", gnutls_strerror(rc));
}
