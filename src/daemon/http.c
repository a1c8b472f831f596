/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * The two servers. libmicrohttpd runs one thread per connection, so handlers may block.
 *
 * How an unpaired host is refused: libmicrohttpd tells of each accepted connection before its TLS
 * handshake. There the session is made to require a certificate and to ask verify_peer(), which
 * looks the certificate's fingerprint up among the peers; if it is not there the handshake ends
 * with an alert. Nothing of HTTP has been read by then.
 */
#include "base/error.h"
#include "daemon/data-port.h"
#include "daemon/http-private.h"
#include "daemon/identity.h"
#include "daemon/peers.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* TLS 1.3 only; no tickets, since a resumed session would not ask for the certificate. */
#define PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:%NO_TICKETS"
/* A connection must have sent its first request by then, handshake included ... */
#define FIRST_S 10
/* ... and is closed when it idled that long after an answer. */
#define IDLE_S 120
#define LOCAL_CONNECTIONS 64
#define CONTROL_CONNECTIONS 128
#define CONNECTIONS_PER_ADDRESS 32
/* How long and how much a refused peer is listened to, so that it reads the alert. */
#define LINGER_MS 500
#define LINGER_BYTES 65536

/* One connection on the control port. */
struct tls_link {
    struct lpm_http *http; /* immutable */
    int fd;                /* immutable; libmicrohttpd closes it after the link is off the list */
    char *fingerprint;     /* guarded by http->lock; NULL until the certificate was seen */
};

/* One request while it comes in; owned by its connection's thread. */
struct incoming {
    char *target; /* the raw path and query */
    GString *body;
    gboolean begun, too_large;
};

static void log_mhd(void *user, const char *format, va_list args) G_GNUC_PRINTF(2, 0);
static void log_mhd(void *user, const char *format, va_list args)
{
    g_autofree char *text = g_strdup_vprintf(format, args);

    (void)user;
    lpm_log(LPM_LOG_DEBUG, NULL, "http: %s", g_strchomp(text));
}

/* ---- who is let in ---- */

/* Ends the handshake with an alert and waits a moment for the other side to close: closing at once
 * with its request unread would reset the connection, and the alert could be lost. */
static int refuse(gnutls_session_t session, int fd)
{
    char waste[4096];
    gsize read = 0;

    gnutls_alert_send(session, GNUTLS_AL_FATAL, GNUTLS_A_ACCESS_DENIED);
    shutdown(fd, SHUT_WR);
    while (read < LINGER_BYTES) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};

        if (poll(&wait, 1, LINGER_MS) <= 0)
            break;
        ssize_t n = recv(fd, waste, sizeof(waste), MSG_DONTWAIT);
        if (n <= 0)
            break;
        read += (gsize)n;
    }
    return GNUTLS_E_CERTIFICATE_ERROR;
}

/* GnuTLS asks this in the handshake; anything but 0 ends it. */
static int verify_peer(gnutls_session_t session)
{
    struct tls_link *link = gnutls_db_get_ptr(session);
    struct lpm_http *http = link->http;
    char *fingerprint = lpm_fingerprint_of_session(session);

    /* Written before the table is asked: who is removed from the table after that is found on the
     * list by lpm_http_drop_peer. */
    g_mutex_lock(&http->lock);
    g_free(link->fingerprint);
    link->fingerprint = fingerprint;
    g_mutex_unlock(&http->lock);
    g_autoptr(LpmPeer) peer =
        fingerprint ? lpm_peers_by_fingerprint(http->daemon->peers, fingerprint) : NULL;
    if (peer)
        return 0;
    g_autofree char *from = lpm_socket_peer_address(link->fd);
    lpm_log(LPM_LOG_WARNING, NULL, "a host at %s that is not paired was refused (key %s)", from,
            fingerprint ? fingerprint : "unreadable");
    return refuse(session, link->fd);
}

static void link_started(struct lpm_http *http, struct MHD_Connection *connection, void **context)
{
    const union MHD_ConnectionInfo *fd =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *tls =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    gnutls_session_t session = tls->tls_session;
    struct tls_link *link = g_new0(struct tls_link, 1);

    link->http = http;
    link->fd = fd->connect_fd;
    *context = link;
    gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
    /* The session's user pointer is libmicrohttpd's. The one for a session database is free: there
     * is no database, since nothing is resumed. */
    gnutls_db_set_ptr(session, link);
    gnutls_session_set_verify_function(session, verify_peer);
    g_mutex_lock(&http->lock);
    g_queue_push_tail(&http->tls_links, link);
    g_mutex_unlock(&http->lock);
}

static void on_connection(void *user, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct lpm_http *http = user;
    struct tls_link *link = *context;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        link_started(http, connection, context);
        return;
    }
    g_mutex_lock(&http->lock);
    g_queue_remove(&http->tls_links, link);
    g_mutex_unlock(&http->lock);
    g_free(link->fingerprint);
    g_free(link);
    *context = NULL;
}

void lpm_http_drop_peer(struct lpm_http *http, const char *fingerprint)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&http->lock);

    for (GList *at = http->tls_links.head; at; at = at->next) {
        struct tls_link *link = at->data;

        if (g_strcmp0(link->fingerprint, fingerprint) == 0)
            shutdown(link->fd, SHUT_RDWR);
    }
}

/* The name of the peer that holds this connection; NULL with NOT_PERMITTED if it is no longer. */
static char *name_of_peer(struct lpm_http *http, struct MHD_Connection *connection, GError **error)
{
    const union MHD_ConnectionInfo *tls =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    g_autofree char *fingerprint = tls ? lpm_fingerprint_of_session(tls->tls_session) : NULL;
    g_autoptr(LpmPeer) peer =
        fingerprint ? lpm_peers_by_fingerprint(http->daemon->peers, fingerprint) : NULL;

    if (peer)
        return g_steal_pointer(&peer->name);
    lpm_fail(error, LPM_E_NOT_PERMITTED, "this host is not paired with yours any more");
    return NULL;
}

static gboolean in_group(int fd, const struct ucred *who, gint group)
{
    gid_t
        groups[1024]; /* a process may be in 65536; root or another way in is left to the others */
    socklen_t size = sizeof(groups);

    if (group < 0)
        return FALSE;
    if (who->gid == (gid_t)group)
        return TRUE;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
        return FALSE;
    for (gsize i = 0; i < size / sizeof(groups[0]); i++) {
        if (groups[i] == (gid_t)group)
            return TRUE;
    }
    return FALSE;
}

/* The socket's mode says the same; this holds also if somebody changes the mode. */
static gboolean check_local(struct lpm_http *http, struct MHD_Connection *connection,
                            GError **error)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct ucred who = {.uid = (uid_t)-1};
    socklen_t size = sizeof(who);

    if (getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
        return lpm_fail(error, LPM_E_NOT_PERMITTED, "who you are cannot be told: %s",
                        g_strerror(errno));
    if (who.uid == 0 || who.uid == geteuid() || in_group(info->connect_fd, &who, http->group))
        return TRUE;
    return lpm_fail(error, LPM_E_NOT_PERMITTED,
                    "user %u is neither root nor in the group '%s' of this host", who.uid,
                    http->daemon->config->socket_group);
}

/* ---- requests ---- */

static void *begin_request(void *user, const char *target, struct MHD_Connection *connection)
{
    struct incoming *incoming = g_new0(struct incoming, 1);

    (void)user;
    (void)connection;
    incoming->target = g_strdup(target);
    incoming->body = g_string_new(NULL);
    return incoming;
}

static void end_request(void *user, struct MHD_Connection *connection, void **context,
                        enum MHD_RequestTerminationCode code)
{
    struct incoming *incoming = *context;

    (void)user;
    (void)connection;
    (void)code;
    if (!incoming)
        return;
    g_free(incoming->target);
    g_string_free(incoming->body, TRUE);
    g_free(incoming);
    *context = NULL;
}

static enum MHD_Result send_answer(struct MHD_Connection *connection, json_t *taken,
                                   unsigned status)
{
    json_auto_t *object = taken;
    char *text = json_dumps(object, JSON_COMPACT);

    if (!text)
        return MHD_NO;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", "application/json");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result send_error(struct MHD_Connection *connection, const GError *error)
{
    unsigned status;
    json_t *object = lpm_http_error_answer(error, &status);

    return send_answer(connection, object, status);
}

static enum MHD_Result send_too_large(struct MHD_Connection *connection)
{
    g_autoptr(GError) error = NULL;

    lpm_fail(&error, LPM_E_TOO_LARGE, "the body has more than %d bytes", LPM_HTTP_BODY_MAX);
    return send_error(connection, error);
}

static gboolean announces_too_much(struct MHD_Connection *connection)
{
    const char *length =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

    return length && g_ascii_strtoull(length, NULL, 10) > LPM_HTTP_BODY_MAX;
}

/* A piece of the body. What is too large is read to its end, since only then can an answer be
 * given; but not without end. */
static enum MHD_Result take_piece(struct incoming *incoming, const char *data, size_t *size)
{
    if (incoming->body->len + *size > LPM_HTTP_BODY_MAX) {
        if (incoming->too_large)
            return MHD_NO;
        incoming->too_large = TRUE;
        g_string_truncate(incoming->body, 0);
    }
    g_string_append_len(incoming->body, data, (gssize)*size);
    *size = 0;
    return MHD_YES;
}

static enum MHD_Result handle(struct lpm_http *http, enum lpm_scope scope,
                              struct MHD_Connection *connection, const char *method,
                              const struct incoming *incoming)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *peer = NULL;
    unsigned status;

    if (scope == LPM_SCOPE_PEER)
        peer = name_of_peer(http, connection, &error);
    else
        check_local(http, connection, &error);
    if (error)
        return send_error(connection, error);
    if (incoming->too_large)
        return send_too_large(connection);
    g_auto(GStrv) parts = g_strsplit(incoming->target, "?", 2);
    json_t *object = lpm_http_dispatch(http, scope, peer, method, parts[0] ? parts[0] : "",
                                       parts[0] ? parts[1] : NULL, incoming->body->str,
                                       incoming->body->len, &status);
    return send_answer(connection, object, status);
}

/* libmicrohttpd calls this once with the header, then with each piece of the body, then once with
 * none. */
static enum MHD_Result on_request(struct lpm_http *http, enum lpm_scope scope,
                                  struct MHD_Connection *connection, const char *method,
                                  const char *data, size_t *size, void **context)
{
    struct incoming *incoming = *context;

    if (!incoming->begun) {
        incoming->begun = TRUE;
        MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)IDLE_S);
        return announces_too_much(connection) ? send_too_large(connection) : MHD_YES;
    }
    if (*size)
        return take_piece(incoming, data, size);
    return handle(http, scope, connection, method, incoming);
}

static enum MHD_Result on_local_request(void *user, struct MHD_Connection *connection,
                                        const char *url, const char *method, const char *version,
                                        const char *data, size_t *size, void **context)
{
    (void)url;
    (void)version;
    return on_request(user, LPM_SCOPE_LOCAL, connection, method, data, size, context);
}

static enum MHD_Result on_peer_request(void *user, struct MHD_Connection *connection,
                                       const char *url, const char *method, const char *version,
                                       const char *data, size_t *size, void **context)
{
    (void)url;
    (void)version;
    return on_request(user, LPM_SCOPE_PEER, connection, method, data, size, context);
}

/* ---- servers ---- */

struct lpm_http *lpm_http_new(struct lpm_daemon *daemon)
{
    struct lpm_http *http = g_new0(struct lpm_http, 1);

    http->daemon = daemon;
    http->tables = g_ptr_array_new();
    http->group = -1;
    g_mutex_init(&http->lock);
    g_queue_init(&http->tls_links);
    return http;
}

void lpm_http_add_routes(struct lpm_http *http, const struct lpm_route *routes)
{
    g_ptr_array_add(http->tables, (gpointer)routes);
}

/* The unix socket: root's, of the configured group if there is one, mode 0660. The folder's lock is
 * held, so a socket that is there is left over. */
static int listen_local(struct lpm_http *http, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = http->daemon->config->socket_group;
    const struct group *group = getgrnam(name);

    if (strlen(http->socket_path) >= sizeof(address.sun_path)) {
        lpm_fail(error, LPM_E_CONFIG, "[host] run_dir: '%s' is too long for a socket's path",
                 http->socket_path);
        return -1;
    }
    strcpy(address.sun_path, http->socket_path);
    if (group)
        http->group = (gint)group->gr_gid;
    else
        lpm_log(LPM_LOG_INFO, NULL, "there is no group '%s': only root may use %s", name,
                http->socket_path);
    unlink(http->socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t old = umask(0177);
    gboolean ok = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    umask(old);
    ok = ok && (!group || chown(http->socket_path, (uid_t)-1, group->gr_gid) == 0) &&
         chmod(http->socket_path, 0660) == 0 && listen(fd, 64) == 0;
    if (ok)
        return fd;
    lpm_fail(error, LPM_E_CONFIG, "cannot listen on %s: %s", http->socket_path, g_strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static gboolean start_local(struct lpm_http *http, GError **error)
{
    int fd = listen_local(http, error);

    if (fd < 0)
        return FALSE;
    http->local = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
            MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_local_request, http, MHD_OPTION_EXTERNAL_LOGGER, log_mhd, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)LOCAL_CONNECTIONS,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)FIRST_S, MHD_OPTION_URI_LOG_CALLBACK,
        begin_request, NULL, MHD_OPTION_NOTIFY_COMPLETED, end_request, NULL, MHD_OPTION_END);
    if (http->local)
        return TRUE;
    close(fd);
    return lpm_fail(error, LPM_E_INTERNAL, "the server on %s did not start", http->socket_path);
}

static gboolean start_control(struct lpm_http *http, GError **error)
{
    const LpmConfig *config = http->daemon->config;
    const struct lpm_identity *identity = http->daemon->identity;
    int fd = lpm_listen_tcp(config->listen_address, config->control_port, error);

    if (fd < 0)
        return FALSE;
    http->control = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
            MHD_USE_ERROR_LOG | MHD_USE_TLS,
        0, NULL, NULL, on_peer_request, http, MHD_OPTION_EXTERNAL_LOGGER, log_mhd, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_HTTPS_MEM_KEY, identity->key_pem,
        MHD_OPTION_HTTPS_MEM_CERT, identity->certificate_pem, MHD_OPTION_HTTPS_PRIORITIES,
        PRIORITIES, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONTROL_CONNECTIONS,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)CONNECTIONS_PER_ADDRESS,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)FIRST_S, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, http, MHD_OPTION_URI_LOG_CALLBACK, begin_request, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, end_request, NULL, MHD_OPTION_END);
    if (http->control)
        return TRUE;
    close(fd);
    return lpm_fail(error, LPM_E_INTERNAL, "the server on port %u did not start",
                    config->control_port);
}

gboolean lpm_http_start(struct lpm_http *http, GError **error)
{
    http->socket_path = g_build_filename(http->daemon->config->run_dir, "lpmd.sock", NULL);
    if (start_local(http, error) && start_control(http, error))
        return TRUE;
    lpm_http_stop(http);
    return FALSE;
}

void lpm_http_stop(struct lpm_http *http)
{
    if (http->control)
        MHD_stop_daemon(http->control);
    if (http->local) {
        MHD_stop_daemon(http->local);
        unlink(http->socket_path);
    }
    http->control = http->local = NULL;
    g_clear_pointer(&http->socket_path, g_free);
}

void lpm_http_free(struct lpm_http *http)
{
    if (!http)
        return;
    lpm_http_stop(http);
    g_ptr_array_unref(http->tables);
    g_mutex_clear(&http->lock);
    g_free(http);
}
