/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copyright 2026 The OpenLPM authors */
/* The subcommands that read a journal: verify (against a disk) and gaps. */
#include <stdio.h>

#include "audit.h"
#include "client.h"
#include "journal.h"

#define GAPS_MAX 100u

static void print_items(const char *name, const struct audit_item *items, unsigned n)
{
    printf("\"%s\": [", name);
    for (unsigned i = 0; i < n; i++)
        printf("%s[%u, %llu]", i ? ", " : "", items[i].connection,
               (unsigned long long)items[i].number);
    printf("]");
}

int cmd_verify(int argc, char **argv)
{
    struct opt opts[] = {{.name = "journal"}, {.name = "disk"}, {0}};
    struct err err = {0};
    struct audit a;
    if (!opts_parse(argc, argv, opts, &err))
        return fail(&err, EXIT_USAGE);
    if (!opts[0].value || !opts[1].value) {
        err_set(&err, "--journal FILE and --disk FILE-OR-DEVICE are needed");
        return fail(&err, EXIT_USAGE);
    }
    if (!audit_run(opts[0].value, opts[1].value, &a, &err))
        return fail(&err, EXIT_WRONG);
    if (!a.has_log)
        fprintf(stderr, "ledger: %s holds no log (no valid head in its first block)\n",
                opts[1].value);
    printf(
        "{\"ok\": %s, \"has_log\": %s, \"acknowledged\": %llu, \"lost\": %llu, \"doubled\": %llu, "
        "\"extra\": %llu, \"corrupt\": %llu, \"chain_breaks\": %llu, \"disk_records\": %llu, "
        "\"other_runs\": %llu, ",
        audit_clean(&a) ? "true" : "false", a.has_log ? "true" : "false",
        (unsigned long long)a.acknowledged, (unsigned long long)a.lost,
        (unsigned long long)a.doubled, (unsigned long long)a.extra, (unsigned long long)a.corrupt,
        (unsigned long long)a.chain_breaks, (unsigned long long)a.disk_records,
        (unsigned long long)a.other_runs);
    print_items("lost_first", a.lost_items, a.named_lost);
    printf(", ");
    print_items("doubled_first", a.doubled_items, a.named_doubled);
    printf("}\n");
    return audit_clean(&a) ? EXIT_OK : EXIT_WRONG;
}

int cmd_gaps(int argc, char **argv)
{
    struct opt opts[] = {
        {.name = "journal"}, {.name = "from"}, {.name = "to"}, {.name = "top"}, {0}};
    struct err err = {0};
    uint64_t from, to, top;
    struct gap gaps[GAPS_MAX];
    struct journal_head head;
    if (!opts_parse(argc, argv, opts, &err) ||
        !opt_number(&opts[1], 0, 0, INT64_MAX, &from, &err) ||
        !opt_number(&opts[2], INT64_MAX, 0, INT64_MAX, &to, &err) ||
        !opt_number(&opts[3], 10, 1, GAPS_MAX, &top, &err))
        return fail(&err, EXIT_USAGE);
    if (!opts[0].value) {
        err_set(&err, "--journal FILE is needed");
        return fail(&err, EXIT_USAGE);
    }
    unsigned count = (unsigned)top;
    if (!journal_gaps(opts[0].value, (int64_t)from, (int64_t)to, gaps, &count, &head, &err))
        return fail(&err, EXIT_WRONG);
    printf("{\"wall_offset_us\": %lld, \"gaps\": [", (long long)head.wall_offset_us);
    for (unsigned i = 0; i < count; i++)
        printf("%s{\"gap_us\": %lld, \"begin_us\": %lld, \"end_us\": %lld}", i ? ", " : "",
               (long long)(gaps[i].end - gaps[i].begin), (long long)gaps[i].begin,
               (long long)gaps[i].end);
    printf("]}\n");
    return EXIT_OK;
}
