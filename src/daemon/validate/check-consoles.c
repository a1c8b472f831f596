/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* Displays and consoles can be where they are (R2.5): their other end is an address, a file or a
 * socket of the host. */
#include "base/fdio.h"
#include "daemon/validate/checks.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Has this host the address? A socket can be bound to it then, and only then. */
static gboolean has_address(const char *text)
{
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    const struct sockaddr *address = NULL;
    socklen_t length = 0;

    if (inet_pton(AF_INET, text, &four.sin_addr) == 1) {
        address = (const struct sockaddr *)&four;
        length = sizeof(four);
    } else if (inet_pton(AF_INET6, text, &six.sin6_addr) == 1) {
        address = (const struct sockaddr *)&six;
        length = sizeof(six);
    } else {
        return TRUE; /* a name: resolved by libvirt, there as here */
    }
    lpm_autofd fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && bind(fd, address, length) == 0;
}

static gboolean has_folder_of(const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path);

    return access(folder, W_OK | X_OK) == 0;
}

static json_t *look_at_display(const json_t *display)
{
    const char *listen = lpm_fact(display, "listen");
    gboolean fixed = *listen && strcmp(lpm_fact(display, "listen_type"), "network") != 0;

    return json_pack("{s:s, s:s, s:b}", "type", lpm_fact(display, "type"), "listen", listen,
                     "possible", !fixed || has_address(listen));
}

/* A console into a file, onto a device or a listening socket needs the place; its log too. */
static json_t *look_at_console(const json_t *console)
{
    const char *type = lpm_fact(console, "type"), *path = lpm_fact(console, "path");
    const char *log = lpm_fact(console, "log"), *missing = "";

    if ((strcmp(type, "file") == 0 || strcmp(type, "unix") == 0) && *path && !has_folder_of(path))
        missing = path;
    else if ((strcmp(type, "dev") == 0 || strcmp(type, "pipe") == 0) && access(path, F_OK) != 0)
        missing = path;
    if (*log && !has_folder_of(log))
        missing = log;
    return json_pack("{s:s, s:s}", "type", type, "missing", missing);
}

json_t *lpm_gather_consoles(struct lpm_validation *validation, GError **error G_GNUC_UNUSED)
{
    json_t *displays = json_array(), *consoles = json_array();
    const json_t *entry;
    size_t i;

    json_array_foreach (json_object_get(validation->model, "graphics"), i, entry)
        json_array_append_new(displays, look_at_display(entry));
    json_array_foreach (json_object_get(validation->model, "consoles"), i, entry)
        json_array_append_new(consoles, look_at_console(entry));
    return json_pack("{s:o, s:o}", "displays", displays, "consoles", consoles);
}

void lpm_judge_consoles(struct lpm_judgement *judgement)
{
    const json_t *displays = json_object_get(judgement->target, "displays"), *entry;
    const json_t *consoles = json_object_get(judgement->target, "consoles");
    size_t i;

    json_array_foreach (displays, i, entry) {
        if (!lpm_fact_true(entry, "possible"))
            lpm_find(judgement, LPM_E_LISTEN_ADDRESS,
                     "the %s display listens on %s, which %s is not", lpm_fact(entry, "type"),
                     lpm_fact(entry, "listen"), judgement->target_name);
    }
    json_array_foreach (consoles, i, entry) {
        if (*lpm_fact(entry, "missing"))
            lpm_find(judgement, LPM_E_CONSOLE_LOCAL, "a console (%s) needs %s on %s",
                     lpm_fact(entry, "type"), lpm_fact(entry, "missing"), judgement->target_name);
    }
    if (!json_array_size(displays) && !json_array_size(consoles))
        lpm_does_not_apply(judgement);
}
