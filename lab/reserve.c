/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * lab-reserve PORTAL IQN LUN TYPE: a SCSI-3 persistent reservation of that type (1 write exclusive
 * ... 8 exclusive access, all registrants), as a cluster's node would take it; TYPE 0 clears all.
 * It outlives this program, as such reservations do.
 */
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY 0x4c504d4c41420001ULL
#define REGISTER_AND_IGNORE 6
#define RESERVE 1
#define CLEAR 3

static int out(struct iscsi_context *iscsi, int lun, int action, int type, uint64_t key,
               uint64_t new_key)
{
    struct scsi_persistent_reserve_out_basic parameters = {
        .reservation_key = key, .service_action_reservation_key = new_key};
    struct scsi_task *task =
        iscsi_persistent_reserve_out_sync(iscsi, lun, action, 0, type, &parameters);
    int status = task ? task->status : -1;

    if (task)
        scsi_free_scsi_task(task);
    if (status != SCSI_STATUS_GOOD)
        fprintf(stderr, "lab-reserve: action %d: %s\n", action, iscsi_get_error(iscsi));
    return status == SCSI_STATUS_GOOD;
}

int main(int argc, char **argv)
{
    struct iscsi_context *iscsi = iscsi_create_context("iqn.2026-11.org.openlpm.lab:reserve");
    int ok;

    if (argc != 5 || !iscsi) {
        fputs("usage: lab-reserve PORTAL IQN LUN TYPE\n", stderr);
        return EXIT_FAILURE;
    }
    int lun = (int)strtol(argv[3], NULL, 10), type = (int)strtol(argv[4], NULL, 10);
    iscsi_set_targetname(iscsi, argv[2]);
    iscsi_set_session_type(iscsi, ISCSI_SESSION_NORMAL);
    /* The same one each time: a reservation belongs to initiator and session id. */
    iscsi_set_isid_en(iscsi, 1, 1);
    ok = iscsi_full_connect_sync(iscsi, argv[1], lun) == 0;
    if (!ok)
        fprintf(stderr, "lab-reserve: %s\n", iscsi_get_error(iscsi));
    ok = ok && out(iscsi, lun, REGISTER_AND_IGNORE, 0, 0, KEY);
    ok = ok && (type ? out(iscsi, lun, RESERVE, type, KEY, 0) : out(iscsi, lun, CLEAR, 0, KEY, 0));
    iscsi_destroy_context(iscsi);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
