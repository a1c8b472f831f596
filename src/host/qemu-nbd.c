/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * A disk that only QEMU's own drivers can read (Ceph's RBD, HTTP, SSH, Gluster, NFS): read through
 * them, as the partition's QEMU does, by a qemu-nbd that opens it read-only and lives for one look.
 *
 * It runs as QEMU's user, is given a listening socket on which this program's connection waits
 * already, a key in a file without a name, and nothing else; it is killed on every way out, and by
 * the kernel should this program die. What it exports are the bytes of the storage, whatever the
 * image's format.
 */
#include "host/challenge.h"
#include "host/host-internal.h"
#include "host/secret.h"

#include "base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM "qemu-nbd"
#define LISTEN_FD 3 /* where systemd's protocol, which qemu-nbd speaks, has the socket */
#define KEY_FD 4
#define KEY_ID "key"
#define LIMIT_S 2 /* until it has opened the disk, and for each answer */
#define WORDS_MAX 4096
#define GROUPS_MAX 64
/* Of a driver that reads ahead: blocks are far from one another. */
#define READ_AHEAD (4 * LPM_CHALLENGE_BLOCK)
#define PID_DIGITS 10

/* ---- what QEMU's drivers are told ---- */

static const char *text(const json_t *object, const char *name, const char *otherwise)
{
    const char *value = json_string_value(json_object_get(object, name));

    return value && *value ? value : otherwise;
}

/* "pool/image" in two; FALSE if there is no second part. */
static gboolean split(const char *name, char **first, const char **rest)
{
    const char *slash = strchr(name, '/');

    if (!slash || slash == name || !slash[1])
        return FALSE;
    *first = g_strndup(name, (gsize)(slash - name));
    *rest = slash + 1;
    return TRUE;
}

/* All servers, as QEMU's options want them. */
static json_t *servers(const json_t *disk, const char *port, gboolean typed)
{
    const json_t *hosts = json_object_get(disk, "hosts"), *host;
    json_t *list = json_array();
    size_t i;

    json_array_foreach (hosts, i, host) {
        json_t *server = json_pack("{s:s, s:s}", "host", text(host, "name", ""), "port",
                                   text(host, "port", port));

        if (typed)
            json_object_set_new(server, "type", json_string("inet"));
        json_array_append_new(list, server);
    }
    return list;
}

static json_t *first_server(const json_t *disk, const char *port, gboolean typed)
{
    json_t *list = servers(disk, port, typed);
    json_t *first = json_incref(json_array_get(list, 0));

    json_decref(list);
    return first;
}

/* Ceph's own configuration knows the monitors when the description names none. */
static json_t *rbd(const json_t *disk)
{
    g_autofree char *pool = NULL;
    const char *image = NULL;

    if (!split(text(disk, "name", ""), &pool, &image))
        return NULL;
    json_t *source =
        json_pack("{s:s, s:s, s:s, s:s*, s:s*}", "driver", "rbd", "pool", pool, "image", image,
                  "conf", text(disk, "config", NULL), "snapshot", text(disk, "snapshot", NULL));
    json_t *monitors = servers(disk, "0", FALSE);
    if (json_array_size(monitors) > 0)
        json_object_set(source, "server", monitors);
    json_decref(monitors);
    if (json_is_true(json_object_get(disk, "auth")))
        json_object_update_new(source, json_pack("{s:s, s:s, s:[s, s]}", "user",
                                                 text(disk, "user", ""), "key-secret", KEY_ID,
                                                 "auth-client-required", "cephx", "none"));
    return source;
}

static json_t *url(const json_t *disk)
{
    const char *protocol = text(disk, "protocol", ""), *query = text(disk, "query", NULL);
    const char *port = text(disk, "port", NULL), *host = text(disk, "address", NULL);
    gboolean six = host && strchr(host, ':');
    g_autofree char *whole =
        g_strdup_printf("%s://%s%s%s%s%s/%s%s%s", protocol, six ? "[" : "", host ? host : "",
                        six ? "]" : "", port ? ":" : "", port ? port : "", text(disk, "name", ""),
                        query ? "?" : "", query ? query : "");

    if (!host)
        return NULL;
    json_t *source =
        json_pack("{s:s, s:s, s:i}", "driver", protocol, "url", whole, "readahead", READ_AHEAD);
    if (protocol[strlen(protocol) - 1] == 's')
        json_object_set_new(source, "sslverify",
                            json_boolean(strcmp(text(disk, "verify", "yes"), "no") != 0));
    return source;
}

static json_t *with_server(const json_t *disk, const char *driver, const char *port, gboolean typed)
{
    json_t *server = first_server(disk, port, typed);

    if (!server)
        return NULL;
    if (strcmp(driver, "nfs") == 0)
        json_object_del(server, "port");
    return json_pack("{s:s, s:o, s:s}", "driver", driver, "server", server, "path",
                     text(disk, "name", ""));
}

static json_t *ssh(const json_t *disk)
{
    return with_server(disk, "ssh", "22", FALSE);
}

static json_t *nfs(const json_t *disk)
{
    return with_server(disk, "nfs", "", TRUE);
}

static json_t *gluster(const json_t *disk)
{
    g_autofree char *volume = NULL;
    const char *path = NULL;

    if (!split(text(disk, "name", ""), &volume, &path) || !json_object_get(disk, "hosts"))
        return NULL;
    return json_pack("{s:s, s:s, s:s, s:o}", "driver", "gluster", "volume", volume, "path", path,
                     "server", servers(disk, "24007", TRUE));
}

static const struct {
    const char *protocol;
    json_t *(*source)(const json_t *disk);
    gboolean key; /* it proves that it has the key and never sends it */
} drivers[] = {
    {"rbd", rbd, TRUE},   {"http", url, FALSE}, {"https", url, FALSE}, {"ftp", url, FALSE},
    {"ftps", url, FALSE}, {"ssh", ssh, FALSE},  {"nfs", nfs, FALSE},   {"gluster", gluster, FALSE},
};

json_t *lpm_qemu_source(const json_t *disk, const char **why)
{
    const char *protocol = text(disk, "protocol", "");

    for (gsize i = 0; i < G_N_ELEMENTS(drivers); i++) {
        if (strcmp(drivers[i].protocol, protocol) != 0)
            continue;
        *why = "its server asks for a password or a cookie";
        if ((json_is_true(json_object_get(disk, "auth")) && !drivers[i].key) ||
            json_is_true(json_object_get(disk, "cookies")))
            return NULL;
        *why = "its source has no name or no address";
        return drivers[i].source(disk);
    }
    *why = "disks of its kind are not looked at";
    return NULL;
}

/* ---- the child ---- */

struct child {
    GPid pid;
    lpm_fd said; /* its standard error */
    char *listen_pid;
    uid_t user;
    gid_t group, groups[GROUPS_MAX];
    int group_count;
    gboolean drop;
};

/* Between fork and exec: system calls only. The number is written over the placeholder that the
 * environment, which exec is given, holds. */
static void become(gpointer user)
{
    struct child *child = user;
    pid_t pid = getpid();

    for (int i = PID_DIGITS - 1; i >= 0; i--, pid /= 10)
        child->listen_pid[i] = (char)('0' + pid % 10);
    if (child->drop && (setgroups((size_t)child->group_count, child->groups) < 0 ||
                        setresgid(child->group, child->group, child->group) < 0 ||
                        setresuid(child->user, child->user, child->user) < 0))
        _exit(127);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Only root can be somebody else. FALSE when QEMU's user is not there. */
static gboolean look_up_user(struct child *child, const char *name)
{
    char words[WORDS_MAX];
    struct passwd entry, *found = NULL;

    if (geteuid() != 0)
        return TRUE;
    if (getpwnam_r(name, &entry, words, sizeof(words), &found) != 0 || !found)
        return FALSE;
    child->drop = TRUE;
    child->user = entry.pw_uid;
    child->group = entry.pw_gid;
    child->group_count = GROUPS_MAX;
    if (getgrouplist(name, entry.pw_gid, child->groups, &child->group_count) < 0)
        child->group_count = 1;
    return TRUE;
}

/* A listening socket without a name that stays, and a connection to it. */
static gboolean make_sockets(const char *folder, int *listener, int *connection)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval limit = {.tv_sec = LIMIT_S};
    g_autofree char *name =
        g_strdup_printf("%s/look-%08x%08x", folder, g_random_int(), g_random_int());
    lpm_autofd server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    lpm_autofd client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (server < 0 || client < 0 ||
        g_strlcpy(address.sun_path, name, sizeof(address.sun_path)) >= sizeof(address.sun_path) ||
        bind(server, (struct sockaddr *)&address, sizeof(address)) < 0)
        return FALSE;
    gboolean ok = listen(server, 1) == 0 &&
                  connect(client, (struct sockaddr *)&address, sizeof(address)) == 0;
    unlink(name);
    if (!ok)
        return FALSE;
    setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    *listener = lpm_steal_fd(&server);
    *connection = lpm_steal_fd(&client);
    return TRUE;
}

static gboolean spawn(struct child *child, const char *source, int listener, int key,
                      GError **error)
{
    g_autofree char *pid = g_strdup_printf("LISTEN_PID=%0*d", PID_DIGITS, 0);
    const char *argv[] = {PROGRAM, "--read-only", "--format=raw", source, NULL, NULL, NULL};
    const char *envp[] = {pid, "LISTEN_FDS=1", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    const int from[] = {listener, key}, to[] = {LISTEN_FD, KEY_FD};

    if (key >= 0) {
        argv[4] = "--object";
        argv[5] = "secret,id=" KEY_ID ",format=raw,file=/proc/self/fd/" G_STRINGIFY(KEY_FD);
    }
    child->listen_pid = pid + strlen("LISTEN_PID=");
    return g_spawn_async_with_pipes_and_fds(
        NULL, argv, envp,
        G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, become, child,
        -1, -1, -1, from, to, key >= 0 ? 2 : 1, &child->pid, NULL, NULL, &child->said, error);
}

/* Ends it whatever it does; what it said last, without the words that name what it was told. A new
 * string or NULL. */
static char *end(struct child *child)
{
    char words[WORDS_MAX] = "";
    gsize length = 0;
    ssize_t got;

    kill(child->pid, SIGKILL);
    while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    while (length < sizeof(words) - 1 &&
           (got = read(child->said, words + length, sizeof(words) - 1 - length)) > 0)
        length += (gsize)got;
    lpm_fd_clear(&child->said);
    g_strchomp(words);
    char *line = strrchr(words, '\n');
    line = line ? line + 1 : words;
    char *told = g_strrstr(line, "}': ");
    line = told ? told + strlen("}': ") : line;
    line += g_str_has_prefix(line, PROGRAM ": ") ? strlen(PROGRAM ": ") : 0;
    return *line ? g_utf8_make_valid(line, -1) : NULL;
}

/* ---- the look ---- */

static void set_cause(json_t *facts, const char *cause, gboolean unable)
{
    json_object_set_new(facts, "cause", json_string(cause));
    if (unable)
        json_object_set_new(facts, "unable", json_true());
}

static void set_place(const json_t *disk, json_t *facts)
{
    g_autofree char *at = g_strdup_printf(
        "%s://%s%s%s/%s", text(disk, "protocol", ""), text(disk, "address", ""),
        *text(disk, "port", "") ? ":" : "", text(disk, "port", ""), text(disk, "name", ""));

    json_object_set_new(facts, "at", json_string(at));
}

/* Why it did not work, for people: the program's own words are the best. */
static void run(struct child *child, const char *source, const LpmConfig *config, int key,
                const struct lpm_challenge *challenge, json_t *facts)
{
    g_autoptr(GError) error = NULL;
    lpm_autofd listener = -1, connection = -1;

    if (!make_sockets(config->run_dir, &listener, &connection)) {
        set_cause(facts, "no socket could be made", TRUE);
        return;
    }
    if (!spawn(child, source, listener, key, &error)) {
        set_cause(facts, error->message, TRUE);
        return;
    }
    lpm_fd_clear(&listener); /* or the connection would outlive the program */
    const char *cause = lpm_nbd_read(connection, "", challenge, facts);
    lpm_fd_clear(&connection);
    g_autofree char *said = end(child);
    if (cause)
        set_cause(facts, said ? said : cause, FALSE);
}

/* The key in a file without a name, -1 if there is none. FALSE with the cause in `facts`. */
static gboolean open_key(struct lpm_host *host, const json_t *disk, json_t *facts, int *fd)
{
    gboolean unable = FALSE;
    g_autofree char *cause = NULL;
    gsize length = 0;

    if (!json_is_true(json_object_get(disk, "auth")))
        return TRUE;
    guint8 *key = lpm_host_secret(host, disk, &length, &unable, &cause);
    if (!key) {
        set_cause(facts, cause, unable);
        return FALSE;
    }
    *fd = memfd_create("lpm-key", MFD_CLOEXEC);
    gboolean ok = *fd >= 0 && lpm_write_all(*fd, key, length, NULL);
    explicit_bzero(key, length);
    g_free(key);
    if (!ok)
        set_cause(facts, "no memory for its key", TRUE);
    return ok;
}

void lpm_qemu_look(struct lpm_host *host, const json_t *disk, const struct lpm_challenge *challenge,
                   json_t *facts)
{
    struct child child = {.said = -1};
    const char *why = NULL;
    lpm_autofd key = -1;
    json_t *driver = lpm_qemu_source(disk, &why);

    set_place(disk, facts);
    if (!driver) {
        set_cause(facts, why, TRUE);
        return;
    }
    json_t *layers = json_pack("{s:s, s:o}", "driver", "raw", "file", driver);
    g_autofree char *options = json_dumps(layers, JSON_COMPACT);
    g_autofree char *source = g_strconcat("json:", options, NULL);
    json_decref(layers);
    if (!look_up_user(&child, host->config->qemu_user))
        set_cause(facts, "there is no user for QEMU (qemu_user in lpmd.conf)", TRUE);
    else if (open_key(host, disk, facts, &key))
        run(&child, source, host->config, key, challenge, facts);
}
