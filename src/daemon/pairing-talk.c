/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/pairing-talk.h"

#include "base/clock.h"
#include "base/error.h"
#include "daemon/identity.h"
#include "daemon/peers.h"

#include <string.h>

#define MESSAGE_MAX 4096

static gboolean send_message(LpmPskTls *tls, json_t *taken, GError **error)
{
    json_auto_t *message = taken;
    g_autofree char *text = json_dumps(message, JSON_COMPACT);
    guint32 length = GUINT32_TO_BE((guint32)strlen(text));

    if (strlen(text) > MESSAGE_MAX)
        return lpm_fail(error, LPM_E_INTERNAL, "a pairing message is too large");
    return lpm_psk_tls_write_all(tls, &length, sizeof(length), LPM_PAIRING_STEP_MS, error) &&
           lpm_psk_tls_write_all(tls, text, strlen(text), LPM_PAIRING_STEP_MS, error);
}

/* One message; the other side's {error} is returned as that error. */
static json_t *receive_message(LpmPskTls *tls, GError **error)
{
    char text[MESSAGE_MAX];
    guint32 length;

    if (!lpm_psk_tls_read_all(tls, &length, sizeof(length), LPM_PAIRING_STEP_MS, error))
        return NULL;
    length = GUINT32_FROM_BE(length);
    if (length > MESSAGE_MAX) {
        lpm_fail(error, LPM_E_PEER_ANSWER, "the other host sent a pairing message of %u bytes",
                 length);
        return NULL;
    }
    if (!lpm_psk_tls_read_all(tls, text, length, LPM_PAIRING_STEP_MS, error))
        return NULL;
    json_auto_t *message = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    const json_t *failure = json_object_get(message, "error");
    if (json_is_object(failure)) {
        GError *theirs = lpm_error_from_json(failure);

        g_prefix_error(&theirs, "the other host says: ");
        g_propagate_error(error, theirs);
        return NULL;
    }
    if (!json_is_object(message)) {
        lpm_fail(error, LPM_E_PEER_ANSWER,
                 "the other host sent a pairing message that is no object");
        return NULL;
    }
    return g_steal_pointer(&message);
}

gboolean lpm_pairing_send_hello(LpmPskTls *tls, const struct lpm_daemon *daemon, GError **error)
{
    const LpmConfig *config = daemon->config;

    return send_message(tls,
                        json_pack("{s:i, s:s, s:s, s:i, s:i}", "protocol", LPM_API_PROTOCOL, "name",
                                  config->name, "fingerprint", daemon->identity->fingerprint,
                                  "control_port", (int)config->control_port, "data_port",
                                  (int)config->data_port),
                        error);
}

gboolean lpm_pairing_send_stored(LpmPskTls *tls, GError **error)
{
    return send_message(tls, json_pack("{s:b}", "stored", 1), error);
}

void lpm_pairing_send_error(LpmPskTls *tls, const GError *reason)
{
    send_message(tls, json_pack("{s:o}", "error", lpm_error_to_json(reason, NULL)), NULL);
}

static gboolean is_port(json_int_t port)
{
    return port >= 1 && port <= 65535;
}

LpmPeer *lpm_pairing_receive_hello(LpmPskTls *tls, const struct lpm_daemon *daemon, GError **error)
{
    json_auto_t *hello = receive_message(tls, error);
    const char *name = NULL, *fingerprint = NULL;
    json_int_t protocol = 0, control_port = 0, data_port = 0;

    if (!hello)
        return NULL;
    if (json_unpack(hello, "{s:I, s:s, s:s, s:I, s:I}", "protocol", &protocol, "name", &name,
                    "fingerprint", &fingerprint, "control_port", &control_port, "data_port",
                    &data_port) < 0 ||
        !lpm_fingerprint_check(fingerprint) || !is_port(control_port) || !is_port(data_port)) {
        lpm_fail(error, LPM_E_PEER_ANSWER, "the other host's pairing message is not understood");
        return NULL;
    }
    if (protocol != LPM_API_PROTOCOL) {
        lpm_fail(error, LPM_E_PEER_ANSWER,
                 "the other host speaks version %" JSON_INTEGER_FORMAT
                 " of the control protocol, this one %d",
                 protocol, LPM_API_PROTOCOL);
        return NULL;
    }
    if (strcmp(fingerprint, daemon->identity->fingerprint) == 0) {
        lpm_fail(error, LPM_E_PEER_IS_SELF, "the other host has the key of this one");
        return NULL;
    }
    if (!lpm_peer_name_check(name, error)) {
        g_prefix_error(error, "the other host: ");
        return NULL;
    }
    LpmPeer *peer = g_new0(LpmPeer, 1);
    peer->name = g_strdup(name);
    peer->address = g_strdup("");
    peer->fingerprint = g_strdup(fingerprint);
    peer->control_port = (guint)control_port;
    peer->data_port = (guint)data_port;
    peer->paired_ms = lpm_wall_us() / 1000;
    return peer;
}

gboolean lpm_pairing_receive_stored(LpmPskTls *tls, GError **error)
{
    json_auto_t *message = receive_message(tls, error);

    if (!message)
        return FALSE;
    return json_is_true(json_object_get(message, "stored"))
               ? TRUE
               : lpm_fail(error, LPM_E_PEER_ANSWER, "the other host did not store this one");
}
