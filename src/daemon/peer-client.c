/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "daemon/peer-client.h"

#include "base/clock.h"
#include "base/error.h"
#include "daemon/peers-private.h"

#include <gnutls/gnutls.h>
#include <string.h>

#define CLOCK_SAMPLES 8
/* A kept connection is not used when it idled longer: the server closes after 120 s. */
#define IDLE_S 60L

struct answer {
    GString *text;
    gboolean too_large;
};

static size_t collect(char *data, size_t size, size_t count, void *user)
{
    struct answer *answer = user;

    if (answer->text->len + size * count > LPM_PEER_ANSWER_MAX) {
        answer->too_large = TRUE;
        return 0;
    }
    g_string_append_len(answer->text, data, (gssize)(size * count));
    return size * count;
}

/* IPv6 addresses stand in brackets in a URL, their zone's % escaped. */
static char *make_url(const LpmPeer *peer, const char *path)
{
    if (!strchr(peer->address, ':'))
        return g_strdup_printf("https://%s:%u%s", peer->address, peer->control_port, path);
    g_auto(GStrv) parts = g_strsplit(peer->address, "%", 2);
    g_autofree char *escaped = g_strjoinv("%25", parts);
    return g_strdup_printf("https://[%s]:%u%s", escaped, peer->control_port, path);
}

static void set_options(CURL *curl, const struct lpm_identity *identity, const LpmPeer *peer,
                        unsigned timeout_s)
{
    g_autofree char *pin = g_strconcat("sha256//", peer->fingerprint, NULL);

    curl_easy_reset(curl); /* keeps the connection */
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* whatever the environment says */
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
    curl_easy_setopt(curl, CURLOPT_SSLCERT, identity->certificate_path);
    curl_easy_setopt(curl, CURLOPT_SSLKEY, identity->key_path);
    /* The pinned key is the proof; names and issuers of self-signed certificates prove nothing. */
    curl_easy_setopt(curl, CURLOPT_PINNEDPUBLICKEY, pin);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)MIN(timeout_s, LPM_PEER_CONNECT_S));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)timeout_s);
    curl_easy_setopt(curl, CURLOPT_MAXAGE_CONN, IDLE_S);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
}

/* GnuTLS's words for an alert reach us through libcurl's error text only. */
static gboolean alerted(const char *text)
{
    return strstr(text, gnutls_strerror(GNUTLS_E_FATAL_ALERT_RECEIVED)) != NULL;
}

/* Says what failed. TRUE if it was a refusal of keys rather than a broken connection. */
static gboolean explain(const LpmPeer *peer, CURLcode rc, const char *text, GError **error)
{
    const char *reason = *text ? text : curl_easy_strerror(rc);

    if (rc == CURLE_SSL_PINNEDPUBKEYNOTMATCH) {
        lpm_fail(error, LPM_E_PEER_REFUSED, "%s (%s port %u) showed another key than in pairing",
                 peer->name, peer->address, peer->control_port);
        return TRUE;
    }
    if (alerted(text)) {
        lpm_fail(error, LPM_E_PEER_REFUSED, "%s (%s port %u) refused this host's key", peer->name,
                 peer->address, peer->control_port);
        return TRUE;
    }
    lpm_fail(error, LPM_E_PEER_UNREACHABLE, "%s (%s port %u): %s", peer->name, peer->address,
             peer->control_port, reason);
    return FALSE;
}

/* The answer's object, or the error in it. */
static json_t *decode(const LpmPeer *peer, long status, const struct answer *answer, GError **error)
{
    json_error_t reason;
    json_auto_t *object =
        json_loadb(answer->text->str, answer->text->len, JSON_REJECT_DUPLICATES, &reason);
    const json_t *failure = json_object_get(object, "error");

    if (json_is_object(object) && status >= 200 && status < 300)
        return g_steal_pointer(&object);
    if (json_is_object(failure) && status >= 400) {
        GError *theirs = lpm_error_from_json(failure);

        g_prefix_error(&theirs, "%s: ", peer->name);
        g_propagate_error(error, theirs);
        return NULL;
    }
    lpm_fail(error, LPM_E_PEER_ANSWER, "%s (%s port %u) answered with status %ld and %s",
             peer->name, peer->address, peer->control_port, status,
             object ? "no object" : "what is not JSON");
    return NULL;
}

static void set_request(CURL *curl, const char *method, const char *body)
{
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    } else if (strcmp(method, "POST") == 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 0L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
}

/* What a connection that the other side has closed gives. */
static gboolean broke(CURLcode rc)
{
    return rc == CURLE_SEND_ERROR || rc == CURLE_RECV_ERROR || rc == CURLE_GOT_NOTHING;
}

/* One call on `handle`. *ok: whether the handle's connection is fit for another one. */
static json_t *perform(struct lpm_peers *peers, struct lpm_peer_handle *handle, const LpmPeer *peer,
                       const char *method, const char *path, const json_t *body, unsigned timeout_s,
                       gboolean *maybe_delivered, gboolean *ok, GError **error)
{
    CURL *curl = handle->curl;
    char text[CURL_ERROR_SIZE] = "";
    struct answer answer = {.text = g_string_new(NULL)};
    g_autofree char *url = make_url(peer, path);
    g_autofree char *payload = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    json_t *result = NULL;
    long status = 0, sent = 0;

    headers = curl_slist_append(headers, "Expect:"); /* or a larger body costs a round trip */
    set_options(curl, peers->identity, peer, timeout_s);
    set_request(curl, method, payload);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    CURLcode rc = curl_easy_perform(curl);
    if (handle->warm && broke(rc) && answer.text->len == 0) {
        /* The kept connection had ended (the peer's lpmd was restarted): see peer-client.h. */
        text[0] = 0;
        curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
        rc = curl_easy_perform(curl);
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(curl, CURLINFO_REQUEST_SIZE, &sent);
    *ok = rc == CURLE_OK;
    /* On a warm handle an attempt on the kept connection may have been read before this one. */
    *maybe_delivered = rc == CURLE_OK || sent > 0 || handle->warm;
    if (rc == CURLE_OK) {
        result = decode(peer, status, &answer, error);
    } else if (answer.too_large) {
        lpm_fail(error, LPM_E_PEER_ANSWER, "%s answered with more than %d bytes", peer->name,
                 LPM_PEER_ANSWER_MAX);
    } else if (explain(peer, rc, text, error) && !handle->warm) {
        /* In TLS 1.3 the request can leave before the refusal arrives, but nobody reads it. */
        *maybe_delivered = FALSE;
    }
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(headers);
    g_string_free(answer.text, TRUE);
    return result;
}

json_t *lpm_peer_call(struct lpm_peers *peers, const char *name, const char *method,
                      const char *path, json_t *body, unsigned timeout_s, gboolean *maybe_delivered,
                      GError **error)
{
    gboolean ignored, ok;
    gboolean *maybe = maybe_delivered ? maybe_delivered : &ignored;
    g_autoptr(LpmPeer) peer = lpm_peers_get(peers, name, error);

    *maybe = FALSE;
    if (!peer)
        return NULL;
    struct lpm_peer_handle *handle = lpm_peers_take_handle(peers, peer->fingerprint);
    json_t *answer = perform(peers, handle, peer, method, path, body, timeout_s, maybe, &ok, error);
    lpm_peers_return_handle(peers, peer->fingerprint, handle, ok);
    return answer;
}

/* One sample; the better of it and `best` (whose error_us is -1 at first) is kept. */
static gboolean sample_clock(struct lpm_peers *peers, struct lpm_peer_handle *handle,
                             const LpmPeer *peer, unsigned timeout_s, struct lpm_peer_clock *best,
                             GError **error)
{
    gboolean maybe, ok;
    int64_t wall = lpm_wall_us(), begin = lpm_monotonic_us();
    json_auto_t *answer =
        perform(peers, handle, peer, "GET", "/v1/peer/clock", NULL, timeout_s, &maybe, &ok, error);
    int64_t round_trip = lpm_monotonic_us() - begin;
    const json_t *time = json_object_get(answer, "time_us");

    if (!answer)
        return FALSE;
    /* The bound keeps the sums below from overflowing: microseconds until the year 2255. */
    if (!json_is_integer(time) || json_integer_value(time) < 0 ||
        json_integer_value(time) > ((json_int_t)1 << 53))
        return lpm_fail(error, LPM_E_PEER_ANSWER, "%s did not tell the time", peer->name);
    if (best->error_us < 0 || round_trip < best->round_trip_us) {
        best->round_trip_us = round_trip;
        best->error_us = (round_trip + 1) / 2;
        best->offset_us = json_integer_value(time) - (wall + round_trip / 2);
    }
    return TRUE;
}

gboolean lpm_peer_clock(struct lpm_peers *peers, const char *name, unsigned timeout_s,
                        struct lpm_peer_clock *clock, GError **error)
{
    g_autoptr(LpmPeer) peer = lpm_peers_get(peers, name, error);
    struct lpm_peer_clock best = {.error_us = -1};
    gboolean ok = TRUE;

    if (!peer)
        return FALSE;
    struct lpm_peer_handle *handle = lpm_peers_take_handle(peers, peer->fingerprint);
    for (int i = 0; ok && i < CLOCK_SAMPLES; i++)
        ok = sample_clock(peers, handle, peer, timeout_s, &best, error);
    lpm_peers_return_handle(peers, peer->fingerprint, handle, ok);
    if (ok)
        *clock = best;
    return ok;
}
