/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
#include "options.h"

#include <stdio.h>
#include <string.h>

void options_defaults(struct options *opt)
{
    *opt = (struct options){
        .disk = "/dev/vda",
        .listen = "0.0.0.0",
        .port = 7000,
        .mem = UINT64_C(64) << 20,
        .content = CONTENT_TEXT,
    };
}

static bool set_text(char *to, size_t size, const char *name, const char *value, struct err *err)
{
    if (strlen(value) >= size)
        return err_set(err, "%s '%.40s...' is too long: %zu characters at most", name, value,
                       size - 1);
    strcpy(to, value);
    return true;
}

static bool set_size(uint64_t *to, const char *name, const char *value, struct err *err)
{
    return parse_size(value, to) ||
           err_set(err, "%s '%.40s' is no size; use a number with K, M or G", name, value);
}

static bool set_content(struct options *opt, const char *name, const char *value, struct err *err)
{
    opt->content = content_parse(value);
    return opt->content < CONTENT_COUNT ||
           err_set(err, "%s '%.40s' is not random, text or mostly", name, value);
}

static bool option_set(struct options *opt, const char *name, const char *value, struct err *err)
{
    if (!strcmp(name, "disk"))
        return set_text(opt->disk, sizeof opt->disk, name, value, err);
    if (!strcmp(name, "listen"))
        return set_text(opt->listen, sizeof opt->listen, name, value, err);
    if (!strcmp(name, "marker"))
        return set_text(opt->marker, sizeof opt->marker, name, value, err);
    if (!strcmp(name, "port"))
        return parse_u64(value, 0, 65535, &opt->port) ||
               err_set(err, "port '%.40s' is not within 0..65535", value);
    if (!strcmp(name, "mem"))
        return set_size(&opt->mem, name, value, err);
    if (!strcmp(name, "hot"))
        return set_size(&opt->hot, name, value, err);
    if (!strcmp(name, "dirty"))
        return set_size(&opt->dirty, name, value, err);
    if (!strcmp(name, "content"))
        return set_content(opt, name, value, err);
    if (!strcmp(name, "fresh"))
        return parse_u64(value, 0, 1, &opt->fresh) || err_set(err, "fresh is 0 or 1");
    return err_set(err, "unknown option '%.40s'; --help lists them", name);
}

/* WORD is NAME=VALUE. */
static bool set_pair(struct options *opt, const char *word, size_t len, struct err *err)
{
    char name[32], value[512];
    const char *eq = memchr(word, '=', len);
    size_t name_len = eq ? (size_t)(eq - word) : 0;
    if (!eq || name_len >= sizeof name || len - name_len - 1 >= sizeof value)
        return err_set(err, "'%.*s' is not NAME=VALUE, or too long", len < 60 ? (int)len : 60,
                       word);
    memcpy(name, word, name_len);
    name[name_len] = '\0';
    memcpy(value, eq + 1, len - name_len - 1);
    value[len - name_len - 1] = '\0';
    return option_set(opt, name, value, err);
}

bool options_from_cmdline(struct options *opt, const char *text, struct err *err)
{
    static const char prefix[] = "ledger.";
    while (*text) {
        text += strspn(text, " \t\r\n");
        size_t len = strcspn(text, " \t\r\n");
        if (!strncmp(text, prefix, sizeof prefix - 1) &&
            !set_pair(opt, text + sizeof prefix - 1, len - (sizeof prefix - 1), err))
            return false;
        text += len;
    }
    return true;
}

bool options_from_argv(struct options *opt, int argc, char **argv, struct err *err)
{
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (strncmp(arg, "--", 2) != 0)
            return err_set(err, "'%.60s' is no option; --help lists them", arg);
        arg += 2;
        bool ok = true;
        if (!strcmp(arg, "help"))
            opt->help = true;
        else if (!strcmp(arg, "fresh"))
            opt->fresh = 1;
        else if (strchr(arg, '='))
            ok = set_pair(opt, arg, strlen(arg), err);
        else if (i + 1 < argc)
            ok = option_set(opt, arg, argv[++i], err);
        else
            ok = err_set(err, "--%.40s needs a value", arg);
        if (!ok)
            return false;
    }
    return true;
}
