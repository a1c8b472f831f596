/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/* ledger run: the load, then the questions that tell what became of it, and the report. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client.h"
#include "load.h"
#include "record.h"

#define ANSWER_US (30 * INT64_C(1000000))

struct outcome {
    struct load_report load;
    bool verified;          /* the service answered all questions: what follows is known */
    uint64_t not_in_memory; /* acknowledged, but the service knows nothing of them */
    uint64_t lost, doubled;
    struct verify_reply check;
};

static bool run_options(int argc, char **argv, struct load_options *o, const char **journal,
                        struct err *err)
{
    struct opt opts[] = {{.name = "to"},          {.name = "journal"},
                         {.name = "connections"}, {.name = "rate"},
                         {.name = "seconds"},     {.name = "payload"},
                         {.name = "window"},      {.name = "drain"},
                         {.name = "wait"},        {0}};
    uint64_t connections, seconds, drain, wait;
    *o = (struct load_options){0};
    if (!opts_parse(argc, argv, opts, err) || !parse_to(opts[0].value, &o->to, err) ||
        !opt_number(&opts[2], 4, 1, RUN_CONNECTIONS_MAX, &connections, err) ||
        !opt_number(&opts[3], 200, 1, 1000000, &o->rate, err) ||
        !opt_number(&opts[4], 0, 0, 10000000, &seconds, err) ||
        !opt_number(&opts[5], 64, 0, PAYLOAD_MAX, &o->payload, err) ||
        !opt_number(&opts[6], 1024, 1, 65536, &o->window, err) ||
        !opt_number(&opts[7], 60, 0, 86400, &drain, err) ||
        !opt_number(&opts[8], 0, 0, 86400, &wait, err))
        return false;
    *journal = opts[1].value;
    o->connections = (unsigned)connections;
    o->seconds = (int64_t)seconds;
    o->drain_us = (int64_t)drain * 1000000;
    o->wait_us = (int64_t)wait * 1000000;
    return *journal || err_set(err, "--journal FILE is needed");
}

/* Counts what was acknowledged on connection C but is not in the service's memory. */
static bool count_not_in_memory(int fd, uint32_t run, unsigned c, struct outcome *out,
                                struct err *err)
{
    const struct bits *acked = &out->load.acked[c];
    uint8_t buffer[FRAME_MAX];
    for (uint64_t byte = 0; byte < acked->size / 8;) {
        struct frame request = {
            .type = FRAME_APPLIED,
            .client = client_id(run, c),
            .number = byte * 8,
        };
        struct frame reply;
        if (!ask(fd, &request, ANSWER_US, buffer, &reply, err))
            return false;
        /* Beyond what the service has there is nothing. */
        uint64_t n = reply.len ? reply.len : acked->size / 8 - byte;
        for (uint64_t i = 0; i < n && byte < acked->size / 8; i++, byte++) {
            unsigned has = i < reply.len ? reply.payload[i] : 0;
            out->not_in_memory += (uint64_t)__builtin_popcount(acked->map[byte] & ~has);
        }
    }
    return true;
}

static void ask_outcome(const struct load_options *opt, uint32_t run, struct outcome *out)
{
    struct err err = {0};
    int fd = ask_connect(&opt->to, opt->drain_us, &err);
    bool ok = fd >= 0;
    for (unsigned c = 0; ok && c < opt->connections; c++)
        ok = count_not_in_memory(fd, run, c, out, &err);
    ok = ok && ask_verify(fd, run, &out->check, &err);
    if (fd >= 0)
        close(fd);
    if (!ok) {
        load_report_error(&out->load, "not verified: %s", err.text);
        return;
    }
    const struct verify_reply *v = &out->check;
    out->verified = true;
    /* Not in memory, and in memory but not on the disk: no number is in both. */
    out->lost = out->not_in_memory + v->missing;
    out->doubled = v->doubled;
    if (!v->memory_ok)
        load_report_error(&out->load,
                          "memory: %" PRIu64 " bad pages (first %" PRIu64 "), %" PRIu64
                          " found bad when overwritten, index %s",
                          v->bad_pages, v->first_bad_page, v->bad_touched,
                          v->index_ok ? "right" : "wrong");
    if (!v->disk_readable || v->disk_corrupt || v->chain_breaks || v->extra)
        load_report_error(&out->load,
                          "disk: %s, %" PRIu64 " corrupt, %" PRIu64 " breaks in the chain, %" PRIu64
                          " records that memory does not know",
                          v->disk_readable ? "readable" : "not readable", v->disk_corrupt,
                          v->chain_breaks, v->extra);
}

static void print_known(const char *name, bool known, uint64_t value)
{
    if (known)
        printf("\"%s\": %" PRIu64 ", ", name, value);
    else
        printf("\"%s\": null, ", name);
}

static void print_report(const struct outcome *o, int64_t wall_offset)
{
    const struct load_report *r = &o->load;
    printf("{\"acknowledged\": %" PRIu64 ", \"sent\": %" PRIu64 ", ", r->acknowledged, r->sent);
    print_known("lost", o->verified, o->lost);
    print_known("doubled", o->verified, o->doubled);
    printf("\"refused\": %" PRIu64 ", \"unacknowledged\": %" PRIu64 ", \"withheld\": %" PRIu64 ", ",
           r->refused, r->unacknowledged, r->withheld);
    printf("\"resets\": %" PRIu64 ", \"reconnects\": %" PRIu64 ", ", r->resets, r->reconnects);
    printf("\"client_gap_us\": %" PRId64 ", \"gap_begin_us\": %" PRId64 ", \"gap_end_us\": %" PRId64
           ", \"gap_begin_wall_us\": %" PRId64 ", \"gap_end_wall_us\": %" PRId64 ", ",
           r->gap_us, r->gap_begin, r->gap_end, r->gap_us ? r->gap_begin + wall_offset : 0,
           r->gap_us ? r->gap_end + wall_offset : 0);
    printf("\"p50_us\": %" PRId64 ", \"p99_us\": %" PRId64 ", \"max_us\": %" PRId64
           ", \"ran_us\": %" PRId64 ", ",
           r->p50_us, r->p99_us, r->max_us, r->ran_us);
    printf("\"verified\": %s, ", o->verified ? "true" : "false");
    printf("\"memory_ok\": %s, ", !o->verified ? "null" : o->check.memory_ok ? "true" : "false");
    print_known("memory_bytes", o->verified, o->check.memory_bytes);
    print_known("disk_records", o->verified, o->check.disk_records);
    print_known("disk_corrupt", o->verified, o->check.disk_corrupt + o->check.chain_breaks);
    printf("\"errors_total\": %" PRIu64 ", \"errors\": [", r->errors_total);
    for (unsigned i = 0; i < r->errors_count; i++) {
        fputs(i ? ", " : "", stdout);
        print_json_string(r->errors[i]);
    }
    printf("]}\n");
}

static bool all_well(const struct outcome *o)
{
    return o->verified && !o->lost && !o->doubled && !o->load.errors_total && o->check.memory_ok;
}

int cmd_run(int argc, char **argv)
{
    struct err err = {0};
    struct load_options opt;
    const char *path;
    if (!run_options(argc, argv, &opt, &path, &err))
        return fail(&err, EXIT_USAGE);
    uint32_t run = (uint32_t)random_id() | 1;
    struct journal_head head = {run, opt.connections, opt.rate, opt.payload, wall_us() - now_us()};
    FILE *journal = journal_create(path, &head, &err);
    if (!journal)
        return fail(&err, EXIT_WRONG);
    struct outcome *out = calloc(1, sizeof *out);
    int code = EXIT_WRONG;
    if (!out) {
        err_set(&err, "out of memory");
        fail(&err, code);
    } else if (!load_run(&opt, run, journal, &out->load, &err)) {
        code = fail(&err, EXIT_CONNECT);
    } else {
        if (fflush(journal) || ferror(journal))
            load_report_error(&out->load, "the journal %s is incomplete: it could not be written",
                              path);
        ask_outcome(&opt, run, out);
        print_report(out, head.wall_offset_us);
        code = all_well(out) ? EXIT_OK : EXIT_WRONG;
    }
    fclose(journal);
    if (out)
        load_report_free(&out->load);
    free(out);
    return code;
}
