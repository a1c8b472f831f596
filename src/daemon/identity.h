/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * Who this host is: an ECDSA P-256 key and a self-signed certificate, made on first start in
 * state_dir/host.key (0600) and host.crt, immutable afterwards. Any thread may read it.
 *
 * The certificate has no end (RFC 5280's 99991231235959Z): peers trust the key because they were
 * paired with it and until they are unpaired; a date would add nothing but a day on which
 * migrations fail.
 */
#ifndef LPM_DAEMON_IDENTITY_H
#define LPM_DAEMON_IDENTITY_H

#include <glib.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

struct lpm_identity {
    char *key_path, *certificate_path; /* PEM files, for libcurl */
    char *key_pem, *certificate_pem;   /* their text, for libmicrohttpd; the first is secret */
    char *fingerprint;                 /* see lpm_fingerprint_of_certificate */
};

/* Loads the identity from `state_dir`, making what is missing; a certificate is made again from its
 * key, since peers know the key only. `name` goes into a new certificate's subject, for people who
 * look at it. NULL with IDENTITY if there is a certificate without its key, they do not belong
 * together, or others can read the key. */
struct lpm_identity *lpm_identity_load(const char *state_dir, const char *name, GError **error);
/* Wipes the key's text. NULL is allowed. */
void lpm_identity_free(struct lpm_identity *identity);
typedef struct lpm_identity LpmIdentity;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LpmIdentity, lpm_identity_free)

/* SHA-256 of the certificate's SubjectPublicKeyInfo in base64 (44 characters): what libcurl pins
 * after "sha256//". NULL if the certificate has no readable key. Owned by the caller. */
char *lpm_fingerprint_of_certificate(gnutls_x509_crt_t certificate);
/* The same of the certificate that the other side showed in `session`; NULL if it showed none. */
char *lpm_fingerprint_of_session(gnutls_session_t session);
/* TRUE if `text` has the form of a fingerprint. */
gboolean lpm_fingerprint_check(const char *text);

#endif
