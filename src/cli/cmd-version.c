/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/commands.h"
#include "cli/report.h"
#include "cli/text.h"
#include "lpm-version.h"

static void print_host(FILE *out, const json_t *host)
{
    gint64 up = field_int(host, "uptime_ms");
    gint64 control = field_int(host, "control_port"), data = field_int(host, "data_port");
    gint64 active = field_int(host, "migrations_active"), protocol = field_int(host, "protocol");
    g_autofree char *libvirt = field_text(host, "hypervisor.libvirt");
    g_autofree char *qemu = field_text(host, "hypervisor.qemu");
    g_autofree char *version = field_text(host, "version");

    fprintf(out, "lpmd %s\n", version);
    report_line(out, "host", field_text(host, "name"));
    if (protocol >= 0)
        report_line(out, "protocol", g_strdup_printf("%" G_GINT64_FORMAT, protocol));
    if (*libvirt || *qemu)
        report_line(
            out, "hypervisor",
            g_strdup_printf("libvirt %s, QEMU %s", *libvirt ? libvirt : "-", *qemu ? qemu : "-"));
    report_line(out, "fingerprint", field_text(host, "fingerprint"));
    if (control >= 0 && data >= 0)
        report_line(
            out, "ports",
            g_strdup_printf("control %" G_GINT64_FORMAT ", data %" G_GINT64_FORMAT, control, data));
    if (up >= 0)
        report_line(out, "up", text_duration_us(up * 1000));
    if (active >= 0)
        report_line(out, "migrating", g_strdup_printf("%" G_GINT64_FORMAT, active));
}

/* The version of lpm is an answer even if lpmd gives none. */
static enum cli_exit run(struct cli *cli, GError **error)
{
    g_autoptr(GError) failure = NULL;
    json_t *host = cli_call(cli, "GET", "/v1/host", NULL, &failure);

    (void)error;
    if (cli->json) {
        json_t *document =
            json_pack("{s:s, s:o}", "version", LPM_VERSION, "host", host ? host : json_null());
        cli_json(cli, document, FALSE);
        json_decref(document);
        return CLI_OK;
    }
    fprintf(cli->out, "lpm %s\n", LPM_VERSION);
    if (host) {
        print_host(cli->out, host);
    } else {
        g_autofree char *cause = text_clean(failure->message);
        fprintf(cli->out, "lpmd: unknown, since %s\n", cause);
    }
    json_decref(host);
    return CLI_OK;
}

const struct cli_command cmd_version = {
    .name = "version",
    .summary = "Show the versions of lpm, of lpmd here and of its hypervisor",
    .description = "Shows the version of this program and, if lpmd answers, that of lpmd with the "
                   "name of this "
                   "managed system, its fingerprint, its ports and its hypervisor. It succeeds "
                   "without lpmd, too; "
                   "with --json, 'host' is null then.",
    .examples =
        (const struct cli_example[]){
            {"what runs here", "lpm version"},
            {"the fingerprint alone", "lpm version --json | jq -r .host.fingerprint"},
            {.line = NULL},
        },
    .run = run,
};
