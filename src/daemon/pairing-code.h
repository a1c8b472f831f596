/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Private to pairing: the one-time code and what is derived from it. Any thread. */
#ifndef LPM_DAEMON_PAIRING_CODE_H
#define LPM_DAEMON_PAIRING_CODE_H

#include "daemon/data-port.h"

#define LPM_CODE_SECRET_BYTES 16
#define LPM_CODE_KEY_BYTES 32

/* A new secret from the system's generator, as a code: "XXXX-XXXX-XXXX-XXXX-XXXX-XXXX-XXXX". The
 * text is the caller's, and secret. NULL with INTERNAL. */
char *lpm_code_make(uint8_t secret[LPM_CODE_SECRET_BYTES], GError **error);
/* The secret of a code, in any case, with any dashes and spaces, O read as 0, I and L as 1.
 * BAD_REQUEST if it is mistyped. */
gboolean lpm_code_parse(const char *code, uint8_t secret[LPM_CODE_SECRET_BYTES], GError **error);

/* The invite's id on the data port and the pre-shared key, both by HKDF-SHA-256 (RFC 5869) with the
 * salt "OpenLPM pairing 1" and the info "id" and "key". INTERNAL on failure. */
gboolean lpm_code_derive(const uint8_t secret[LPM_CODE_SECRET_BYTES], uint8_t id[LPM_DATA_ID_BYTES],
                         uint8_t key[LPM_CODE_KEY_BYTES], GError **error);

#endif
