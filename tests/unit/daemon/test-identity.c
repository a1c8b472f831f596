/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "hosts.h"

#include <glib/gstdio.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int set_up(void **state)
{
    *state = test_folder();
    return 0;
}

static int tear_down(void **state)
{
    test_remove_folder(*state);
    return 0;
}

static mode_t mode_of(const char *path)
{
    struct stat status;

    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 07777;
}

static void test_made_once(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(LpmIdentity) first = lpm_identity_load(*state, "alpha", &error);
    g_autoptr(LpmIdentity) second = lpm_identity_load(*state, "other", &error);

    assert_null(error);
    assert_true(lpm_fingerprint_check(first->fingerprint));
    assert_string_equal(first->fingerprint, second->fingerprint);
    assert_string_equal(first->certificate_pem, second->certificate_pem);
    assert_int_equal(mode_of(first->key_path), 0600);
    assert_int_equal(mode_of(first->certificate_path), 0644);
}

static gnutls_x509_crt_t import_certificate(const struct lpm_identity *identity)
{
    gnutls_datum_t pem = {(unsigned char *)identity->certificate_pem,
                          (unsigned)strlen(identity->certificate_pem)};
    gnutls_x509_crt_t certificate;

    gnutls_x509_crt_init(&certificate);
    assert_int_equal(gnutls_x509_crt_import(certificate, &pem, GNUTLS_X509_FMT_PEM), 0);
    return certificate;
}

/* By another way than the code under test: exporting the SubjectPublicKeyInfo and hashing it. */
static void test_fingerprint_is_of_public_key(void **state)
{
    g_autoptr(LpmIdentity) identity = lpm_identity_load(*state, "alpha", NULL);
    gnutls_x509_crt_t certificate = import_certificate(identity);
    gnutls_pubkey_t key;
    gnutls_datum_t der;
    unsigned char hash[32];

    gnutls_pubkey_init(&key);
    assert_int_equal(gnutls_pubkey_import_x509(key, certificate, 0), 0);
    assert_int_equal(gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &der), 0);
    gnutls_hash_fast(GNUTLS_DIG_SHA256, der.data, der.size, hash);
    g_autofree char *expected = g_base64_encode(hash, sizeof(hash));
    assert_string_equal(identity->fingerprint, expected);
    gnutls_free(der.data);
    gnutls_pubkey_deinit(key);
    gnutls_x509_crt_deinit(certificate);
}

static void test_certificate_form(void **state)
{
    g_autoptr(LpmIdentity) identity = lpm_identity_load(*state, "alpha", NULL);
    gnutls_x509_crt_t certificate = import_certificate(identity);
    char name[64];
    size_t size = sizeof(name);
    gnutls_ecc_curve_t curve;
    gnutls_datum_t x, y;

    gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &size);
    assert_string_equal(name, "alpha");
    assert_int_equal(gnutls_x509_crt_get_expiration_time(certificate),
                     GNUTLS_X509_NO_WELL_DEFINED_EXPIRATION);
    assert_int_equal(gnutls_x509_crt_get_pk_ecc_raw(certificate, &curve, &x, &y), 0);
    assert_int_equal(curve, GNUTLS_ECC_CURVE_SECP256R1);
    gnutls_free(x.data);
    gnutls_free(y.data);
    gnutls_x509_crt_deinit(certificate);
}

static void test_readable_key_refused(void **state)
{
    g_autoptr(LpmIdentity) identity = lpm_identity_load(*state, "alpha", NULL);
    g_autoptr(GError) error = NULL;

    chmod(identity->key_path, 0640);
    assert_null(lpm_identity_load(*state, "alpha", &error));
    test_assert_error(error, LPM_E_IDENTITY);
    assert_non_null(strstr(error->message, "0640"));
}

static void test_lost_certificate_is_made_again(void **state)
{
    g_autoptr(LpmIdentity) before = lpm_identity_load(*state, "alpha", NULL);
    g_autoptr(GError) error = NULL;

    unlink(before->certificate_path);
    g_autoptr(LpmIdentity) after = lpm_identity_load(*state, "alpha", &error);
    assert_null(error);
    assert_string_equal(before->fingerprint, after->fingerprint);
}

static void test_lost_key_refused(void **state)
{
    g_autoptr(LpmIdentity) identity = lpm_identity_load(*state, "alpha", NULL);
    g_autoptr(GError) error = NULL;

    unlink(identity->key_path);
    assert_null(lpm_identity_load(*state, "alpha", &error));
    test_assert_error(error, LPM_E_IDENTITY);
    assert_false(g_file_test(identity->key_path, G_FILE_TEST_EXISTS));
}

static void test_mismatch_and_noise_refused(void **state)
{
    g_autoptr(LpmIdentity) identity = lpm_identity_load(*state, "alpha", NULL);
    g_autoptr(GError) mismatch = NULL, noise = NULL;
    char *other_folder = test_folder();
    g_autoptr(LpmIdentity) other = lpm_identity_load(other_folder, "beta", NULL);

    assert_true(g_file_set_contents(identity->certificate_path, other->certificate_pem, -1, NULL));
    assert_null(lpm_identity_load(*state, "alpha", &mismatch));
    test_assert_error(mismatch, LPM_E_IDENTITY);
    assert_true(g_file_set_contents(identity->certificate_path, "noise", -1, NULL));
    assert_null(lpm_identity_load(*state, "alpha", &noise));
    test_assert_error(noise, LPM_E_IDENTITY);
    test_remove_folder(other_folder);
}

static void test_form_of_fingerprint(void **state)
{
    (void)state;
    assert_true(lpm_fingerprint_check("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
    assert_false(lpm_fingerprint_check(NULL));
    assert_false(lpm_fingerprint_check(""));
    assert_false(lpm_fingerprint_check("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    assert_false(lpm_fingerprint_check("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA;rm -A="));
    assert_false(lpm_fingerprint_check("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB="));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_made_once),
        TEST(test_fingerprint_is_of_public_key),
        TEST(test_certificate_form),
        TEST(test_readable_key_refused),
        TEST(test_lost_certificate_is_made_again),
        TEST(test_lost_key_refused),
        TEST(test_mismatch_and_noise_refused),
        TEST(test_form_of_fingerprint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
