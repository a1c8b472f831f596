/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright 2026 The OpenLPM authors */
/*
 * What the checks before a migration ask of libvirt: questions only, nothing is changed. Answers
 * are JSON, since most of them travel to the other host. All functions may be called from any
 * thread and block for the time of a few libvirt calls; each opens a connection of its own, so that
 * many may run at once (libvirtd serves five requests of a connection at a time).
 */
#ifndef LPM_HOST_INSPECT_H
#define LPM_HOST_INSPECT_H

#include "host/host.h"

/* Everything of a partition that a check looks at:
 * {name, uuid, id or null, state, persistent, memory_bytes, vcpus, arch, machine, hypervisor,
 *  emulator, cpu_mode, cpu_model, next_cpu_mode (of its definition), nvram, nvram_template,
 * cpu_xml, os_files: [{role, path}], hugepages:
 * [{size, nodeset}], pins: [{kind, number, cpus}], cells: [{id, bytes, mode, nodeset}],
 * memory_binding: {mode, nodeset}, disks: [{target, bus, type, device, format, cache, readonly,
 * shareable, path, pool, volume, protocol, name, address, port, socket, hosts:
 * [{name, port}], initiator, auth, user, secret_uuid, secret_usage, query, cookies, verify,
 * config, snapshot, reservations, backing:
 * [{path}]}], adapters: [{mac, type, model, bridge, network, portgroup, device, mode, path,
 * tap, mtu, vlans: [...], port, team, partner, alias, address (of a passed-through PCI device)}],
 * hostdevs, filesystems, shmems, graphics, consoles, channels, tpms, smartcards, redirdevs:
 *           [{type, mode, name, driver, backend, path, listen, target, state, team, log, ...}],
 *  io_error, job, block_jobs: [disk], snapshots, checkpoints}
 * Members that its description does not have are absent. PARTITION_NOT_FOUND when `name` is neither
 * a name nor a UUID here. */
json_t *lpm_host_model(struct lpm_host *host, const char *name, GError **error);

/* Array of {name, uuid, active, macs: [...], nvram}: all partitions, running or only defined. */
json_t *lpm_host_definitions(struct lpm_host *host, GError **error);

/* What this host's QEMU can be: of a partition's {arch, machine, hypervisor, emulator} in `model`.
 * {emulator, known (machine type and kind of virtualisation), cause, vcpus_max, cpu_xml (the host's
 *  own processor, of passthrough), cpu_model (its name), host_model_xml (what mode host-model is
 *  here), cpu_models: [{name}] (which can be had by name; of Power only), microcode,
 *  tpm_emulator}. */
json_t *lpm_host_abilities(struct lpm_host *host, const json_t *model, GError **error);

/* ppc64, ppc64le. */
gboolean lpm_is_power(const char *arch);

/* Compares a processor's description with what this host can give, as libvirt and QEMU see it:
 * {result: "identical", "superset", "incompatible" or "unknown", cause}. */
json_t *lpm_host_compare_cpu(struct lpm_host *host, const json_t *model, const char *cpu_xml,
                             GError **error);

/* {total_bytes, available_bytes, cpus, hugepages: [{size, free, total}]}. */
json_t *lpm_host_room(struct lpm_host *host, GError **error);

/* The partitions that run here: [{name, uuid, memory_bytes (given), resident_bytes (of their QEMU),
 * vcpus, hugepages}]. */
json_t *lpm_host_running(struct lpm_host *host, GError **error);

/* The bridge behind libvirt's network `name`, how it forwards, and what an adapter in the group of
 * ports `portgroup` ("": the network's default one) gets from it: {bridge, forward, active, port
 * (kind of virtual port, or ""), vlans: [...]}; {} when there is no such network. */
json_t *lpm_host_network(struct lpm_host *host, const char *name, const char *portgroup,
                         GError **error);

/* The path of a volume of a storage pool, a new string; NULL if there is no such. */
char *lpm_host_volume_path(struct lpm_host *host, const char *pool, const char *volume);

#endif
