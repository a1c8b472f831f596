/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "host/ovs.h"

#include "base/error.h"
#include "base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT "--timeout=5"
#define MARK "external_ids:openlpm=probe"
#define RECENT_SECONDS 10
#define LOCAL_PORT 65534
#define EXIT_NO 2 /* of br-exists */

/* Runs a program to its end. Its exit code, -1 if it did not run; *out and *cause are new strings,
 * of which the second is the first line that it complained with. */
static int run(const char *const *argv, char **out, char **cause)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *errors = NULL;
    int status = 0;

    *out = *cause = NULL;
    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, out, &errors,
                      &status, &error)) {
        *cause = g_strdup(error->message);
        return -1;
    }
    g_autofree char *line = g_strdup(errors ? errors : "");
    line[strcspn(line, "\n")] = '\0';
    *cause = g_strdup(*line ? line : "no reason given");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What may stand in a command of ovs-vsctl, where "--" and a leading '-' have a meaning. */
static gboolean is_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "_.-";

    return *name && *name != '-' && strlen(name) < IFNAMSIZ &&
           strspn(name, letters) == strlen(name);
}

/* ---- bridges ---- */

/* With a controller, or where nothing passes without one, flows decide and not addresses. */
static gboolean is_ruled(const char *bridge)
{
    g_autofree char *condition = g_strdup_printf("name=%s", bridge);
    const char *argv[] = {"ovs-vsctl", WAIT,     "--bare",  "--columns=fail_mode,controller",
                          "find",      "Bridge", condition, NULL};
    g_autofree char *out = NULL, *cause = NULL;

    if (run(argv, &out, &cause) != 0)
        return FALSE;
    g_strstrip(out);
    return *out && strcmp(out, "standalone") != 0;
}

void lpm_ovs_look(const char *bridge, struct lpm_ovs_bridge *seen)
{
    const char *exists[] = {"ovs-vsctl", WAIT, "br-exists", bridge, NULL};
    const char *whose[] = {"ovs-vsctl", WAIT,         "br-to-parent", bridge,
                           "--",        "br-to-vlan", bridge,         NULL};
    g_autofree char *none = NULL, *out = NULL, *cause = NULL, *why = NULL;

    *seen = (struct lpm_ovs_bridge){0};
    if (!is_name(bridge))
        return;
    int code = run(exists, &none, &cause);
    seen->found = code == 0;
    if (code != 0 && code != EXIT_NO)
        g_strlcpy(seen->cause, cause, sizeof(seen->cause));
    if (!seen->found)
        return;
    g_strlcpy(seen->parent, bridge, sizeof(seen->parent));
    if (run(whose, &out, &why) == 0)
        sscanf(out, "%31s %u", seen->parent, &seen->vlan);
    seen->ruled = is_ruled(seen->parent);
}

/* ---- a port of our own ---- */

/* Else an announcement of a router on the partition's network would give this host an address
 * there. A kernel without IPv6 has no such file. */
static gboolean keep_out_of_ipv6(const char *interface)
{
    g_autofree char *path = g_strdup_printf("/proc/sys/net/ipv6/conf/%s/disable_ipv6", interface);
    lpm_autofd fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT;
    return write(fd, "1", 1) == 1;
}

static gboolean bring_up(const char *interface, GError **error)
{
    struct ifreq request = {0};
    lpm_autofd fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    g_strlcpy(request.ifr_name, interface, sizeof(request.ifr_name));
    if (fd >= 0 && keep_out_of_ipv6(interface) && ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
        request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
        if (ioctl(fd, SIOCSIFFLAGS, &request) == 0)
            return TRUE;
    }
    return lpm_fail(error, LPM_E_INTERNAL, "bringing a port up: %s", g_strerror(errno));
}

char *lpm_ovs_add_port(const char *bridge, guint vlan, guint mtu, GError **error)
{
    /* Any host may have several at a time, and names must not meet. */
    g_autofree char *port = g_strdup_printf("lpm-%08x", g_random_int());
    g_autofree char *tag = g_strdup_printf("tag=%u", vlan);
    g_autofree char *size = g_strdup_printf("mtu_request=%u", mtu);
    g_autofree char *out = NULL, *cause = NULL;
    /* add-port takes settings of the port's record behind its name. */
    const char *argv[] = {"ovs-vsctl", WAIT, "add-port",      bridge, port, MARK, "--", "set",
                          "Interface", port, "type=internal", size,   NULL, NULL, NULL, NULL,
                          NULL,        NULL};

    if (vlan) {
        const char *const access[] = {"--", "set", "Port", port, tag};
        memcpy(&argv[12], access, sizeof(access));
    }
    if (!is_name(bridge)) {
        lpm_fail(error, LPM_E_INTERNAL, "'%s' is no name of a bridge", bridge);
        return NULL;
    }
    if (run(argv, &out, &cause) != 0)
        lpm_fail(error, LPM_E_INTERNAL, "%s", cause);
    else if (bring_up(port, error))
        return g_steal_pointer(&port);
    lpm_ovs_remove_port(port);
    return NULL;
}

void lpm_ovs_remove_port(const char *port)
{
    const char *argv[] = {"ovs-vsctl", WAIT, "--if-exists", "del-port", port, NULL};
    g_autofree char *out = NULL, *cause = NULL;

    run(argv, &out, &cause);
}

guint lpm_ovs_clean(void)
{
    const char *argv[] = {"ovs-vsctl", WAIT,   "--bare", "--columns=name",
                          "find",      "Port", MARK,     NULL};
    g_autofree char *out = NULL, *cause = NULL;
    guint count = 0;

    if (run(argv, &out, &cause) != 0)
        return 0;
    g_auto(GStrv) lines = g_strsplit(out, "\n", -1);
    for (guint i = 0; lines[i]; i++) {
        if (!is_name(g_strstrip(lines[i])))
            continue;
        lpm_ovs_remove_port(lines[i]);
        count++;
    }
    return count;
}

/* ---- which port ---- */

int lpm_ovs_find(const char *fdb, guint vlan, const char *mac)
{
    g_auto(GStrv) lines = g_strsplit(fdb, "\n", -1);

    for (guint i = 0; lines[i]; i++) {
        char port[16], address[24];
        unsigned its, age;

        if (sscanf(lines[i], " %15s %u %23s %u", port, &its, address, &age) == 4 && its == vlan &&
            age <= RECENT_SECONDS && g_ascii_strcasecmp(address, mac) == 0)
            return strcmp(port, "LOCAL") == 0 ? LOCAL_PORT : (int)g_ascii_strtoll(port, NULL, 10);
    }
    return -1;
}

/* Bridges are indented by two, their ports by four. */
char *lpm_ovs_port_name(const char *ports, const char *bridge, int number)
{
    g_auto(GStrv) lines = g_strsplit(ports, "\n", -1);
    gboolean inside = FALSE;

    for (guint i = 0; lines[i]; i++) {
        char name[32];
        int its;

        if (g_str_has_prefix(lines[i], "    ")) {
            if (inside && sscanf(lines[i], " %31s %d/", name, &its) == 2 && its == number)
                return g_strdup(name);
        } else if (sscanf(lines[i], " %31[^: ]:", name) == 1) {
            inside = strcmp(name, bridge) == 0;
        }
    }
    return NULL;
}

char *lpm_ovs_port_of(const struct lpm_ovs_bridge *bridge, guint vlan, const char *mac)
{
    const char *learnt[] = {"ovs-appctl", WAIT, "fdb/show", bridge->parent, NULL};
    const char *named[] = {"ovs-appctl", WAIT, "dpif/show", NULL};
    g_autofree char *fdb = NULL, *ports = NULL, *cause = NULL, *why = NULL;

    if (!bridge->found || run(learnt, &fdb, &cause) != 0)
        return NULL;
    int number = lpm_ovs_find(fdb, vlan ? vlan : bridge->vlan, mac);
    if (number < 0 || run(named, &ports, &why) != 0)
        return NULL;
    return lpm_ovs_port_name(ports, bridge->parent, number);
}
