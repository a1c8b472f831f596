/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/* The subcommands that ask the service one thing: status, check, rate, watch. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

#define ANSWER_US (30 * INT64_C(1000000))

/* The connection for a command whose only option is --to; -1 and the exit code otherwise. */
static int connect_to(const char *to_text, const char *wait_text, int *code)
{
    struct err err = {0};
    struct sockaddr_in to;
    uint64_t wait = 0;
    *code = EXIT_USAGE;
    int fd = -1;
    if (wait_text && !parse_u64(wait_text, 0, 86400, &wait))
        err_set(&err, "--wait '%.40s' is not a number of seconds", wait_text);
    else if (parse_to(to_text, &to, &err)) {
        *code = EXIT_CONNECT;
        fd = ask_connect(&to, (int64_t)wait * 1000000, &err);
    }
    if (fd < 0)
        fail(&err, *code);
    return fd;
}

static bool print_status(int fd, struct err *err)
{
    uint8_t buffer[FRAME_MAX];
    struct frame request = {.type = FRAME_STATUS}, reply;
    struct status_reply status;
    if (!ask(fd, &request, ANSWER_US, buffer, &reply, err))
        return false;
    fields_get(&status, sizeof status, reply.payload, reply.len);
    printf("{");
    print_status_fields(&status);
    printf(", \"content\": \"%s\"}\n",
           status.dirty_content < CONTENT_COUNT ? content_names[status.dirty_content] : "?");
    fflush(stdout);
    return true;
}

int cmd_status(int argc, char **argv)
{
    struct opt opts[] = {{.name = "to"}, {.name = "wait"}, {0}};
    struct err err = {0};
    int code;
    if (!opts_parse(argc, argv, opts, &err))
        return fail(&err, EXIT_USAGE);
    int fd = connect_to(opts[0].value, opts[1].value, &code);
    if (fd < 0)
        return code;
    bool ok = print_status(fd, &err);
    close(fd);
    return ok ? EXIT_OK : fail(&err, EXIT_WRONG);
}

int cmd_watch(int argc, char **argv)
{
    struct opt opts[] = {{.name = "to"}, {.name = "wait"}, {.name = "seconds"}, {0}};
    struct err err = {0};
    uint64_t seconds;
    int code;
    if (!opts_parse(argc, argv, opts, &err) ||
        !opt_number(&opts[2], UINT32_MAX, 1, UINT32_MAX, &seconds, &err))
        return fail(&err, EXIT_USAGE);
    int fd = connect_to(opts[0].value, opts[1].value, &code);
    if (fd < 0)
        return code;
    bool ok = true;
    for (uint64_t i = 0; ok && i < seconds; i++) {
        ok = print_status(fd, &err);
        poll(NULL, 0, 1000);
    }
    close(fd);
    return ok ? EXIT_OK : fail(&err, EXIT_WRONG);
}

int cmd_check(int argc, char **argv)
{
    struct opt opts[] = {{.name = "to"}, {.name = "wait"}, {0}};
    struct err err = {0};
    int code;
    if (!opts_parse(argc, argv, opts, &err))
        return fail(&err, EXIT_USAGE);
    int fd = connect_to(opts[0].value, opts[1].value, &code);
    if (fd < 0)
        return code;
    struct verify_reply v;
    bool ok = ask_verify(fd, 0, &v, &err);
    close(fd);
    if (!ok)
        return fail(&err, EXIT_WRONG);
    bool clean = v.memory_ok && v.disk_readable && !v.disk_corrupt && !v.chain_breaks &&
                 !v.missing && !v.extra && !v.doubled;
    printf("{\"ok\": %s, ", clean ? "true" : "false");
    print_verify_fields(&v);
    printf("}\n");
    return clean ? EXIT_OK : EXIT_WRONG;
}

int cmd_rate(int argc, char **argv)
{
    struct opt opts[] = {
        {.name = "to"}, {.name = "dirty"}, {.name = "content"}, {.name = "wait"}, {0}};
    struct err err = {0};
    struct frame request = {.type = FRAME_RATE, .number = RATE_KEEP, .aux = RATE_KEEP}, reply;
    if (!opts_parse(argc, argv, opts, &err))
        return fail(&err, EXIT_USAGE);
    if (opts[1].value && !parse_size(opts[1].value, &request.number))
        err_set(&err, "--dirty '%.40s' is no number of bytes per second", opts[1].value);
    if (opts[2].value && (request.aux = content_parse(opts[2].value)) == CONTENT_COUNT)
        err_set(&err, "--content '%.40s' is not random, text or mostly", opts[2].value);
    if (err.text[0])
        return fail(&err, EXIT_USAGE);
    int code, fd = connect_to(opts[0].value, opts[3].value, &code);
    if (fd < 0)
        return code;
    uint8_t buffer[FRAME_MAX];
    bool ok = ask(fd, &request, ANSWER_US, buffer, &reply, &err);
    close(fd);
    if (!ok)
        return fail(&err, EXIT_WRONG);
    printf("{\"dirty\": %llu, \"content\": \"%s\"}\n", (unsigned long long)reply.number,
           reply.aux < CONTENT_COUNT ? content_names[reply.aux] : "?");
    return EXIT_OK;
}
