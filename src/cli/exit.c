/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
#include "cli/exit.h"

#include "base/error.h"

#include <string.h>

static const struct cli_exit_info catalogue[] = {
    {CLI_OK, "done; a migration that was waited for runs on the target"},
    {CLI_WARNING, "ended, with a warning: the migration is done but something in it is off, or a "
                  "stop found the migration failed already"},
    {CLI_USAGE,
     "the command line is not understood, or a value in it is refused; nothing was done"},
    {CLI_NOT_FOUND, "no such partition, host, migration or mover; nothing was done"},
    {CLI_REFUSED, "refused: a conflict, such as a partition that already migrates or a hand-over "
                  "that is already decided, or a missing permission; nothing was changed"},
    {CLI_UNREACHABLE, "lpmd, libvirt or the other host does not answer"},
    {CLI_FAILED, "the migration failed; the partition still runs on its source"},
    {CLI_STOPPED, "the migration was stopped; the partition still runs on its source"},
    {CLI_IN_DOUBT, "in doubt: the other host does not answer at the one moment where it matters; "
                   "the partition runs once at most"},
    {CLI_INTERNAL, "a fault of this host or of OpenLPM itself"},
    {CLI_ENDED,
     "the migration failed, and the partition's QEMU ended in it: it runs nowhere and can "
     "be started on the host that the error names"},
    {CLI_DETACHED, "Ctrl-C while waiting; the migration goes on in the background"},
};

/* Every number of the catalogue has its line; a test refuses a catalogue that is ahead. */
static const struct {
    int number;
    enum cli_exit code;
} map[] = {
    {LPM_E_BAD_REQUEST, CLI_USAGE},
    {LPM_E_NOT_PERMITTED, CLI_REFUSED},
    {LPM_E_PARTITION_NOT_FOUND, CLI_NOT_FOUND},
    {LPM_E_MIGRATION_NOT_FOUND, CLI_NOT_FOUND},
    {LPM_E_ALREADY_MIGRATING, CLI_REFUSED},
    {LPM_E_NOT_MIGRATING, CLI_REFUSED},
    {LPM_E_NOT_FOUND, CLI_INTERNAL}, /* a path: lpm and lpmd are of different versions */
    {LPM_E_TOO_MANY, CLI_REFUSED},
    {LPM_E_USAGE, CLI_USAGE},
    {LPM_E_DAEMON_UNREACHABLE, CLI_UNREACHABLE},
    {LPM_E_METHOD_NOT_ALLOWED, CLI_INTERNAL}, /* likewise */
    {LPM_E_TOO_LARGE, CLI_USAGE},
    {LPM_E_PEER_UNKNOWN, CLI_NOT_FOUND},
    {LPM_E_PEER_UNREACHABLE, CLI_UNREACHABLE},
    {LPM_E_PEER_REFUSED, CLI_REFUSED},
    {LPM_E_PAIRING_FAILED, CLI_REFUSED},
    {LPM_E_PEER_EXISTS, CLI_REFUSED},
    {LPM_E_PEER_ANSWER, CLI_INTERNAL},
    {LPM_E_PEER_IS_SELF, CLI_REFUSED},
    {LPM_E_PEER_BUSY, CLI_REFUSED},
    {LPM_E_LIBVIRT, CLI_INTERNAL},
    {LPM_E_PARTITION_NOT_RUNNING, CLI_REFUSED},
    {LPM_E_NAME_IN_USE, CLI_REFUSED},
    {LPM_E_LIBVIRT_UNREACHABLE, CLI_UNREACHABLE},
    {LPM_E_PARTITION_BUSY, CLI_REFUSED},
    {LPM_E_QEMU_NOT_IDENTIFIED, CLI_INTERNAL},
    {LPM_E_NOT_QUEUED, CLI_REFUSED},
    {LPM_E_PARTITION_STARTED, CLI_REFUSED},
    {LPM_E_SAVED_STATE, CLI_REFUSED},
    {LPM_E_DEFINITION_FILES, CLI_REFUSED},
    {LPM_E_DEFINITION_REFUSED, CLI_REFUSED},
    {LPM_E_MOVER_FAILED, CLI_FAILED},
    {LPM_E_MOVER_START, CLI_FAILED},
    {LPM_E_LINK_LOST, CLI_FAILED},
    {LPM_E_DATA_DAMAGED, CLI_FAILED},
    {LPM_E_PROTOCOL, CLI_FAILED},
    {LPM_E_SESSION_UNKNOWN, CLI_NOT_FOUND},
    {LPM_E_NOT_OF_THIS_SIDE, CLI_REFUSED},
    {LPM_E_STREAM, CLI_FAILED},
    {LPM_E_RETAINED, CLI_FAILED},
    {LPM_E_NOT_RETAINED, CLI_NOT_FOUND},
    {LPM_E_PLACEMENT, CLI_FAILED},
    {LPM_E_STOPPED, CLI_STOPPED},
    {LPM_E_PAST_DECISION, CLI_REFUSED},
    {LPM_E_IN_DOUBT, CLI_IN_DOUBT},
    {LPM_E_NOT_PREPARED, CLI_FAILED},
    {LPM_E_SOURCE_ALIVE, CLI_FAILED},
    {LPM_E_PARTITION_ENDED, CLI_ENDED},
    {LPM_E_DISK_DIFFERS, CLI_REFUSED},
    {LPM_E_DISK_MISSING, CLI_REFUSED},
    {LPM_E_DISK_LOCAL, CLI_REFUSED},
    {LPM_E_DISK_UNPROVED, CLI_REFUSED},
    {LPM_E_DISK_RESERVED, CLI_REFUSED},
    {LPM_E_DISK_CACHE, CLI_REFUSED},
    {LPM_E_FILE_MISSING, CLI_REFUSED},
    {LPM_E_FILE_DIFFERS, CLI_REFUSED},
    {LPM_E_BOOT_FILE_DIFFERS, CLI_REFUSED},
    {LPM_E_BRIDGE_MISSING, CLI_REFUSED},
    {LPM_E_NETWORK_DIFFERS, CLI_REFUSED},
    {LPM_E_MTU_HOLE, CLI_REFUSED},
    {LPM_E_NETWORK_LOCAL, CLI_REFUSED},
    {LPM_E_NETWORK_UNPROVED, CLI_REFUSED},
    {LPM_E_MAC_IN_USE, CLI_REFUSED},
    {LPM_E_CPU_INCOMPATIBLE, CLI_REFUSED},
    {LPM_E_CPU_DIFFERS, CLI_REFUSED},
    {LPM_E_MACHINE_UNKNOWN, CLI_REFUSED},
    {LPM_E_MEMORY_SHORT, CLI_REFUSED},
    {LPM_E_HUGEPAGES_SHORT, CLI_REFUSED},
    {LPM_E_PROCESSORS_SHORT, CLI_REFUSED},
    {LPM_E_PROCESSORS_CROWDED, CLI_REFUSED},
    {LPM_E_FAST_PATH, CLI_REFUSED},
    {LPM_E_WAY_BACK, CLI_REFUSED},
    {LPM_E_PINNED_AWAY, CLI_REFUSED},
    {LPM_E_NODE_SHORT, CLI_REFUSED},
    {LPM_E_PINNED_PARTLY, CLI_REFUSED},
    {LPM_E_DEVICE_BOUND, CLI_REFUSED},
    {LPM_E_LISTEN_ADDRESS, CLI_REFUSED},
    {LPM_E_CONSOLE_LOCAL, CLI_REFUSED},
    {LPM_E_HYPERVISOR_OLDER, CLI_REFUSED},
    {LPM_E_CLOCKS_DIFFER, CLI_REFUSED},
    {LPM_E_ON_BATTERY, CLI_REFUSED},
    {LPM_E_SNAPSHOTS, CLI_REFUSED},
    {LPM_E_MOVER_UNREACHABLE, CLI_REFUSED},
    {LPM_E_AGENT_SILENT, CLI_REFUSED},
    {LPM_E_PATHS_LOST, CLI_REFUSED},
    {LPM_E_LOCKS_LOST, CLI_REFUSED},
    {LPM_E_SUSPENSION_TOO_LONG, CLI_REFUSED},
    {LPM_E_MAP_WRONG, CLI_REFUSED},
    {LPM_E_MAP_AMBIGUOUS, CLI_REFUSED},
    {LPM_E_MAC_ELSEWHERE, CLI_REFUSED},
    {LPM_E_NVRAM_PLACE, CLI_REFUSED},
    {LPM_E_TPM_MISSING, CLI_REFUSED},
    {LPM_E_DEVICE_CUT, CLI_REFUSED},
    {LPM_E_INTERNAL, CLI_INTERNAL},
    {LPM_E_JOURNAL, CLI_INTERNAL},
    {LPM_E_CONFIG, CLI_INTERNAL},
    {LPM_E_IDENTITY, CLI_INTERNAL},
};

const struct cli_exit_info *cli_exit_catalogue(gsize *count)
{
    *count = G_N_ELEMENTS(catalogue);
    return catalogue;
}

gboolean cli_exit_of_number(int number, enum cli_exit *code)
{
    for (gsize i = 0; i < G_N_ELEMENTS(map); i++) {
        if (map[i].number == number) {
            *code = map[i].code;
            return TRUE;
        }
    }
    *code = CLI_INTERNAL;
    return FALSE;
}

static gboolean began_to_copy(const json_t *migration)
{
    size_t index;
    json_t *phase;

    json_array_foreach (json_object_get(migration, "phases"), index, phase) {
        if (g_strcmp0(json_string_value(json_object_get(phase, "name")), "copying") == 0)
            return TRUE;
    }
    return FALSE;
}

static enum cli_exit exit_of_failure(const json_t *migration)
{
    enum cli_exit code;
    g_autoptr(GError) error = lpm_error_from_json(json_object_get(migration, "error"));

    if (lpm_error_number(error) == LPM_E_PARTITION_ENDED)
        return CLI_ENDED;
    if (began_to_copy(migration) || !json_is_object(json_object_get(migration, "error")))
        return CLI_FAILED;
    cli_exit_of_number(lpm_error_number(error), &code);
    return code == CLI_NOT_FOUND || code == CLI_REFUSED || code == CLI_UNREACHABLE ? code
                                                                                   : CLI_FAILED;
}

/* Done is not all: a report whose streams differ, or an error that did not undo it, is shown. */
static gboolean something_off(const json_t *migration)
{
    const json_t *hash = json_object_get(json_object_get(migration, "report"), "stream_hash");

    return json_is_object(json_object_get(migration, "error")) ||
           json_is_false(json_object_get(hash, "identical"));
}

enum cli_exit cli_exit_of_migration(const json_t *migration)
{
    const char *state = json_string_value(json_object_get(migration, "state"));

    if (g_strcmp0(state, "done") == 0)
        return something_off(migration) ? CLI_WARNING : CLI_OK;
    if (g_strcmp0(state, "failed") == 0)
        return exit_of_failure(migration);
    if (g_strcmp0(state, "stopped") == 0)
        return CLI_STOPPED;
    if (g_strcmp0(state, "in-doubt") == 0)
        return CLI_IN_DOUBT;
    return CLI_OK;
}
