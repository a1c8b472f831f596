/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "mover/relay.h"

#include "base/error.h"
#include "base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MIN 32
#define FILE_MAX 4096
#define DRAWN_BYTES (LPM_SESSION_ID_BYTES / 2)

/* HMAC-SHA256 of a purpose and bytes; one use of the key never gives what another does. */
static void derive(const guint8 *key, const char *purpose, const guint8 *bytes, gsize length,
                   guint8 out[32])
{
    guint8 text[64];
    gsize named = strlen(purpose) + 1;

    g_assert(named + length <= sizeof(text)); /* callers pass constants */
    memcpy(text, purpose, named);
    memcpy(text + named, bytes, length);
    int code = gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, RELAY_KEY_BYTES, text, named + length, out);
    g_assert(code == 0); /* a hash over memory: it fails only where the library has none */
}

static gboolean check_file(int fd, const char *path, GError **error)
{
    struct stat info;

    if (fstat(fd, &info) < 0)
        return lpm_fail(error, LPM_E_USAGE, "--psk-file %s: %s", path, g_strerror(errno));
    if (!S_ISREG(info.st_mode))
        return lpm_fail(error, LPM_E_USAGE, "--psk-file %s is not a regular file", path);
    if (info.st_mode & (S_IRWXG | S_IRWXO))
        return lpm_fail(error, LPM_E_USAGE,
                        "--psk-file %s can be used by others (mode %04o): chmod 600 it, or make "
                        "another key if others have read it",
                        path, (unsigned)info.st_mode & 07777);
    if (info.st_uid != geteuid() && info.st_uid != 0)
        return lpm_fail(error, LPM_E_USAGE, "--psk-file %s belongs to another user (%u)", path,
                        (unsigned)info.st_uid);
    if (info.st_size > FILE_MAX)
        return lpm_fail(error, LPM_E_USAGE, "--psk-file %s has more than %d bytes", path, FILE_MAX);
    return TRUE;
}

gboolean relay_key_read(const char *path, guint8 key[RELAY_KEY_BYTES], GError **error)
{
    lpm_autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    guint8 text[FILE_MAX];
    gsize length = 0;
    ssize_t n;

    if (fd < 0)
        return lpm_fail(error, LPM_E_USAGE, "--psk-file %s: %s", path, g_strerror(errno));
    if (!check_file(fd, path, error))
        return FALSE;
    while (length < sizeof(text) && (n = read(fd, text + length, sizeof(text) - length)) > 0)
        length += (gsize)n;
    while (length && strchr(" \t\r\n", text[length - 1]))
        length--;
    gboolean enough = length >= FILE_MIN;
    if (enough)
        gnutls_hash_fast(GNUTLS_DIG_SHA256, text, length, key);
    explicit_bzero(text, sizeof(text));
    if (!enough)
        return lpm_fail(error, LPM_E_USAGE,
                        "--psk-file %s holds %" G_GSIZE_FORMAT
                        " bytes and needs %d: 'openssl rand -hex 32' makes such a key",
                        path, length, FILE_MIN);
    return TRUE;
}

void relay_session_new(const guint8 *key, guint8 session[LPM_SESSION_ID_BYTES])
{
    guint8 proof[32];

    gnutls_rnd(GNUTLS_RND_NONCE, session, DRAWN_BYTES);
    derive(key, "lpm relay id", session, DRAWN_BYTES, proof);
    memcpy(session + DRAWN_BYTES, proof, DRAWN_BYTES);
}

gboolean relay_session_is_ours(const guint8 *key, const guint8 session[LPM_SESSION_ID_BYTES])
{
    guint8 proof[32];

    derive(key, "lpm relay id", session, DRAWN_BYTES, proof);
    return gnutls_memcmp(session + DRAWN_BYTES, proof, DRAWN_BYTES) == 0;
}

void relay_session_psk(const guint8 *key, const guint8 session[LPM_SESSION_ID_BYTES],
                       guint8 psk[LPM_SESSION_PSK_BYTES])
{
    derive(key, "lpm relay session", session, LPM_SESSION_ID_BYTES, psk);
}
