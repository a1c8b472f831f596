/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/* The halves of the checks, which only table.c names. See check.h for their contract. */
#ifndef LPM_DAEMON_VALIDATE_CHECKS_H
#define LPM_DAEMON_VALIDATE_CHECKS_H

#include "daemon/validate/check.h"

/* Of disks or adapters of one partition no more are looked at: the list comes from a peer. */
#define LPM_DEVICES_MAX 64

json_t *lpm_gather_mapping(struct lpm_validation *validation, GError **error);
void lpm_judge_mapping(struct lpm_judgement *judgement);
json_t *lpm_gather_disks(struct lpm_validation *validation, GError **error);
void lpm_judge_disks(struct lpm_judgement *judgement);
/* Adds `again`, what lpm_doubts_outcome says, to disks whose samples were not alike. */
void lpm_disks_settle(struct lpm_validation *validation, json_t *sources, const json_t *targets);
/* This host's answers for disks of the model by number: of each entry of `blocks`, null or an array
 * of numbers, null or an array. A new reference. */
json_t *lpm_disks_read_again(const struct lpm_validation *validation, const json_t *blocks);
/* What a side's look at the disks, {id: facts} of all its checks, has found: an array in the order
 * of the model's, borrowed; NULL if it did not look. */
const json_t *lpm_disks_seen(const json_t *facts);
void lpm_judge_reservations(struct lpm_judgement *judgement);
void lpm_judge_paths(struct lpm_judgement *judgement);
void lpm_judge_caches(struct lpm_judgement *judgement);
json_t *lpm_gather_locks(struct lpm_validation *validation, GError **error);
void lpm_judge_locks(struct lpm_judgement *judgement);
json_t *lpm_gather_files(struct lpm_validation *validation, GError **error);
void lpm_judge_files(struct lpm_judgement *judgement);
json_t *lpm_gather_definition(struct lpm_validation *validation, GError **error);
void lpm_judge_definition(struct lpm_judgement *judgement);
json_t *lpm_gather_firmware(struct lpm_validation *validation, GError **error);
void lpm_judge_firmware(struct lpm_judgement *judgement);
json_t *lpm_gather_networks(struct lpm_validation *validation, GError **error);
void lpm_judge_networks(struct lpm_judgement *judgement);
/* Adds to each adapter what only the partition's own host knows: the size of frames that it may
 * send (`probe_mtu`), and that its VLANs are those of its network (`vlans_of_network`). */
void lpm_networks_note(struct lpm_daemon *daemon, json_t *model);
json_t *lpm_gather_names(struct lpm_validation *validation, GError **error);
void lpm_judge_names(struct lpm_judgement *judgement);
void lpm_judge_macs(struct lpm_judgement *judgement);
/* Adds the host's own processor (`host_cpu_xml`) where the partition has that. */
void lpm_processor_note_host(struct lpm_daemon *daemon, json_t *model);
json_t *lpm_gather_processor(struct lpm_validation *validation, GError **error);
void lpm_judge_processor(struct lpm_judgement *judgement);
/* Adds `way_back`: what this host says to the target's host-model. */
void lpm_processor_settle(struct lpm_validation *validation, json_t *sources,
                          const json_t *targets);
json_t *lpm_gather_machine(struct lpm_validation *validation, GError **error);
void lpm_judge_machine(struct lpm_judgement *judgement);
json_t *lpm_gather_room(struct lpm_validation *validation, GError **error);
void lpm_judge_memory(struct lpm_judgement *judgement);
void lpm_judge_hugepages(struct lpm_judgement *judgement);
/* Has the partition of the model its memory in huge pages? */
gboolean lpm_on_hugepages(const json_t *model);
json_t *lpm_gather_placement(struct lpm_validation *validation, GError **error);
void lpm_judge_placement(struct lpm_judgement *judgement);
void lpm_judge_vcpus(struct lpm_judgement *judgement);
json_t *lpm_gather_state(struct lpm_validation *validation, GError **error);
void lpm_judge_state(struct lpm_judgement *judgement);
void lpm_judge_jobs(struct lpm_judgement *judgement);
json_t *lpm_gather_fast_paths(struct lpm_validation *validation, GError **error);
void lpm_judge_fast_paths(struct lpm_judgement *judgement);
void lpm_judge_devices(struct lpm_judgement *judgement);
/* Is this adapter or passed-through device the fast path of a team? */
gboolean lpm_is_fast_path(const json_t *device);
json_t *lpm_gather_consoles(struct lpm_validation *validation, GError **error);
void lpm_judge_consoles(struct lpm_judgement *judgement);
json_t *lpm_gather_versions(struct lpm_validation *validation, GError **error);
void lpm_judge_versions(struct lpm_judgement *judgement);
json_t *lpm_gather_clocks(struct lpm_validation *validation, GError **error);
void lpm_judge_clocks(struct lpm_judgement *judgement);
json_t *lpm_gather_power(struct lpm_validation *validation, GError **error);
void lpm_judge_power(struct lpm_judgement *judgement);
json_t *lpm_gather_limits(struct lpm_validation *validation, GError **error);
void lpm_judge_limits(struct lpm_judgement *judgement);
json_t *lpm_gather_mover(struct lpm_validation *validation, GError **error);
void lpm_judge_mover(struct lpm_judgement *judgement);
void lpm_judge_agent(struct lpm_judgement *judgement);

#endif
