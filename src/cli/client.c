/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/client.h"

#include "base/error.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <sys/un.h>

/* A unix socket accepts at once or is not served. */
#define CONNECT_TIMEOUT_S 5
#define CALL_TIMEOUT_S 60

struct cli_client {
    CURL *curl;
    char *socket;
    guint timeout_s;
    const volatile int *interrupt;
    json_t *last_error;
};

CliClient *client_new(const char *socket, GError **error)
{
    struct sockaddr_un address;

    if (!*socket || strlen(socket) >= sizeof(address.sun_path)) {
        lpm_fail(error, LPM_E_USAGE,
                 "the socket's path '%s' is empty or longer than the %zu bytes that the system "
                 "permits",
                 socket, sizeof(address.sun_path) - 1);
        return NULL;
    }
    CliClient *client = g_new0(CliClient, 1);
    client->socket = g_strdup(socket);
    client->timeout_s = CALL_TIMEOUT_S;
    client->curl = curl_easy_init();
    g_assert(client->curl); /* fails for want of memory only, where GLib ends the program too */
    return client;
}

void client_free(CliClient *client)
{
    curl_easy_cleanup(client->curl);
    json_decref(client->last_error);
    g_free(client->socket);
    g_free(client);
}

void client_set_timeout(CliClient *client, guint seconds)
{
    client->timeout_s = seconds;
}

void client_set_interrupt(CliClient *client, const volatile int *flag)
{
    client->interrupt = flag;
}

const json_t *client_last_error(const CliClient *client)
{
    return client->last_error;
}

static size_t take(char *bytes, size_t size, size_t count, void *user)
{
    GString *answer = user;

    if (answer->len + size * count > CLIENT_MAX_ANSWER)
        return 0; /* curl ends the call with CURLE_WRITE_ERROR */
    g_string_append_len(answer, bytes, (gssize)(size * count));
    return size * count;
}

static int look_for_interrupt(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const CliClient *client = user;

    (void)a, (void)b, (void)c, (void)d;
    return client->interrupt && *client->interrupt;
}

static void set_up(CliClient *client, const char *method, const char *url, const char *body,
                   struct curl_slist *headers, GString *answer)
{
    CURL *curl = client->curl;

    curl_easy_reset(curl); /* keeps the connection */
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L); /* a partition may be called ".." */
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)client->timeout_s);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_for_interrupt);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, client);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
        curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, body);
    }
}

static const char *why_not_connected(int os_error)
{
    switch (os_error) {
    case 0:
        return "it broke off"; /* curl saw the end of the connection before it was done with it */
    case ENOENT:
        return "there is no such socket";
    case ECONNREFUSED:
        return "nobody listens there";
    default:
        return g_strerror(os_error);
    }
}

static gboolean fail_unreachable(const CliClient *client, CURLcode code, GError **error)
{
    long os_error = 0;

    curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &os_error);
    switch (code) {
    case CURLE_COULDNT_CONNECT:
        if (os_error == EACCES || os_error == EPERM)
            return lpm_fail(error, LPM_E_NOT_PERMITTED, "you may not open lpmd's socket '%s'",
                            client->socket);
        return lpm_fail(error, LPM_E_DAEMON_UNREACHABLE, "lpmd cannot be reached at '%s': %s",
                        client->socket, why_not_connected((int)os_error));
    case CURLE_OPERATION_TIMEDOUT:
        return lpm_fail(error, LPM_E_DAEMON_UNREACHABLE, "lpmd at '%s' did not answer within %u s",
                        client->socket, client->timeout_s);
    case CURLE_ABORTED_BY_CALLBACK:
        return lpm_fail(error, LPM_E_DAEMON_UNREACHABLE, "interrupted before lpmd at '%s' answered",
                        client->socket);
    case CURLE_WRITE_ERROR:
        return lpm_fail(error, LPM_E_INTERNAL, "lpmd's answer is longer than %zu bytes",
                        CLIENT_MAX_ANSWER);
    default:
        return lpm_fail(error, LPM_E_DAEMON_UNREACHABLE, "lpmd at '%s' broke off: %s",
                        client->socket, curl_easy_strerror(code));
    }
}

/* An answer is always an object; one that reports an error is {"error": {...}}. */
static json_t *understand(CliClient *client, const GString *answer, GError **error)
{
    json_error_t where;
    long status = 0;

    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    json_t *document = json_loadb(answer->str, answer->len, JSON_REJECT_DUPLICATES, &where);
    const json_t *failure = json_object_get(document, "error");
    if (status >= 200 && status < 300 && json_is_object(document))
        return document;
    if (json_is_object(failure)) {
        client->last_error = json_deep_copy(failure);
        g_propagate_error(error, lpm_error_from_json(failure));
    } else {
        lpm_fail(error, LPM_E_INTERNAL,
                 "lpmd at '%s' answered with status %ld and no %s; is it lpmd?", client->socket,
                 status, document ? "result" : "JSON");
    }
    json_decref(document);
    return NULL;
}

json_t *client_call(CliClient *client, const char *method, const char *path, json_t *body,
                    GError **error)
{
    g_autofree char *url = g_strconcat("http://localhost", path, NULL);
    g_autoptr(GString) answer = g_string_new(NULL);
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

    json_decref(client->last_error);
    client->last_error = NULL;
    set_up(client, method, url, text, headers, answer);
    CURLcode code = curl_easy_perform(client->curl);
    curl_slist_free_all(headers);
    json_decref(body);
    free(text);
    if (code != CURLE_OK) {
        fail_unreachable(client, code, error);
        return NULL;
    }
    return understand(client, answer, error);
}
