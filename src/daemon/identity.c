/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/identity.h"

#include "base/error.h"
#include "base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHA256_BYTES 32
#define PEM_MAX 65536

typedef struct gnutls_x509_crt_int Certificate;
typedef struct gnutls_x509_privkey_int PrivateKey;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Certificate, gnutls_x509_crt_deinit)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PrivateKey, gnutls_x509_privkey_deinit)

char *lpm_fingerprint_of_certificate(gnutls_x509_crt_t certificate)
{
    unsigned char id[SHA256_BYTES];
    size_t size = sizeof(id);

    /* GnuTLS's key id with this flag is the SHA-256 of the SubjectPublicKeyInfo. */
    if (gnutls_x509_crt_get_key_id(certificate, GNUTLS_KEYID_USE_SHA256, id, &size) < 0 ||
        size != sizeof(id))
        return NULL;
    return g_base64_encode(id, sizeof(id));
}

char *lpm_fingerprint_of_session(gnutls_session_t session)
{
    g_autoptr(Certificate) certificate = NULL;
    unsigned count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);

    if (gnutls_certificate_type_get(session) != GNUTLS_CRT_X509 || !chain || count == 0)
        return NULL;
    if (gnutls_x509_crt_init(&certificate) < 0 ||
        gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER) < 0)
        return NULL;
    return lpm_fingerprint_of_certificate(certificate);
}

gboolean lpm_fingerprint_check(const char *text)
{
    gsize length = 0;

    if (!text || strlen(text) != 44)
        return FALSE;
    g_autofree guchar *bytes = g_base64_decode(text, &length);
    g_autofree char *again = g_base64_encode(bytes, length);
    return length == SHA256_BYTES && strcmp(again, text) == 0;
}

static gboolean tls_fail(const char *doing, int rc, GError **error)
{
    return lpm_fail(error, LPM_E_IDENTITY, "%s failed: %s", doing, gnutls_strerror(rc));
}

/* A positive 127-bit serial, as RFC 5280 wants it. */
static int set_serial(gnutls_x509_crt_t certificate)
{
    unsigned char serial[16];
    int rc = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));

    serial[0] &= 0x7f;
    serial[0] |= 0x01;
    return rc < 0 ? rc : gnutls_x509_crt_set_serial(certificate, serial, sizeof(serial));
}

static gboolean sign(gnutls_x509_crt_t certificate, gnutls_x509_privkey_t key, const char *name,
                     GError **error)
{
    int rc = gnutls_x509_crt_set_version(certificate, 3);

    if (rc >= 0)
        rc = set_serial(certificate);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                           (unsigned)strlen(name));
    if (rc >= 0)
        rc = gnutls_x509_crt_set_activation_time(certificate, time(NULL));
    if (rc >= 0)
        rc = gnutls_x509_crt_set_expiration_time(certificate,
                                                 GNUTLS_X509_NO_WELL_DEFINED_EXPIRATION);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_key(certificate, key);
    if (rc >= 0)
        rc = gnutls_x509_crt_set_key_usage(certificate, GNUTLS_KEY_DIGITAL_SIGNATURE);
    if (rc >= 0)
        rc = gnutls_x509_crt_sign2(certificate, certificate, key, GNUTLS_DIG_SHA256, 0);
    return rc >= 0 ? TRUE : tls_fail("making this host's certificate", rc, error);
}

/* Writes a new file whole or not at all: beside it first, synced, then renamed. */
static gboolean write_new(const char *path, mode_t mode, const gnutls_datum_t *pem, GError **error)
{
    g_autofree char *part = g_strconcat(path, ".new", NULL);

    unlink(part);
    lpm_autofd fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return lpm_fail(error, LPM_E_IDENTITY, "%s: %s", part, g_strerror(errno));
    if (!lpm_write_all(fd, pem->data, pem->size, error))
        return FALSE;
    if (fsync(fd) < 0 || rename(part, path) < 0)
        return lpm_fail(error, LPM_E_IDENTITY, "%s: %s", path, g_strerror(errno));
    return TRUE;
}

static gboolean sync_folder(const char *path, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    lpm_autofd fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        return lpm_fail(error, LPM_E_IDENTITY, "%s: %s", folder, g_strerror(errno));
    return TRUE;
}

static gboolean make_key(const char *path, GError **error)
{
    g_autoptr(PrivateKey) key = NULL;
    gnutls_datum_t pem = {0};
    unsigned bits = GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1);
    int rc = gnutls_x509_privkey_init(&key);

    if (rc >= 0)
        rc = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, bits, 0);
    if (rc >= 0)
        rc = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem);
    if (rc < 0)
        return tls_fail("making this host's key", rc, error);
    gboolean ok = write_new(path, 0600, &pem, error);
    gnutls_memset(pem.data, 0, pem.size);
    gnutls_free(pem.data);
    return ok;
}

static gboolean make_certificate(const char *path, const char *key_text, const char *name,
                                 GError **error)
{
    g_autoptr(PrivateKey) key = NULL;
    g_autoptr(Certificate) certificate = NULL;
    gnutls_datum_t key_pem = {(unsigned char *)key_text, (unsigned)strlen(key_text)};
    gnutls_datum_t pem = {0};
    int rc = gnutls_x509_privkey_init(&key);

    if (rc >= 0)
        rc = gnutls_x509_privkey_import2(key, &key_pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (rc >= 0)
        rc = gnutls_x509_crt_init(&certificate);
    if (rc < 0)
        return tls_fail("making this host's certificate", rc, error);
    if (!sign(certificate, key, name, error))
        return FALSE;
    rc = gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &pem);
    if (rc < 0)
        return tls_fail("exporting this host's certificate", rc, error);
    gboolean ok = write_new(path, 0644, &pem, error) && sync_folder(path, error);
    gnutls_free(pem.data);
    return ok;
}

/* Reads a PEM file; with `secret`, one that only its owner can read. */
static char *read_pem(const char *path, gboolean secret, GError **error)
{
    struct stat status;
    lpm_autofd fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &status) < 0) {
        lpm_fail(error, LPM_E_IDENTITY, "%s: %s", path, g_strerror(errno));
        return NULL;
    }
    if (!S_ISREG(status.st_mode) || status.st_size > PEM_MAX) {
        lpm_fail(error, LPM_E_IDENTITY, "%s is not a PEM file", path);
        return NULL;
    }
    if (secret && (status.st_mode & 077)) {
        lpm_fail(error, LPM_E_IDENTITY, "%s has mode %04o; others than its owner can reach it",
                 path, status.st_mode & 07777);
        return NULL;
    }
    g_autofree char *text = g_malloc0((gsize)status.st_size + 1);
    if (!lpm_read_all(fd, text, (gsize)status.st_size, error)) {
        g_prefix_error(error, "%s: ", path);
        return NULL;
    }
    return g_steal_pointer(&text);
}

/* Imports both, checks that they belong together and takes the fingerprint. */
static gboolean check_pair(struct lpm_identity *identity, GError **error)
{
    g_autoptr(PrivateKey) key = NULL;
    g_autoptr(Certificate) certificate = NULL;
    gnutls_datum_t key_pem = {(unsigned char *)identity->key_pem,
                              (unsigned)strlen(identity->key_pem)};
    gnutls_datum_t certificate_pem = {(unsigned char *)identity->certificate_pem,
                                      (unsigned)strlen(identity->certificate_pem)};
    unsigned char id[SHA256_BYTES];
    size_t size = sizeof(id);
    int rc = gnutls_x509_privkey_init(&key);

    if (rc >= 0)
        rc = gnutls_x509_privkey_import2(key, &key_pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (rc >= 0)
        rc = gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, id, &size);
    if (rc < 0)
        return lpm_fail(error, LPM_E_IDENTITY, "%s: %s", identity->key_path, gnutls_strerror(rc));
    rc = gnutls_x509_crt_init(&certificate);
    if (rc >= 0)
        rc = gnutls_x509_crt_import(certificate, &certificate_pem, GNUTLS_X509_FMT_PEM);
    if (rc < 0)
        return lpm_fail(error, LPM_E_IDENTITY, "%s: %s", identity->certificate_path,
                        gnutls_strerror(rc));
    g_autofree char *of_key = g_base64_encode(id, size);
    identity->fingerprint = lpm_fingerprint_of_certificate(certificate);
    if (g_strcmp0(of_key, identity->fingerprint) != 0)
        return lpm_fail(error, LPM_E_IDENTITY, "%s does not belong to the key in %s",
                        identity->certificate_path, identity->key_path);
    return TRUE;
}

struct lpm_identity *lpm_identity_load(const char *state_dir, const char *name, GError **error)
{
    g_autoptr(LpmIdentity) identity = g_new0(struct lpm_identity, 1);

    identity->key_path = g_build_filename(state_dir, "host.key", NULL);
    identity->certificate_path = g_build_filename(state_dir, "host.crt", NULL);
    gboolean has_key = g_file_test(identity->key_path, G_FILE_TEST_EXISTS);
    gboolean has_certificate = g_file_test(identity->certificate_path, G_FILE_TEST_EXISTS);

    if (has_certificate && !has_key) {
        lpm_fail(error, LPM_E_IDENTITY, "%s is there, but its key %s is missing",
                 identity->certificate_path, identity->key_path);
        return NULL;
    }
    if (!has_key && !make_key(identity->key_path, error))
        return NULL;
    identity->key_pem = read_pem(identity->key_path, TRUE, error);
    if (!identity->key_pem)
        return NULL;
    /* The fingerprint is the key's: a lost certificate is made again and nobody notices. */
    if (!has_certificate &&
        !make_certificate(identity->certificate_path, identity->key_pem, name, error))
        return NULL;
    identity->certificate_pem = read_pem(identity->certificate_path, FALSE, error);
    if (!identity->certificate_pem || !check_pair(identity, error))
        return NULL;
    return g_steal_pointer(&identity);
}

void lpm_identity_free(struct lpm_identity *identity)
{
    if (!identity)
        return;
    if (identity->key_pem)
        gnutls_memset(identity->key_pem, 0, strlen(identity->key_pem));
    g_free(identity->key_pem);
    g_free(identity->certificate_pem);
    g_free(identity->key_path);
    g_free(identity->certificate_path);
    g_free(identity->fingerprint);
    g_free(identity);
}
