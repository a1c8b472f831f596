/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* What routes declare, and the local socket. */
#include "hosts.h"

#include <curl/curl.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static json_t *echo(struct lpm_request *request, GError **error)
{
    const char *id = lpm_request_param(request, "id"), *all = lpm_request_query(request, "all");

    (void)error;
    request->status = 202;
    return json_pack("{s:s, s:s?, s:O}", "id", id, "all", all, "body", request->body);
}

static json_t *fall_silent(struct lpm_request *request, GError **error)
{
    (void)request;
    (void)error;
    return NULL;
}

static const struct lpm_route routes[] = {
    {"POST", "/v1/things/{id}/turn", LPM_SCOPE_LOCAL, "to:s speed:i? deep:o? on:b? list:a? f:n?",
     "all some", echo},
    {"GET", "/v1/things/{id}/turn", LPM_SCOPE_LOCAL, NULL, NULL, echo},
    {"GET", "/v1/silent", LPM_SCOPE_LOCAL, NULL, NULL, fall_silent},
    {"GET", "/v1/peer/things", LPM_SCOPE_PEER, NULL, NULL, echo},
    {NULL, NULL, LPM_SCOPE_LOCAL, NULL, NULL, NULL},
};

static int set_up(void **state)
{
    *state = test_host_new("a", "127.0.0.1", routes);
    return 0;
}

static int tear_down(void **state)
{
    test_host_free(*state);
    return 0;
}

static json_t *ask(struct test_host *host, const char *method, const char *path, const char *query,
                   const char *body, unsigned *status)
{
    return lpm_http_dispatch(host->daemon.http, LPM_SCOPE_LOCAL, NULL, method, path, query, body,
                             body ? strlen(body) : 0, status);
}

/* Asserts that this is refused so, and that the cause says `word`. */
static void assert_refused(struct test_host *host, const char *method, const char *path,
                           const char *query, const char *body, const char *code, const char *word)
{
    unsigned status;
    json_auto_t *answer = ask(host, method, path, query, body, &status);
    const json_t *error = json_object_get(answer, "error");

    assert_string_equal(json_string_value(json_object_get(error, "code")), code);
    assert_true(*json_string_value(json_object_get(error, "remedy")) != 0);
    const char *cause = json_string_value(json_object_get(error, "cause"));
    if (!strstr(cause, word))
        fail_msg("'%s' does not say '%s'", cause, word);
    assert_int_equal(status, lpm_error_info((int)strtol(code + 4, NULL, 10))->http_status);
}

static void test_request_reaches_handler(void **state)
{
    unsigned status;
    json_auto_t *answer = ask(*state, "POST", "/v1/things/b%20%C3%A9%2Fc/turn", "all=a+b%26c",
                              "{\"to\": \"x\", \"speed\": 3}", &status);

    assert_int_equal(status, 202);
    assert_string_equal(json_string_value(json_object_get(answer, "id")), "b é/c");
    assert_string_equal(json_string_value(json_object_get(answer, "all")), "a b&c");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(answer, "body"), "speed")),
                     3);
}

static void test_paths(void **state)
{
    assert_refused(*state, "GET", "/v1/nothing", NULL, NULL, "LPM-1007", "/v1/nothing");
    assert_refused(*state, "GET", "/v1/things/x", NULL, NULL, "LPM-1007", "/v1/things/x");
    assert_refused(*state, "GET", "/v1/things//turn", NULL, NULL, "LPM-1007", "path");
    assert_refused(*state, "GET", "/v1/things/a%00b/turn", NULL, NULL, "LPM-1007", "path");
    assert_refused(*state, "GET", "/v1/things/%ff/turn", NULL, NULL, "LPM-1007", "path");
    assert_refused(*state, "GET", "", NULL, NULL, "LPM-1007", "path");
    /* Peers' paths are not there for local users, nor the other way round. */
    assert_refused(*state, "GET", "/v1/peer/things", NULL, NULL, "LPM-1007", "path");
    assert_refused(*state, "DELETE", "/v1/things/x/turn", NULL, NULL, "LPM-1011", "POST, GET");
}

static void test_bodies(void **state)
{
    static const char path[] = "/v1/things/x/turn";

    assert_refused(*state, "POST", path, NULL, NULL, "LPM-1001", "'to' is missing");
    assert_refused(*state, "POST", path, NULL, "{}", "LPM-1001", "'to' is missing");
    assert_refused(*state, "POST", path, NULL, "{\"to\": 1}", "LPM-1001", "'to' is not a string");
    assert_refused(*state, "POST", path, NULL, "{\"to\": \"x\", \"speed\": 1.5}", "LPM-1001",
                   "whole number");
    assert_refused(*state, "POST", path, NULL, "{\"to\": \"x\", \"speed\": null}", "LPM-1001",
                   "'speed'");
    assert_refused(*state, "POST", path, NULL, "{\"to\": \"x\", \"deep\": []}", "LPM-1001",
                   "an object");
    assert_refused(*state, "POST", path, NULL, "{\"to\": \"x\", \"tos\": 1}", "LPM-1001", "'tos'");
    assert_refused(*state, "POST", path, NULL, "{\"to\": \"x\", \"t\": 1}", "LPM-1001", "'t'");
    assert_refused(*state, "POST", path, NULL, "{\"to\": \"x\", \"to\": \"y\"}", "LPM-1001",
                   "not JSON");
    assert_refused(*state, "POST", path, NULL, "[]", "LPM-1001", "not a JSON object");
    assert_refused(*state, "POST", path, NULL, "{\"to\": \"x\"} x", "LPM-1001", "not JSON");
    assert_refused(*state, "GET", path, NULL, "{\"to\": \"x\"}", "LPM-1001", "'to'");
}

static void test_queries(void **state)
{
    static const char path[] = "/v1/things/x/turn";

    assert_refused(*state, "POST", path, "ill=1", "{\"to\": \"x\"}", "LPM-1001", "'ill'");
    assert_refused(*state, "POST", path, "all=%zz", "{\"to\": \"x\"}", "LPM-1001", "malformed");
    assert_refused(*state, "GET", path, "all=1", NULL, "LPM-1001", "'all'");
}

static void test_silent_handler_is_an_error(void **state)
{
    assert_refused(*state, "GET", "/v1/silent", NULL, NULL, "LPM-9001", "/v1/silent");
}

/* ---- over the socket ---- */

static size_t discard(char *data, size_t size, size_t count, void *user)
{
    g_string_append_len(user, data, (gssize)(size * count));
    return size * count;
}

/* Status of the answer, its text in `text`; 0 if there was none. */
static long fetch(const char *socket, const char *path, const char *body, gsize length,
                  GString *text)
{
    CURL *curl = curl_easy_init();
    g_autofree char *url = g_strconcat("http://lpmd", path, NULL);
    long status = 0;

    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 5L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, discard);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, text);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)length);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
    curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    return status;
}

static char *socket_of(const struct test_host *host)
{
    return g_build_filename(host->daemon.config->run_dir, "lpmd.sock", NULL);
}

static void test_host_is_described(void **state)
{
    struct test_host *host = *state;
    g_autofree char *socket = socket_of(host);
    g_autoptr(GString) text = g_string_new(NULL);

    assert_int_equal(fetch(socket, "/v1/host", NULL, 0, text), 200);
    json_auto_t *answer = json_loads(text->str, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(answer, "name")), "a");
    assert_string_equal(json_string_value(json_object_get(answer, "fingerprint")),
                        host->daemon.identity->fingerprint);
    assert_int_equal(json_integer_value(json_object_get(answer, "migrations_active")), 0);
    assert_int_equal(json_integer_value(json_object_get(answer, "control_port")),
                     host->daemon.config->control_port);
}

static void test_log_is_listed(void **state)
{
    struct test_host *host = *state;
    g_autofree char *socket = socket_of(host);
    g_autoptr(GString) text = g_string_new(NULL);

    lpm_event_log(&host->daemon, LPM_LOG_INFO, "m1", "db 1", "tested", "count %d \xff", 7);
    assert_int_equal(fetch(socket, "/v1/log?partition=db%201", NULL, 0, text), 200);
    json_auto_t *answer = json_loads(text->str, 0, NULL);
    const json_t *entry = json_array_get(json_object_get(answer, "entries"), 0);
    assert_string_equal(json_string_value(json_object_get(entry, "text")), "count 7 \uFFFD");
    assert_string_equal(json_string_value(json_object_get(entry, "host")), "a");
    assert_string_equal(json_string_value(json_object_get(entry, "event")), "tested");
}

static void test_large_bodies_are_refused(void **state)
{
    g_autofree char *socket = socket_of(*state);
    g_autofree char *body = g_malloc(LPM_HTTP_BODY_MAX + 1);
    g_autoptr(GString) text = g_string_new(NULL), fits = g_string_new(NULL);

    memset(body, ' ', LPM_HTTP_BODY_MAX + 1);
    memcpy(body, "{\"to\":\"x\"}", 10);
    assert_int_equal(fetch(socket, "/v1/things/x/turn", body, LPM_HTTP_BODY_MAX + 1, text), 413);
    assert_non_null(strstr(text->str, "LPM-1012"));
    assert_int_equal(fetch(socket, "/v1/things/x/turn", body, LPM_HTTP_BODY_MAX, fits), 202);
}

static void test_mode_of_socket(void **state)
{
    g_autofree char *path = socket_of(*state);
    struct stat status;

    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0660);
}

/* Asks as another user; the mode of socket and folder is opened, so that only the check is left. */
static long fetch_as(struct test_host *host, uid_t uid, gid_t gid, gid_t extra)
{
    g_autofree char *socket = socket_of(host);
    int status;

    assert_int_equal(chmod(socket, 0666), 0);
    assert_int_equal(chmod(host->folder, 0755), 0);
    pid_t pid = fork();
    if (pid == 0) {
        g_autoptr(GString) text = g_string_new(NULL);

        if (setgroups(1, &extra) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
            _exit(99);
        _exit((int)(fetch(socket, "/v1/host", NULL, 0, text) / 10));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status) * 10L;
}

static void test_strangers_are_refused(void **state)
{
    if (geteuid() != 0) {
        print_message("needs root: it becomes other users\n");
        skip();
    }
    struct test_host *host = *state;
    const struct group *group = getgrnam("daemon");
    gid_t member = group->gr_gid;

    /* There is no group lpm on the machine of a developer: the one above stands for it. */
    lpm_http_stop(host->daemon.http);
    g_free(host->daemon.config->socket_group);
    host->daemon.config->socket_group = g_strdup("daemon");
    assert_true(lpm_http_start(host->daemon.http, NULL));
    assert_int_equal(fetch_as(host, 65534, 65534, 65534), 400); /* 403, in tens */
    assert_int_equal(fetch_as(host, 65534, member, 65534), 200);
    assert_int_equal(fetch_as(host, 65534, 65534, member), 200);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_request_reaches_handler),
        TEST(test_paths),
        TEST(test_bodies),
        TEST(test_queries),
        TEST(test_silent_handler_is_an_error),
        TEST(test_host_is_described),
        TEST(test_log_is_listed),
        TEST(test_large_bodies_are_refused),
        TEST(test_mode_of_socket),
        TEST(test_strangers_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
