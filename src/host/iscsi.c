/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * A LUN as QEMU's own initiator sees it: a session of our own under the partition's initiator name
 * (the storage may show each initiator other LUNs), with a random session id, so that the session
 * of a QEMU that runs under the same name is not taken over. Of a LUN that does not say who it is
 * some blocks are read (host/challenge.h).
 */
#include "host/disk-identity.h"
#include "host/secret.h"

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND_LIMIT_S 2
#define VPD_BYTES 1024
#define RESERVATION_BYTES 256

struct connecting {
    gboolean done;
    int status;
};

static void on_connected(struct iscsi_context *iscsi G_GNUC_UNUSED, int status,
                         void *data G_GNUC_UNUSED, void *user)
{
    struct connecting *connecting = user;

    connecting->done = TRUE;
    connecting->status = status;
}

/* Logs in and waits until the LUN is ready, by a clock of our own: libiscsi's covers commands, not
 * the connection. */
static gboolean connect_lun(struct iscsi_context *iscsi, const char *portal, int lun, json_t *facts)
{
    gint64 end = g_get_monotonic_time() + LPM_DISK_LIMIT_MS * 1000;
    struct connecting connecting = {0};

    if (iscsi_full_connect_async(iscsi, portal, lun, on_connected, &connecting) != 0)
        return FALSE;
    while (!connecting.done) {
        gint64 left_ms = (end - g_get_monotonic_time()) / 1000;
        struct pollfd p = {.fd = iscsi_get_fd(iscsi), .events = (short)iscsi_which_events(iscsi)};

        if (left_ms <= 0) {
            json_object_set_new(facts, "cause", json_string("its portal does not answer"));
            return FALSE;
        }
        if (poll(&p, 1, (int)MIN(left_ms, 100)) < 0 || iscsi_service(iscsi, p.revents) < 0)
            return FALSE;
    }
    return connecting.status == SCSI_STATUS_GOOD;
}

static gboolean good(const struct scsi_task *task)
{
    return task && task->status == SCSI_STATUS_GOOD && task->datain.data && task->datain.size > 0;
}

static void free_task(struct scsi_task *task)
{
    if (task)
        scsi_free_scsi_task(task);
}

static void add_pages(struct iscsi_context *iscsi, int lun, json_t *facts)
{
    struct scsi_task *serial = iscsi_inquiry_sync(iscsi, lun, 1, 0x80, VPD_BYTES);
    struct scsi_task *names = iscsi_inquiry_sync(iscsi, lun, 1, 0x83, VPD_BYTES);

    if (good(serial)) {
        g_autofree char *text = lpm_vpd_serial(serial->datain.data, (gsize)serial->datain.size);
        if (*text)
            json_object_set_new(facts, "serial", json_string(text));
    }
    if (good(names))
        json_object_set_new(facts, "designators",
                            lpm_vpd_designators(names->datain.data, (gsize)names->datain.size));
    free_task(serial);
    free_task(names);
}

/* Where blocks are read. */
struct reading {
    struct iscsi_context *iscsi;
    int lun;
    guint32 block_length; /* 0: not known */
    guint64 size;
};

static void add_size(struct reading *reading, json_t *facts)
{
    struct scsi_task *task = iscsi_readcapacity16_sync(reading->iscsi, reading->lun);
    const struct scsi_readcapacity16 *capacity = good(task) ? scsi_datain_unmarshall(task) : NULL;

    if (capacity) {
        reading->block_length = capacity->block_length;
        reading->size = (capacity->returned_lba + 1) * (guint64)capacity->block_length;
        json_object_set_new(facts, "size_bytes", json_integer((json_int_t)reading->size));
    }
    free_task(task);
}

static gboolean read_block(void *user, guint64 offset, void *data, gsize length)
{
    const struct reading *reading = user;
    struct scsi_task *task =
        iscsi_read16_sync(reading->iscsi, reading->lun, offset / reading->block_length,
                          (guint32)length, (int)reading->block_length, 0, 0, 0, 0, 0);
    gboolean ok = good(task) && (gsize)task->datain.size == length;

    if (ok)
        memcpy(data, task->datain.data, length);
    free_task(task);
    return ok;
}

static void add_samples(struct reading *reading, const struct lpm_challenge *challenge,
                        json_t *facts)
{
    guint32 length = reading->block_length;

    if (length && LPM_CHALLENGE_BLOCK % length == 0)
        json_object_set_new(facts, "samples",
                            lpm_challenge_answer(challenge, reading->size, read_block, reading));
}

/* PERSISTENT RESERVE IN: read keys (0) and read reservation (1). Both answers: generation, length
 * of what follows, then 8-byte keys, or key (8), 4 obsolete bytes, one reserved, scope and type. A
 * device without reservations refuses the command, which is no error. */
static void add_reservation(struct iscsi_context *iscsi, int lun, json_t *facts)
{
    static const char *const types[16] = {
        [1] = "write exclusive",
        [3] = "exclusive access",
        [5] = "write exclusive, registrants only",
        [6] = "exclusive access, registrants only",
        [7] = "write exclusive, all registrants",
        [8] = "exclusive access, all registrants",
    };
    struct scsi_task *keys = iscsi_persistent_reserve_in_sync(
        iscsi, lun, SCSI_PERSISTENT_RESERVE_READ_KEYS, RESERVATION_BYTES);
    struct scsi_task *held = iscsi_persistent_reserve_in_sync(
        iscsi, lun, SCSI_PERSISTENT_RESERVE_READ_RESERVATION, RESERVATION_BYTES);

    if (good(keys) && keys->datain.size >= 8) {
        const guint8 *b = keys->datain.data;
        guint32 bytes = (guint32)b[4] << 24 | (guint32)b[5] << 16 | (guint32)b[6] << 8 | b[7];
        json_object_set_new(facts, "keys", json_integer(bytes / 8));
    }
    if (good(held) && held->datain.size >= 22 && held->datain.data[7] >= 16) {
        const guint8 *b = held->datain.data;
        const char *type = types[b[21] & 15];
        g_autofree char *key = g_strdup_printf("%02x%02x%02x%02x%02x%02x%02x%02x", b[8], b[9],
                                               b[10], b[11], b[12], b[13], b[14], b[15]);
        json_object_set_new(facts, "reservation",
                            json_pack("{s:i, s:s, s:s}", "number", b[21] & 15, "type",
                                      type ? type : "of an unknown type", "key", key));
    }
    free_task(keys);
    free_task(held);
}

static void look(struct iscsi_context *iscsi, const char *target, const char *portal, int lun,
                 const struct lpm_challenge *challenge, json_t *facts)
{
    struct reading reading = {.iscsi = iscsi, .lun = lun};

    iscsi_set_isid_random(iscsi, g_random_int(), 0);
    iscsi_set_noautoreconnect(iscsi, 1);
    iscsi_set_session_type(iscsi, ISCSI_SESSION_NORMAL);
    iscsi_set_header_digest(iscsi, ISCSI_HEADER_DIGEST_NONE_CRC32C);
    iscsi_set_timeout(iscsi, COMMAND_LIMIT_S);
    if (iscsi_set_targetname(iscsi, target) != 0 || !connect_lun(iscsi, portal, lun, facts)) {
        const char *reason = iscsi_get_error(iscsi);
        g_autofree char *valid = g_utf8_make_valid(reason ? reason : "", -1);

        if (!json_object_get(facts, "cause"))
            json_object_set_new(facts, "cause",
                                json_string(*valid ? g_strstrip(valid) : "the session failed"));
        return;
    }
    add_pages(iscsi, lun, facts);
    add_reservation(iscsi, lun, facts);
    add_size(&reading, facts); /* refused while another holds an exclusive reservation */
    if (!lpm_disk_says_who_it_is(facts))
        add_samples(&reading, challenge, facts);
    iscsi_logout_sync(iscsi);
}

/* The password that the partition's QEMU is given. FALSE with the cause in `facts`. */
static gboolean set_password(struct lpm_host *host, const json_t *disk, struct iscsi_context *iscsi,
                             json_t *facts)
{
    const char *user = json_string_value(json_object_get(disk, "user"));
    gboolean unable = FALSE;
    g_autofree char *cause = NULL;
    gsize length = 0;

    if (!json_is_true(json_object_get(disk, "auth")))
        return TRUE;
    guint8 *password = lpm_host_secret(host, disk, &length, &unable, &cause);
    if (password) {
        iscsi_set_initiator_username_pwd(iscsi, user ? user : "", (const char *)password);
        explicit_bzero(password, length);
        g_free(password);
        return TRUE;
    }
    json_object_set_new(facts, "cause", json_string(cause));
    json_object_set_new(facts, "unable", json_boolean(unable));
    return FALSE;
}

void lpm_iscsi_identity(struct lpm_host *host, const json_t *disk,
                        const struct lpm_challenge *challenge, json_t *facts)
{
    const char *name = json_string_value(json_object_get(disk, "name"));
    const char *address = json_string_value(json_object_get(disk, "address"));
    const char *port = json_string_value(json_object_get(disk, "port"));
    const char *initiator = json_string_value(json_object_get(disk, "initiator"));
    const char *slash = name ? strrchr(name, '/') : NULL;

    if (!name || !address) {
        json_object_set_new(facts, "cause", json_string("its source has no name or no address"));
        return;
    }
    g_autofree char *target = slash ? g_strndup(name, (gsize)(slash - name)) : g_strdup(name);
    gboolean six = strchr(address, ':') != NULL;
    g_autofree char *portal =
        g_strdup_printf("%s%s%s:%s", six ? "[" : "", address, six ? "]" : "", port ? port : "3260");
    g_autofree char *portal_fact = g_strdup_printf("%s %s", portal, name);
    json_object_set_new(facts, "at", json_string(portal_fact));
    struct iscsi_context *iscsi =
        iscsi_create_context(initiator ? initiator : "iqn.2026-11.org.openlpm:lpmd");
    if (!iscsi) {
        json_object_set_new(facts, "cause", json_string("no memory for a session"));
        return;
    }
    if (set_password(host, disk, iscsi, facts))
        look(iscsi, target, portal, slash ? (int)strtol(slash + 1, NULL, 10) : 0, challenge, facts);
    iscsi_destroy_context(iscsi);
}
