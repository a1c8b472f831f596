/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/*
 * ledgerd: the service that runs in a partition while it is moved. See README.md.
 * Needs nothing but its disk and a network: no files in /etc, no /proc, no shell.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "options.h"
#include "server.h"

static struct server *the_server; /* for the signal handler; set before it is installed */

static void on_signal(int number)
{
    (void)number;
    server_stop(the_server);
}

static bool read_options(struct options *opt, int argc, char **argv, struct err *err)
{
    char text[4096]; /* the kernel's own limit on x86; more on others is of no use here */
    options_defaults(opt);
    int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    return options_from_cmdline(opt, text, err) && options_from_argv(opt, argc, argv, err);
}

struct recovery {
    struct book book;
    uint64_t left_out; /* records beyond the book's limits */
};

static void recover_record(void *user, const struct record *rec)
{
    struct recovery *r = user;
    if (book_reserve(&r->book, rec->client, rec->number))
        book_apply(&r->book, rec->client, rec->number);
    else
        r->left_out++;
}

static struct server *set_up(const struct options *opt, struct err *err)
{
    struct recovery rec = {0};
    struct disklog log;
    struct scan found;
    if (!book_init(&rec.book)) {
        err_set(err, "out of memory");
        return NULL;
    }
    struct table *table =
        table_new(opt->mem, opt->hot, (enum content)opt->content, opt->marker, opt->dirty, err);
    if (!table || !disklog_open(&log, opt->disk, opt->fresh, recover_record, &rec, &found, err)) {
        table_free(table);
        book_free(&rec.book);
        return NULL;
    }
    fprintf(stderr, "ledgerd: %s: %llu records found, %llu corrupt, %llu left out, %s\n", opt->disk,
            (unsigned long long)found.records, (unsigned long long)found.corrupt,
            (unsigned long long)rec.left_out, log.direct ? "O_DIRECT" : "O_DSYNC only");
    struct server *server = server_new(&log, &rec.book, table, &found, err);
    if (!server) {
        disklog_close(&log);
        table_free(table);
        book_free(&rec.book);
    } else if (!table_start(table, err)) {
        server_free(server);
        server = NULL;
    }
    return server;
}

static void catch_signals(void)
{
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void usage(void)
{
    puts("ledgerd [--disk FILE-OR-DEVICE] [--listen ADDRESS] [--port N] [--mem SIZE] [--hot SIZE]\n"
         "        [--dirty BYTES-PER-SECOND] [--content random|text|mostly] [--marker TEXT] "
         "[--fresh]\n"
         "Each is also read from the kernel's command line as ledger.NAME=VALUE.");
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct options opt;
    if (!read_options(&opt, argc, argv, &err)) {
        fprintf(stderr, "ledgerd: %s\n", err.text);
        return 2;
    }
    if (opt.help) {
        usage();
        return 0;
    }
    int rc = 1;
    the_server = set_up(&opt, &err);
    uint16_t port =
        the_server ? server_listen(the_server, opt.listen, (uint16_t)opt.port, &err) : 0;
    if (port) {
        catch_signals();
        printf("ledgerd: ready on port %u\n", port);
        fflush(stdout);
        rc = server_run(the_server, &err) ? 0 : 1;
    }
    if (err.text[0])
        fprintf(stderr, "ledgerd: %s\n", err.text);
    server_free(the_server);
    return rc;
}
